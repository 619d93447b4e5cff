"""A split as a run reads it: its examples, whose pictures they are shown with, and the batches of training."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet, PictureSource, RecordSource
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.feature_store import StoredFeatures
from mmre_jax.data.loader import Batch, Order, batches
from mmre_jax.data.released_pictures import STAND_IN, ReleasedPictures
from mmre_jax.data.sampling import hidden_pictures, shuffled_pictures, stratified
from mmre_jax.records import Record
from mmre_jax.systems import released
from mmre_jax.training.job import Job

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Split:
    """A split's examples as the loader wants them: records, their tokens, where their pictures are, whose they are shown with, and what
    an encoder that is not trained made of those, where it is kept (training/features.py)."""

    records: Sequence[Record]
    encoded: Sequence[Encoded]
    pictures: PictureSource | None
    picture_of: np.ndarray | None = None
    features: StoredFeatures | None = None

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, int64 [N]."""
        return np.array([len(encoded) for encoded in self.encoded], np.int64)


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
    """
    examples = training_examples(job, records) if train else job.task.examples(records)
    pictures = open_pictures(job, job.config.data if data is None else data, dataset)
    if isinstance(pictures, ReleasedPictures) and any(slot.source == "photo" for slot in job.system.plan):
        replaced, zeros = pictures.replaced(examples)
        if replaced or zeros:
            logger.info("photos that are not there: %d are %s, as released, and %d zeros", replaced, STAND_IN, zeros)
    return Split(examples, job.task.encode(examples), pictures, picture_of(job, examples, shuffled=shuffled))


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


def training_examples(job: Job, records: RecordSource) -> Sequence[Record]:
    """Of the training split's examples data.train_share, drawn from each stratum; the tokenizer has seen the words of all."""
    examples, share = job.task.examples(records), job.config.data.train_share
    if share == 1.0:
        return examples
    return [examples[i] for i in stratified([job.task.stratum(record) for record in examples], share, job.config.train.seed)]


def train_stream(job: Job, order: Order, split: Split, first: int, last: int) -> Iterator[Batch]:
    """This process's batches of the steps [first, last) of training, on the host."""
    return batches(
        order,
        split.records,
        job.task.features,
        split.pictures,
        encoded=split.encoded,
        first=first,
        last=last,
        picture_of=split.picture_of,
        stored=split.features,
        process=jax.process_index(),
        processes=jax.process_count(),
        workers=job.config.data.workers,
        threads=job.config.data.threads,
    )
