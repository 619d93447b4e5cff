"""Mentions become entities, findings statements."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.extraction import Extraction
from mmre_jax.graph import Rule, Rules, build
from mmre_jax.graph.model import combined
from mmre_jax.records import Mention, Record, RecordError, Relation, Triple

BASE = "https://example.org/"


def said(graph):
    """(subject, relation, object) by name, with the score and the posts."""
    name = {node.id: getattr(node, "name", node.id.partition("#")[2]) for node in graph.nodes.values()}
    return {(name[s.subject], s.relation, name[s.object]): (s.score, [source.post for source in s.sources]) for s in graph.statements}


def pair(id, head, label, tail, score=None, *, types=("PER", "PER"), **more):
    mentions = Mention(0, 1, types[0]), Mention(1, 2, types[1])
    return Record(id=id, words=(head, tail), relations=(Relation(*mentions, label, score),), **more)


def test_five_posts(graph):
    found = said(graph)
    assert found["Ada", "/per/per/peer", "Grace"] == (pytest.approx(1 - 0.2 * 0.5), ["post/1", "post-2"])
    assert found["Ada", "/per/org/member_of", "ACM"] == (pytest.approx(1 - 0.4 * 0.5), ["post/1", "post-5"]), "the inverse is turned"
    assert found["غريس", "/per/loc/lives_in", "باريس"] == (None, ["post-4"])
    assert found["Ada", "shown", "xywh=percent:10,20,35,70"] == (0.9, ["post/1"])
    assert len(found) == 7 and graph.left_out == {"labelled None": 1}
    ada = next(entity for entity in graph.entities if entity.name == "Ada")
    assert ada.id == f"{BASE}entity/PER:ada" and ada.forms == ("Ada", "ADA's") and ada.types == ("PER",)
    assert [(place.post, place.start, place.end, place.text, place.score) for place in ada.places] == [
        ("post/1", 0, 3, "Ada", 0.98),
        ("post-2", 22, 27, "ADA's", None),
        ("post-5", 8, 11, "Ada", None),
    ]
    assert graph.classes["PER"] == "http://xmlns.com/foaf/0.1/Person" and graph.classes["ORG"] == f"{BASE}type/ORG"


def test_the_order_of_posts_changes_no_statement(posts, rules, graph):
    for order in itertools.islice(itertools.permutations(posts), 1, 100, 17):
        other = build(order, rules=rules)
        assert [(s.id, s.score) for s in other.statements] == [(s.id, s.score) for s in graph.statements]
        assert [(e.id, e.name, e.forms) for e in other.entities] == [(e.id, e.name, e.forms) for e in graph.entities]


def test_types_part_entities_and_a_mention_takes_the_type_that_its_span_has_elsewhere():
    records = [pair("1", "Ada", "r", "Paris", types=("PER", None)), pair("2", "ada", "r", "Paris", types=("ORG", "LOC"))]
    assert [entity.id.rpartition("/")[2] for entity in build(records).entities] == [":paris", "LOC:paris", "ORG:ada", "PER:ada"]
    tagged = dataclasses.replace(records[0], mentions=(Mention(1, 2, "ORG", 0.2), Mention(1, 2, "LOC", 0.7)))
    assert {s.object.rpartition("/")[2] for s in build([tagged]).statements} == {"LOC:paris"}


def test_a_symmetric_relation_is_one_statement_and_a_pair_in_both_directions_one_source_each():
    records = [pair("1", "Ada", "peer", "Grace", 0.5), pair("2", "Grace", "peer", "Ada", 0.5)]
    assert len(build(records).statements) == 2
    [statement] = build(records, rules=Rules({"peer": Rule(symmetric=True)})).statements
    assert statement.symmetric and statement.score == 0.75 and [source.post for source in statement.sources] == ["1", "2"]


def test_relations_of_one_property_are_one_and_keep_their_labels_as_sources():
    rules = Rules({"peer": Rule("http://x/knows"), "friend": Rule("http://x/knows")})
    [statement] = build([pair("1", "Ada", "friend", "Grace"), pair("2", "Ada", "peer", "Grace")], rules=rules).statements
    assert (statement.relation, statement.property) == ("peer", "http://x/knows")
    assert [source.label for source in statement.sources] == ["friend", "peer"]


def test_an_id_merges_names_and_types():
    table = {"NYC": "http://w/Q60", "New York": "http://w/Q60"}
    records = [pair("1", "Ada", "r", "NYC", types=("PER", "LOC")), pair("2", "Ada", "r", "New_York", types=("PER", "ORG"))]
    records[1] = dataclasses.replace(records[1], words=("Ada", "New York"))
    graph = build(records, ids=lambda name, type_: table.get(name))
    [city] = [entity for entity in graph.entities if entity.id == "http://w/Q60"]
    assert city.forms == ("New York", "NYC") and city.types == ("LOC", "ORG") and len(graph.statements) == 1
    with pytest.raises(ValueError, match="id of 'Ada': 'Q1' is no absolute IRI"):
        build(records, ids=lambda name, type_: "Q1")


def test_what_is_left_out_is_counted():
    record = Record(
        id="1",
        words=("Ada", "Grace", "Paris"),
        mentions=(Mention(2, 3, "LOC", 0.1), Mention(0, 1, "PER", 0.2)),
        relations=(
            Relation(Mention(0, 1), Mention(1, 2), None),
            Relation(Mention(0, 1), Mention(1, 2), "None", 0.9),
            Relation(Mention(0, 1), Mention(1, 2), "weak", 0.4),
            Relation(Mention(0, 1), Mention(1, 2), "strong", 0.5),
        ),
        triples=(Triple(Mention(0, 1), "held", (0.0, 0.0, 1.0, 1.0), 0.9),),
    )
    graph = build([record], min_score=0.5)
    assert graph.left_out == {
        **{"pairs without a label": 1, "labelled None": 1, "below the lowest score": 1},
        **{"triples without a part of a picture": 1, "mentions below the lowest score": 1},
    }
    assert [s.relation for s in graph.statements] == ["strong"]
    assert [entity.name for entity in graph.entities] == ["Grace", "Ada"], "a statement's mention stays, whatever its own score"
    assert [s.relation for s in build([record], none=("strong", "weak")).statements] == ["None"]


def test_posts_of_the_same_words_and_picture_are_one_piece_of_evidence():
    copies = [pair(str(i), "Ada", "peer", "Grace", score) for i, score in enumerate((0.5, 0.7, 0.6))]
    assert build(copies).statements[0].score == 0.7
    other = pair("other", "Ada", "peer", "Grace", 0.5, image="p.jpg")
    assert build([*copies, other]).statements[0].score == pytest.approx(1 - 0.3 * 0.5)
    annotated = pair("gold", "ADA", "peer", "Grace")
    assert build([*copies, annotated]).statements[0].score is None


def test_one_id_is_one_post_or_an_error():
    tagged = Record("1", ("Ada", "Paris"), mentions=(Mention(0, 1, "PER"), Mention(1, 2, "LOC")), origin="a.jsonl:1")
    related = Record("1", ("Ada", "Paris"), relations=(Relation(Mention(0, 1), Mention(1, 2), "in", 0.5),), origin="b.jsonl:1")
    graph = build([tagged, related, related])
    assert len(graph.posts) == 1 and [entity.types for entity in graph.entities] == [("LOC",), ("PER",)]
    assert graph.statements[0].score == 0.5 and len(graph.statements[0].sources) == 1
    written = dataclasses.replace(tagged, string="Ada, Paris", places=((0, 3), (5, 10)))
    assert build([related, written]).entities[0].places[0].start == 5, "the text as written is known from one of them"
    for change, said in (({"words": ("Ada", "Rome")}, "other words"), ({"image": "x.jpg"}, "another image")):
        with pytest.raises(RecordError, match=f"^b.jsonl:1: '1' is also in a.jsonl:1, with {said}$"):
            build([tagged, dataclasses.replace(related, **change)])


def test_bad_values_name_the_record():
    for score in (1.5, -0.1, float("nan")):
        with pytest.raises(RecordError, match="^a:3: 'r' has the score .*, which is no probability"):
            build([pair("1", "a", "r", "b", score, origin="a:3")])
    with pytest.raises(RecordError, match="^record 1: a mention has the score 2"):
        build([Record("1", ("a",), mentions=(Mention(0, 1, "PER", 2.0),))])
    with pytest.raises(RecordError, match="^a:3.*half of a surrogate pair"):
        build([pair("1", "a\ud800", "r", "b", origin="a:3")])
    for option in ({"base": "nowhere"}, {"images": {"photos": "nowhere"}}):
        with pytest.raises(ValueError, match="'nowhere' is no absolute IRI"):
            build([], **option)
    for option in ({"base": "https://x.example/kg#"}, {"images": {"photos": "https://x.example/#"}}):
        with pytest.raises(ValueError, match="has a '#'"):
            build([], **option)


def test_extractions_are_taken_for_what_they_found_and_numbers_may_be_numpys():
    record = pair("1", "Ada", "gold", "Grace", image="p.jpg")
    found = (dataclasses.replace(record.relations[0], label="peer", score=np.float32(0.5)),)
    triple = Triple(Mention(np.int64(0), np.int64(1)), "shown", tuple(np.float32([0, 0, 0.5, 0.5])), np.float32(0.5))
    graph = build([Extraction(record, found), Extraction(record, (triple,), task="triples")])
    assert [(s.relation, s.score) for s in graph.statements] == [("gold", None), ("peer", 0.5), ("shown", 0.5)]
    assert all(type(s.score) in (float, type(None)) for s in graph.statements) and graph.areas[0].box == (0.0, 0.0, 0.5, 0.5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_combined_score_is_the_probability_that_one_of_them_is_right(scores):
    outcomes = itertools.product((True, False), repeat=len(scores))
    brute = sum(np.prod([s if right else 1 - s for s, right in zip(scores, o, strict=True)]) for o in outcomes if any(o))
    assert combined(scores) == pytest.approx(brute, abs=1e-9) and max(scores) - 1e-12 <= combined(scores) <= 1
    assert combined([*scores, None]) is None and combined([]) is None
