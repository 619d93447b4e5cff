"""Mentions to tags and back under any tokenizer, what is cut off counted as missed, and seqeval's measures."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from seqeval.metrics import classification_report

from mmre_jax.data.annotation import flat
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, RecordError
from mmre_jax.tasks import calibrated
from mmre_jax.tasks.calibration import Calibration
from mmre_jax.tasks.entities import EntitiesTask, entity_metrics, first_pieces
from mmre_jax.tasks.task import headline

SENTENCES = [("anna", "lives", "in", "oslo"), ("the", "harbour", "of", "oslo", "was", "built", "by", "anna")]
BPE, WHOLE = train_tokenizer(SENTENCES, 60), train_tokenizer(SENTENCES, 60, "word")
TYPES = ("PER", "LOC", "ORG")
LABELS = ("O", *(f"{prefix}-{kind}" for kind in TYPES for prefix in "BI"))
RELEASED = ("PAD", "O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "X", "[CLS]", "[SEP]")
NOTHING = "\u200d"  # a zero-width joiner: the tokenizer leaves no piece of it
TASK = EntitiesTask(TextEncoder(BPE), LABELS)
WORDS = ("Anna", "Harbours", "in", NOTHING, "Oslo")  # one, many, one, no and one piece
PERSON, PLACE = Mention(0, 2, "PER"), Mention(4, 5, "LOC")
RECORD = Record(id="r", words=WORDS, mentions=(PERSON, PLACE), origin="file:3")


def task(max_tokens: int = 80, tokenizer: str = BPE, released: bool = False) -> EntitiesTask:
    return EntitiesTask(TextEncoder(tokenizer, max_tokens), RELEASED if released else LABELS, released=released)


def tagged(of: EntitiesTask, record: Record, length: int = 64) -> list[str]:
    """The tags at the scored positions, as strings."""
    features = of.features(record, length)
    return [of.labels[i] for i in features["tags"][features["scored"]]]


def test_tags_stand_at_first_pieces() -> None:
    features = TASK.features(RECORD, 32)
    assert {name: (x.shape, x.dtype) for name, x in features.items() if name != "text"} == {
        "tags": ((32,), np.dtype(np.int32)),
        "scored": ((32,), np.dtype(bool)),
    }
    assert features["text"]["mask"].sum() == len(TASK.encode([RECORD])[0])
    encoded = TASK.encoder.encode(WORDS)
    pieces = encoded.words.tolist()
    assert pieces.count(1) > 1 and 3 not in pieces
    assert np.flatnonzero(features["scored"]).tolist() == [pieces.index(word) for word in (0, 1, 2, 4)]
    assert tagged(TASK, RECORD) == ["B-PER", "I-PER", "O", "B-LOC"]
    assert not features["tags"][~features["scored"]].any()


def test_released_tags_by_hand() -> None:
    of = task(released=True)
    features = of.features(RECORD, 32)
    np.testing.assert_array_equal(features["scored"], features["text"]["mask"])
    further = of.encoder.encode(WORDS).words.tolist().count(1) - 1
    assert tagged(of, RECORD) == ["[CLS]", "B-PER", "I-PER", *["X"] * further, "O", "B-LOC", "[SEP]"]
    assert all(of.labels[i] == "PAD" for i in features["tags"][~features["scored"]])


def test_an_entity_that_the_data_set_begins_with_i_keeps_that_tag_as_released() -> None:
    record = Record("r", ("ada", "sees", "ben"), mentions=(Mention(0, 1, "PER"), Mention(2, 3, "PER")), dangling=(2,))
    for released, expected in ((True, ["B-PER", "O", "I-PER"]), (False, ["B-PER", "O", "B-PER"])):
        of = task(released=released)
        positions, _ = first_pieces(of.encoder.encode(record.words))
        features = of.features(record, 40)
        assert [of.labels[i] for i in features["tags"][positions]] == expected
        assert of.decode({"tags": features["tags"]}, record) == record.mentions


def test_released_tags_that_are_none_of_a_words_mean_o() -> None:
    of = task(released=True)
    tags = np.full(32, RELEASED.index("B-PER"), np.int32)  # also on specials and further pieces, which are not read
    positions, _ = first_pieces(of.encoder.encode(WORDS))
    for special in ("X", "[CLS]", "[SEP]", "PAD"):
        tags[positions] = [RELEASED.index(tag) for tag in ("B-PER", special, "I-PER", "I-PER")]
        assert of.decode({"tags": tags}, RECORD) == (Mention(0, 1, "PER"), Mention(2, 5, "PER"))


records = st.builds(
    lambda words, spans: Record(
        id="r", words=tuple(words), mentions=tuple(Mention(a, min(a + n, len(words)), kind) for a, n, kind in spans if a < len(words))
    ),
    st.lists(st.sampled_from(("anna", "Oslo", "harbourlives", "in", NOTHING, "zzz", "@#!")), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 4), st.sampled_from(TYPES[:2])), max_size=6),
)


@given(record=records, room=st.integers(3, 50), tokenizer=st.sampled_from((BPE, WHOLE)), released=st.booleans())
def test_gold_tags_decode_to_the_gold(record: Record, room: int, tokenizer: str, released: bool) -> None:
    of = task(room, tokenizer, released)
    seen = set(of.encoder.encode(record.words).words.tolist())
    # As released a mention whose first word has no piece has no B- either, and goes on with what stands before it.
    assume(not released or all(mention.start in seen for mention in record.mentions))
    expected = []
    for mention in flat(record.mentions):
        inside = [word for word in range(mention.start, mention.end) if word in seen]
        if inside:  # all of it, but for what has no piece at its ends or was cut off
            expected.append(Mention(inside[0], inside[-1] + 1, mention.type))
    assert of.decode({"tags": of.features(record, 64)["tags"]}, record) == tuple(expected)


@given(record=records, room=st.integers(3, 50))
def test_gold_scored_against_itself(record: Record, room: int) -> None:
    of = task(room)
    found = of.decode({"tags": of.features(record, 64)["tags"]}, record)
    scores = of.metrics([record], [found])
    gold = {(m.span, m.type) for m in record.mentions}
    hits = sum(mention in found for mention in {Mention(*span, kind) for span, kind in gold})
    assert scores["entity"]["micro"]["recall"] == (hits / len(gold) if gold else 0)
    whole = not scores["truncated"]["words"] and not scores["pieceless"]["words"] and set(flat(record.mentions)) == set(record.mentions)
    if whole and gold:
        assert scores["entity"]["micro"] == {"precision": 1, "recall": 1, "f1": 1}


@given(spans=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=8))
def test_flat_keeps_what_does_not_overlap_and_prefers_the_longest(spans: list[tuple[int, int]]) -> None:
    mentions = [Mention(a, a + n, "PER") for a, n in spans]
    kept = flat(mentions)
    assert all(a.end <= b.start for a, b in zip(kept, kept[1:], strict=False))
    for left in set(mentions) - set(kept):
        rivals = [k for k in kept if k.start < left.end and left.start < k.end]
        assert any((left.start - left.end, left.start) >= (k.start - k.end, k.start) for k in rivals)


def test_overlapping_gold_stays_in_the_score() -> None:
    nested = Record(id="n", words=("bank", "of", "oslo"), mentions=(Mention(2, 3, "LOC"), Mention(0, 3, "ORG")))
    assert tagged(TASK, nested) == ["B-ORG", "I-ORG", "I-ORG"]
    scores = TASK.metrics([nested], [TASK.decode({"tags": TASK.features(nested, 32)["tags"]}, nested)])["entity"]
    assert scores["micro"] == {"precision": 1, "recall": 1 / 2, "f1": 2 / 3}


def test_what_is_cut_off_counts_as_missed() -> None:
    record = Record(id="l", words=("anna", "in", "oslo", "oslo", "by", "anna"), mentions=tuple(Mention(i, i + 1, "LOC") for i in (0, 3, 5)))
    of = task(2 + 3, WHOLE)
    found = of.decode({"tags": of.features(record, 8)["tags"]}, record)
    scores = of.metrics([record], [found])
    assert found == (Mention(0, 1, "LOC"),)
    assert scores["entity"]["micro"] == {"precision": 1, "recall": 1 / 3, "f1": 1 / 2}
    assert scores["truncated"] == {"words": 3, "mentions": 2} and scores["pieceless"] == {"words": 0, "mentions": 0}


def test_words_without_a_piece_are_counted_apart() -> None:
    lost = Record(id="p", words=WORDS, mentions=(Mention(3, 4, "ORG"), Mention(2, 5, "LOC")))
    scores = TASK.metrics([lost], [TASK.decode({"tags": TASK.features(lost, 32)["tags"]}, lost)])
    assert scores["pieceless"] == {"words": 1, "mentions": 2} and scores["truncated"] == {"words": 0, "mentions": 0}
    assert scores["entity"]["per_type"]["LOC"]["recall"] == 1  # it goes on over the word that is not there
    assert scores["entity"]["per_type"]["ORG"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}


def test_what_training_leaves_out_is_counted_and_scored() -> None:
    nested = Record("n", WORDS, mentions=(PERSON, Mention(0, 1, "PER"), PLACE, Mention(4, 5, "ORG"), PLACE, Mention(3, 4, "ORG")))
    assert TASK.left_out([RECORD, nested]) == {"overlapping": 2, "truncated": 0, "without_pieces": 1}
    assert tagged(TASK, nested) == ["B-PER", "I-PER", "O", "B-LOC"]
    longest = len(TASK.encode([RECORD])[0])
    assert task(max_tokens=longest - 1).left_out([RECORD]) == {"overlapping": 0, "truncated": 1, "without_pieces": 0}
    assert task(max_tokens=3).left_out([RECORD, RECORD]) == {"overlapping": 0, "truncated": 4, "without_pieces": 0}
    assert TASK.metrics([nested], [()])["entity"]["micro"]["recall"] == 0
    assert sum(row["support"] for row in TASK.metrics([nested], [()])["entity"]["per_type"].values()) == 5


def test_hand_worked_measures() -> None:
    gold = [{(0, 2, "PER"), (4, 5, "LOC")}, {(0, 1, "LOC")}, set()]
    predicted = [{(0, 2, "PER"), (4, 5, "ORG")}, {(0, 2, "LOC")}, {(0, 1, "PER")}]
    found = entity_metrics(gold, predicted, ("PER", "LOC", "MISC"))
    assert found["micro"] == {"precision": 1 / 4, "recall": 1 / 3, "f1": 2 / 7}
    assert found["per_type"] == {
        "PER": {"precision": 1 / 2, "recall": 1, "f1": 2 / 3, "support": 1},
        "LOC": {"precision": 0, "recall": 0, "f1": 0, "support": 2},
        "MISC": {"precision": 0, "recall": 0, "f1": 0, "support": 0},
        "ORG": {"precision": 0, "recall": 0, "f1": 0, "support": 0},
    }
    assert found["macro"] == {"precision": 1 / 6, "recall": 1 / 3, "f1": pytest.approx(2 / 9)}


def spelt(tags: list[str]) -> tuple[Mention, ...]:
    """The conlleval rule in other words: an I- prolongs an entity of its type that ends right before it, all else but O begins one."""
    found: list[Mention] = []
    for i, tag in enumerate(tags):
        if tag[0] == "I" and found and (found[-1].end, found[-1].type) == (i, tag[2:]):
            found[-1] = Mention(found[-1].start, i + 1, tag[2:])
        elif tag != "O":
            found.append(Mention(i, i + 1, tag[2:]))
    return tuple(found)


pairs = st.lists(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=10), min_size=1, max_size=6)


@given(pairs)
def test_measures_equal_seqeval_on_any_tags(sentences: list[list[tuple[str, str]]]) -> None:
    of = task(tokenizer=WHOLE)
    tags = [[list(tags) for tags in zip(*sentence, strict=True)] for sentence in sentences]
    found, blank = [], [Record(id="s", words=("oslo",) * len(sentence)) for sentence in sentences]
    for record, both in zip(blank, tags, strict=True):
        ids = [np.array([0, *map(LABELS.index, one), 0], np.int32) for one in both]
        decoded = [of.decode({"tags": one}, record) for one in ids]
        assert decoded == [spelt(one) for one in both]
        found.append(decoded)
    gold = [Record(id="s", words=r.words, mentions=mentions) for r, (mentions, _) in zip(blank, found, strict=True)]
    ours = of.metrics(gold, [predicted for _, predicted in found])["entity"]
    if not any(mentions or predicted for mentions, predicted in found):
        assert ours["micro"] == ours["macro"] == {"precision": 0, "recall": 0, "f1": 0}
        return  # seqeval refuses to report on nothing
    theirs = classification_report([g for g, _ in tags], [p for _, p in tags], output_dict=True, zero_division=0)
    for kind in TYPES:
        agree(ours["per_type"][kind], theirs.get(kind, {"precision": 0, "recall": 0, "f1-score": 0, "support": 0}))
    agree(ours["micro"], theirs["micro avg"])
    agree(ours["macro"], theirs["macro avg"])


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    names = {name: name.replace("f1", "f1-score") for name in ours}
    assert ours == pytest.approx({name: float(theirs[their]) for name, their in names.items()})


def test_examples_are_all_records() -> None:
    plain = Record(id="q", words=("oslo",))
    assert TASK.examples([RECORD, plain]) == [RECORD, plain]
    untyped = Record(id="u", words=("a", "b"), mentions=(Mention(0, 2),), origin="file:9")
    with pytest.raises(RecordError, match=r"file:9: mentions: \[0, 2\) has no type"):
        TASK.examples([RECORD, untyped])
    unknown = Record(id="v", words=("a", "b"), mentions=(Mention(0, 2, "GOD"),), origin="file:10")
    with pytest.raises(RecordError, match=r"file:10: mentions: the tag 'B-GOD' is not one of O, B-PER"):
        TASK.examples([RECORD, unknown])


def test_a_type_without_tags_names_the_record() -> None:
    with pytest.raises(RecordError, match=r"file:3: mentions: the tag 'B-EVENT' is not one of O, B-PER"):
        TASK.features(Record(id="r", words=("a",), mentions=(Mention(0, 1, "EVENT"),), origin="file:3"), 8)


def test_strata() -> None:
    repeated = Record(id="r", words=WORDS, mentions=(PLACE, PERSON, PLACE))
    assert [TASK.stratum(record) for record in (repeated, Record(id="q", words=()))] == ["LOC+PER", "none"]


def test_headline_names_are_in_the_metrics() -> None:
    assert set(headline(TASK, TASK.metrics([RECORD], [RECORD.mentions])).values()) == {1.0}


def test_labels_are_checked() -> None:
    encoder = TextEncoder(BPE)
    with pytest.raises(ValueError, match=r"lack O$"):
        EntitiesTask(encoder, LABELS[1:])
    with pytest.raises(ValueError, match=r"found 'PER', 'X'"):
        EntitiesTask(encoder, (*LABELS, "PER", "X"))
    with pytest.raises(ValueError, match=r"lack X, \[CLS\]$"):
        EntitiesTask(encoder, tuple(tag for tag in RELEASED if tag not in ("X", "[CLS]")), released=True)


def test_a_mention_is_scored_where_its_last_word_stands() -> None:
    features = TASK.features(RECORD, 32)
    positions, words = first_pieces(TASK.encoder.encode(WORDS))
    sure = np.zeros(32, np.float32)
    sure[positions] = 0.5 + words / 16
    prediction = {"tags": features["tags"], "mention": sure}
    expected = tuple(dataclasses.replace(m, score=0.5 + max(w for w in words if w < m.end) / 16) for m in RECORD.mentions)
    assert TASK.decode(prediction, RECORD) == expected
    told = calibrated(TASK, Calibration(2.0, 1.0)).decode(prediction, RECORD)
    odds = np.array([m.score for m in expected])
    np.testing.assert_allclose([m.score for m in told], 1 / (1 + np.exp(-1 - np.log(odds / (1 - odds)) / 2)))


def test_released_words_are_told_from_other_positions() -> None:
    of = task(released=True)
    features, ours = of.features(RECORD, 32), TASK.features(RECORD, 32)
    np.testing.assert_array_equal(features["words"], np.isin(np.arange(32), first_pieces(of.encoder.encode(WORDS))[0]))
    assert "words" not in ours and features["words"].sum() == ours["scored"].sum() < features["scored"].sum()
