"""GraphML is read back by networkx to the same graph."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.graph import build
from mmre_jax.graph.graphml import serialize, to_networkx
from mmre_jax.records import Mention, Record, Relation

networkx = pytest.importorskip("networkx", reason="the extra `graph` is not installed")


def same(one, other):
    parts = [(dict(found.nodes(data=True)), sorted(found.edges(keys=True, data=True), key=lambda edge: edge[2])) for found in (one, other)]
    return parts[0] == parts[1] and one.is_directed() and other.is_multigraph()


def read_back(graph):
    return networkx.read_graphml(io.BytesIO(serialize(graph)), force_multigraph=True)


def test_five_posts(graph):
    found = read_back(graph)
    assert same(found, to_networkx(graph)) and len(found) == len(graph.nodes) and found.number_of_edges() == len(graph.statements)
    ada = "https://example.org/entity/PER:ada"
    assert found.nodes[ada] == {"kind": "entity", "label": "Ada", "types": '["PER"]', "forms": '["Ada", "ADA\'s"]'}
    [(area, there)] = [(end, data) for _, end, data in found.out_edges(ada, data=True) if data["relation"] == "shown"]
    assert found.nodes[area]["kind"] == "area" and json.loads(found.nodes[area]["box"]) == [0.1, 0.2, 0.45, 0.9]
    assert there["score"] == 0.9 and json.loads(there["sources"]) == [{"post": "post/1", "label": "shown", "score": 0.9}]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    ["\x00", "\x1b[0m", "\uffff", "\r\r\n", "]]>&"]
)


@given(texts, texts, texts, texts, st.none() | st.floats(0, 1))
def test_whatever_posts_say_is_read_back_and_nothing_is_lost(name, type_, label, id, score):
    relations = [Relation(Mention(0, 1, type_), Mention(1, 2), text, score) for text in (label, f"{label}2")]
    graph = build([Record(id, (name, "B"), relations=tuple(relations))], none=())
    found = read_back(graph)
    assert same(found, to_networkx(graph))
    forms = [json.loads(data["forms"]) for _, data in found.nodes(data=True)]
    assert [name] in forms or name == "B"
    sources = [json.loads(data["sources"]) for _, _, data in found.edges(data=True)]
    assert {source["label"] for each in sources for source in each} == {label, f"{label}2"}
