"""A graph as two CSV files, with the headers that Neo4j's import tool documents (Operations Manual, "Import", "CSV header format"):

    neo4j-admin database import full --nodes=nodes.csv --relationships=edges.csv

A spreadsheet takes a cell that begins with =, +, -, @, a tab or a line end for a formula, whatever is quoted around it. Such a text, and
one that begins with an apostrophe, has one apostrophe put before it (OWASP, "CSV Injection"): `plain` takes it off again, so that nothing
is lost. No cell has a line end in it: Neo4j refuses them by default; where a name or a relation has one it becomes a space, and the JSON
columns (types, forms, box, sources) have texts as they were.
"""

from __future__ import annotations

import csv
import io
import os
import pathlib
import re
from collections.abc import Iterable

from mmre_jax import storage
from mmre_jax.graph.graphml import label_of, node_lists, sources_json
from mmre_jax.graph.model import Area, Entity, Graph, Statement

NODES = ("id:ID", "name", "types", "forms", "image", "box", ":LABEL")
EDGES = (":START_ID", ":END_ID", ":TYPE", "id", "property", "symmetric:boolean", "score:double", "sources")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


def write_csv(graph: Graph, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes nodes.csv and edges.csv into a folder, which is made if need be, and returns their paths.

    Raises:
      OSError: they cannot be written.
    """
    where = storage.path(folder)
    storage.make_folder(where)
    tables = {"nodes.csv": (NODES, map(_node, graph.nodes.values())), "edges.csv": (EDGES, map(_edge, graph.statements))}
    for name, (header, rows) in tables.items():
        storage.write_bytes(where / name, _csv(header, rows).encode())
    return [where / name for name in tables]


def harmless(text: str) -> str:
    """A text as a cell that no spreadsheet computes."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def plain(cell: str) -> str:
    """The text of a cell: what `harmless` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def _node(node: Entity | Area) -> tuple[str, ...]:
    lists = node_lists(node)
    name = _line(label_of(node))
    if isinstance(node, Area):
        return node.id, name, "", "", node.image, lists["box"], "Area"
    labels = ";".join(["Entity", *(_line(type_).replace(";", ",") for type_ in node.types)])
    return node.id, name, lists["types"], lists["forms"], "", "", labels


def _edge(statement: Statement) -> tuple[str, ...]:
    ends = statement.subject, statement.object, _line(statement.relation)
    symmetric, score = str(statement.symmetric).lower(), "" if statement.score is None else repr(statement.score)
    return *ends, statement.id, statement.property, symmetric, score, sources_json(statement)


def _line(text: str) -> str:
    return re.sub(r"[\0\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", " ", text)


def _csv(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    return written.getvalue()
