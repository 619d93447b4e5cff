"""Makes a knowledge graph of what was extracted from posts: RDF, GraphML, CSV, and a page to look through it.

    python -m launch.graph extracted/extracted.jsonl --out=graph
    python -m launch.graph entities/extracted.jsonl relations/extracted.jsonl --out=graph --formats=turtle,html --min_score=0.5
    python -m launch.graph extracted.jsonl --out=graph --ids=ids.csv --relations=relations.toml --images=photos=https://photos.example.com/

Input is records as JSON lines (mmre_jax/data/readers/jsonl.py) with typed mentions, relations and triples, with scores or without: what
launch.extract writes, whose empty label is known, or anyone's, with --none. A folder stands for its extracted.jsonl. Several files, or one
with several lines, may speak of one post: its findings are put together, if its words and its picture are the same; else that is an error
that names both.

Mentions are one entity if they have one type and one name, in whatever letter case, with or without @, # and possessive. The same fact from
several posts is one statement with its sources. Its score is 1 - product(1 - score) over the sources, which takes them to be independent;
posts of the same words and picture count once (mmre_jax/graph/model.py). --out holds, by --formats,

    turtle   graph.ttl     each statement also as rdf:Statement with its score, and the posts it was derived from (PROV-O); a part of a
    jsonld   graph.jsonld  picture is a media fragment of it, #xywh=percent:
    trig     graph.trig    the same, and a named graph of each post
    graphml  graph.graphml networkx reads it back to the same graph
    csv      nodes.csv, edges.csv with the headers of Neo4j's import tool; no cell is a formula (mmre_jax/graph/tables.py)
    html     graph.html    one file that needs no network: posts, pictures, arrows, scores, the graph with filters, a table

--ids is a CSV file with the columns surface,type,id, such as Ada,PER,http://www.wikidata.org/entity/Q7259; an empty type is any.
--relations is a TOML file of what is symmetric, what is inverse to what, and what other vocabularies call it (mmre_jax/graph/relations.py):

    [relations."/per/per/peer"]
    symmetric = true
    property = "http://xmlns.com/foaf/0.1/knows"
    [relations."/org/per/has_member"]
    inverse_of = "/per/org/member_of"
    [types]
    PER = "http://xmlns.com/foaf/0.1/Person"

RDF and GraphML need the extra `graph` (rdflib, networkx).
"""

from __future__ import annotations

import collections
import importlib.util
import itertools
import logging
import pathlib
from collections.abc import Callable

from absl import app, flags

from launch import console
from mmre_jax import storage
from mmre_jax.bulk.place import EXTRACTED, SUMMARY
from mmre_jax.data.annotation import looks_empty
from mmre_jax.data.readers import jsonl
from mmre_jax.graph import graphml, iris, merge, names, page, rdf, relations, tables
from mmre_jax.graph.model import Graph
from mmre_jax.graph.page_data import Bounds
from mmre_jax.text_files import read_json

FORMATS = (*rdf.FORMATS, "graphml", "csv", "html")
NEEDS = {**dict.fromkeys(rdf.FORMATS, "rdflib"), "graphml": "networkx"}
_B = Bounds()

_OUT = flags.DEFINE_string("out", None, "Folder for what is written.")
_FORMATS = flags.DEFINE_list("formats", list(FORMATS), f"Which of {', '.join(FORMATS)}.")
_IDS = flags.DEFINE_string("ids", None, "CSV file of surface,type,id: the ids of entities, absolute IRIs.")
_RELATIONS = flags.DEFINE_string("relations", None, "TOML file of what is known of relations and types.")
_NONE = flags.DEFINE_list("none", [], "Labels that say that there is no relation; by default as its summary.json says, or None.")
_SCORE = flags.DEFINE_float("min_score", 0.0, "Findings with a lower score are left out.", lower_bound=0, upper_bound=1)
_BASE = flags.DEFINE_string("base", iris.BASE, "What the IRIs of entities, posts and statements begin with.")
_IMAGES = flags.DEFINE_multi_string("images", [], "FOLDER=IRI: pictures in FOLDER are called IRI and their name; else file://.")
_ROOT = flags.DEFINE_string("root", None, "The folder that pictures' paths are relative to; each input file's own if not given.")
_TITLE = flags.DEFINE_string("title", "Knowledge graph", "Of the page.")
_POSTS = flags.DEFINE_integer("page_posts", _B.posts, "Posts on the page, those with a statement first.", lower_bound=0)
_PICTURES = flags.DEFINE_integer("page_pictures", _B.pictures, "Posts on the page with their picture.", lower_bound=0)
_STATEMENTS = flags.DEFINE_integer("page_statements", _B.statements, "Statements on the page, the surest first.", lower_bound=0)


def main(*places: str) -> None:
    """Reads, merges, writes, and names what was written."""
    if not _FORMATS.value:
        raise app.UsageError(f"--formats is empty: which of {', '.join(FORMATS)}")
    if unknown := [name for name in _FORMATS.value if name not in FORMATS]:
        raise app.UsageError(f"--formats={','.join(_FORMATS.value)}: {unknown[0]!r} is none of {', '.join(FORMATS)}")
    if lacking := sorted({NEEDS[name] for name in _FORMATS.value if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None}):
        raise app.UsageError(f"--formats={','.join(_FORMATS.value)}: needs {', '.join(lacking)}: pip install 'mmre_jax[graph]'")
    logger = console.setup()
    rules = relations.Rules() if _RELATIONS.value is None else relations.read(_RELATIONS.value)
    none = _NONE.value if flags.FLAGS["none"].present else sorted({empty_label(lines_of(place)) for place in places})
    graph = merge.build(
        itertools.chain.from_iterable(jsonl.read(lines_of(place), root=_ROOT.value, posts=True) for place in places),
        ids=None if _IDS.value is None else names.read_ids(_IDS.value),
        rules=rules,
        none=none,
        min_score=_SCORE.value,
        base=_BASE.value,
        images=images_of(_IMAGES.value),
    )
    out = storage.path(_OUT.value)
    storage.make_folder(out)
    for path in write(graph, out, _FORMATS.value, logger):
        print(path)
    counts = {"posts": graph.posts, "entities": graph.entities, "parts of pictures": graph.areas, "statements": graph.statements}
    logger.info("%s", ", ".join(f"{len(found)} {what}" for what, found in counts.items()))
    labels = collections.Counter(source.label for statement in graph.statements for source in statement.sources)
    if unheard := [label for label in rules.relations if label not in labels]:
        logger.info("%s: in no statement: %s", _RELATIONS.value, ", ".join(unheard))
    if looking := [label for label in labels if looks_empty(label)]:
        told, typed = ", ".join(f"{labels[label]} {label!r}" for label in looking), ",".join([*none, *looking])
        logger.warning("statements whose relation looks empty: %s; if it says that there is none: --none=%s", told, typed)
    if graph.left_out:
        logger.info("not in the graph: %s", ", ".join(f"{count} {reason}" for reason, count in graph.left_out.items()))


def lines_of(place: str) -> pathlib.Path:
    """The file of JSON lines that an argument names: itself, or the one in a folder that launch.extract wrote."""
    path = storage.path(place)
    return path / EXTRACTED if storage.is_dir(path) else path


def empty_label(lines: pathlib.Path) -> str:
    """The label of a file of JSON lines that says that there is no relation: that of the checkpoint that launch.extract wrote them with, as
    summary.json beside them has it; 'None' of others."""
    try:
        summary = read_json(lines.with_name(SUMMARY)) if lines.name == EXTRACTED else None
    except FileNotFoundError:
        summary = None
    found = summary.get("none") if isinstance(summary, dict) else None
    return found if isinstance(found, str) else merge.NONE[0]


def images_of(given: list[str]) -> dict[str, str]:
    """{folder: IRI} of what --images says.

    Raises:
      app.UsageError: for what has not that form.
    """
    found = {}
    for pair in given:
        folder, equals, iri = pair.partition("=")
        if not (folder and equals and iri):
            raise app.UsageError(f"--images={pair}: expected FOLDER=IRI")
        found[folder] = iri
    return found


def write(graph: Graph, out: pathlib.Path, formats: list[str], logger: logging.Logger) -> list[pathlib.Path]:
    """Writes a graph in some formats into a folder, each file whole or not at all, and returns the files."""
    written = []

    def whole(name: str, serialize: Callable[[], bytes]) -> None:
        storage.write_bytes(out / name, serialize())
        written.append(out / name)

    for format in (name for name in FORMATS if name in formats):
        if format in rdf.FORMATS:
            whole(f"graph.{rdf.FORMATS[format]}", lambda format=format: rdf.serialize(graph, format))
        elif format == "graphml":
            whole("graph.graphml", lambda: graphml.serialize(graph))
        elif format == "csv":
            written += tables.write_csv(graph, out)
        else:
            bounds = Bounds(_POSTS.value, _PICTURES.value, _STATEMENTS.value)
            shown = page.write_html(graph, out / "graph.html", title=_TITLE.value, bounds=bounds)
            written.append(out / "graph.html")
            if shown["posts"] < len(graph.posts) or shown["statements"] < len(graph.statements):
                logger.info("on the page: %d posts, %d statements (--page_posts, --page_statements)", shown["posts"], shown["statements"])
    return written


if __name__ == "__main__":
    flags.mark_flags_as_required(["out"])
    console.run(main, ["FILE", "..."])
