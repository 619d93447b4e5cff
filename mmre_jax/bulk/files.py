"""Extraction from many posts to a folder, which goes on where it was stopped.

    OUT/extracted.jsonl            a line for each post, in their order (`Extraction.to_json`)
    OUT/rejects.jsonl              a line for each that could not be read: {"file", "line", "text", "reason"}
    OUT/summary.json               counts
    OUT/extract/settings.json      what it was made with
    OUT/extract/extracted.jsonl    the lines so far, while it is at work
    OUT/extract/pictures.jsonl     size and time of these posts' pictures, likewise

Lines are added in order, and those that were there when the program was killed stay, up to the end of the last group that was extracted
together; so what is extracted after them is the same to the last digit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import pathlib
import tempfile
from typing import Any

from mmre_jax import storage
from mmre_jax.bulk.place import (
    EXTRACTED,
    REJECTS,
    RESULTS,
    SEEN,
    SUMMARY,
    Finder,
    Source,
    Tally,
    Wanted,
    pass_over,
    sync,
    take_place,
)
from mmre_jax.bulk.posts import Given, Posts
from mmre_jax.bulk.seen import Seen
from mmre_jax.extraction import KINDS, Extraction
from mmre_jax.progress import Progress
from mmre_jax.records import RecordError
from mmre_jax.training.log import write_json

SYNCED = 256  # lines after which they are made sure to be on the disk
logger = logging.getLogger(__name__)


def extract_all(
    finder: Finder, posts: Posts | Given, out: str | os.PathLike[str], wanted: Wanted, *, show: int = 0, progress: str = ""
) -> tuple[dict[str, Any], list[Extraction]]:
    """Extracts from all posts, and writes what was found; goes on where it was stopped before.

    Args:
      out: a folder. In a bucket nothing is there before all is: a program that is stopped begins anew, and one that came to its end is
        not repeated over what it wrote.
      show: how many extractions are returned, the first ones.
      progress: name under which progress is shown; it is not where empty.

    Returns:
      The summary: records, found, masked (records with a picture that is missing or could not be read) and the first such (examples);
      relations that the types of their mentions contradict (contradicting) and the first such (contradictions); rejected and the first
      reasons (reasons); of relations the empty label (none); calibration of each checkpoint. And the first extractions.

    Raises:
      RecordError: `out` has results of other settings, or files that are not from here, or were changed, or a picture that was; no line of
        the input can be read.
      PictureError: where `wanted.strict`.
      OSError: another program is at work in `out`.
    """
    out = storage.path(out)
    with storage.full_at(out), contextlib.ExitStack() as held:
        remote = storage.is_remote(out)
        if remote and (there := [out / name for name in RESULTS if storage.size(os.fspath(out / name)) is not None]):
            raise RecordError(f"{there[0]} is there already: give another --out, or move it away")
        place = pathlib.Path(held.enter_context(tempfile.TemporaryDirectory())) if remote else out
        digest, lines = posts.look()
        folder = take_place(place, {"engine": "local", "input": digest, **finder.about(), **dataclasses.asdict(wanted)}, held)
        seen = Seen(folder / SEEN, held)
        source = Source(finder, posts, held.enter_context((folder / REJECTS).open("w", encoding="utf-8")), seen)
        target = place / EXTRACTED if (place / EXTRACTED).is_file() else folder / EXTRACTED
        file = held.enter_context(target.open("a+b"))
        tally, todo = Tally(), finder.groups(source)
        if first := pass_over(file, todo, tally, KINDS[finder.task], seen):
            file.truncate()
        if tally.records:
            logger.info("%s: %d posts were extracted from before", out, tally.records)
        records, shown = itertools.chain(first, itertools.chain.from_iterable(todo)), list[Extraction]()
        cold = tally.records + len(first)  # the group with which comes what is compiled
        with Progress(progress, lines, start=tally.records, unit="post", cold=True) as bar:
            for extraction in finder.extract_many(records, strict=wanted.strict, top=wanted.top):
                extraction = wanted.of(extraction, finder.none)
                if len(shown) == tally.records < show:
                    shown.append(extraction)
                seen.note(extraction.record)
                file.write((json.dumps(row := extraction.to_json(out), ensure_ascii=False) + "\n").encode())
                tally.count(extraction.record, row, KINDS[finder.task])
                if not tally.records % SYNCED:
                    sync(file)
                while bar.done < tally.records + source.rejected:
                    bar.advance()
                if tally.records == cold:
                    bar.warm()
        for written in (file, source.file):
            sync(written)
        (folder / REJECTS).replace(place / REJECTS)
        target.replace(place / EXTRACTED)
        (folder / SEEN).unlink()
        summary = source.summary(tally)
        write_json(place / SUMMARY, summary)
        if remote:
            storage.upload(place, RESULTS, out)
    if source.rejected and not tally.records:
        raise RecordError(f"none of {source.rejected} posts can be read, see {out / REJECTS}; the first: {source.reasons[0]}")
    return summary, shown if len(shown) == min(show, tally.records) else []
