"""Triple features and decoding: what is put into the arrays comes out of them again, on words; what cannot be is counted."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax import boxes
from mmre_jax.data.readers import scenes
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.heads.triples import TripleObjective
from mmre_jax.records import Mention, Record, RecordError, Triple, check_box
from mmre_jax.tasks import calibrated, telling
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.tasks.task import at
from mmre_jax.tasks.triple_metrics import assign
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
    assert text["ids"].shape == text["mask"].shape == (24,) and text["mask"].sum() == len(TASK.encode([RECORD])[0])
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
    short = TriplesTask(dataclasses.replace(ENCODER, max_tokens=len(TASK.encode([RECORD])[0]) - 1), LABELS, "none", max_targets=2)
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


# ---- relation and entity accuracy, over all queries


def by_enumeration(record: Record, prediction: dict[str, np.ndarray]) -> tuple[int, int, int]:
    """(right relations, right spans, matched) of a record: every assignment tried, every number worked out here."""
    owners, gold = ENCODER.encode(record.words).words.tolist(), record.triples
    queries = len(prediction["box"])

    def cost(triple: Triple, q: int) -> float:
        (start, end), box, (x0, y0, x1, y1) = triple.mention.span, triple.box, map(float, prediction["box"][q])
        tokens = [n for n, word in enumerate(owners) if start <= word < end]
        entity = prediction["start"][q, tokens[0]] * prediction["end"][q, tokens[-1]]
        relation = prediction["relation"][q, LABELS.index(triple.label)]
        shared = max(0.0, min(x1, box[2]) - max(x0, box[0])) * max(0.0, min(y1, box[3]) - max(y0, box[1]))
        union = max(0.0, x1 - x0) * max(0.0, y1 - y0) + (box[2] - box[0]) * (box[3] - box[1]) - shared
        hull = (max(x1, box[2]) - min(x0, box[0])) * (max(y1, box[3]) - min(y0, box[1]))
        ours, theirs = ((a + c, b + d, 2 * (c - a), 2 * (d - b)) for a, b, c, d in ((x0, y0, x1, y1), box))
        l1 = sum(abs(i - j) for i, j in zip(ours, theirs, strict=True)) / 2
        return 3.0 * l1 + 3.5 * (1 - shared / union + (hull - union) / hull) - entity - relation

    if len(gold) <= queries:
        ways = [list(zip(range(len(gold)), chosen, strict=True)) for chosen in itertools.permutations(range(queries), len(gold))]
    else:
        ways = [list(zip(chosen, range(queries), strict=True)) for chosen in itertools.permutations(range(len(gold)), queries)]
    best = min(ways, key=lambda way: sum(cost(gold[g], q) for g, q in way))
    relations = sum(prediction["relation"][q].argmax() == LABELS.index(gold[g].label) for g, q in best)
    entities = sum(span_of(owners, prediction, q) == gold[g].mention.span for g, q in best)
    return int(relations), entities, len(best)


def span_of(owners: list[int], prediction: dict[str, np.ndarray], q: int) -> tuple[int, int]:
    words = sorted({word for word in owners if word >= 0})
    spans = [(i, j) for i in words for j in words if i <= j]

    def probability(span: tuple[int, int]) -> float:
        start, end = owners.index(span[0]), len(owners) - 1 - owners[::-1].index(span[1])
        return prediction["start"][q, start] * prediction["end"][q, end]

    start, end = max(spans, key=probability)
    return start, end + 1


def drawn(seed: int, count: int, queries: int) -> tuple[Record, dict[str, np.ndarray]]:
    """A record with some triples, and a prediction in which some queries say nearly that, and others anything."""
    rng = np.random.default_rng(seed)
    spans = [((0, 1), (0, 3), (2, 4), (4, 5))[i] for i in rng.integers(0, 4, count)]
    corners = [(*low, *low + size) for low, size in zip(rng.uniform(0, 0.5, (count, 2)), rng.uniform(0.1, 0.5, (count, 2)), strict=True)]
    triples = [Triple(Mention(*s), LABELS[rng.integers(2)], tuple(map(float, b))) for s, b in zip(spans, corners, strict=True)]
    record = dataclasses.replace(RECORD, triples=tuple(triples))
    prediction = random_prediction(seed, queries)
    prediction["box"] = np.concatenate([rng.uniform(-0.1, 0.5, (queries, 2)), rng.uniform(0.5, 1.1, (queries, 2))], 1).astype(np.float32)
    right = said(TASK.features(dataclasses.replace(record, triples=record.triples[: min(3, queries)]), 24), 2, queries)
    part = rng.choice([0.0, 0.6, 0.9], queries).astype(np.float32)
    return record, {name: (1 - mix) * x + mix * right[name] for name, x in prediction.items() for mix in [part[:, None]]}


@given(st.integers(0, 10**6), st.integers(0, 4), st.integers(1, 5))
def test_accuracies_equal_trying_every_assignment(seed, count, queries):
    record, prediction = drawn(seed, count, queries)
    relations, entities, matched = by_enumeration(record, prediction)
    found = TASK.metrics([record], [TASK.decode(prediction, record)], [prediction])
    assert found["answers"] == queries
    for name, right in (("relation", relations), ("entity", entities)):
        assert found[name] == {"accuracy": right / count if count else 0.0, "right": right, "matched": matched, "of": count}


def test_the_matching_is_that_of_training():
    """What the objective assigns to the targets that training holds."""
    task = dataclasses.replace(TASK, max_targets=4)
    records = [drawn(seed, 1 + seed % 4, 4) for seed in range(12)]
    features = [task.features(record, 24)["targets"] for record, _ in records]
    batch = {"targets": {name: np.stack([x[name] for x in features]) for name in features[0]}, "valid": np.ones(12, bool)}
    stacked = {name: np.stack([prediction[name] for _, prediction in records])[None] for name in records[0][1]}
    logits = {name: np.log(np.maximum(stacked[name], 1e-30)) for name in ("start", "end", "relation")}
    assigned = TripleObjective().assign({**logits, "box": boxes.to_centres(stacked["box"])}, batch)[0]
    for (record, prediction), queries in zip(records, np.asarray(assigned), strict=True):
        pairs = assign(record.triples, task.answers(prediction, record), task.weights)
        assert pairs == list(enumerate(queries[: len(record.triples)].tolist()))


def test_triples_that_training_cannot_hold_are_in_the_accuracies():
    """Beyond max_targets, and cut off: the last can have no query that says its span."""
    one, record = dataclasses.replace(TASK, max_targets=1), dataclasses.replace(RECORD, triples=(HOLDS, NEAR))
    prediction = said(TASK.features(record, 24), 2, queries=2)
    found = one.metrics([record], [one.decode(prediction, record)], [prediction])
    assert found["relation"] == found["entity"] == {"accuracy": 1.0, "right": 2, "matched": 2, "of": 2}
    short = dataclasses.replace(TASK, encoder=dataclasses.replace(ENCODER, max_tokens=len(TASK.encode([RECORD])[0]) - 1))
    found = short.metrics([record], [short.decode(prediction, record)], [prediction])
    assert found["entity"] == {"accuracy": 0.5, "right": 1, "matched": 2, "of": 2} and found["relation"]["right"] == 2


def test_a_diverged_system_has_nothing_right():
    nothing = {name: np.full_like(x, np.nan) for name, x in said(TASK.features(RECORD, 24), 2).items()}
    found = TASK.metrics([RECORD], [()], [nothing])
    assert found["relation"] == found["entity"] == {"accuracy": 0.0, "right": 0, "matched": 2, "of": 2}


def test_a_sentence_without_pieces_has_no_right_span():
    record = Record(id="e", words=("\u200b",), triples=(Triple(Mention(0, 1), "holds", LEFT),))
    found = TASK.metrics([record], [()], [one()])
    assert found["entity"]["right"] == 0 and found["relation"]["right"] == 1


def test_examples_have_known_relations():
    strange = dataclasses.replace(RECORD, triples=(HOLDS, dataclasses.replace(NEAR, label="eats")))
    assert TASK.examples([RECORD]) == [RECORD]
    with pytest.raises(RecordError, match="file:3: .*'eats' is not one of holds, near"):
        TASK.examples([RECORD, strange])


def test_without_a_picture_there_is_no_box_where_that_is_told():
    features = TASK.features(RECORD, 24)
    prediction = said(features, 2)
    prediction["box"][:4] = np.nan  # of what nothing is said of
    prediction["box"][4] = [0.5, 0.5, 0.5, 0.5]  # a box of no size, where boxes say nothing
    blind, seen = ({**prediction, "seen": np.bool_(value)} for value in (False, True))
    assert TASK.decode(blind, RECORD) == TASK.decode(seen, RECORD) == telling(TASK).decode(seen, RECORD) != ()
    found = telling(TASK).decode(blind, RECORD)
    assert sorted((t.mention.span, t.label, t.box) for t in found) == [((0, 3), "holds", None), ((4, 5), "near", None)]
    twice = {name: np.concatenate([x, x]) if name != "seen" else x for name, x in blind.items()}
    assert telling(TASK).decode(twice, RECORD) == found


def test_calibration_changes_scores_alone():
    prediction = random_prediction(5, 6)
    plain, told = TASK.decode(prediction, RECORD), calibrated(TASK, Calibration(2.0, -1.0)).decode(prediction, RECORD)
    assert plain and [dataclasses.replace(t, score=None) for t in told] == [dataclasses.replace(t, score=None) for t in plain]
    odds = np.array([t.score for t in plain])
    np.testing.assert_allclose([t.score for t in told], 1 / (1 + np.exp(1 - np.log(odds / (1 - odds)) / 2)))


def test_triples_without_a_box_cannot_be_learnt():
    with pytest.raises(RecordError, match=r"file:3: triples\[1\]: a triple without a box can be neither learnt from nor scored"):
        TASK.examples([dataclasses.replace(RECORD, triples=(HOLDS, dataclasses.replace(NEAR, box=None)))])
