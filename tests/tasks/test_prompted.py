"""What DGF-PT asks of a record: entities, types, boxes, captions; and what its configuration takes from tokenizer and records."""

import dataclasses

import numpy as np
import pytest
import tokenizers

from configs import dgf_pt as configs
from mmre_jax import tasks
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, Region, Relation
from mmre_jax.tasks.prompted import Prompted, settled, types_in, types_of
from mmre_jax.tasks.relation import RelationTask

SENTENCE = ("anna", "smith", "lives", "in", "oslo")
ENCODER = TextEncoder(train_tokenizer([SENTENCE] * 2, 80, "word"), 24)
LABELS = ("None", "/per/loc/place_of_residence", "born_in")
ASKED = Prompted(types=("loc", "per"), objects=2, caption_tokens=5)
TASK = RelationTask(ENCODER, LABELS, "None", prompted=ASKED)
PAIR = Relation(Mention(0, 2), Mention(4, 5), LABELS[1])
BOXES = [(0.1, 0.1, 0.2, 0.2), (0.3, 0.3, 0.4, 0.4), (0.5, 0.5, 0.6, 0.6)]
RECORD = Record("r", SENTENCE, "a.jpg", relations=(PAIR,), regions=tuple(Region(box) for box in BOXES), caption="anna in a big oslo house")


def test_entities_are_their_pieces():
    found = TASK.features(RECORD, 16)
    ids, (head, tail) = found["text"]["ids"], found["entities"]
    assert head.shape == tail.shape == (16,)
    words = [ENCODER.tokenizer.id_to_token(int(i)) for i in ids[head | tail]]
    assert words == ["anna", "smith", "oslo"] and head.sum() == 2 and not (head & tail).any()
    assert ids[np.flatnonzero(head)[0] - 1] == ENCODER.marker_ids[0], "behind its opening marker"


def test_an_entity_without_pieces_is_its_opening_marker():
    """A word of which the tokenizer leaves nothing; and words that are blanked out, wherever the entities were."""
    empty = dataclasses.replace(RECORD, words=("\u200b", "\u200b", *SENTENCE[2:]))
    found = TASK.features(empty, 16)
    assert np.flatnonzero(found["entities"][0]).tolist() == [found["text"]["markers"][0]]
    blank = dataclasses.replace(TASK, blank_words=True)
    moved = dataclasses.replace(RECORD, relations=(Relation(Mention(4, 5), Mention(0, 1), LABELS[1]),))
    first, second = (blank.features(record, 16)["entities"] for record in (RECORD, moved))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("head", "label", "expected"),
    [
        (None, LABELS[1], [1, 0]),
        (None, "None", [-1, -1]),
        (None, "born_in", [-1, -1]),
        (None, None, [-1, -1]),
        ("LOC", LABELS[1], [0, 0]),  # the record's own comes first, however it is written
        ("PER", "None", [1, -1]),
        ("EVENT", "born_in", [-1, -1]),
    ],
)
def test_types_are_the_records_own_or_in_the_relations_name(head, label, expected):
    pair = Relation(Mention(0, 2, head), Mention(4, 5), label)
    record = dataclasses.replace(RECORD, relations=(pair,))
    np.testing.assert_array_equal(TASK.features(record, 16)["types"], expected)


def test_types_in_a_name():
    assert types_in("/per/org/member_of") == ("per", "org")
    assert [types_in(name) for name in ("None", "per/org/member_of", "//org/x", "/per/org", None)] == [None] * 5
    assert types_of(dataclasses.replace(RECORD, relations=(dataclasses.replace(PAIR, label="born_in"),))) == (None, None)


def boxes_of(record, asked=ASKED):
    found = dataclasses.replace(TASK, prompted=asked).features(record, 16)["objects"]
    assert not found["boxes"][~found["mask"]].any()
    return [tuple(round(float(x), 1) for x in box) for box in found["boxes"][found["mask"]]]


def test_objects_are_the_best_boxes_of_their_kind():
    assert boxes_of(RECORD) == BOXES[:2]
    scored = [Region(box, score=score) for box, score in zip(BOXES, (0.2, None, 0.9), strict=True)]
    assert boxes_of(dataclasses.replace(RECORD, regions=tuple(scored))) == [BOXES[2], BOXES[0]]
    kinds = (Region(BOXES[0], source="grounded"), Region(None, "crop.jpg"), Region(BOXES[1], "crop.jpg"))
    mixed = dataclasses.replace(RECORD, regions=kinds)
    assert boxes_of(mixed) == [BOXES[1]]
    assert boxes_of(mixed, dataclasses.replace(ASKED, source="grounded")) == [BOXES[0]]
    assert TASK.left_out([mixed])["regions_without_box"] == 1 and "regions_without_box" not in TASK.left_out([RECORD])
    assert boxes_of(dataclasses.replace(RECORD, image=None)) == [], "boxes without a picture to look at"


def test_pictures_without_objects_are_told():
    bare = dataclasses.replace(RECORD, regions=(Region(None, "crop.jpg"), Region(BOXES[0], source="gold")))
    records = [RECORD, bare, bare, dataclasses.replace(bare, image=None)]
    assert TASK.left_out(records)["pictures_without_objects"] == 2
    for asked in (None, dataclasses.replace(ASKED, objects=0)):
        assert "pictures_without_objects" not in dataclasses.replace(TASK, prompted=asked).left_out(records)
    assert "pictures_without_objects" not in TASK.left_out([RECORD])


def test_captions_are_cut_and_may_be_missing():
    found = TASK.features(RECORD, 16)["caption"]
    special = ENCODER.special_ids
    assert found["ids"].shape == found["mask"].shape == (5,) and found["mask"].all()
    assert (found["ids"][0], found["ids"][-1]) == (special["cls"], special["sep"])
    for caption in (None, "", " "):
        none = TASK.features(dataclasses.replace(RECORD, caption=caption), 16)["caption"]
        assert not none["mask"].any() and (none["ids"] == special["pad"]).all()
    assert TASK.features(dataclasses.replace(RECORD, caption="oslo"), 16)["caption"]["mask"].sum() == 3


def test_captions_may_be_longer_than_sentences_and_cost_no_tokenizer_of_their_own(monkeypatch):
    """A tokenizer takes far longer to be read from its JSON than a caption to be encoded."""
    TASK.features(RECORD, 16)
    monkeypatch.setattr(tokenizers.Tokenizer, "from_str", None)
    long = dataclasses.replace(RECORD, caption="oslo " * 40)
    asked = dataclasses.replace(ASKED, caption_tokens=ENCODER.max_tokens + 6)
    found = dataclasses.replace(TASK, prompted=asked).features(long, 16)["caption"]
    assert found["mask"].sum() == ENCODER.max_tokens + 6 and found["ids"][-1] == ENCODER.special_ids["sep"]


def test_other_systems_batches_do_not_grow():
    plain = dataclasses.replace(TASK, prompted=None).features(RECORD, 16)
    assert set(plain) == {"text", "label"} and set(plain["text"]) == {"ids", "mask", "markers"}
    few = dataclasses.replace(TASK, prompted=Prompted()).features(RECORD, 16)
    assert set(few) - set(plain) == {"entities", "types"}
    assert tasks.reads_captions(TASK) and not tasks.reads_captions(dataclasses.replace(TASK, prompted=Prompted()))
    assert tasks.boxes_of(TASK) == ("detected",) and tasks.boxes_of(dataclasses.replace(TASK, prompted=None)) == ()
    assert [tuple(box) for box in tasks.also_read(TASK, RECORD)] == BOXES[:2]


def test_a_configuration_is_settled():
    """The prefixes' words by the tokenizer that there is, and types that are written alike but for capitals as one."""
    config = configs.get_config("quickstart")
    typed = dataclasses.replace(RECORD, relations=(Relation(Mention(0, 2, "PER"), Mention(4, 5, "EVENT"), "None"),))
    with config.unlocked():
        config.system.prefix.words = "anna lives {} in oslo."
    found = settled(config, ENCODER, LABELS, [RECORD, typed]).system
    ids = [ENCODER.tokenizer.token_to_id(word) for word in ("anna", "lives", "in", "oslo", "[UNK]")]
    assert (found.prefix.before, found.prefix.behind) == (tuple(ids[:2]), tuple(ids[2:]))
    assert found.types == ("EVENT", "loc", "per") and found.added == 4
    with config.unlocked():
        config.system.caption_tokens = 8
    without = dataclasses.replace(RECORD, caption="")
    tokens = [settled(config, ENCODER, LABELS, records).system.caption_tokens for records in ([without, RECORD], [without])]
    assert tokens == [8, 0], "there is no room for captions where training has none"
    again = settled(settled(config, ENCODER, LABELS, [RECORD]), ENCODER, LABELS, [typed]).system
    assert again.types == ("loc", "per"), "what is written out stays"
    for changes, message in (
        ({"added": 5}, "system.added=5, but the tokenizer has 4"),
        ({"prefix": {"behind": (3, 999)}}, f"system.prefix.behind: the word table has {ENCODER.vocab_size} rows, none for the id 999"),
    ):
        other = config.copy_and_resolve_references().unlock()
        other.system.update(changes)
        with pytest.raises(ValueError, match=message):
            settled(other, ENCODER, LABELS, [RECORD])
    with config.unlocked():
        config.system.prefix.words = "Consider them"
    with pytest.raises(ValueError, match="has no place, or several"):
        settled(config, ENCODER, LABELS, [RECORD])
