"""What is looked at before a run begins, so that it does not end late for what could be known at once."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from mmre_jax import settings, storage, systems
from mmre_jax.data import datasets
from mmre_jax.data.dataset import BACKGROUND, DataSet
from mmre_jax.data.decode import PictureError
from mmre_jax.data.picture_report import PictureReport, check
from mmre_jax.data.text import check_vocabulary, train_tokenizer
from mmre_jax.declare import SettingError
from mmre_jax.tasks.objects import check_scorer
from mmre_jax.training import features
from mmre_jax.training.checkpoint import FOLDER, CheckpointError
from mmre_jax.training.job import Job, check_lengths, make_task, parts_that_are_there, shapes
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.optim import scales
from mmre_jax.training.parallel import Devices, open_devices
from mmre_jax.training.state import split_params
from mmre_jax.weights import pretrained


def check_settings(config: ConfigDict, workdir: str | os.PathLike[str] | None = None) -> Devices | MeshDevices:
    """Refuses settings that no run can have, before any data are read. Returns the devices that the run is to use.

    Args:
      workdir: the run's folder, which may hold a run that goes on; None where it is not known.

    Raises:
      ValueError: naming the settings.
      WeightError: for text.weights or vision.weights that cannot be read, or that contradict the settings.
      CheckpointError: for a train.init_from that is not there.
    """
    settings.check(config)
    if config.train.seeds:
        raise ValueError("train.seeds are runs of launch.train, one a seed; a run has train.seed")
    if config.train.init_parts and not config.train.init_from:
        raise ValueError("train.init_parts names the parts to take from a checkpoint: say with train.init_from from which")
    rehearse(config)
    devices = open_devices(config.parallel)
    if config.train.batch % (devices.count * config.optim.accumulate):
        raise ValueError(
            f"train.batch={config.train.batch} does not divide over {devices.count} device(s), "
            f"each working through optim.accumulate={config.optim.accumulate} parts"
        )
    # A run that goes on does not need again what it started from.
    begun = workdir is not None and storage.is_dir(storage.at_home(workdir) / FOLDER)
    if config.train.init_from and not begun and not storage.is_dir(storage.at_home(config.train.init_from)):
        raise CheckpointError(f"train.init_from={config.train.init_from}: there is no such folder")
    return devices


def rehearse(config: ConfigDict) -> None:
    """Builds the system of a configuration once without data: what settings have to do with each other is known to the code that builds,
    and which parts there are to its parameters' names.

    Of files it reads the descriptions of text.weights and vision.weights alone.

    Raises:
      ValueError: for settings that contradict each other, or that name a part which the system does not have.
      WeightError: as `pretrained.resolve`.
    """
    check_lengths(config)
    if config.data.require_images and datasets.shows_blank(config.data):
        raise SettingError("data.missing='blank' shows crops that are missing, and data.require_images=True has none missing: set one")
    if config.task.name == "objects":
        check_scorer()
    if not config.text.weights:
        check_vocabulary(config.text.tokenizer, config.text.vocab_size)
    resolved = parts_that_are_there(pretrained.resolve(config))
    labels = {"entities": ("O", "B-X", "I-X"), "objects": (BACKGROUND, "X")}.get(config.task.name, ("X", "Y"))
    system = systems.build(resolved, vocab_size=config.text.vocab_size, labels=labels)
    features.check(resolved, system)
    if resolved.optim.frozen or resolved.optim.multipliers:
        none = "" if config.task.name == "triples" else labels[0]
        task = make_task(resolved, labels, none, train_tokenizer([("a", "b")], vocab_size=16, kind="word"))
        trained, _ = split_params(shapes(Job(resolved, task, system))["params"], resolved.optim.frozen)
        scales(trained, dict(resolved.optim.multipliers), resolved.optim.frozen)


def prepare_workdir(workdir: str | os.PathLike[str]) -> pathlib.Path:
    """The run's folder, made and found writable.

    Raises:
      PermissionError, NotADirectoryError, StorageError: naming it, if it cannot be written to.
    """
    try:
        path = storage.absolute(workdir)
        storage.check_writable(path)
    except storage.StorageError as error:
        raise storage.StorageError(f"--workdir={error}") from error
    except OSError as error:
        raise type(error)(error.errno, f"--workdir={workdir}: the run's folder cannot be written to ({error.strerror or error})") from error
    return path


def check_pictures(job: Job, records: dict[str, Any], dataset: DataSet | None = None) -> PictureReport | None:
    """Looks at every picture file once, before training; None where there are no files. Those in a bucket are listed, not fetched: with
    data.require_images alone they are, too.

    Raises:
      PictureError: with data.require_images, if any is missing or unreadable.
    """
    if not job.system.plan or datasets.find(job.config.data, dataset).pictures is not None:
        return None
    data, every = job.config.data, [record for found in records.values() for record in found]
    report = check(every, job.system.plan, fetch=data.require_images, remembered=data.verdicts, blank=datasets.shows_blank(data))
    if data.require_images and not report.complete:
        raise PictureError(f"data.require_images is set, but pictures are missing:\n{report.summary()}")
    return report
