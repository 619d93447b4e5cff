"""Scores of hand-worked splits, what is written of them, and predictions of other programs read back under the same protocol."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from configs import common
from mmre_jax.analysis.evaluation import Evaluation, read_predictions, row, scoring_task
from mmre_jax.data import datasets
from mmre_jax.data.dataset import BACKGROUND
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.objects import ObjectsTask
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.tasks.triples import TriplesTask
from mmre_jax.training.trained_on import TrainedOn, key

ENCODER = TextEncoder(train_tokenizer([], 8, "word"))
LABELS = ("None", "knows", "owns")
TASKS = {
    "relation": RelationTask(ENCODER, LABELS, "None"),
    "entities": EntitiesTask(ENCODER, ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), "O"),
    "triples": TriplesTask(ENCODER, ("holds", "wears"), "None", max_targets=4),
    "objects": ObjectsTask(ENCODER, (BACKGROUND, "ball", "car"), BACKGROUND, max_targets=4),
}

# relation: (words, head, tail, gold, predicted, score, a picture was seen)
ROWS = [
    ("Ada knows Grace", 0, 2, "knows", "knows", 0.9, True),
    ("Ada knows Alan well enough to say so in public today", 0, 2, "knows", "owns", 0.5, True),
    ("Ada has a cat", 0, 3, "owns", "owns", 0.75, False),
    ("nobody owns Grace", 0, 2, "None", "knows", 0.4, False),
    ("nobody owns Alan", 0, 2, "None", "None", 0.8, False),
]


def example(number, text, head, tail, label, score=None):
    pair = Relation(Mention(head, head + 1), Mention(tail, tail + 1), label, score)
    return Record(f"x{number}", tuple(text.split()), relations=(pair,), origin=f"x:{number}")


EXAMPLES = [example(i, *each[:4]) for i, each in enumerate(ROWS)]
FOUND = [example(i, *each[:3], *each[4:6]).relations for i, each in enumerate(ROWS)]

# entities: Paris is a mention of training, Ada and Bob are not. triples, objects: boxes that overlap wholly, or not at all.
ADA, BOB, PARIS = Mention(0, 1, "PER"), Mention(2, 3, "PER"), Mention(4, 5, "LOC")
WORDS = tuple("Ada and Bob in Paris".split())
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
BALL, CAR = Region(LEFT, source="gold", label="ball"), Region(RIGHT, source="gold", label="car")
POSTS = [
    Record("p0", WORDS, None, (ADA, BOB, PARIS), (), (Triple(ADA, "holds", LEFT), Triple(BOB, "wears", RIGHT)), (BALL, CAR)),
    Record("p1", WORDS, None, (ADA, PARIS), (), (Triple(PARIS, "holds", RIGHT),), (dataclasses.replace(BALL, box=RIGHT),)),
    Record("p2", WORDS),
]
MENTIONS = [
    (ADA, dataclasses.replace(PARIS, score=0.5)),
    (dataclasses.replace(ADA, type="LOC"), PARIS),
    (dataclasses.replace(BOB, score=0.25),),
]
TRIPLES = [
    (Triple(ADA, "holds", LEFT, 0.875), Triple(BOB, "wears", LEFT)),
    (),
    (Triple(ADA, "wears", (0.1, 1 / 3, 0.7, 0.9)),),
]
OBJECTS = [
    (Region(LEFT, label="ball", score=0.875), Region(LEFT, label="car", score=0.5)),
    (),
    (Region((0.1, 1 / 3, 0.7, 0.9), label="ball", score=0.25),),
]


def evaluation(kind="relation", predicted=None):
    if kind == "relation":
        records, found, seen, known = EXAMPLES, FOUND, {"x0", "x1"}, {("ada", "grace"), ("nobody", "grace")}
    else:
        found = {"entities": MENTIONS, "triples": TRIPLES, "objects": OBJECTS}[kind]
        records, seen, known = POSTS, {"p0"}, {("paris",)}
    given = found if predicted is None else predicted
    trained_on = TrainedOn(frozenset(key(*each) for each in known))
    return Evaluation("test", kind, TASKS[kind], records, given, frozenset(seen), trained_on, {"objects": "none"})


def slices(kind):
    return {each.pop("slice"): each for each in map(dict, evaluation(kind).slices())}


def test_scores_of_relations():
    """Two of four predictions that are not None are right, of three such golds two are found; three of all five are right."""
    scores = evaluation().scores()
    assert scores["count"] == 5 and scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["micro"] == pytest.approx({"precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7})
    assert evaluation().headline()["micro.f1"] == pytest.approx(4 / 7)


def test_slices_of_relations():
    found = slices("relation")
    whole = {"count": 5, "micro.f1": 4 / 7, "micro.precision": 2 / 4, "micro.recall": 2 / 3, "accuracy": 3 / 5}
    assert found["all"] == pytest.approx(whole)
    assert found["with picture"] == pytest.approx(
        {"count": 2, "micro.f1": 1 / 2, "micro.precision": 1 / 2, "micro.recall": 1 / 2, "accuracy": 1 / 2}
    )
    assert found["entity pair seen in training"]["count"] == 2 and found["entity pair not seen"]["count"] == 3
    assert found["up to 10 words"]["count"] == 4 and found["11 to 20 words"]["accuracy"] == 0
    assert found["more than 30 words"] == {"count": 0, **dict.fromkeys(set(whole) - {"count"})}


def test_slices_of_entities():
    """Three of five predictions are right, two of them Paris, and so are two of five golds. Of the others one of three is."""
    found = slices("entities")
    f1 = {name: each["entity.micro.f1"] for name, each in found.items()}
    assert f1["all"] == pytest.approx(3 / 5) and f1["with picture"] == pytest.approx(4 / 5)
    assert f1["mention text seen in training"] == 1 and f1["mention text not seen"] == pytest.approx(1 / 3)
    assert found["mention text seen in training"]["count"] == 2, "p2 has no Paris on either side"
    assert found["mention text not seen"]["count"] == 3, "what was found by mistake counts too"


def test_slices_of_triples():
    found = slices("triples")
    counts = {name: each["count"] for name, each in found.items() if "triple" in name}
    assert counts == {"no triples": 1, "1 triple": 1, "2 triples": 1, "3 to 5 triples": 0, "more than 5 triples": 0}
    assert found["2 triples"]["triple.strict.f1"] == pytest.approx(1 / 2) and found["2 triples"]["pair.f1"] == 1
    assert found["no triples"]["triple.strict.f1"] == found["1 triple"]["triple.strict.f1"] == 0


def test_slices_of_objects():
    """Of two balls the better ball finds one: precision 1 up to half of them, which is 51 of COCO's 101 recalls; of cars none is found."""
    found = slices("objects")
    counts = {name: each["count"] for name, each in found.items() if "object" in name}
    assert counts == {"no objects": 1, "1 object": 1, "2 objects": 1, "3 to 5 objects": 0, "more than 5 objects": 0}
    assert found["all"]["AP50"] == pytest.approx(51 / 101 / 2) and found["2 objects"]["AP50"] == pytest.approx(1 / 2)
    assert not any("word" in name for name in found), "which are not read"


@pytest.mark.parametrize(
    ("kind", "names", "columns"),
    [
        ("relation", {"None", "knows", "owns"}, ["slice", "count", "micro.f1", "accuracy"]),
        ("entities", {"PER", "LOC"}, ["slice", "count", "entity.micro.f1"]),
        ("triples", {"holds", "wears"}, ["slice", "count", "triple.strict.f1", "pair.f1", "relation.accuracy", "entity.accuracy"]),
        ("objects", {"ball", "car"}, ["slice", "count", "AP50", "AP", "AP75"]),
    ],
)
def test_text_has_a_row_for_each_class_and_slice(kind, names, columns):
    classes, parts = evaluation(kind).text().split("\n\n")
    assert {line.split()[0] for line in classes.splitlines()[2:]} == names
    supports = [int(line.split()[-1]) for line in classes.splitlines()[2:]]
    assert supports == sorted(supports, reverse=True)
    assert parts.splitlines()[0].split() == columns and len(parts.splitlines()) == 2 + len(evaluation(kind).slices())
    assert max(map(len, [*classes.splitlines(), *parts.splitlines()])) <= 120


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("relation", ("micro", "f1")),
        ("entities", ("entity", "micro", "f1")),
        ("entities", ("entity", "per_type", "PER", "support")),
        ("triples", ("triple", "strict", "f1")),
        ("triples", ("triple", "paper", "f1")),
        ("triples", ("pair", "f1")),
        ("triples", ("relation", "accuracy")),
        ("triples", ("entity", "accuracy")),
        ("objects", ("AP50",)),
        ("objects", ("per_label", "ball", "AP")),
    ],
)
def test_what_is_written(tmp_path, kind, path):
    folder = tmp_path / "made" / "here"
    written = evaluation(kind).write(folder)
    assert sorted(folder.iterdir()) == sorted(written)
    assert (folder / "confusion.png").exists() == (kind == "relation")
    found = json.loads((folder / "metrics.json").read_text())
    assert found == json.loads(json.dumps(evaluation(kind).to_json())) and set(found) == {"test", "headline", "slices", "protocol"}
    value = found["test"]
    for name in path:
        value = value[name]
    assert isinstance(value, float | int)


def test_lines_of_predictions(tmp_path):
    for kind in TASKS:
        evaluation(kind).write(tmp_path / kind)
    found = {kind: [json.loads(line) for line in (tmp_path / kind / "predictions.jsonl").read_text().splitlines()] for kind in TASKS}
    assert found["relation"][1] == {"id": "x1", "relation": "owns", "score": 0.5, "gold": "knows"} and len(found["relation"]) == 5
    mentions = [{"span": [0, 1], "type": "LOC"}, {"span": [4, 5], "type": "LOC"}]
    assert found["entities"][1] == {"id": "p1", "mentions": mentions, "gold": [{"span": [0, 1], "type": "PER"}, mentions[1]]}
    assert found["triples"][0]["triples"][0] == {"span": [0, 1], "relation": "holds", "box": [0, 0, 0.5, 1], "score": 0.875}
    assert found["objects"][0]["regions"][0] == {"box": [0, 0, 0.5, 1], "label": "ball", "score": 0.875}
    with Image.open(tmp_path / "relation" / "confusion.png") as picture:
        picture.verify()


@pytest.mark.parametrize("kind", TASKS)
def test_written_predictions_score_the_same_again(tmp_path, kind):
    first = evaluation(kind)
    first.write(tmp_path)
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    (tmp_path / "turned.jsonl").write_text("\ufeff" + "\n\n".join(reversed(lines)), encoding="utf-8")
    for name in ("predictions.jsonl", "turned.jsonl"):
        again = evaluation(kind, read_predictions(tmp_path / name, kind, TASKS[kind], first.records))
        assert again.to_json() == first.to_json()
        assert [row(kind, *each) for each in zip(again.records, again.predicted, strict=True)] == [json.loads(line) for line in lines]


SIDES = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2, unique=True).map(sorted)
BOX = st.builds(lambda across, down: (across[0], down[0], across[1], down[1]), SIDES, SIDES)
TRIPLE = st.builds(Triple, st.sampled_from((ADA, BOB, PARIS)), st.sampled_from(TASKS["triples"].labels), BOX, st.none() | st.just(0.5))


@given(st.lists(st.lists(TRIPLE, max_size=4), min_size=3, max_size=3))
def test_no_digit_of_a_box_is_lost(tmp_path_factory, triples):
    path = tmp_path_factory.mktemp("p") / "p.jsonl"
    path.write_text("\n".join(json.dumps(row("triples", *each)) for each in zip(POSTS, triples, strict=True)))
    found = read_predictions(path, "triples", TASKS["triples"], POSTS)
    assert [[t.box for t in each] for each in found] == [[t.box for t in each] for each in triples]


@pytest.mark.parametrize("kind", TASKS)
def test_an_empty_split_scores_nothing(tmp_path, kind):
    (tmp_path / "none.jsonl").write_text("")
    found = read_predictions(tmp_path / "none.jsonl", kind, TASKS[kind], [])
    empty = Evaluation("test", kind, TASKS[kind], [], found, frozenset(), TrainedOn(), {})
    assert empty.scores()["count"] == 0 and empty.text()
    empty.write(tmp_path / "out")


def line(number=0, relation="knows", **more):
    return json.dumps({"id": f"x{number}", "relation": relation, **more})


REST = [line(i) for i in range(1, 5)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line(), '{"id": "x1", "relation"'], r"p\.jsonl:2: not a JSON value"),
        (["[" * 100_000], r"p\.jsonl:1: not a JSON value"),
        (['["x0", "knows"]'], r'p\.jsonl:1: expected an object with "id" and "relation", found \["x0", "knows"\]'),
        (['{"id": "x0"}'], r'p\.jsonl:1: expected an object with "id" and "relation"'),
        ([line(), line(9)], r"p\.jsonl:2: field 'id': 'x9' is not an example of this split, whose ids look like 'x0'"),
        (['{"id": ["x0"], "relation": "knows"}'], r"p\.jsonl:1: field 'id': \['x0'\] is not an example"),
        (['{"id": 0, "relation": "knows"}'], r"p\.jsonl:1: field 'id': 0 is not an example"),
        ([line(), *REST, line(2)], r"p\.jsonl:6: field 'id': 'x2' was predicted before"),
        ([line(relation="likes")], r"p\.jsonl:1: field 'relation': 'likes' is not one of None, knows, owns"),
        ([line(relation=None)], r"p\.jsonl:1: field 'relation': None is not one of"),
        ([line(relation=["knows"])], r"p\.jsonl:1: field 'relation': \['knows'\] is not one of"),
        ([line(), line(3)], r"p\.jsonl: 3 of 5 examples have no prediction, such as x1, x2, x4"),
        ([line(score="high")], r"p\.jsonl:1: field 'score': expected a number, found 'high'"),
        ([line(score=True)], r"p\.jsonl:1: field 'score': expected a number, found True"),
        ([line(score=float("nan"))], r"p\.jsonl:1, field 'score': nan is not a finite number"),
        ([line(score=10**400)], r"p\.jsonl:1, field 'score': inf is not a finite number"),
        ([line(why=["so", "\ud83d"])], r"p\.jsonl:1, field 'why\[1\]': half of a surrogate pair"),
        ([line(relation="knows\udc00")], r"p\.jsonl:1, field 'relation': half of a surrogate pair"),
        (['{"id": "x0", "relation": "None", "relation": "knows"}'], r"p\.jsonl:1: not a JSON value .*'relation' stands there twice"),
    ],
)
def test_predictions_that_cannot_be_scored_are_named(tmp_path, lines, message):
    (tmp_path / "p.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RecordError, match=message):
        read_predictions(tmp_path / "p.jsonl", "relation", TASKS["relation"], EXAMPLES)


SPAN, BOXED = {"span": [0, 1]}, {"span": [0, 1], "relation": "holds"}


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("entities", None, r"field 'mentions': expected a list, found None"),
        ("entities", {**SPAN, "type": "PER"}, r"field 'mentions': expected a list"),
        ("entities", [[0, 1]], r"mentions\[0\]: expected an object with span, type, found \[0, 1\]"),
        ("entities", [{**SPAN, "type": "PER"}, SPAN], r"mentions\[1\]: expected an object with span, type"),
        ("entities", [{"span": 3, "type": "PER"}], r"mentions\[0\]: field 'span': expected \[start, end\], found 3"),
        ("entities", [{"span": [0, 6], "type": "PER"}], r"mentions\[0\]: field 'span': span \[0, 6\) does not lie inside"),
        ("entities", [{"span": [0.0, 1], "type": "PER"}], r"mentions\[0\]: field 'span': a span is two integers"),
        ("entities", [{**SPAN, "type": "person"}], r"mentions\[0\]: field 'type': 'person' is not one of LOC, PER"),
        ("entities", [{**SPAN, "type": "PER", "score": "high"}], r"mentions\[0\]: field 'score': expected a number, found 'high'"),
        ("triples", [SPAN], r"triples\[0\]: expected an object with span, relation"),
        ("triples", [{**BOXED, "box": [0, 0, 1.5, 1]}], r"triples\[0\]: field 'box': box \[0, 0, 1.5, 1\] is not"),
        ("triples", [{**BOXED, "box": [0, 0, 64, 48]}], r"triples\[0\]: field 'box': box \[0, 0, 64, 48\] is not .* looks like pixels"),
        ("objects", [{"box": LEFT}], r"regions\[0\]: expected an object with box, label"),
        (
            "objects",
            [{"box": [0, 0, 64, 48], "label": "car"}],
            r"regions\[0\]: field 'box': box \[0, 0, 64, 48\] is not .* looks like pixels",
        ),
        ("objects", [{"box": LEFT, "label": BACKGROUND}], r"regions\[0\]: field 'label': 'background' is not one of ball, car"),
        ("triples", [{**BOXED, "box": LEFT, "relation": "None"}], r"triples\[0\]: field 'relation': 'None' is not one of holds, wears"),
    ],
)
def test_mentions_and_triples_that_do_not_fit_are_named(tmp_path, kind, value, message):
    """The second of three lines is wrong."""
    field = {"entities": "mentions", "triples": "triples", "objects": "regions"}[kind]
    values = {"p0": [], "p1": value, "p2": []}
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps({"id": name, field: each}) for name, each in values.items()))
    with pytest.raises(RecordError, match=rf"p\.jsonl:2: {message}"):
        read_predictions(tmp_path / "p.jsonl", kind, TASKS[kind], POSTS)


def test_scores_are_optional_and_may_be_whole_numbers(tmp_path):
    (tmp_path / "p.jsonl").write_text("\n".join([line(), line(1, score=None), line(2, score=0), line(3, score=1), line(4, why="so")]))
    found = read_predictions(tmp_path / "p.jsonl", "relation", TASKS["relation"], EXAMPLES)
    assert [each[0].score for each in found] == [None, None, 0, 1, None]


def test_numbers_that_are_too_large_are_told_by_field(tmp_path):
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": "p0", "triples": [{**BOXED, "box": [0, 0, 10**400, 1]}]}))
    with pytest.raises(RecordError, match=r"p\.jsonl:1, field 'triples\[0\].box\[2\]': inf is not a finite number"):
        read_predictions(tmp_path / "p.jsonl", "triples", TASKS["triples"], POSTS)


def test_rounding_and_a_mark_at_the_head_are_taken(tmp_path):
    lines = [{"id": f"p{i}", "triples": [{**BOXED, "box": [-1e-8, 0, 0.5, 1.000000024]}] if i == 0 else []} for i in range(3)]
    (tmp_path / "p.jsonl").write_text("\ufeff" + "\r\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = read_predictions(tmp_path / "p.jsonl", "triples", TASKS["triples"], POSTS)
    assert found == [(Triple(Mention(0, 1), "holds", (0.0, 0.0, 0.5, 1.0)),), (), ()]


def test_numbers_of_numpy_are_written(tmp_path):
    box = tuple(np.array(LEFT, np.float32))
    found = [(Triple(Mention(np.int64(0), np.int64(1)), "holds", box, np.float32(0.875)),), (), ()]
    evaluation("triples", found).write(tmp_path / "out")
    again = read_predictions(tmp_path / "out" / "predictions.jsonl", "triples", TASKS["triples"], POSTS)
    assert again == [(Triple(Mention(0, 1), "holds", LEFT, 0.875),), (), ()]


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "p.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="not UTF-8"):
        read_predictions(tmp_path / "p.jsonl", "relation", TASKS["relation"], EXAMPLES)


@pytest.mark.parametrize("kind", TASKS)
def test_the_task_of_a_configuration_scores_without_a_system(kind):
    """Of a text of any length nothing counts as cut off: what the program that predicted can see is not known."""
    assert set(datasets.TASKS) == {*TASKS, "objects"}, "the tests know the library's tasks"
    config = common.base("qeot")
    config.task.update({"name": kind, "max_targets": 4, "threshold": 0.0, "merge_iou": 0.9, "iou": 0.5})
    config.system.update({"flavour": "paper", "queries": 5, "weights": {"l1": 3.0, "giou": 3.5}})
    task = scoring_task(config, TASKS[kind].labels, TASKS[kind].none)
    assert task.headline == TASKS[kind].headline
    expected = evaluation(kind)
    found = task.metrics(expected.records, expected.predicted)
    assert {name: found[name] for name in expected.scores()} == expected.scores()
    if kind == "entities":
        long = Record("long", WORDS + ("word",) * 10_000, mentions=(dataclasses.replace(ADA, start=9_000, end=9_001),))
        assert task.metrics([long], [()])["truncated"] == {"words": 0, "mentions": 0}
