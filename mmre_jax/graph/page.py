"""A graph as one HTML page that asks no network for anything: posts with what was found in them, a graph to look through, a table.

The graph is drawn by Cytoscape.js 3.35.0 (MIT licence: assets/cytoscape-LICENSE.txt), as it is published. Posts are not trusted: whatever
comes from them stands in a block of JSON without `<`, `>` and `&`, and is put on the page as text, never as HTML. The page's policy
(Content-Security-Policy) lets its own two scripts and its style run, known by their hashes, shows pictures out of the page itself, and
forbids all else, so that nothing can be sent anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from PIL import Image

from mmre_jax import storage
from mmre_jax.data import datasets
from mmre_jax.graph.model import Graph
from mmre_jax.graph.page_data import Bounds, page_data
from mmre_jax.text_files import read_text

ASSETS = pathlib.Path(__file__).parent / "assets"
VIEWER = "cytoscape-3.35.0.min.js"
SCRIPTS = ("page.js", "page_posts.js", "page_graph.js")


def write_html(
    graph: Graph,
    path: str | os.PathLike[str],
    *,
    title: str = "Knowledge graph",
    bounds: Bounds = Bounds(),  # noqa: B008 (frozen)
    read: Callable[[str], Image.Image] = datasets.read_picture,
) -> dict[str, int]:
    """Writes the page of a graph.

    Args:
      bounds: how much of it is shown; the page says what is not.
      read: a picture by the name that a record has for it: a path, or a key of the embedded data set.

    Returns:
      How many posts, pictures and statements are shown.

    Raises:
      OSError: it cannot be written.
    """
    data = page_data(graph, bounds, read)
    storage.write_bytes(storage.path(path), render(data, title).encode())
    return data["shown"]


def render(data: dict[str, Any], title: str) -> str:
    """The page of what `page_data` gives."""
    style = _asset("page.css")
    viewer, script = _asset(VIEWER), "".join(map(_asset, SCRIPTS))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(viewer)} {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "POLICY": policy,
        "TITLE": html.escape(title),
        "STYLE": style,
        "DATA": as_block(data),
        "VIEWER": viewer,
        "SCRIPT": script,
    }
    before, *rest = _asset("page.html").split("{{")
    return before + "".join(parts[name] + text for name, _, text in (piece.partition("}}") for piece in rest))


def as_block(data: Any) -> str:
    """JSON that can stand in a script element: without `<`, `>` and `&`, and with line ends that JavaScript knows alone."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _asset(name: str) -> str:
    return read_text(ASSETS / name)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
