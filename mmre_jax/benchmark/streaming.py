"""How many posts a second a checkpoint extracts from: one call each, and streamed."""

from __future__ import annotations

import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from mmre_jax import extract
from mmre_jax.benchmark.commands import write_posts
from mmre_jax.data.readers import jsonl
from mmre_jax.training.protocol import versions

ALONE = 100  # posts of a round that are extracted from one by one
SIDE = 128  # pixels of a picture's height


def measure(checkpoint: str | os.PathLike[str], *, posts: int, rounds: int) -> dict[str, Any]:
    """Posts a second of `extract_records` with one post each, as `extract` calls it, and of `extract_many`, in turns, all compiled before;
    and the median over the rounds of their ratio.

    Made-up posts of 16 words with two mentions, three boxes, and a JPEG each.
    """
    extractor = extract.load(checkpoint, warm=True)
    with tempfile.TemporaryDirectory() as folder:
        records = jsonl.read(write_posts(pathlib.Path(folder), "posts", posts, side=SIDE))

        def one_by_one() -> int:
            return sum(len(extractor.extract_records([record])) for record in records[:ALONE])

        def streamed() -> int:
            return sum(1 for _ in extractor.extract_many(records))

        one_by_one(), streamed()
        found = [{"one_by_one": _rate(one_by_one), "streamed": _rate(streamed)} for _ in range(rounds)]
    ratio = statistics.median(row["streamed"] / row["one_by_one"] for row in found)
    return {"checkpoint": os.fspath(checkpoint), "posts": posts, "rounds": found, "ratio": ratio, "versions": versions()}


def _rate(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


def text(result: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = ["one by one, streamed: {one_by_one:,.0f}, {streamed:,.0f} posts/s".format(**row) for row in result["rounds"]]
    return "\n".join([*lines, f"streamed is {result['ratio']:.1f} times as fast (median of {len(lines)} rounds)"])
