"""Scores of a hand-worked split, what is written of them, and predictions of other programs read back under the same protocol."""

import json

import pytest
from PIL import Image

from mmre_jax.analysis.evaluation import Evaluation, outcome, read_predictions
from mmre_jax.records import Mention, Record, RecordError, Relation

LABELS = ("None", "knows", "owns")
# (words, head, tail, gold, predicted, score, a picture was seen)
ROWS = [
    ("Ada knows Grace", 0, 2, "knows", "knows", 0.9, True),
    ("Ada knows Alan well enough to say so in public today", 0, 2, "knows", "owns", 0.5, True),
    ("Ada has a cat", 0, 3, "owns", "owns", 0.75, False),
    ("nobody owns Grace", 0, 2, "None", "knows", 0.4, False),
    ("nobody owns Alan", 0, 2, "None", "None", 0.8, False),
]


def example(number, text, head, tail, label):
    words = tuple(text.split())
    return Record(f"x{number}", words, relations=(Relation(Mention(head, head + 1), Mention(tail, tail + 1), label),), origin=f"x:{number}")


EXAMPLES = [example(i, *row[:4]) for i, row in enumerate(ROWS)]


def evaluation(outcomes=None):
    if outcomes is None:
        outcomes = [outcome(record, row[4], row[5], LABELS) for record, row in zip(EXAMPLES, ROWS, strict=True)]
    seen = frozenset(record.id for record, row in zip(EXAMPLES, ROWS, strict=True) if row[6])
    return Evaluation("test", LABELS, "None", outcomes, seen, frozenset({("ada", "grace"), ("nobody", "grace")}), {"objects": "none"})


def test_scores():
    """Two of four predictions that are not None are right, of three such golds two are found; three of all five are right."""
    scores = evaluation().scores()
    assert scores["count"] == 5 and scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["micro"] == pytest.approx({"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7})
    assert scores["macro"] == pytest.approx({"precision": 1 / 2, "recall": 3 / 4, "f1": (1 / 2 + 2 / 3) / 2})
    assert scores["per_relation"]["knows"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2})


def test_slices():
    rows = {row.pop("slice"): row for row in evaluation().slices()}
    assert rows["all"] == pytest.approx({"count": 5, "accuracy": 3 / 5, "f1": 4 / 7})
    assert rows["with picture"] == pytest.approx({"count": 2, "accuracy": 1 / 2, "f1": 2 / 4})
    assert rows["without picture"] == pytest.approx({"count": 3, "accuracy": 2 / 3, "f1": 2 / 3})
    assert rows["entity pair seen in training"]["count"] == 2 and rows["entity pair not seen"]["count"] == 3
    assert rows["up to 10 words"]["count"] == 4 and rows["11 to 20 words"] == pytest.approx({"count": 1, "accuracy": 0, "f1": 0})
    assert rows["more than 30 words"] == {"count": 0, "accuracy": None, "f1": None}


def test_text_lists_relations_by_support_and_all_slices():
    relations, slices = evaluation().text().split("\n\n")
    first = [line.split()[0] for line in relations.splitlines()[2:]]
    assert first[-1] == "owns" and set(first[:2]) == {"None", "knows"}
    assert len(slices.splitlines()) == 2 + len(evaluation().slices())


def test_what_is_written(tmp_path):
    folder = tmp_path / "made" / "here"
    evaluation().write(folder)
    assert json.loads((folder / "metrics.json").read_text()) == json.loads(json.dumps(evaluation().to_json()))
    assert set(evaluation().to_json()) == {"test", "slices", "protocol"}
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert rows[1] == {"id": "x1", "relation": "owns", "score": 0.5, "gold": "knows"} and len(rows) == 5
    with Image.open(folder / "confusion.png") as picture:
        picture.verify()
    assert sorted(path.name for path in folder.iterdir()) == ["confusion.png", "metrics.json", "predictions.jsonl"]


def test_written_predictions_score_the_same_again(tmp_path):
    evaluation().write(tmp_path)
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    (tmp_path / "turned.jsonl").write_text("\ufeff" + "\n\n".join(reversed(lines)), encoding="utf-8")
    for name in ("predictions.jsonl", "turned.jsonl"):
        again = read_predictions(tmp_path / name, EXAMPLES, LABELS)
        assert again == evaluation().outcomes
        assert evaluation(again).to_json() == evaluation().to_json()


def test_an_empty_split_scores_nothing(tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    empty = evaluation(read_predictions(tmp_path / "none.jsonl", [], LABELS))
    assert empty.scores()["count"] == 0
    empty.write(tmp_path / "out")


def line(number=0, relation="knows", **more):
    return json.dumps({"id": f"x{number}", "relation": relation, **more})


REST = [line(i) for i in range(1, 5)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line(), '{"id": "x1", "relation"'], r"p\.jsonl:2: not JSON: .*"),
        (["[" * 100_000], r"p\.jsonl:1: not JSON"),
        (['["x0", "knows"]'], r'p\.jsonl:1: expected an object with "id" and "relation", found \["x0", "knows"\]'),
        (['{"id": "x0"}'], r'p\.jsonl:1: expected an object with "id" and "relation"'),
        ([line(), line(9)], r"p\.jsonl:2: field 'id': 'x9' is not an example of this split, whose ids look like 'x0'"),
        (['{"id": ["x0"], "relation": "knows"}'], r"p\.jsonl:1: field 'id': \['x0'\] is not an example"),
        (['{"id": 0, "relation": "knows"}'], r"p\.jsonl:1: field 'id': 0\.0 is not an example"),
        ([line(), *REST, line(2)], r"p\.jsonl:6: field 'id': 'x2' was predicted before"),
        ([line(relation="likes")], r"p\.jsonl:1: field 'relation': 'likes' is not one of None, knows, owns"),
        ([line(relation=None)], r"p\.jsonl:1: field 'relation': None is not one of"),
        ([line(relation=["knows"])], r"p\.jsonl:1: field 'relation': \['knows'\] is not one of"),
        ([line(), line(3)], r"p\.jsonl: 3 of 5 examples have no prediction, such as x1, x2, x4"),
        ([line(score="high")], r"p\.jsonl:1: field 'score': expected a number, found 'high'"),
        ([line(score=True)], r"p\.jsonl:1: field 'score': expected a number, found True"),
        ([line(score=float("nan"))], r"p\.jsonl:1: field 'score': expected a number, found nan"),
        ([line(score=10**400)], r"p\.jsonl:1: field 'score': expected a number, found inf"),
    ],
)
def test_predictions_that_cannot_be_scored_are_named(tmp_path, lines, message):
    (tmp_path / "p.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RecordError, match=message):
        read_predictions(tmp_path / "p.jsonl", EXAMPLES, LABELS)


def test_scores_are_optional_and_may_be_whole_numbers(tmp_path):
    (tmp_path / "p.jsonl").write_text("\n".join([line(), line(1, score=None), line(2, score=0), line(3, score=1), line(4, why="so")]))
    assert [found.score for found in read_predictions(tmp_path / "p.jsonl", EXAMPLES, LABELS)] == [1, 1, 0, 1, 1]


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "p.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="not UTF-8"):
        read_predictions(tmp_path / "p.jsonl", EXAMPLES, LABELS)


def test_an_example_without_a_known_gold_relation_is_not_scored(tmp_path):
    """A pair without label must not pass for one of the empty relation, whose name may be 'None'."""
    (tmp_path / "p.jsonl").write_text("\n".join([line(), *REST]))
    for label, message in ((None, "x:4: the relation of 'x4' has no label"), ("likes", "'x4' has the label 'likes', which is not one of")):
        with pytest.raises(RecordError, match=message):
            read_predictions(tmp_path / "p.jsonl", [*EXAMPLES[:4], example(4, "a b c", 0, 1, label)], LABELS)
