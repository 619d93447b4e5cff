"""Answers as they are read, and what is asked for read back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.readers import scenes
from mmre_jax.prompts.pictures import MISSING, SHOWN
from mmre_jax.prompts.questions import Question
from mmre_jax.prompts.reading import Unreadable, label_of, nothing, read
from mmre_jax.records import Mention, Record, Relation, Triple

PAIR = Record("r", ("Ada", "meets", "Bo"), relations=(Relation(Mention(0, 1), Mention(2, 3), "/per/per/peer"),))
LABELS = ("None", "/per/per/peer", "x", "X")
RELATION, JSON = (Question("relation", LABELS, "None", structured=structured) for structured in (False, True))
ENTITIES = Question("entities", ("PER", "LOC"))
TRIPLES = Question("triples", ("holds",))
TWICE = Record("t", ("Paris", "Hilton", "loves", "Paris"), mentions=(Mention(0, 2, "PER"), Mention(3, 4, "LOC")))


def label(question, said):
    (found,), lost = read(question, said, PAIR, True)
    assert not lost and (found.head, found.tail) == (PAIR.relations[0].head, PAIR.relations[0].tail)
    return found.label


@pytest.mark.parametrize("said", ["/per/per/peer", "  /PER/per/Peer\n", "/per/per/peer\t"])
def test_a_label_is_read_whatever_its_case_and_the_white_space_around_it(said):
    assert label(RELATION, said) == "/per/per/peer"


@pytest.mark.parametrize(
    "said",
    ["", "/per/per/peers", "/per/per/peer.", "'None'", "None None", "the answer is None", "peer", "/per/per/ peer", "{}", "**None**"],
)
def test_anything_else_is_no_label(said):
    with pytest.raises(Unreadable, match="no label"):
        read(RELATION, said, PAIR, True)


def test_labels_that_differ_in_case_alone_are_exact():
    assert label(RELATION, " x ") == "x" and label(RELATION, "X") == "X"
    with pytest.raises(Unreadable, match="a case that is not clear"):
        label_of("ss", ("SS", "Ss"))


def test_a_label_in_json():
    assert label(JSON, '{"relation": "none", "because": 1}') == label(JSON, '```json\n{"relation": "None"}\n```') == "None"
    for said in ("None", '{"relation": ["None"]}', '{"label": "None"}', '[{"relation": "None"}]', '{"relation": "None"} so', "[" * 99999):
        with pytest.raises(Unreadable):
            read(JSON, said, PAIR, True)


def test_nothing_is_the_empty_relation_or_nothing_found():
    assert nothing(RELATION, PAIR)[0].label == "None" and nothing(ENTITIES, TWICE) == nothing(TRIPLES, TWICE) == ()


def test_mentions_by_their_occurrence():
    items = [{"text": "Paris  Hilton ", "type": "per"}, {"text": "Paris", "occurrence": 2, "type": "LOC"}, {"text": "Paris", "type": "LOC"}]
    found, lost = read(ENTITIES, json.dumps({"mentions": [*items, items[1]]}), TWICE, True)
    assert found == (Mention(0, 2, "PER"), Mention(3, 4, "LOC"), Mention(0, 1, "LOC")) and not lost


def test_mentions_that_cannot_be_read_are_counted_and_the_others_kept():
    wrong = [
        {"text": "paris", "type": "LOC"},
        {"text": "Pari", "type": "LOC"},
        {"text": " ", "type": "LOC"},
        {"text": "Paris", "type": "ORG"},
        {"text": "Paris", "type": None},
        {"text": "Paris", "occurrence": 3, "type": "LOC"},
        {"text": "Paris", "occurrence": True, "type": "LOC"},
        {"text": 3, "type": "LOC"},
        "Paris",
    ]
    found, lost = read(ENTITIES, json.dumps({"mentions": [*wrong, {"text": "loves", "type": "PER"}]}), TWICE, True)
    assert found == (Mention(2, 3, "PER"),)
    assert lost == {
        "a text that does not stand in the post": 3,
        "no label": 2,
        "an occurrence that there is not": 1,
        "an occurrence that is no number from 1": 1,
        "an item without a text": 2,
    }


def test_boxes_of_triples():
    def triple(box, shown=True):
        return read(TRIPLES, json.dumps({"triples": [{"text": "loves", "relation": "holds", "box": box}]}), TWICE, shown)

    assert triple([0, 250, 500, 1000])[0] == (Triple(Mention(2, 3), "holds", (0.0, 0.25, 0.5, 1.0)),)
    for box in ([0, 0, 0, 5], [0, 0, 1001, 5], [0, 0, 5], "x", None, [0, 0, "5", 5], [5, 0, 1, 5]):
        assert triple(box) == ((), {"no box inside the picture": 1})
    assert triple(None, shown=False)[0] == triple([1, 1, 2, 2], shown=False)[0] == (Triple(Mention(2, 3), "holds", None),)


@pytest.mark.parametrize("picture", [SHOWN, MISSING])
@pytest.mark.parametrize("structured", [False, True])
def test_what_is_said_of_the_annotation_is_read_as_it(picture, structured):
    """An answer as it is shown as an example says what the record says."""
    for scene, kind, labels, none in (
        ("relations", "relation", scenes.relations("relations"), "None"),
        ("entities", "entities", scenes.entity_types(), ""),
        ("triples", "triples", scenes.triple_relations(), ""),
    ):
        question = Question(kind, tuple(labels), none, structured=structured)
        for record in scenes.read(scene, "test", 12):
            found, lost = read(question, question.say(record, picture), record, picture == SHOWN)
            assert not lost
            if kind == "relation":
                assert found[0].label == record.relations[0].label
            elif kind == "entities":
                assert set(found) == {Mention(m.start, m.end, m.type) for m in record.mentions}
            else:
                assert {(t.mention.span, t.label) for t in found} == {(t.mention.span, t.label) for t in record.triples}
                for triple in found if picture == SHOWN else ():
                    same = [t.box for t in record.triples if (t.mention.span, t.label) == (triple.mention.span, triple.label)]
                    assert any(max(abs(a - b) for a, b in zip(triple.box, box, strict=True)) <= 0.001 for box in same)


ITEMS = st.dictionaries(
    st.sampled_from(["text", "type", "relation", "box", "occurrence"]),
    st.sampled_from(["Paris", "holds", "PER", "", None, True, 1, -2, 1e400, [0, 0, 9, 9], [[]], [1, 2, float("nan"), 4], {}]),
)
JSONS = st.dictionaries(st.sampled_from(["mentions", "triples", "relation", "x"]), st.lists(ITEMS, max_size=3) | ITEMS) | st.lists(ITEMS)


@given(st.sampled_from([RELATION, JSON, ENTITIES, TRIPLES]), st.text() | JSONS.map(json.dumps), st.booleans())
def test_whatever_is_said_is_read_or_unreadable(question, said, shown):
    record = PAIR if question.task == "relation" else TWICE
    try:
        found, _ = read(question, said, record, shown)
    except Unreadable:
        return
    assert all(getattr(each, "label", None) in question.labels or each.type in question.labels for each in found)
