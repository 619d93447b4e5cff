"""Relation labels, features, decoding and MNRE's measures."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, RecordError, Relation
from mmre_jax.tasks import calibrated, telling
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.tasks.relation import RelationTask, confusion_counts, examples, metrics

LABELS = ("None", "lives_in", "born_in")
TASK = RelationTask(TextEncoder(train_tokenizer([("anna", "lives", "in", "oslo")], 80), 24), LABELS, "None")
PAIR = Relation(Mention(0, 1), Mention(3, 4), "lives_in")
RECORD = Record(id="r", words=("anna", "lives", "in", "oslo"), relations=(PAIR,), origin="file:3")


def test_hand_worked_measures():
    # gold None x2, lives x3, born x1; the None predicted as lives is a false positive, the lives predicted as None a false negative.
    gold, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 0, 2, 2])
    found = metrics(gold, predicted, LABELS, 0)
    assert found["accuracy"] == 3 / 6
    assert found["micro"] == {"precision": 2 / 4, "recall": 2 / 4, "f1": 0.5}
    assert found["per_relation"]["lives_in"] == {"precision": 1 / 2, "recall": 1 / 3, "f1": 0.4, "support": 3}
    assert found["macro"]["f1"] == pytest.approx((0.4 + 2 / 3) / 2)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40), st.integers(0, 4))
def test_measures_equal_brute_force(pairs, none):
    labels = tuple("abcde")
    gold, predicted = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    found = metrics(gold, predicted, labels, none)
    hits = sum(g == p != none for g, p in pairs)
    guesses, golds = sum(p != none for _, p in pairs), sum(g != none for g, _ in pairs)
    precision, recall = hits / guesses if guesses else 0, hits / golds if golds else 0
    assert found["micro"]["precision"] == precision and found["micro"]["recall"] == recall
    assert found["micro"]["f1"] == pytest.approx(2 * precision * recall / (precision + recall) if precision + recall else 0)
    assert found["accuracy"] == (sum(g == p for g, p in pairs) / len(pairs) if pairs else 0)
    counts = confusion_counts(gold, predicted, 5)
    assert all(counts[g, p] == pairs.count((g, p)) for g in range(5) for p in range(5))


def test_measures_equal_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    gold, predicted = rng.integers(0, 23, 500), rng.integers(0, 23, 500)
    labels = tuple(str(i) for i in range(23))
    theirs = sklearn.precision_recall_fscore_support(gold, predicted, labels=range(1, 23), average="micro")
    np.testing.assert_allclose(list(metrics(gold, predicted, labels, 0)["micro"].values()), theirs[:3])


def test_features_have_a_static_shape():
    features = TASK.features(RECORD, 24)
    assert features["text"]["ids"].shape == features["text"]["mask"].shape == (24,)
    assert features["text"]["mask"].sum() == len(TASK.encode([RECORD])[0])
    assert features["label"] == 1
    base = TASK.encoder.vocab_size - 4
    np.testing.assert_array_equal(features["text"]["ids"][features["text"]["markers"]], [base, base + 2])


def test_blank_words_show_neither_words_nor_places():
    task = RelationTask(TASK.encoder, LABELS, "None", blank_words=True)
    moved = Record(id="m", words=("x",) * 9, relations=(Relation(Mention(7, 9), Mention(1, 2), "born_in"),))
    a, b = task.features(RECORD, 24), task.features(moved, 24)
    np.testing.assert_array_equal(a["text"]["ids"], b["text"]["ids"])
    np.testing.assert_array_equal(a["text"]["markers"], b["text"]["markers"])


def test_unknown_relation_names_the_record():
    record = Record(id="r", words=("a", "b"), relations=(Relation(Mention(0, 1), Mention(1, 2), "eats"),), origin="file:3")
    with pytest.raises(RecordError, match=r"file:3: relation: 'eats' is not one of None, lives_in, born_in"):
        TASK.features(record, 24)
    with pytest.raises(RecordError, match="file:3: relation: 'eats'"):
        TASK.examples([RECORD, record])


def test_examples_have_one_relation_each():
    record = Record(id="r", words=("a", "b"), relations=(PAIR, PAIR))
    assert [e.id for e in examples([record, RECORD, Record(id="q", words=("a",))])] == ["r#0", "r#1", "r"]


def test_decode_takes_the_most_probable():
    (relation,) = TASK.decode({"probabilities": np.array([0.1, 0.2, 0.7], np.float32)}, RECORD)
    assert (relation.label, relation.head) == ("born_in", PAIR.head)
    assert relation.score == pytest.approx(0.7)


def test_what_is_cut_off_is_counted():
    words = ("x",) * 6 + ("anna", "lives", "in", "oslo") + ("y",) * 8
    long = Record("l", words, relations=(Relation(Mention(6, 7), Mention(9, 10), "lives_in"),))
    whole = len(TASK.encoder.pieces(words)[1])
    for room in (whole, whole - 1, 10, 5):
        short = RelationTask(dataclasses.replace(TASK.encoder, max_tokens=room + 6), LABELS, "None")
        owners, read = TASK.encoder.pieces(words)[1], set(short.encode([long])[0].words.tolist())
        found = short.left_out([long, RECORD, long])
        assert found["words_cut_off"] == 2 * len(set(owners) - read)
        assert found["sentences_cut"] == (2 if room < whole else 0) and found["entities_cut"] == 0
    tiny = RelationTask(dataclasses.replace(TASK.encoder, max_tokens=8), LABELS, "None")  # room for 2 pieces
    parts = Record("p", ("anna", "lives", "in", "oslo", "anna"), relations=(Relation(Mention(0, 2), Mention(2, 5), "lives_in"),))
    assert tiny.left_out([parts])["entities_cut"] == 2
    assert TASK.left_out([RECORD]) == dict.fromkeys(("sentences_cut", "words_cut_off", "entities_cut"), 0)
    assert RelationTask(TASK.encoder, LABELS, "None", blank_words=True).left_out([long]) == {}, "blanked out on purpose"


def test_the_empty_relation_is_one_of_the_labels():
    with pytest.raises(ValueError, match="'none' is not among"):
        RelationTask(TASK.encoder, LABELS, "none")


def test_the_likeliest_labels_are_told_where_asked_for():
    prediction = {"probabilities": np.array([0.25, 0.125, 0.625], np.float32)}
    [alone] = TASK.decode(prediction, RECORD)
    assert alone == dataclasses.replace(PAIR, label="born_in", score=0.625) and alone.alternatives == ()
    for top, expected in ((1, ("born_in",)), (2, ("born_in", "None")), (9, ("born_in", "None", "lives_in"))):
        [found] = telling(TASK, top).decode(prediction, RECORD)
        assert dataclasses.replace(found, alternatives=()) == alone
        assert found.alternatives == tuple((label, prediction["probabilities"][LABELS.index(label)]) for label in expected)
    with pytest.raises(ValueError, match="top=-1: it is how many labels"):
        telling(TASK, -1)


def test_calibrated_probabilities_are_those_of_divided_logits():
    logits = np.array([0.5, -1.0, 2.0])
    chances, cooled = (np.exp(x) / np.exp(x).sum() for x in (logits, logits / 2))
    [found] = telling(calibrated(TASK, Calibration(2.0)), 3).decode({"probabilities": chances.astype(np.float32)}, RECORD)
    assert found.label == "born_in" and found.score == pytest.approx(cooled[2]) and found.alternatives[0] == ("born_in", found.score)
    assert dict(found.alternatives) == pytest.approx(dict(zip(LABELS, cooled, strict=True)))
