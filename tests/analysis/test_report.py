"""Tables and slices of an evaluation: partitions add up, hand-worked scores, errors that name the record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from mmre_jax.analysis import report
from mmre_jax.records import Mention, Record, Relation, Triple
from mmre_jax.tasks.task import Found
from mmre_jax.training.trained_on import TrainedOn, key

LABELS = ("None", "couple", "member_of")
HEADLINE = ("accuracy", "micro.f1")
Scored = tuple[list[Record], list[Found]]


def metrics(records: Sequence[Record], predicted: Sequence[Found]) -> dict:
    """The measures of relations, by scikit-learn."""
    gold, guesses = ([LABELS.index(relation.label) for relation in side] for side in (relations(records), [f[0] for f in predicted]))
    _, _, f1, _ = precision_recall_fscore_support(gold, guesses, labels=[1, 2], average="micro", zero_division=0)
    return {"count": len(gold), "accuracy": float(np.mean(np.equal(gold, guesses))), "micro": {"f1": f1}}


def relations(records: Sequence[Record]) -> list[Relation]:
    return [record.relations[0] for record in records]


def record(number: int, words: int = 4, image: str | None = None, head: str = "Ann", label: str = "couple") -> Record:
    text = (head, "Bob", *("w",) * (words - 2))
    return Record(id=f"r{number}", words=text, image=image, relations=(Relation(Mention(0, 1), Mention(1, 2), label),))


def scored(items: Sequence[tuple[int, str, str, bool, str]]) -> Scored:
    records = [record(n, words, "p.jpg" if picture else None, head, gold) for n, (words, gold, _, picture, head) in enumerate(items)]
    return records, [(Relation(Mention(0, 1), Mention(1, 2), guess, 0.5),) for _, _, guess, _, _ in items]


def slices_of(both: Scored, known: TrainedOn) -> dict[str, report.Row]:
    rows = report.slices("relation", *both, metrics, HEADLINE, has_picture=lambda item: item.image is not None, known=known)
    return {str(row["slice"]): row for row in rows}


ITEMS = st.lists(
    st.tuples(st.integers(2, 45), st.sampled_from(LABELS), st.sampled_from(LABELS), st.booleans(), st.sampled_from(("Ann", "Eve"))),
    max_size=30,
)


@given(ITEMS)
def test_each_split_divides_the_whole(items: list[tuple[int, str, str, bool, str]]) -> None:
    rows = slices_of(scored(items), TrainedOn(frozenset({key("ann", "bob")})))
    right = sum(gold == guess for _, gold, guess, _, _ in items)
    for group in (["with picture", "without picture"], [n for n in rows if "pair" in n], [n for n in rows if "words" in n]):
        assert sum(rows[name]["count"] for name in group) == len(items)
        hits = sum(rows[name]["accuracy"] * rows[name]["count"] for name in group if rows[name]["count"])
        np.testing.assert_allclose(hits, right, atol=1e-9)
    assert rows["all"]["count"] == len(items)


@given(ITEMS)
def test_confusion_agrees_with_scikit_learn(items: list[tuple[int, str, str, bool, str]]) -> None:
    records, predicted = scored(items)
    counts = report.confusion_counts(records, predicted, LABELS)
    assert counts.sum() == len(items)
    if items:
        expected = confusion_matrix([gold for _, gold, *_ in items], [guess for _, _, guess, *_ in items], labels=LABELS)
        np.testing.assert_array_equal(counts, expected)


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
    rows = slices_of(scored([(words, "couple", "couple", True, "Ann")]), TrainedOn())
    assert [label for label, row in rows.items() if "words" in label and row["count"]] == [name]


@pytest.mark.parametrize(
    ("triples", "name"),
    [(0, "no triples"), (1, "1 triple"), (2, "2 triples"), (3, "3 to 5 triples"), (5, "3 to 5 triples"), (6, "more than 5 triples")],
)
def test_numbers_of_triples(triples: int, name: str) -> None:
    post = Record("r", ("a",), triples=(Triple(Mention(0, 1), "holds", (0, 0, 1, 1)),) * triples)
    rows = report.slices("triples", [post], [()], lambda records, found: {"f1": 0.0}, ["f1"], has_picture=lambda r: True, known=TrainedOn())
    assert [row["slice"] for row in rows if "triple" in row["slice"] and row["count"]] == [name]


@given(st.lists(st.tuples(*[st.sets(st.integers(0, 4))] * 2), max_size=8), st.sets(st.sampled_from("abcde")))
def test_mentions_seen_and_not_seen_divide_all_mentions(items: list[tuple[set[int], set[int]]], known: set[str]) -> None:
    def count(records: Sequence[Record], predicted: Sequence[Found]) -> dict:
        return {"gold": sum(len(record.mentions) for record in records), "found": sum(map(len, predicted))}

    words = tuple("ABCDE")
    records = [Record(str(n), words, mentions=tuple(Mention(i, i + 1) for i in gold)) for n, (gold, _) in enumerate(items)]
    predicted = [tuple(Mention(i, i + 1) for i in found) for _, found in items]
    whole = (records, predicted, count, ["gold", "found"])
    rows = report.slices("entities", *whole, has_picture=lambda record: True, known=TrainedOn(frozenset(map(key, known))))
    by_name = {row["slice"]: row for row in rows}
    seen, not_seen = by_name["mention text seen in training"], by_name["mention text not seen"]
    for name, side in (("gold", 0), ("found", 1)):
        assert (seen[name] or 0) == sum(words[i].lower() in known for item in items for i in item[side])
        assert (seen[name] or 0) + (not_seen[name] or 0) == (by_name["all"][name] or 0)


def test_slices_by_hand() -> None:
    items = [
        (4, "couple", "couple", True, "Ann"),
        (4, "couple", "None", True, "Eve"),
        (15, "None", "couple", False, "ANN"),
        (35, "None", "None", False, "Eve"),
    ]
    rows = slices_of(scored(items), TrainedOn.of("relation", [record(9)]))
    assert rows["with picture"] == {"slice": "with picture", "count": 2, "accuracy": 0.5, "micro.f1": pytest.approx(2 / 3)}
    assert rows["without picture"]["micro.f1"] == 0 and rows["without picture"]["accuracy"] == 0.5
    assert rows["entity pair seen in training"]["count"] == 2, "pairs are compared without case"
    assert rows["21 to 30 words"] == {"slice": "21 to 30 words", "count": 0, "accuracy": None, "micro.f1": None}


def test_classes_come_by_support() -> None:
    ratios = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    table = {"couple": {**ratios, "support": 1}, "member_of": {**ratios, "support": 3, "more": 0}}
    expected = [{**ratios, "support": 3}, {**ratios, "support": 1}]
    for kind, scores, column in (
        ("relation", {"per_relation": table}, "relation"),
        ("triples", {"per_relation": table}, "relation"),
        ("entities", {"entity": {"per_type": table}}, "type"),
    ):
        rows = report.per_class(kind, scores)
        assert [row.pop(column) for row in rows] == ["member_of", "couple"] and rows == expected


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
