"""Scores of relations by how often training had them: by hand, and adding up to those of the whole."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.analysis import frequency, plots, report
from mmre_jax.analysis.evaluation import Evaluation
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, Relation
from mmre_jax.tasks.relation import RelationTask, metrics
from mmre_jax.training.trained_on import TrainedOn

LABELS = ("None", "knows", "owns", "met")
TRAINED = {"None": 7000, "knows": 1001, "owns": 50}
# gold, predicted
PAIRS = [("knows", "knows"), ("knows", "owns"), ("owns", "owns"), ("None", "knows"), ("None", "None"), ("met", "None"), ("met", "knows")]


def example(number, label):
    return Record(f"x{number}", ("ada", "grace"), relations=(Relation(Mention(0, 1), Mention(1, 2), label),))


def confusion(pairs, labels=LABELS):
    records = [example(i, gold) for i, (gold, _) in enumerate(pairs)]
    return report.confusion_counts(records, [example(i, guess).relations for i, (_, guess) in enumerate(pairs)], labels)


def test_blocks_by_hand():
    """Of three predictions of 'knows' one is right; 'owns' got one prediction too many, which is a miss of 'knows'."""
    rows = {row["trained"]: row for row in frequency.blocks(confusion(PAIRS), LABELS, "None", TRAINED)}
    assert list(rows) == ["never", "1 to 50", "over 1,000"], "None is in no block, and what has no relation is no row"
    assert rows["never"] == {"trained": "never", "relations": 1, "support": 2, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    expected = {"relations": 1, "support": 1, "precision": 1 / 2, "recall": 1.0, "f1": 2 / 3}
    assert rows["1 to 50"] == {"trained": "1 to 50", **expected}
    assert rows["over 1,000"]["precision"] == pytest.approx(1 / 3) and rows["over 1,000"]["recall"] == 1 / 2
    rows = frequency.blocks(confusion([("owns", "owns")]), LABELS, "None", TRAINED)
    assert [row["f1"] for row in rows] == [None, 1.0, None], "neither gold nor predicted is no score"


LABEL = st.sampled_from(LABELS)


@given(pairs=st.lists(st.tuples(LABEL, LABEL), min_size=1), trained=st.dictionaries(LABEL, st.integers(1, 2000)))
def test_blocks_add_up_to_the_whole(pairs, trained):
    counts = confusion(pairs)
    rows = frequency.blocks(counts, LABELS, "None", trained)
    golds, guesses = (np.array([LABELS.index(pair[side]) for pair in pairs]) for side in (0, 1))
    whole = metrics(golds, guesses, LABELS, 0)["micro"]
    support = sum(row["support"] for row in rows)
    assert support == sum(gold != "None" for gold, _ in pairs) and sum(row["relations"] for row in rows) == 3
    hits = sum((row["recall"] or 0) * row["support"] for row in rows)
    assert hits / support == pytest.approx(whole["recall"]) if support else whole["recall"] == 0
    one = frequency.blocks(counts, LABELS, "None", dict.fromkeys(LABELS, 60))
    assert len(one) == 1 and {name: one[0][name] or 0.0 for name in whole} == pytest.approx(whole)


@pytest.mark.parametrize("count", [0, 1, 50, 51, 1000, 1001, 10**6])
def test_every_count_is_in_one_block(count):
    assert sum(low <= count and (high is None or count <= high) for low, high in frequency.BLOCKS) == 1


def test_an_evaluation_prints_writes_and_draws_them(tmp_path):
    records = [example(i, gold) for i, (gold, _) in enumerate(PAIRS)]
    found = [example(i, guess).relations for i, (_, guess) in enumerate(PAIRS)]
    task = RelationTask(TextEncoder(train_tokenizer([], 8, "word")), LABELS, "None")
    known = TrainedOn.of("relation", [example(i, "knows") for i in range(3)] + [example(9, "owns")])
    assert known.counts == {"knows": 3, "owns": 1}
    scored = Evaluation("test", "relation", task, records, found, frozenset(), known, {})
    counted = scored.text().split("\n\n")[1].splitlines()
    assert counted[0].split() == ["trained", "relations", "support", "precision", "recall", "f1"] and counted[3].startswith("1 to 50 ")
    written = scored.write(tmp_path)
    assert tmp_path / "training_count.png" in written and all(path.stat().st_size for path in written)
    assert json.loads((tmp_path / "metrics.json").read_text())["by_training_count"] == scored.by_training_count()
    plain = dataclasses.replace(scored, known=TrainedOn())
    assert plain.by_training_count() == [] and len(plain.text().split("\n\n")) == 2 and "by_training_count" not in plain.to_json()


def test_the_figure_has_a_bar_for_each_relation_and_a_line_for_each_block(tmp_path):
    labels = ("None", *(f"/per/per/number_{i}" for i in range(8)))
    trained = {label: count for label, count in zip(labels, (9, 0, 4000, 14, 80, 160, 300, 900, 3), strict=True)}
    counts = np.diag(range(5, 14)) + 1
    figure = frequency.figure(counts, labels, "None", trained)
    axes = figure.axes[0]
    assert [tick.get_text().split()[-1] for tick in axes.get_xticklabels()] == ["0", "3", "14", "80", "160", "300", "900", "4,000"]
    expected = {label: 2 * counts[i, i] / (counts[i].sum() + counts[:, i].sum()) for i, label in enumerate(labels)}
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([expected[x] for x in sorted(labels[1:], key=trained.get)])
    rows = frequency.blocks(counts, labels, "None", trained)
    levels = [line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert levels == pytest.approx([row["f1"] for row in rows]) and len(rows) == 7
    plots.save(figure, tmp_path / "figure.png")
    empty = frequency.figure(np.zeros((9, 9), int), labels, "None", trained)
    assert not empty.axes[0].lines and not empty.axes[0].patches
    many = tuple(f"r{i}" for i in range(60))
    assert not frequency.figure(np.eye(60, dtype=int), many, "None", {}).axes[0].get_xticklabels()
