"""Text and picture in; relations, mentions or triples out: a trained checkpoint as a Python object."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmre_jax import tasks
from mmre_jax.data.dataset import FilePictures
from mmre_jax.data.given import Picture
from mmre_jax.data.loader import cores
from mmre_jax.data.parts import Part
from mmre_jax.extraction import Extraction, UntilError, Where, all_pairs, post, record_of
from mmre_jax.not_seen import not_seen, object_sources
from mmre_jax.progress import track
from mmre_jax.records import Box, Record, RecordError, Relation
from mmre_jax.tasks import relation
from mmre_jax.text_files import check_words
from mmre_jax.training import calibration
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.evaluate import Predictor, make_predictor
from mmre_jax.training.job import Job, restore_job, shapes
from mmre_jax.training.locate import locate
from mmre_jax.training.parallel import local_devices
from mmre_jax.training.parameters import checksum
from mmre_jax.training.splits import Split, open_pictures
from mmre_jax.training.stream import BatchShapes, Window, predict, warm


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A checkpoint ready to extract; make one with `load`."""

    job: Job
    variables: Any
    predictor: Predictor
    step: int
    directory: pathlib.Path  # of the steps, on a disk or in a bucket
    calibration: Mapping[str, Any] | None = None  # of the scores, and what it was fitted on; None: they are as the system gives them

    def extract(
        self,
        *,
        text: str | Sequence[str] = "",
        image: Picture | None = None,
        head: Where | None = None,
        tail: Where | None = None,
        mentions: Sequence[Where] = (),
        boxes: Sequence[Box] = (),
        caption: str | None = None,
        id: str = "text",
        meta: Mapping[str, Any] | None = None,
        strict: bool = True,
        top: int = 0,
    ) -> Extraction:
        """What the checkpoint's task finds in a post; for relations, of one pair or of every ordered pair of mentions.

        Args:
          text: words, which stay as they are, or a string, which is split into words (data/words.py), at white space only if a mention is
            given as a span of words. Of no use where the task reads pictures alone.
          image: the picture: a path, the bytes of a file, an open file, a Pillow image or an array of uint8; see `data.given.given`.
          head, tail: (task relation) each what stands in the text, a string; a span of its characters, Chars(start, end); or a span of
            words (start, end). All are end-exclusive.
          mentions: instead of head and tail: all ordered pairs of these are tried.
          boxes: objects in the picture, normalised (x_min, y_min, x_max, y_max), best first, for systems that look at objects; where they
            look at some that are found in two ways, these serve for both.
          caption: what the picture shows, for systems that read captions.
          id, meta: what the post is called, and what else is to be kept with it.
          strict: whether a picture that is missing or cannot be read is an error; else it is masked and noted.
          top: as of `extract_records`.

        Raises:
          RecordError: for a span or box out of range, a string that is not in the text or is in it more than once (its places are
            listed), if neither a pair nor two mentions are given, or if they are given to a task that finds them by itself.
          PictureError: where `strict`, for a picture that is missing or cannot be read; for a URL, which is to be fetched first.
        """
        record = post(
            self.task,
            self.object_sources or ("detected",),
            text=text,
            image=image,
            head=head,
            tail=tail,
            mentions=mentions,
            boxes=boxes,
            caption=caption,
            id=id,
            meta=meta,
        )
        return self.extract_records([record], strict=strict, top=top)[0]

    def record_of(self, item: Record | Mapping[str, Any], id: str) -> Record:
        """One of many posts as a record for this checkpoint: a record as it is, or what `extract` takes (all but `strict`) as a dictionary,
        which is called `id` where it does not say its own.

        Raises:
          RecordError, PictureError: as `extract`, naming the post; for other keys.
        """
        return record_of(self.task, self.object_sources or ("detected",), item, id)

    @property
    def task(self) -> str:
        """What the checkpoint finds: 'relation', 'entities', 'triples' or 'objects'."""
        return str(self.job.config.task.name)

    @property
    def none(self) -> str:
        """The label that says that there is nothing."""
        return self.job.task.none

    @property
    def object_sources(self) -> tuple[str, ...]:
        """Which objects the system looks at: any of 'grounded' and 'detected'."""
        return object_sources(self.job)

    def extract_records(self, records: Sequence[Record], progress: str = "", *, strict: bool = False, top: int = 0) -> list[Extraction]:
        """`extract_many` of a list, looked at as a whole beforehand: what it refuses is refused at once, and a photo of several records is
        read once, however far from each other they stand.

        Args:
          progress: name under which progress is shown; it is not where empty.
        """
        blank = [self.prepared(record) for record in records]
        photos: dict[str, int] = {}
        order = sorted(range(len(blank)), key=lambda i: i if (photo := blank[i].image) is None else photos.setdefault(photo, i))
        stream = self.extract_many((blank[i] for i in order), strict=strict, top=top)
        found = dict(zip(order, track(stream, progress, len(order), unit="record"), strict=True))
        return [found[i] for i in range(len(order))]

    def extract_many(self, records: Iterable[Record | Mapping[str, Any]], *, strict: bool = False, top: int = 0) -> Iterator[Extraction]:
        """Predicts posts as they come, in their order: of relations, every pair that one names; annotations are not looked at.

        So many are looked ahead at as fill a few batches, and sorted by length. Pictures are read by threads while the devices work, those
        of records that are looked at together once. All batches have one of the same few shapes (`load` with warm=True compiles them all).

        Args:
          records: each a record, or what `extract` takes as a dictionary, which is called `post-N`, the N-th, where it does not say its id.
          strict: whether a picture that a record names but that is missing or cannot be read ends all; else it is masked, as in training,
            and stands in the record's notes.
          top: (task relation) the probabilities of so many labels, the likeliest ones, stand in each relation's `alternatives`.

        Yields:
          Of each record what was found. What is raised is raised when its turn comes.

        Raises:
          ValueError: for a `top` that the task cannot have.
          RecordError: for a record that names no pair, where the task is to find relations, or with half of a character in its words.
          PictureError: where `strict`, for one such picture.
        """
        shapes, threads = self._shapes, max(cores(), int(self.job.config.data.threads))
        predictor = dataclasses.replace(self.predictor, job=dataclasses.replace(self.job, task=tasks.telling(self.job.task, top)))
        pictures = FilePictures(()) if (opened := open_pictures(self.job)) is None else opened
        running: collections.deque[_Looked] = collections.deque()
        posts = UntilError(self.prepared(self.record_of(x, f"post-{n}")) for n, x in enumerate(records, 1))
        with _reading(threads) as pool:

            def windows() -> Iterator[Window]:
                for blank in self.groups(posts):
                    examples = [self._examples(record) for record in blank]
                    every = [example for own in examples for example in own]
                    tokens = self.job.task.encode(every)
                    batches = shapes.batches(np.array([len(each) for each in tokens]))
                    part = Part((every[i] for rows, _ in batches for i in rows.tolist() if i >= 0), pictures, pool)
                    split = Split(every, tokens, self.job.task.features, part if self.job.system.plan else None)
                    running.append(_Looked(blank, [len(own) for own in examples], split, part))
                    yield Window(split, batches)

            for found in predict(predictor, self.variables, windows()):
                looked = running.popleft()
                rest, tokens = iter(found), iter(looked.split.encoded)
                for record, count in zip(looked.records, looked.counts, strict=True):
                    said = tuple(x for own in itertools.islice(rest, count) for x in own)
                    own = list(itertools.islice(tokens, count))
                    notes, masked = not_seen(self.job, record, own, looked.part.failed(record), strict=strict)
                    yield Extraction(record, said, notes, self.task, masked)
        posts.end()

    def warm(self) -> None:
        """Compiles the prediction of all shapes of batches."""
        warm(self.predictor, self.variables, self._shapes)

    @property
    def _shapes(self) -> BatchShapes:
        return BatchShapes.of(self.job, self.predictor.devices.count)

    def prepared(self, record: Record) -> Record:
        """A record as it is looked at, without annotation of what is to be found. For relations, mentions alone become all ordered pairs.

        Raises:
          RecordError: for a word with half of a character; where the task is to find relations, without a pair and without two mentions, or
            with one mention twice.
        """
        where = record.origin or record.id
        check_words(record.words, f"{where}: words")
        if self.task != "relation":
            regions = tuple(region for region in record.regions if region.source != "gold")
            return dataclasses.replace(record, relations=(), mentions=(), triples=(), regions=regions)
        if not record.relations and not record.mentions:
            raise RecordError(
                f"{where}: no pair to find the relation of: this checkpoint finds no mentions, so that a post has to name them, "
                "by 'mentions' or 'relations', or another checkpoint finds them first (entities=, --entities)"
            )
        named = record.relations or all_pairs(record.mentions, f"{where}: no 'relations', so all pairs of 'mentions' are tried")
        return dataclasses.replace(record, relations=tuple(Relation(pair.head, pair.tail) for pair in named))

    def groups(self, records: Iterable[Record]) -> Iterator[list[Record]]:
        """The records, as `prepared` gives them, in the groups that `extract_many` looks at together. What is found in a record may hang
        on the others of its group by rounding, and on nothing else."""
        group: list[Record] = []
        count = 0
        for record in records:
            group.append(record)
            count += len(record.relations) or 1
            if count >= self.ahead:
                yield group
                group, count = [], 0
        if group:
            yield group

    @property
    def ahead(self) -> int:
        """Examples of a group: a record, or for relations a pair, is one."""
        return self._shapes.ahead

    def about(self) -> dict[str, str]:
        """Names all that is found depends on: a checksum of the parameters, of their calibration, and of what else the checkpoint says."""
        said = {name: value for name, value in self.job.meta().items() if name != "versions"} | {"calibration": self.calibration}
        return {"checkpoint": checksum(self.predictor.devices.first(self.variables), json.dumps(said, sort_keys=True))}

    def calibrations(self) -> dict[str, Mapping[str, Any] | None]:
        """How scores are calibrated, and what that was fitted on; None where they are as the system gives them."""
        return {"checkpoint": self.calibration}

    def _examples(self, record: Record) -> list[Record]:
        return relation.examples([record]) if self.task == "relation" else [record]


@dataclasses.dataclass(frozen=True, eq=False)
class _Looked:
    """Records that are looked at together: how many examples each is, all of these, and what their pictures were found to be."""

    records: Sequence[Record]
    counts: Sequence[int]
    split: Split
    part: Part


@contextlib.contextmanager
def _reading(threads: int) -> Iterator[concurrent.futures.Executor]:
    """Threads that read pictures; what they have not begun when the block ends is left."""
    pool = concurrent.futures.ThreadPoolExecutor(threads, "pictures")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def load(path: str | os.PathLike[str], devices: int = 1, *, warm: bool = False) -> Extractor:
    """An extractor from a run's workdir (its best step by dev score, else its last) or from the directory of one step.

    Args:
      devices: local devices to predict on; 0 for all.
      warm: whether all that can be needed is compiled now; else each shape of a batch is when it first comes.

    Raises:
      CheckpointError: if there is no checkpoint, or it is of another format or version.
    """
    directory, step = locate(path)
    with Checkpoints(directory, read_only=True) as checkpoints:
        job = restore_job(checkpoints.meta(step), checkpoints.where(step))
        variables = checkpoints.restore_variables(step, shapes(job))
    fitted = calibration.read(directory, step)
    if fitted is not None:
        job = dataclasses.replace(job, task=tasks.calibrated(job.task, calibration.of(fitted)))
    mapped = local_devices(devices)
    extractor = Extractor(job, mapped.replicate(variables), make_predictor(job, mapped), step, directory, fitted)
    if warm:
        extractor.warm()
    return extractor
