"""RDF is read back to the same triples, answers SPARQL, and says where all comes from."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmre_jax.graph import build
from mmre_jax.graph.rdf import FORMATS, ITS, NIF, serialize, to_rdf
from mmre_jax.records import Mention, Record, Relation

rdflib = pytest.importorskip("rdflib", reason="the extra `graph` is not installed")
from rdflib.compare import isomorphic  # noqa: E402

# Readers and queries of rdflib use what rdflib itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:(Dataset|ConjunctiveGraph).* is deprecated:DeprecationWarning")
NAMES = {"turtle": "turtle", "jsonld": "json-ld", "trig": "trig"}


def read_back(graph, format):
    found = rdflib.Dataset() if format == "trig" else rdflib.Graph()
    return found.parse(data=serialize(graph, format), format=NAMES[format])


def parts(found):
    """All triples, with the graph that each is in."""
    return set(found.quads()) if isinstance(found, rdflib.Dataset) else set(found)


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_read_back_to_the_same(graph, format):
    found, wanted = read_back(graph, format), to_rdf(graph, by_post=format == "trig")
    assert parts(found) == parts(wanted) and len(parts(found)) > 150
    if format == "trig":
        found, wanted = found.default_graph, wanted.default_graph
    assert isomorphic(found, wanted)


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    ['"""', "\\", "<a>", "\r\n", "'''\\", "\x00"]
)


@settings(max_examples=settings.default.max_examples // 4)  # three writers and three readers each
@given(words, words, words, words, st.none() | st.floats(0, 1))
def test_whatever_posts_say_is_read_back(name, other, label, id, score):
    relation = Relation(Mention(0, 1, label), Mention(1, 2), label, score)
    graph = build([Record(id, (name, other), relations=(relation,))])
    for format in FORMATS:
        assert parts(read_back(graph, format)) == parts(to_rdf(graph, by_post=format == "trig"))


def test_sparql_asks_for_pairs_by_relation_with_scores_and_posts(graph):
    member = "http://www.wikidata.org/prop/direct/P463"
    found = to_rdf(graph).query(f"SELECT ?head ?tail {{ ?a <{member}> ?b . ?a rdfs:label ?head . ?b rdfs:label ?tail }}")
    assert [tuple(map(str, row)) for row in found] == [("Ada", "ACM")]
    found = to_rdf(graph).query(
        f"""PREFIX prov: <http://www.w3.org/ns/prov#> PREFIX its: <{ITS}>
        SELECT ?score ?of_post ?id {{ ?s rdf:predicate <{member}> ; its:taConfidence ?score ; prov:qualifiedDerivation ?d ;
            prov:wasDerivedFrom ?post ; prov:wasGeneratedBy ?activity . ?d prov:entity ?post ; its:taConfidence ?of_post .
            ?activity a prov:Activity ; prov:used ?post . ?post dcterms:identifier ?id }} ORDER BY ?id""",
        initNs={"dcterms": rdflib.DCTERMS, "rdf": rdflib.RDF},
    )
    assert [tuple(cell.toPython() for cell in row) for row in found] == [
        (pytest.approx(0.8), 0.5, "post-5"),
        (pytest.approx(0.8), 0.6, "post/1"),
    ]


def test_named_graphs_say_which_post_says_what(graph):
    found = to_rdf(graph, by_post=True).query("SELECT ?post { GRAPH ?post { ?a <http://xmlns.com/foaf/0.1/knows> ?b } } ORDER BY ?post")
    assert [str(row.post) for row in found] == ["https://example.org/post/post-2", "https://example.org/post/post/1"]


def test_what_is_told_of_entities_mentions_and_parts_of_pictures(graph):
    found = to_rdf(graph)
    ada = rdflib.URIRef("https://example.org/entity/PER:ada")
    assert (ada, rdflib.RDF.type, rdflib.FOAF.Person) in found and (ada, rdflib.SKOS.altLabel, rdflib.Literal("ADA's")) in found
    nif, its = rdflib.Namespace(NIF), rdflib.Namespace(ITS)
    for phrase in found.subjects(its.taIdentRef, None):
        text = str(found.value(found.value(phrase, nif.referenceContext), nif.isString))
        start, end = (found.value(phrase, name).toPython() for name in (nif.beginIndex, nif.endIndex))
        assert text[start:end] == str(found.value(phrase, nif.anchorOf)) and str(phrase).endswith(f"#char={start},{end}")
    [area] = found.objects(ada, rdflib.URIRef("https://example.org/relation/shown"))
    assert str(area).startswith("file:///") and str(area).endswith("/two%20people.jpg#xywh=percent:10,20,35,70")
    image = found.value(area, rdflib.DCTERMS.isPartOf)
    assert found.value(rdflib.URIRef("https://example.org/post/post/1"), rdflib.SDO.image) == image
    knows = rdflib.FOAF.knows
    assert (knows, rdflib.RDF.type, rdflib.OWL.SymmetricProperty) in found and (knows, rdflib.RDFS.label, None) not in found


def test_nothing_is_left_of_a_reader_s_mercy(graph):
    turtle = serialize(graph, "turtle").decode()
    prefixes = [line for line in turtle.splitlines() if line.startswith("@prefix")]
    assert prefixes and not [line for line in prefixes if "%" in line], "a prefix cut behind a percent sign is no IRI"


def test_without_rdflib_it_says_what_to_install(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdflib", None)
    with pytest.raises(ImportError, match=r"RDF needs rdflib: pip install 'mmre_jax\[graph\]'"):
        to_rdf(graph)
