"""A split as a run reads it: its examples, whose pictures they are shown with, and the batches of training."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax.data import datasets, lengths
from mmre_jax.data.dataset import DataSet, PictureSource, RecordSource
from mmre_jax.data.loader import Batch, Order, batches, cores
from mmre_jax.data.released_pictures import STAND_IN, ReleasedPictures
from mmre_jax.data.sampling import hidden_pictures, shuffled_pictures, stratified
from mmre_jax.data.split import Split
from mmre_jax.records import Record
from mmre_jax.systems import released
from mmre_jax.tasks import WORDLESS
from mmre_jax.tasks.task import Task
from mmre_jax.training.job import Job

FEW = 4  # cores: as many threads keep them busy
REPAID = 1024  # records
logger = logging.getLogger(__name__)


def make_split(
    job: Job,
    records: RecordSource,
    *,
    train: bool = False,
    shuffled: bool = False,
    data: ConfigDict | None = None,
    dataset: DataSet | None = None,
) -> Split:
    """The task's examples, tokenised here and nowhere else; of the pictures data.image_share.

    Args:
      train: of the examples those of `training_examples`.
      shuffled: show other records' pictures (the visual shuffle).
      data: section of a configuration that says where the records come from; the job's own if None.
      dataset: a user's own, if it is not one of datasets.DATASETS.

    Raises:
      RecordError: for a record that lacks what the task is to find.
      ValueError: for a data.draft that means nothing here.
    """
    if data is None and job.system.plan:
        datasets.check_draft(job.config.data, dataset, released=released.is_asked_for(job.config))
    examples = training_examples(job.task, job.config, records) if train else job.task.examples(records)
    pictures = open_pictures(job, job.config.data if data is None else data, dataset)
    if isinstance(pictures, ReleasedPictures) and any(slot.source == "photo" for slot in job.system.plan):
        replaced, zeros = pictures.replaced(examples)
        if replaced or zeros:
            logger.info("photos that are not there: %d are %s, as released, and %d zeros", replaced, STAND_IN, zeros)
    return Split(examples, job.task.encode(examples), job.task.features, pictures, picture_of(job, examples, shuffled=shuffled))


def picture_of(job: Job, examples: Sequence[Record], *, shuffled: bool) -> np.ndarray | None:
    """Whose picture each example is shown with, as `Split.picture_of`; of the pictures data.image_share.

    Args:
      shuffled: other records' (the visual shuffle).
    """
    share, seed = job.config.data.image_share, job.config.train.seed
    whose = shuffled_pictures(len(examples), seed) if shuffled else None
    if share == 1.0:
        return whose
    return hidden_pictures(examples, np.arange(len(examples)) if whose is None else whose, share, seed)


def open_pictures(job: Job, data: ConfigDict | None = None, dataset: DataSet | None = None) -> PictureSource | None:
    """The pictures that a job's system looks at, of the files that records name or of a data set; see `datasets.open_pictures`."""
    return datasets.open_pictures(job.system.plan, data, dataset, released=released.is_asked_for(job.config))


def training_examples(task: Task, config: ConfigDict, records: RecordSource) -> Sequence[Record]:
    """Of the training split's examples data.train_share, drawn from each stratum; the tokenizer has seen the words of all."""
    examples, share = task.examples(records), config.data.train_share
    if share == 1.0:
        return examples
    return [examples[i] for i in stratified([task.stratum(record) for record in examples], share, config.train.seed)]


def padded(job: Job, train: Split) -> Job:
    """The job with the padded lengths and the window that its configuration leaves open (lengths.choose), which the log tells."""
    data = job.config.data
    if data.buckets and data.window or job.config.task.name in WORDLESS:
        return job
    chosen = lengths.choose(train.lengths, job.config)
    logger.info("%s", chosen)
    config = job.config.copy_and_resolve_references().unlock()
    config.data.update({"buckets": chosen.buckets, "window": chosen.window})
    return dataclasses.replace(job, config=config.lock())


def order_of(job: Job, train: Split) -> Order:
    """The order of a job's training, padded as its configuration says."""
    config = job.config
    return Order(train.lengths, config.train.batch, lengths.buckets_of(config), True, config.train.seed, config.data.window or 1)


def batches_of(job: Job, order: Order, split: Split, first: int = 0, last: int | None = None) -> Iterator[Batch]:
    """This process's batches of the steps [first, last) of a split in some order, on the host; to the end of an epoch if `last` is None."""
    split.prepare()
    steps = (order.steps if last is None else last) - first
    return batches(
        order,
        split,
        first=first,
        last=last,
        process=jax.process_index(),
        processes=jax.process_count(),
        **makers(job.config.data, split, steps * order.batch // jax.process_count()),
    )


def makers(data: ConfigDict, split: Split, count: int) -> dict[str, int]:
    """{workers, threads} that make the batches of a stream of `count` records, as `loader.batches` takes them: as data.workers and
    data.threads say. For data.workers=-1, where pictures are decoded from files, there are as many as cores: threads of this process on few
    cores, since decoders let go of Python's lock, and for a stream so short that starting processes, which takes seconds, is not repaid."""
    if data.workers >= 0:
        return {"workers": int(data.workers), "threads": int(data.threads)}
    if split.features is not None or not datasets.decodes_files(split.pictures):
        return {"workers": 0, "threads": int(data.threads)}
    there = cores()
    processes = there > FEW and count >= REPAID
    return {"workers": there if processes else 0, "threads": max(there, int(data.threads))}
