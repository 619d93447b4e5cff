"""A graph as RDF, by rdflib (extra `graph`), in vocabularies that others read.

    <statement/1f0c...> a rdf:Statement, prov:Entity ; rdf:subject ... ; rdf:predicate ... ; rdf:object ... ;
        itsrdf:taConfidence 0.93 ; prov:wasDerivedFrom <post/17> ; prov:wasGeneratedBy <activity/...> ; prov:qualifiedDerivation [...] .

Each statement stands there plainly, subject property object, and once more as an rdf:Statement with its score, the posts it was derived
from, and of each a prov:Derivation with the score and the label that were found there. A symmetric relation is stated in one direction, and
its property is an owl:SymmetricProperty. Entities have rdfs:label, skos:altLabel and rdf:type; where they are mentioned is told by NIF 2.0
(nif:Phrase, an IRI of the post with #char=start,end in characters) and ITS 2.0 (itsrdf:taIdentRef). A part of a picture is a foaf:Image, a
media fragment of the picture that it is dcterms:isPartOf. That an area depicts an entity is not assumed: what they have to do with each
other is the relation's own property, for which a user may name foaf:depiction. PROV-O: Lebo et al. 2013; NIF: Hellmann et al. 2013.
"""

from __future__ import annotations

import hashlib
import re
import sys
import types
import warnings
from typing import TYPE_CHECKING

from mmre_jax.graph.model import Area, Entity, Graph, Place, Statement, text_of
from mmre_jax.records import Record

if TYPE_CHECKING:
    import rdflib

NIF = "http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#"
ITS = "http://www.w3.org/2005/11/its/rdf#"
PROGRAM = "https://pypi.org/project/mmre_jax/"
FORMATS = {"turtle": "ttl", "jsonld": "jsonld", "trig": "trig"}  # {format: what its file's name ends with}
_BELOW = re.compile(r"(.*[/#])([A-Za-z][A-Za-z0-9_]*)")
_RDFLIB = {"turtle": "turtle", "jsonld": "json-ld", "trig": "trig"}


def to_rdf(graph: Graph, *, by_post: bool = False) -> rdflib.Graph:
    """The graph as RDF. Without blank nodes: two graphs are equal if their triples are.

    Args:
      by_post: make it a Dataset, which also has one named graph for each post, called by the post's IRI, with the plain statements that it
        says, so that `GRAPH ?post { ?head ?relation ?tail }` asks who says what. All else, those included, is in the default graph.

    Raises:
      ImportError: rdflib is not there.
    """
    rdflib = _rdflib()
    whole = rdflib.Dataset() if by_post else rdflib.Graph()
    default = whole.default_graph if by_post else whole
    whole.namespace_manager = default.namespace_manager = _known_prefixes(rdflib, whole)
    spaces = {"nif": NIF, "itsrdf": ITS, **{part: f"{graph.base}{part}/" for part in ("entity", "relation", "type")}}
    for prefix, space in spaces.items():
        whole.bind(prefix, rdflib.Namespace(space), override=True)
    write = _Writer(rdflib, default, graph)
    write.activity()
    for post in graph.posts:
        write.post(post)
    for type_, iri in graph.classes.items():
        write.label(iri, type_)
    for entity in graph.entities:
        write.entity(entity)
    for area in graph.areas:
        write.area(area)
    for statement in graph.statements:
        plain = write.statement(statement)
        for post in dict.fromkeys(source.post for source in statement.sources) if by_post else ():
            whole.graph(rdflib.URIRef(graph.post_iris[post])).add(plain)
    return whole


def serialize(graph: Graph, format: str) -> bytes:
    """The graph as a file of one of FORMATS, UTF-8; TriG with a named graph for each post.

    Raises:
      ImportError: rdflib is not there.
    """
    compact = {"auto_compact": True} if format == "jsonld" else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is deprecated", DeprecationWarning, "rdflib")  # it warns of what its own writer of TriG does
        return to_rdf(graph, by_post=format == "trig").serialize(format=_RDFLIB[format], encoding="utf-8", **compact)


class _Writer:
    """Adds what a graph holds to one of rdflib's."""

    def __init__(self, rdflib: types.ModuleType, to: rdflib.Graph, graph: Graph) -> None:
        self._rdf, self._to, self._graph = rdflib, to, graph
        self._nif, self._its = rdflib.Namespace(NIF), rdflib.Namespace(ITS)
        said = " ".join((*sorted(graph.post_iris.values()), *(statement.id for statement in graph.statements)))
        self._activity = rdflib.URIRef(f"{graph.base}activity/{hashlib.sha256(said.encode()).hexdigest()[:20]}")

    def activity(self) -> None:
        """The extraction, and the program that did it."""
        rdf, agent = self._rdf, self._rdf.URIRef(PROGRAM)
        self._add(self._activity, rdf.RDF.type, rdf.PROV.Activity)
        self._add(self._activity, rdf.RDFS.label, rdf.Literal("extraction from posts"))
        self._add(self._activity, rdf.PROV.wasAssociatedWith, agent)
        self._add(agent, rdf.RDF.type, rdf.PROV.SoftwareAgent)
        self._add(agent, rdf.RDFS.label, rdf.Literal(f"mmre_jax {sys.modules['mmre_jax'].__version__}"))

    def post(self, post: Record) -> None:
        """A post: its id, its text, its picture."""
        rdf, iri = self._rdf, self._rdf.URIRef(self._graph.post_iris[post.id])
        self._add(iri, rdf.RDF.type, rdf.PROV.Entity)
        self._add(iri, rdf.RDF.type, self._nif.Context)
        self._add(iri, rdf.DCTERMS.identifier, rdf.Literal(post.id))
        self._add(iri, self._nif.isString, rdf.Literal(text_of(post)))
        self._add(self._activity, rdf.PROV.used, iri)
        if post.image is not None:
            self._add(iri, rdf.SDO.image, rdf.URIRef(self._graph.images[post.image]))

    def entity(self, entity: Entity) -> None:
        """An entity, and where it is mentioned."""
        rdf, iri = self._rdf, self._rdf.URIRef(entity.id)
        self._add(iri, rdf.RDFS.label, rdf.Literal(entity.name))
        for form in entity.forms:
            if form != entity.name:
                self._add(iri, rdf.SKOS.altLabel, rdf.Literal(form))
        for type_ in entity.types:
            self._add(iri, rdf.RDF.type, rdf.URIRef(self._graph.classes[type_]))
        for place in entity.places:
            self._place(place, iri)

    def label(self, iri: str, label: str) -> None:
        """What a property or a class is called here: of another vocabulary's, which has labels of its own, a further name."""
        own = iri.startswith(self._graph.base)
        self._add(self._rdf.URIRef(iri), self._rdf.RDFS.label if own else self._rdf.SKOS.altLabel, self._rdf.Literal(label))

    def area(self, area: Area) -> None:
        """A part of a picture."""
        rdf, iri = self._rdf, self._rdf.URIRef(area.id)
        self._add(iri, rdf.RDF.type, rdf.FOAF.Image)
        self._add(iri, rdf.DCTERMS.isPartOf, rdf.URIRef(area.image))

    def statement(self, statement: Statement) -> tuple[rdflib.URIRef, rdflib.URIRef, rdflib.URIRef]:
        """A statement, plainly and as what has a score and sources. Returns it as a triple."""
        rdf, iri = self._rdf, self._rdf.URIRef(statement.id)
        plain = tuple(rdf.URIRef(part) for part in (statement.subject, statement.property, statement.object))
        self._add(*plain)
        self.label(statement.property, statement.relation)
        if statement.symmetric:
            self._add(plain[1], rdf.RDF.type, rdf.OWL.SymmetricProperty)
        self._add(iri, rdf.RDF.type, rdf.RDF.Statement)
        self._add(iri, rdf.RDF.type, rdf.PROV.Entity)
        for name, part in zip((rdf.RDF.subject, rdf.RDF.predicate, rdf.RDF.object), plain, strict=True):
            self._add(iri, name, part)
        self._add(iri, rdf.PROV.wasGeneratedBy, self._activity)
        self._score(iri, statement.score)
        for number, source in enumerate(statement.sources, 1):
            post, derivation = rdf.URIRef(self._graph.post_iris[source.post]), rdf.URIRef(f"{statement.id}/source/{number}")
            self._add(iri, rdf.PROV.wasDerivedFrom, post)
            self._add(iri, rdf.PROV.qualifiedDerivation, derivation)
            self._add(derivation, rdf.RDF.type, rdf.PROV.Derivation)
            self._add(derivation, rdf.PROV.entity, post)
            self._add(derivation, rdf.RDFS.label, rdf.Literal(source.label))
            self._score(derivation, source.score)
            for span in (source.head, source.tail):
                if span is not None:
                    self._add(derivation, rdf.DCTERMS.references, self._phrase(source.post, *span))
        return plain

    def _place(self, place: Place, entity: rdflib.URIRef) -> None:
        rdf, phrase = self._rdf, self._phrase(place.post, place.start, place.end)
        self._add(phrase, rdf.RDF.type, self._nif.Phrase)
        self._add(phrase, self._nif.referenceContext, rdf.URIRef(self._graph.post_iris[place.post]))
        self._add(phrase, self._nif.anchorOf, rdf.Literal(place.text))
        for name, value in ((self._nif.beginIndex, place.start), (self._nif.endIndex, place.end)):
            self._add(phrase, name, rdf.Literal(value, datatype=rdf.XSD.nonNegativeInteger))
        self._add(phrase, self._its.taIdentRef, entity)
        self._score(phrase, place.score)

    def _phrase(self, post: str, start: int, end: int) -> rdflib.URIRef:
        return self._rdf.URIRef(f"{self._graph.post_iris[post]}#char={start},{end}")

    def _score(self, of: rdflib.URIRef, score: float | None) -> None:
        if score is not None:
            self._add(of, self._its.taConfidence, self._rdf.Literal(score, datatype=self._rdf.XSD.double))

    def _add(self, subject: rdflib.URIRef, name: rdflib.URIRef, value: rdflib.term.Node) -> None:
        self._to.add((subject, name, value))


def _rdflib() -> types.ModuleType:
    try:
        import rdflib
    except ImportError as error:
        raise ImportError("RDF needs rdflib: pip install 'mmre_jax[graph]'") from error
    return rdflib


def _known_prefixes(rdflib: types.ModuleType, graph: rdflib.Graph) -> rdflib.namespace.NamespaceManager:
    """Prefixes for names right below what is bound; other IRIs are written whole. rdflib would bind ns1, ns2, ... to what is before their
    last name, also where it ends within a percent-encoded letter, and looks through all IRIs that it has met for each one that it meets."""

    class Known(rdflib.namespace.NamespaceManager):
        bound: dict[str, str] | None = None

        def compute_qname(self, uri: str, generate: bool = True) -> tuple[str, rdflib.URIRef, str]:
            if self.bound is None:
                self.bound = {str(space): prefix for prefix, space in self.namespaces()}
            found = _BELOW.fullmatch(uri)
            if found is None or found[1] not in self.bound:
                raise ValueError(f"{uri} is written whole")
            return self.bound[found[1]], rdflib.URIRef(found[1]), found[2]

    return Known(graph)
