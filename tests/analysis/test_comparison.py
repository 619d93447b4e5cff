"""Counts of records add up to the tasks' own scores; what a comparison says of hand-worked runs; runs that cannot be compared."""

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from configs import hvformer
from mmre_jax.analysis import comparison_counts, comparison_plots, comparison_report, significance
from mmre_jax.analysis.comparison import Run, compare
from mmre_jax.analysis.evaluation import Evaluation
from mmre_jax.data.dataset import BACKGROUND
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, RecordError, Relation, Triple
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.objects import ObjectsTask
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.tasks.task import at
from mmre_jax.tasks.triples import TriplesTask
from mmre_jax.training.trained_on import TrainedOn

ENCODER = TextEncoder(train_tokenizer([], 8, "word"))
TASKS = {
    "relation": RelationTask(ENCODER, ("None", "knows", "owns"), "None"),
    "entities": EntitiesTask(ENCODER, ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), "O"),
    "triples": TriplesTask(ENCODER, ("holds", "wears"), "None", max_targets=4),
    "objects": ObjectsTask(ENCODER, (BACKGROUND, "ball"), BACKGROUND, max_targets=4),
}
WORDS = ("Ada", "knows", "Bob", "in", "Paris")
PAIR = Mention(0, 1), Mention(2, 3)
BOXES = ((0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 0.45, 1.0), (0.5, 0.0, 1.0, 1.0))

RELATIONS = st.sampled_from(TASKS["relation"].labels).map(lambda label: (Relation(*PAIR, label),))
MENTIONS = st.frozensets(st.tuples(st.integers(0, 2), st.sampled_from(("PER", "LOC"))), max_size=3).map(
    lambda found: tuple(Mention(start, start + 1, kind) for start, kind in sorted(found))
)
TRIPLES = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(("holds", "wears")), st.sampled_from(BOXES)), max_size=3).map(
    lambda found: tuple(Triple(Mention(start, start + 1), label, box) for start, label, box in found)
)
FOUND = {"relation": RELATIONS, "entities": MENTIONS, "triples": TRIPLES}
FIELD = {"relation": "relations", "entities": "mentions", "triples": "triples"}


def records_of(kind, golds):
    return [Record(f"x{n}", WORDS, **{FIELD[kind]: gold}) for n, gold in enumerate(golds)]


def run(name, kind, records, predicted, **protocol):
    evaluation = Evaluation("test", kind, TASKS[kind], records, predicted, frozenset(), TrainedOn(), {"task": kind, **protocol})
    return Run(name, evaluation)


@pytest.mark.parametrize("kind", FOUND)
@given(data=st.data())
def test_counts_add_up_to_the_tasks_scores(kind, data):
    rows = data.draw(st.lists(st.tuples(*[FOUND[kind]] * 3), min_size=1, max_size=6))
    golds, *programs = (list(side) for side in zip(*rows, strict=True))
    records, task = records_of(kind, golds), TASKS[kind]
    counts = comparison_counts.count(kind, task, records, programs)
    assert counts.measures[0] == task.headline[0]
    for program, predicted in enumerate(programs):
        scores = task.metrics(records, predicted)
        for found, name in zip(significance.f1(counts.by_measure[program].sum(0)), counts.measures, strict=True):
            assert found == pytest.approx(at(scores, name)), name
        table = scores["entity"]["per_type"] if kind == "entities" else scores["per_relation"]
        for found, name in zip(significance.f1(counts.by_class[program].sum(0)), counts.classes, strict=True):
            assert found == pytest.approx(table[name]["f1"])
        alone = [task.metrics([record], [found]) for record, found in zip(records, predicted, strict=True)]
        name = {"relation": "accuracy"}.get(kind, task.headline[0])
        empty = [not gold and not found for gold, found in zip(golds, predicted, strict=True)]
        np.testing.assert_array_equal(
            counts.right[program], [nothing or at(own, name) == 1 for own, nothing in zip(alone, empty, strict=True)]
        )
    np.testing.assert_array_equal(counts.agreement[0, 0], True)
    np.testing.assert_array_equal(counts.agreement, counts.agreement.transpose(1, 0, 2))


GOLD = ["knows", "knows", "owns", "None", "None", "owns"]
GUESSES = {
    "a": ["knows", "knows", "owns", "None", "owns", "None"],  # right: 0, 1, 2, 3
    "b": ["knows", "None", "knows", "None", "None", "None"],  # right: 0, 3, 4
    "c": ["knows", "knows", "owns", "None", "owns", "None"],
}


def relations(labels, score=None):
    return [(Relation(*PAIR, label, score),) for label in labels]


@pytest.fixture(scope="module")
def three():
    records = records_of("relation", relations(GOLD))
    return compare([run(name, "relation", records, relations(guesses, 0.5)) for name, guesses in GUESSES.items()], resamples=500)


def test_pairs_by_hand(three):
    ab, ac, bc = three.pairs()
    assert [ab["first"], ab["second"], ac["second"], bc["first"]] == ["a", "b", "c", "b"]
    # a: right 3, predicted 4, gold 4. b: right 1, predicted 2.
    assert ab["measures"]["micro.f1"]["difference"] == pytest.approx(6 / 8 - 2 / 6)
    assert ab["measures"]["accuracy"]["difference"] == pytest.approx(1 / 6)
    assert ab["agreement"] == 0.5 and ac["agreement"] == 1
    assert {key: ab["mcnemar"][key] for key in ("only_first", "only_second", "p")} == {"only_first": 2, "only_second": 1, "p": 1.0}
    same = ac["measures"]["micro.f1"]
    assert same == {"difference": 0, "low": 0, "high": 0, "p": 1, "p_holm": 1}
    assert ab["measures"]["micro.f1"]["p_holm"] == min(1, 3 * min(ab["measures"]["micro.f1"]["p"], bc["measures"]["micro.f1"]["p"]))
    assert bc["measures"]["micro.f1"]["low"] == pytest.approx(-ab["measures"]["micro.f1"]["high"]), "all pairs are of the same resamples"


def test_classes_by_hand(three):
    rows = {row["name"]: row for row in three.classes()}
    assert [row["support"] for row in three.classes()] == [2, 2, 2]
    assert rows["owns"]["f1"] == {"a": pytest.approx(0.5), "b": 0, "c": pytest.approx(0.5)}  # 1 of 2, 2 predicted
    assert rows["owns"]["against"]["b"]["difference"] == pytest.approx(0.5)
    assert rows["owns"]["against"]["c"] == {"difference": 0, "low": 0, "high": 0}
    assert rows["knows"]["against"]["b"]["low"] <= rows["knows"]["against"]["b"]["difference"] <= rows["knows"]["against"]["b"]["high"]


def test_disagreements_name_what_each_said(three):
    found = three.disagreements()
    assert [line["id"] for line in found] == ["x1", "x2", "x4"]
    assert found[0]["gold"] == "knows" and found[0]["right"] == ["a", "c"] and found[2]["right"] == ["b"]
    assert found[0]["predicted"]["b"] == {"relation": "None", "score": 0.5}
    assert (found[0]["head"], found[0]["tail"], found[0]["text"]) == ("Ada", "Bob", " ".join(WORDS))


def test_what_is_written(three, tmp_path):
    written = comparison_report.write(three, tmp_path / "out")
    assert [path.name for path in written] == ["compare.json", "compare.md", "disagreements.jsonl", "differences.png", "agreement.png"]
    assert all(path.stat().st_size for path in written)
    found = json.loads(written[0].read_text())
    assert found["records"] == 6 and found["disagreements"] == len(written[2].read_text().splitlines()) == 3
    assert found["bootstrap"] == {"resamples": 500, "seed": 0, "level": 0.95} and len(found["pairs"]) == 3
    page, text = written[1].read_text(), comparison_report.text(three)
    assert "| micro.f1 | a - b | +0.417 |" in page and re.search(r"micro\.f1 +a - b +\+0\.417", text)
    assert "p (Holm)" in page and "p (Holm)" not in comparison_report.text(dataclasses.replace(three, runs=three.runs[:2]))


def test_the_pictures_name_runs_and_classes(three):
    bars = comparison_plots.differences(three.classes(), three.names)
    told = [text.get_text() for text in bars.findobj(Text)]
    assert any("a \N{MINUS SIGN} c" in text for text in told) and any(text.startswith("owns") for text in told)
    matrix = comparison_plots.agreement(
        three.names, three.counts.agreement.mean(2), np.array([[0, 2, 0], [1, 0, 1], [0, 2, 0]]), np.array([4, 3, 4])
    )
    left, right = matrix.axes
    assert [text.get_text() for text in left.texts] == ["1.000", "0.500", "1.000", "0.500", "1.000", "0.500", "1.000", "0.500", "1.000"]
    assert [text.get_text() for text in right.texts] == ["2", "0", "1", "1", "0", "2"]


def configured(name, records, changes, **protocol):
    config = hvformer.get_config("quickstart").unlock()
    config.update_from_flattened_dict(changes)
    return dataclasses.replace(run(name, "relation", records, relations(GOLD), **protocol), config=config)


def test_other_protocols_and_settings_are_told():
    records = records_of("relation", relations(GOLD))
    one = configured("one", records, {"train.seed": 1}, objects="none", step=3)
    two = configured("two", records, {"train.seed": 2, "data.train_share": 0.5}, objects="grounded", train_share=0.5, step=4)
    theirs = run("theirs", "relation", records, relations(GOLD), objects="detected", predictions="x.jsonl")
    found = compare([one, two, theirs], resamples=10)
    assert [line.partition(": ")[2] for line in found.warnings()] == ["objects: one none, two grounded", "train_share: one 1.0, two 0.5"]
    assert found.settings() == {"data.train_share": {"one": 1.0, "two": 0.5}, "train.seed": {"one": 1, "two": 2}}
    assert [row["seed"] for row in found.scores()] == [1, 2, None]
    assert "differ in more than what they learnt" in comparison_report.markdown(found) and "`train.seed`" in comparison_report.markdown(
        found
    )
    assert not compare([one, dataclasses.replace(one, name="again")], resamples=10).warnings()


def test_runs_that_cannot_be_compared():
    golds = relations(GOLD)
    records = records_of("relation", golds)
    first = run("first", "relation", records, golds)

    def refused(error, match, *others):
        with pytest.raises(error, match=match):
            compare([first, *others], resamples=10)

    refused(ValueError, "two runs or more, found 1")
    refused(ValueError, "two runs are called first", first)
    entities = run("other", "entities", records, [()] * 6)
    refused(ValueError, "tasks are relation and entities", entities)
    fewer = run("other", "relation", records[:4], golds[:4])
    refused(RecordError, "2 are of first alone, such as x4, x5", fewer)
    turned = run("other", "relation", records[::-1], golds)
    refused(RecordError, "record 0 of test is x0 and x5: the same records in another order", turned)
    relabelled = [*records[:5], dataclasses.replace(records[5], relations=golds[0])]
    refused(RecordError, "record 5 of test, x5, has other words or another annotation", run("other", "relation", relabelled, golds))
    objects = [run(name, "objects", records, [()] * 6) for name in ("a", "b")]
    with pytest.raises(ValueError, match="task 'objects' cannot be compared: average precision"):
        compare(objects, resamples=10)
    strict = run("a", "triples", records, [()] * 6)
    loose = dataclasses.replace(strict.evaluation, task=dataclasses.replace(TASKS["triples"], iou=0.3))
    with pytest.raises(ValueError, match=r"task\.iou is 0\.5 and 0\.3"):
        compare([strict, Run("b", loose)], resamples=10)
