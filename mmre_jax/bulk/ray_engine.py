"""Extraction from many posts on a Ray cluster: a model for each worker, each post once, and the same files as on one machine.

    OUT/extract/parts/0000012.jsonl    what was found in a group of posts, as long as the program is at work

The program that is started reads the posts and sends the groups that one machine would extract from together; workers send back lines, and
the program writes them, a part whole or not at all, and in the end all parts in their order. What a worker has not sent back when it is
lost is sent to another. Pictures are read by the workers, so their paths must mean the same everywhere. The package `ray` is the extra of
that name; RAY_ADDRESS says which cluster, and without it there is one of this machine alone (https://docs.ray.io/en/latest/data/data.html).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import pickle
import queue
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmre_jax import storage
from mmre_jax.bulk.place import EXTRACTED, REJECTS, SEEN, SUMMARY, Finder, Source, Tally, Wanted, pass_over, sync, take_place
from mmre_jax.bulk.posts import Given, Posts
from mmre_jax.bulk.seen import Seen
from mmre_jax.chain import load
from mmre_jax.data.decode import PictureError
from mmre_jax.extraction import KINDS
from mmre_jax.progress import Progress
from mmre_jax.records import Record, RecordError
from mmre_jax.text_files import parse_json, read_text
from mmre_jax.training import xla_cache
from mmre_jax.training.log import write_json, write_text

TRIES = 3  # times in a row that all workers may be lost without any result
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What is asked of a cluster.

    workers: at most so many; as many as there is room for if 0.  cpus, gpus: of each.
    silence: seconds without any result after which the program ends; starting the workers counts.
    """

    workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    silence: float = 900.0


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What workers are to do, and how many there are to be. out: where what they find will stand."""

    checkpoint: Mapping[str, str | None]
    wanted: Wanted
    out: str
    cluster: Cluster


class Worker:
    """Loads the model once, and finds what is in groups of records."""

    def __init__(self, asked: _Asked) -> None:
        xla_cache.enable_usual()
        self.finder, self.wanted, self.out = load(**asked.checkpoint), asked.wanted, asked.out

    def __call__(self, batch: Any) -> Any:
        """Of groups their numbers, the lines that were found in them, and the error that ended one, or ''."""
        import pyarrow as pa

        numbers, found = batch["group"].to_pylist(), list[tuple[str, str]]()
        for records in batch["records"].to_pylist():
            try:
                stream = self.finder.extract_many(pickle.loads(records), strict=self.wanted.strict, top=self.wanted.top)
                rows = [self.wanted.of(extraction, self.finder.none).to_json(self.out) for extraction in stream]
                found.append(("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), ""))
            except (PictureError, RecordError) as error:
                found.append(("", str(error)))
        return pa.table({"group": numbers, "lines": [lines for lines, _ in found], "error": [error for _, error in found]})


def extract_all(
    checkpoint: Mapping[str, str | None],
    finder: Finder,
    posts: Posts | Given,
    out: str | os.PathLike[str],
    wanted: Wanted,
    cluster: Cluster,
    *,
    progress: str = "",
) -> dict[str, Any]:
    """As `files.extract_all`, by the workers of a cluster.

    Args:
      checkpoint: what `chain.load` is given in each worker.
      finder: the same, loaded here.

    Raises:
      RecordError, PictureError, OSError: as `files.extract_all`; a TimeoutError after `cluster.silence`, an OSError where workers are lost
        again and again.
    """
    out = storage.on_disk(out, "--out").expanduser().absolute()
    with storage.full_at(out), contextlib.ExitStack() as held:
        digest, lines = posts.look()
        folder = take_place(out, {"engine": "ray", "input": digest, **finder.about(), **dataclasses.asdict(wanted)}, held)
        parts = folder / "parts"
        if not (finished := (out / EXTRACTED).is_file()):
            parts.mkdir(exist_ok=True)
            seen = Seen(folder / SEEN, held)
            unwritten = Source(finder, posts, held.enter_context(open(os.devnull, "w", encoding="utf-8")), seen)
            _fill(parts, finder.groups(unwritten), seen, _Asked(checkpoint, wanted, os.fspath(out), cluster), lines, progress)
        source = Source(finder, posts, held.enter_context((folder / REJECTS).open("w", encoding="utf-8")))
        tally, kind = Tally(), KINDS[finder.task]
        with (out / EXTRACTED if finished else folder / EXTRACTED).open("rb" if finished else "wb") as file:
            if finished:
                if pass_over(file, finder.groups(source), tally, kind):
                    raise RecordError(f"{file.name}: has fewer lines than there are posts: it was changed: remove it, and start again")
            else:
                for number, group in enumerate(finder.groups(source)):
                    file.write((part := parts / _name(number)).read_bytes())
                    for record, row in zip(group, _rows(part, _ids(group)), strict=True):
                        tally.count(record, row, kind)
            for written in (file, source.file):
                sync(written)
        if not finished:
            (folder / EXTRACTED).replace(out / EXTRACTED)
        (folder / REJECTS).replace(out / REJECTS)
        write_json(out / SUMMARY, source.summary(tally))
        shutil.rmtree(parts, ignore_errors=True)
        (folder / SEEN).unlink(missing_ok=True)
    if source.rejected and not tally.records:
        raise RecordError(f"none of {source.rejected} posts can be read, see {out / REJECTS}; the first: {source.reasons[0]}")
    return source.summary(tally)


def _fill(parts: pathlib.Path, groups: Iterable[Sequence[Record]], seen: Seen, asked: _Asked, lines: int, progress: str) -> None:
    """Sees to it that there is a part for every group."""
    with _connected() as ray:
        import pyarrow as pa

        left: dict[int, tuple[Any, str, int]] = {}  # of what has not come back: where it is in Ray's storage, its ids and its size
        done = 0
        for number, group in enumerate(groups):
            if (path := parts / _name(number)).is_file():
                _rows(path, _ids(group))
                done += len(group)
                for record in group:
                    seen.check(record)
            else:
                for record in group:
                    seen.note(record)
                table = pa.table({"group": [number], "records": [pickle.dumps(list(group))]})
                left[number] = ray.put(table), _ids(group), len(group)
        if done:
            logger.info("%s: %d posts were extracted from before", parts, done)
        lost = 0
        with Progress(progress, lines, start=done, unit="post", cold=True) as bar:
            while left:
                before = len(left)
                try:
                    for number, text in _results([table for table, _, _ in left.values()], asked):
                        if number in left:
                            _, ids, size = left.pop(number)
                            write_text(parts / _name(number), text)
                            _rows(parts / _name(number), ids)
                            for _ in range(size):
                                bar.advance()
                            bar.warm()
                except ray.exceptions.RayError as error:
                    lost = lost + 1 if len(left) == before else 0
                    said = " ".join(str(error).split())[:300]
                    if lost == TRIES:
                        raise OSError(f"workers were lost {TRIES} times in a row, and nothing came of them: {said}") from error
                    logger.warning("%d groups of posts are sent again: workers were lost (%s)", len(left), said)


def _results(groups: list[Any], asked: _Asked) -> Iterator[tuple[int, str]]:
    """(number, lines) of groups as they come."""
    import ray

    cluster = asked.cluster
    most = cluster.workers or max(1, int(_room(ray.cluster_resources(), cluster)))
    dataset = ray.data.from_arrow_refs(groups).map_batches(
        Worker,
        fn_constructor_args=(asked,),
        batch_size=None,
        batch_format="pyarrow",
        concurrency=(1, min(most, len(groups))),
        num_cpus=cluster.cpus,
        num_gpus=cluster.gpus or None,
    )
    come: queue.Queue[Any] = queue.Queue()

    def listen() -> None:
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                come.put(batch)
            come.put(None)
        except BaseException as error:
            come.put(error)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            batch = come.get(timeout=cluster.silence)
        except queue.Empty:
            there = {name: amount for name, amount in sorted(ray.cluster_resources().items()) if name in ("CPU", "GPU")}
            raise TimeoutError(
                f"nothing came from the workers for {cluster.silence:.0f} seconds, {len(groups)} groups of posts were sent; the cluster "
                f"has {there}, a worker takes {cluster.cpus:g} CPU and {cluster.gpus:g} GPU; the same command goes on from there"
            ) from None
        if batch is None:
            return
        if isinstance(batch, BaseException):
            raise batch
        for row in batch.to_pylist():
            if row["error"]:
                raise PictureError(row["error"])
            yield row["group"], row["lines"]


def _room(resources: Mapping[str, float], cluster: Cluster) -> float:
    """How many workers there is room for."""
    rooms = [resources.get(name, 0.0) / each for name, each in (("CPU", cluster.cpus), ("GPU", cluster.gpus)) if each]
    return min(rooms, default=1.0)


@contextlib.contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected and quiet; ended with the block unless it was there before."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OSError("--engine=ray needs mmre_jax[ray]") from error
    own = not ray.is_initialized()
    if own:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


def _name(number: int) -> str:
    return f"{number:07d}.jsonl"


def _ids(records: Sequence[Record]) -> str:
    return _checksum([record.id for record in records])


def _checksum(ids: Sequence[str]) -> str:
    return hashlib.blake2b(json.dumps(ids).encode(), digest_size=16).hexdigest()


def _rows(path: pathlib.Path, ids: str) -> list[dict[str, Any]]:
    """The lines of a part. Raises RecordError where they are not those of its group, each once and in their order."""
    rows = [parse_json(line, f"{path}:{number}") for number, line in enumerate(read_text(path).split("\n")[:-1], 1)]
    if _checksum([row["id"] for row in rows]) != ids:
        raise RecordError(f"{path}: not the lines of its group of posts: remove it, and start again")
    return rows
