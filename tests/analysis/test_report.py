"""Tables and slices of an evaluation: partitions add up, hand-worked scores, errors that name the record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from mmre_jax.analysis import report
from mmre_jax.records import Mention, Record, Relation

LABELS = ("None", "couple", "member_of")


def metrics(gold: np.ndarray, predicted: np.ndarray, labels: Sequence[str], none: int) -> dict:
    """The task's metrics, by scikit-learn."""
    some = [number for number in range(len(labels)) if number != none]
    precision, recall, f1, _ = precision_recall_fscore_support(gold, predicted, labels=some, average="micro", zero_division=0)
    each = zip(*precision_recall_fscore_support(gold, predicted, labels=some, average=None, zero_division=0), strict=True)
    return {
        "count": len(gold),
        "accuracy": float(np.mean(gold == predicted)),
        "micro": {"precision": precision, "recall": recall, "f1": f1},
        "per_relation": {
            labels[n]: dict(zip(("precision", "recall", "f1", "support"), row, strict=True)) for n, row in zip(some, each, strict=True)
        },
    }


def record(number: int, words: int = 4, image: str | None = None, head: str = "Ann", tail: str = "Bob") -> Record:
    text = (head, tail, *("w",) * (words - 2))
    return Record(id=f"r{number}", words=text, image=image, relations=(Relation(Mention(0, 1), Mention(1, 2)),))


def outcomes_of(items: Sequence[tuple[int, str, str, bool, str]]) -> list[report.Outcome]:
    return [
        report.Outcome(record(number, words, "p.jpg" if picture else None, head), gold, predicted, 0.5)
        for number, (words, gold, predicted, picture, head) in enumerate(items)
    ]


def slices_of(outcomes: Sequence[report.Outcome], seen: frozenset[tuple[str, str]] = frozenset()) -> dict[str, report.Row]:
    rows = report.slices(outcomes, LABELS, 0, metrics, has_picture=lambda item: item.image is not None, seen=seen)
    return {str(row["slice"]): row for row in rows}


ITEMS = st.lists(
    st.tuples(st.integers(2, 45), st.sampled_from(LABELS), st.sampled_from(LABELS), st.booleans(), st.sampled_from(("Ann", "Eve"))),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(ITEMS)
def test_each_split_divides_the_whole(items: list[tuple[int, str, str, bool, str]]) -> None:
    outcomes = outcomes_of(items)
    rows = slices_of(outcomes, frozenset({("ann", "bob")}))
    whole = len(outcomes)
    right = sum(outcome.gold == outcome.predicted for outcome in outcomes)
    for group in (["with picture", "without picture"], [n for n in rows if "pair" in n], [n for n in rows if "words" in n]):
        assert sum(rows[name]["count"] for name in group) == whole
        hits = sum(rows[name]["accuracy"] * rows[name]["count"] for name in group if rows[name]["count"])
        np.testing.assert_allclose(hits, right, atol=1e-9)
    assert rows["all"]["count"] == whole


@settings(max_examples=40, deadline=None)
@given(ITEMS)
def test_confusion_agrees_with_scikit_learn(items: list[tuple[int, str, str, bool, str]]) -> None:
    outcomes = outcomes_of(items)
    counts = report.confusion_counts(outcomes, LABELS)
    assert counts.sum() == len(items)
    if items:
        np.testing.assert_array_equal(counts, confusion_matrix([o.gold for o in outcomes], [o.predicted for o in outcomes], labels=LABELS))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (10, "up to 10 words"),
        (11, "11 to 20 words"),
        (20, "11 to 20 words"),
        (21, "21 to 30 words"),
        (30, "21 to 30 words"),
        (31, "more than 30 words"),
    ],
)
def test_length_bounds(words: int, name: str) -> None:
    rows = slices_of([report.Outcome(record(0, words), "couple", "couple", 1.0)])
    assert [label for label, row in rows.items() if "words" in label and row["count"]] == [name]


def test_slices_by_hand() -> None:
    items = [
        (4, "couple", "couple", True, "Ann"),
        (4, "couple", "None", True, "Eve"),
        (15, "None", "couple", False, "ANN"),
        (35, "None", "None", False, "Eve"),
    ]
    rows = slices_of(outcomes_of(items), report.entity_pairs([record(9)]))
    assert rows["with picture"] == {"slice": "with picture", "count": 2, "accuracy": 0.5, "f1": pytest.approx(2 / 3)}
    assert rows["without picture"]["f1"] == 0 and rows["without picture"]["accuracy"] == 0.5
    assert rows["entity pair seen in training"]["count"] == 2, "pairs are compared without case"
    assert rows["21 to 30 words"] == {"slice": "21 to 30 words", "count": 0, "accuracy": None, "f1": None}


def test_per_relation_by_hand() -> None:
    golds, guesses = ("couple", "couple", "member_of", "None"), ("couple", "member_of", "member_of", "couple")
    outcomes = [report.Outcome(record(n), gold, guess, 0.9) for n, (gold, guess) in enumerate(zip(golds, guesses, strict=True))]
    couple, member = report.per_relation(outcomes, LABELS, 0, metrics)
    assert couple == {"relation": "couple", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert member == {"relation": "member_of", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}


def test_unknown_labels_name_the_record() -> None:
    with pytest.raises(ValueError, match=r"r0: the predicted relation 'twin' is not one of None, couple, member_of"):
        report.ids([report.Outcome(record(0), "couple", "twin", 0.1)], LABELS)
    with pytest.raises(ValueError, match=r"r0: the gold relation 'twin'"):
        report.confusion_counts([report.Outcome(record(0), "twin", "couple", 0.1)], LABELS)


def test_a_record_without_its_one_relation_is_named() -> None:
    with pytest.raises(ValueError, match="record x: expected exactly one relation, found 0"):
        report.entity_pair(Record(id="x", words=("a", "b")))


def test_table_aligns_and_renders() -> None:
    rows = [{"slice": "all", "count": 1614, "f1": 0.5}, {"slice": "without picture", "count": 0, "f1": None}]
    assert report.table(rows, ("slice", "count", "f1")).splitlines() == [
        "slice            count     f1",
        "---------------  -----  -----",
        "all               1614  0.500",
        "without picture      0      -",
    ]
    assert report.table([], ("slice", "f1")).splitlines() == ["slice  f1", "-----  --"]
    with pytest.raises(ValueError, match="row 1 lacks f1; it has slice, count"):
        report.table([rows[0], {"slice": "x", "count": 1}], ("slice", "f1"))
