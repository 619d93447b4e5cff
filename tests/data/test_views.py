"""What a tagger, a detector and a classifier of pairs are shown of triples, worked by hand, and that they are shown it all."""

import pytest

from mmre_jax.data import views
from mmre_jax.data.readers import scenes
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, Region, Relation, Triple
from mmre_jax.tasks.relation import RelationTask

ADA, BOB, OSLO = Mention(0, 1, "PER", 0.5), Mention(2, 3), Mention(4, 5, "LOC")
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
WORDS = tuple("Ada and Bob in Oslo".split())
POST = Record(
    "post",
    WORDS,
    image="a.jpg",
    mentions=(ADA, OSLO),  # one that is in no triple; a triple's that is no mention
    relations=(Relation(ADA, BOB, "knows"),),
    triples=(Triple(ADA, "holds", LEFT), Triple(Mention(0, 1), "wears", RIGHT), Triple(BOB, "holds", RIGHT), Triple(BOB, "wears", RIGHT)),
    regions=(Region(box=LEFT),),
    caption="two people",
    origin="file:1",
)
SAME_PHOTO = Record("same photo", ("Eve",), image="a.jpg", triples=(Triple(Mention(0, 1), "holds", (0.0, 0.0, 1.0, 1.0)),))
UNSEEN = Record("unseen", ("Eve",), image="b.jpg", mentions=(Mention(0, 1),))
NO_PHOTO = Record("no photo", ("Eve",))
RECORDS = [POST, SAME_PHOTO, UNSEEN, NO_PHOTO]


def test_mentions_are_those_of_the_record_and_of_its_triples_once_and_of_one_type():
    first, *others = views.view("mentions", RECORDS, "None")
    assert first.mentions == tuple(Mention(start, start + 1, "ENTITY") for start in (0, 4, 2))
    assert (first.id, first.words, first.image, first.relations, first.triples) == ("post", WORDS, "a.jpg", (), ())
    assert [len(record.mentions) for record in others] == [1, 1, 0]


def test_regions_are_all_boxes_of_a_photo_once_and_no_word_is_said_of_them():
    shown = views.view("regions", RECORDS, "None")
    assert [(record.id, record.image, record.words) for record in shown] == [
        ("post", "a.jpg", ()),
        ("unseen", "b.jpg", ()),
    ]
    assert shown[0].regions == tuple(Region(box, source="gold", label="object") for box in (LEFT, RIGHT, (0.0, 0.0, 1.0, 1.0)))
    assert not shown[1].regions
    assert all(not (record.mentions or record.relations or record.triples or record.caption) for record in shown)


def test_pairs_are_all_mentions_beside_each_box():
    left, right, other = views.view("pairs", RECORDS, "no relation")
    assert [record.regions for record in (left, right)] == [(Region(box=LEFT),), (Region(box=RIGHT),)]
    assert all(relation.head == relation.tail for relation in (*left.relations, *right.relations))
    found = [[(relation.head.span, relation.label) for relation in record.relations] for record in (left, right, other)]
    assert found[0] == [((0, 1), "holds"), ((4, 5), "no relation"), ((2, 3), "no relation")]
    assert found[1] == [((0, 1), "wears"), ((4, 5), "no relation"), ((2, 3), "holds"), ((2, 3), "wears")]  # one pair, two triples
    assert found[2] == [((0, 1), "holds")]
    assert [record.id for record in (left, right, other)] == ["post@0", "post@1", "same photo@0"]
    assert (left.words, left.image, left.triples, left.mentions, left.origin) == (WORDS, "a.jpg", (), (), "file:1")


def test_the_pairs_of_scenes_hold_every_triple_and_are_as_many_as_mentions_times_boxes():
    records = scenes.read("triples", "train", 40)
    shown = views.pairs(records, "None")
    pairs = [(record.id.split("@")[0], record.regions[0].box, relation) for record in shown for relation in record.relations]
    held = {(name, relation.head.span, relation.label, box) for name, box, relation in pairs if relation.label != "None"}
    assert held == {(record.id, triple.mention.span, triple.label, triple.box) for record in records for triple in record.triples}
    assert len(pairs) == sum(len(record.triples) ** 2 for record in records)


def test_the_markers_of_head_and_tail_stand_around_the_one_mention():
    encoder = TextEncoder(train_tokenizer([WORDS], 32, "word"))
    task = RelationTask(encoder, ("None", "holds"), "None")
    example = task.examples([views.beside(POST, LEFT, (views.pair(BOB, "holds"),))])[0]
    ids = [task.encoder.tokenizer.token_to_id(word.lower()) for word in WORDS]
    opens, closes, tail_opens, tail_closes = encoder.marker_ids
    expected = [*ids[:2], opens, tail_opens, ids[2], tail_closes, closes, *ids[3:]]
    features = task.features(example, len(expected) + 2)
    assert features["text"]["ids"][1:-1].tolist() == expected
    assert features["text"]["markers"].tolist() == [3, 4] and features["label"] == 1


def test_an_unknown_view_is_named():
    with pytest.raises(ValueError, match="data.view is '' or one of mentions, regions, pairs, found 'words'"):
        views.view("words", RECORDS, "None")
