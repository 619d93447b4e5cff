"""Triple features and decoding: what is put into the arrays comes out of them again, on words; what cannot be is counted."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmre_jax.data.readers import scenes
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, RecordError, Triple, check_box
from mmre_jax.tasks.task import at
from mmre_jax.tasks.triples import TriplesTask, merge

LABELS = ("holds", "near")
ENCODER = TextEncoder(train_tokenizer([("anna", "of", "oslo", "and", "bo")] * 3, 40), 24)
TASK = TriplesTask(ENCODER, LABELS, "none", max_targets=3)
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.25, 1.0, 1.0)
# "osloanna" and "boanna" fall into several pieces; the tokenizer leaves nothing of the zero-width space.
WORDS = ("anna", "\u200b", "osloanna", "and", "boanna")
HOLDS, NEAR = Triple(Mention(0, 3), "holds", LEFT), Triple(Mention(4, 5), "near", RIGHT)
RECORD = Record(id="r", words=WORDS, triples=(HOLDS, NEAR), origin="file:3")


def said(features: dict, labels: int, queries: int = 6) -> dict[str, np.ndarray]:
    """The prediction that says exactly the valid targets, in the queries from the last one on; the others say 'no triple'."""
    length, targets = len(features["text"]["ids"]), features["targets"]
    start, end = (np.full((queries, length), 1 / length, np.float32) for _ in range(2))
    relation = np.tile(np.eye(labels + 1, dtype=np.float32)[labels], (queries, 1))
    box = np.tile(np.float32([0, 0, 1, 1]), (queries, 1))
    for row in np.flatnonzero(targets["valid"]):
        query = queries - 1 - row
        start[query] = np.arange(length) == targets["start"][row]
        end[query] = np.arange(length) == targets["end"][row]
        relation[query] = np.eye(labels + 1)[targets["relation"][row]]
        centre, size = targets["box"][row][:2], targets["box"][row][2:]
        box[query] = np.concatenate([centre - size / 2, centre + size / 2])
    return {"start": start, "end": end, "relation": relation, "box": box}


def plain(triples: tuple[Triple, ...]) -> list[tuple]:
    return sorted((t.mention.span, t.label, tuple(round(x, 5) for x in t.box)) for t in triples)


def test_features_have_static_shapes_and_types():
    features = TASK.features(RECORD, 24)
    text, targets = features["text"], features["targets"]
    assert text["ids"].shape == text["mask"].shape == (24,) and text["mask"].sum() == TASK.length(RECORD)
    assert {name: (array.shape, str(array.dtype)) for name, array in targets.items()} == {
        "start": ((3,), "int32"),
        "end": ((3,), "int32"),
        "relation": ((3,), "int32"),
        "box": ((3, 4), "float32"),
        "valid": ((3,), "bool"),
    }
    words = ENCODER.encode(WORDS).words
    assert len(words) > len(WORDS) + 1, "some word has several pieces, else this tests nothing"
    np.testing.assert_array_equal(words[targets["start"][:2]], [0, 4])
    np.testing.assert_array_equal(words[targets["end"][:2]], [2, 4])
    assert words[targets["start"][1] - 1] == 3 and words[targets["end"][0] + 1] == 3, "first and last pieces of their words"
    np.testing.assert_array_equal(targets["relation"][:2], [0, 1])
    np.testing.assert_allclose(targets["box"][:2], [[0.25, 0.5, 0.5, 1.0], [0.75, 0.625, 0.5, 0.75]])
    np.testing.assert_array_equal(targets["valid"], [True, True, False])


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_targets_decode_to_the_gold(kind):
    records = scenes.read("triples", "train", 30)
    task = TriplesTask(TextEncoder(train_tokenizer((r.words for r in records), 60, kind), 80), scenes.triple_relations(), "none", 4)
    found = [task.decode(said(task.features(record, 80), len(task.labels)), record) for record in records]
    assert [plain(triples) for triples in found] == [plain(record.triples) for record in records]
    scores = task.metrics(records, found)
    assert all(at(scores, name) == 1.0 for name in task.headline)


def test_a_record_without_triples_is_an_example():
    record = Record(id="q", words=("anna",))
    features = TASK.features(record, 24)
    assert not features["targets"]["valid"].any() and np.isfinite(features["targets"]["box"]).all()
    assert TASK.examples([record, RECORD]) == [record, RECORD]
    assert TASK.decode(said(features, 2), record) == ()
    assert (TASK.stratum(record), TASK.stratum(RECORD)) == ("none", "holds + near")


def test_what_training_leaves_out_is_counted_and_scored():
    short = TriplesTask(dataclasses.replace(ENCODER, max_tokens=TASK.length(RECORD) - 1), LABELS, "none", max_targets=2)
    empty = Triple(Mention(1, 2), "near", LEFT)
    record = dataclasses.replace(RECORD, triples=(NEAR, HOLDS, HOLDS, HOLDS, empty))
    assert short.left_out([record, RECORD, Record(id="q", words=WORDS)]) == {"beyond_max_targets": 1, "truncated": 2, "without_pieces": 1}
    targets = short.features(record, 24)["targets"]
    np.testing.assert_array_equal(targets["valid"], [True, True])
    assert TASK.left_out([RECORD]) == {"beyond_max_targets": 0, "truncated": 0, "without_pieces": 0}
    assert TASK.metrics([record], [()])["gold"] == 5


def test_unknown_relations_name_the_record():
    record = dataclasses.replace(RECORD, triples=(dataclasses.replace(HOLDS, label="eats"),))
    for use in (lambda: TASK.features(record, 24), lambda: TASK.metrics([RECORD], [record.triples]), lambda: TASK.left_out([record])):
        with pytest.raises(RecordError, match=r"file:3: triples: 'eats' is not one of holds, near"):
            use()


def test_the_empty_relation_is_none_of_the_labels():
    with pytest.raises(ValueError, match="'none' says that there is no triple"):
        dataclasses.replace(TASK, labels=("none",))


def random_prediction(seed: int, queries: int, length: int = 24) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    start, end, relation = (rng.dirichlet(np.ones(n), queries).astype(np.float32) for n in (length, length, 3))
    return {"start": start, "end": end, "relation": relation, "box": rng.uniform(-0.2, 1.2, (queries, 4)).astype(np.float32)}


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 7))
def test_decoding_equals_going_through_all_spans(seed, queries, words):
    record = Record(id="r", words=tuple(np.random.default_rng(seed).choice(WORDS, words)))
    task = dataclasses.replace(TASK, merge_iou=1.0, threshold=0.01)
    prediction = random_prediction(seed, queries)
    owners = ENCODER.encode(record.words).words.tolist()
    expected = []
    for query in range(queries):
        label = int(prediction["relation"][query].argmax())
        box = np.clip(prediction["box"][query], 0, 1)
        spans = [
            (prediction["start"][query, owners.index(i)] * prediction["end"][query, len(owners) - 1 - owners[::-1].index(j)], i, j + 1)
            for i in range(words)
            for j in range(i, words)
            if i in owners and j in owners
        ]
        if not spans or label == 2 or box[0] >= box[2] or box[1] >= box[3]:
            continue
        best, start, end = max(spans)
        score = best * prediction["relation"][query, label]
        if score >= 0.01:
            expected.append((pytest.approx(score), (start, end), LABELS[label], tuple(map(float, box))))
    found = task.decode(prediction, record)
    assert [(t.score, t.mention.span, t.label, t.box) for t in found] == sorted(expected, key=lambda row: -row[0].expected)
    assert all(check_box(t.box, "") and 0 <= t.mention.start < t.mention.end <= words for t in found)
    assert all(t.mention.score >= t.score for t in found)


def one(**changes: np.ndarray) -> dict[str, np.ndarray]:
    prediction = said(TASK.features(dataclasses.replace(RECORD, triples=(HOLDS,)), 24), 2, queries=1)
    return {**prediction, **changes}


def test_scores_and_threshold():
    prediction = one(relation=np.float32([[0.5, 0.3, 0.2]]))
    (found,) = TASK.decode(prediction, RECORD)
    assert (found.score, found.mention.score) == (0.5, 1.0)
    assert dataclasses.replace(TASK, threshold=0.5).decode(prediction, RECORD)
    assert not dataclasses.replace(TASK, threshold=0.51).decode(prediction, RECORD)


def test_no_triple_is_dropped_only_where_it_is_the_most_probable():
    assert not TASK.decode(one(relation=np.float32([[0.3, 0.3, 0.4]])), RECORD)
    assert TASK.decode(one(relation=np.float32([[0.35, 0.31, 0.34]])), RECORD)


@pytest.mark.parametrize("box", [(0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (1.0, 0, 1.3, 1), (0, 0.5, 1, 0.5), (np.nan, 0, 1, 1)])
def test_a_box_that_is_none_drops_the_triple(box):
    assert not TASK.decode(one(box=np.float32([box])), RECORD)


def test_a_diverged_system_says_nothing():
    length = 24
    nothing = {"start": (1, length), "end": (1, length), "relation": (1, 3), "box": (1, 4)}
    assert TASK.decode({name: np.full(shape, np.nan, np.float32) for name, shape in nothing.items()}, RECORD) == ()


def test_a_sentence_without_pieces_has_no_spans():
    assert TASK.decode(one(), Record(id="e", words=("\u200b",))) == ()


def test_repetitions_are_merged_and_the_best_stays():
    rest = {"mention": Mention(0, 3), "label": "holds"}
    best = Triple(**rest, box=LEFT, score=0.9)
    same = Triple(**rest, box=(0.0, 0.0, 0.49, 1.0), score=0.8)  # IoU 0.98
    other = [
        Triple(**rest, box=(0.0, 0.0, 0.4, 1.0), score=0.7),  # IoU 0.8 with the best
        Triple(Mention(0, 2), "holds", LEFT, score=0.6),
        Triple(Mention(0, 3), "near", LEFT, score=0.5),
    ]
    assert merge([*reversed(other), same, best], 0.9) == (best, *other)
    assert merge([same, best], 1.0) == (best, same)
    assert merge([best, dataclasses.replace(best, score=0.1)], 1.0) == (best,)
    assert merge([same, best, *other], 0.8) == (best, *other[1:])
    assert merge([], 0.9) == ()


def test_equal_queries_are_one_triple():
    prediction = {name: np.repeat(array, 3, axis=0) for name, array in one().items()}
    prediction["box"] = prediction["box"] + np.float32([[0], [1e-4], [2e-4]]) * np.float32([0, 0, 1, 0])
    assert len(TASK.decode(prediction, RECORD)) == 1
    assert len(dataclasses.replace(TASK, merge_iou=1.0).decode(prediction, RECORD)) == 3


def test_examples_have_known_relations():
    strange = dataclasses.replace(RECORD, triples=(HOLDS, dataclasses.replace(NEAR, label="eats")))
    assert TASK.examples([RECORD]) == [RECORD]
    with pytest.raises(RecordError, match="file:3: .*'eats' is not one of holds, near"):
        TASK.examples([RECORD, strange])
