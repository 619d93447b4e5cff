"""A graph as networkx's (extra `graph`), and as GraphML, which networkx reads back to the same.

Nodes are called by their ids. An entity has kind="entity", label, types and forms; a part of a picture kind="area", label, image and box.
Edges are called by their statement's id and have relation, property, symmetric, score where there is one, and sources. What are lists
(types, forms, box, sources) are JSON texts: GraphML has no lists. XML has no control characters: in labels and relations they become
U+FFFD, and in the JSON, where they are escaped, nothing is lost.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

from mmre_jax.graph.model import Area, Entity, Graph, Statement

if TYPE_CHECKING:
    import networkx

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
_ENDS = re.compile("\r\n?")  # XML's readers make line feeds of them (section 2.11)


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """The graph as networkx's, all attributes as GraphML can hold them.

    Raises:
      ImportError: networkx is not there.
    """
    try:
        import networkx
    except ImportError as error:
        raise ImportError("GraphML needs networkx: pip install 'mmre_jax[graph]'") from error
    found = networkx.MultiDiGraph()
    for node in graph.nodes.values():
        found.add_node(node.id, **_node(node))
    for statement in graph.statements:
        found.add_edge(statement.subject, statement.object, key=statement.id, **_edge(statement))
    return found


def serialize(graph: Graph) -> bytes:
    """The graph as GraphML; `networkx.read_graphml(..., force_multigraph=True)` gives `to_networkx` back.

    Raises:
      ImportError: networkx is not there.
    """
    found = to_networkx(graph)
    import networkx

    written = io.BytesIO()
    networkx.write_graphml(found, written)
    return written.getvalue()


def sources_json(statement: Statement) -> str:
    """Where a statement was found, in ASCII: a list of {"post", "label", "score" where there is one}."""
    return _json([{"post": s.post, "label": s.label, **({} if s.score is None else {"score": s.score})} for s in statement.sources])


def node_lists(node: Entity | Area) -> dict[str, str]:
    """What a node has lists of, in ASCII, as JSON."""
    return {"types": _json(node.types), "forms": _json(node.forms)} if isinstance(node, Entity) else {"box": _json(node.box)}


def label_of(node: Entity | Area) -> str:
    """What a node is called: an entity by its name, a part of a picture by the picture's file."""
    return node.name if isinstance(node, Entity) else re.split(r"[/\\]", node.file)[-1]


def _node(node: Entity | Area) -> dict[str, Any]:
    kind = {"kind": "entity"} if isinstance(node, Entity) else {"kind": "area", "image": node.image}
    return {**kind, "label": _xml(label_of(node)), **node_lists(node)}


def _edge(statement: Statement) -> dict[str, Any]:
    score = {} if statement.score is None else {"score": statement.score}
    named = {"relation": _xml(statement.relation), "property": statement.property, "symmetric": statement.symmetric}
    return {**named, **score, "sources": sources_json(statement)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", _ENDS.sub("\n", text))
