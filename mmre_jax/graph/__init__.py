"""From what was found in posts to a knowledge graph: `write_html(build(records), "graph.html")`; RDF, GraphML and CSV alike."""

from __future__ import annotations

from mmre_jax.graph.graphml import to_networkx
from mmre_jax.graph.merge import build
from mmre_jax.graph.model import Area, Entity, Graph, Place, Source, Statement
from mmre_jax.graph.names import read_ids
from mmre_jax.graph.page import write_html
from mmre_jax.graph.page_data import Bounds
from mmre_jax.graph.rdf import to_rdf
from mmre_jax.graph.relations import Rule, Rules
from mmre_jax.graph.relations import read as read_rules
from mmre_jax.graph.tables import write_csv

__all__ = [
    "Area",
    "Bounds",
    "Entity",
    "Graph",
    "Place",
    "Rule",
    "Rules",
    "Source",
    "Statement",
    "build",
    "read_ids",
    "read_rules",
    "to_networkx",
    "to_rdf",
    "write_csv",
    "write_html",
]
