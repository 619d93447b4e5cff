"""A training run, from a configuration to test scores."""

from __future__ import annotations

import functools
import logging
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mmre_jax import settings, tasks
from mmre_jax.data import annotation, datasets
from mmre_jax.data.dataset import DataSet
from mmre_jax.data.decode import PictureError
from mmre_jax.data.loader import Order, batches
from mmre_jax.data.picture_report import PictureReport, check
from mmre_jax.data.sampling import is_shuffled
from mmre_jax.records import Record
from mmre_jax.tasks import task as task_lib
from mmre_jax.training import parameters, processes, resume
from mmre_jax.training import state as state_lib
from mmre_jax.training.checkpoint import FOLDER, CheckpointError, Checkpoints
from mmre_jax.training.evaluate import Split, make_split
from mmre_jax.training.identity import identity
from mmre_jax.training.initialise import Source, check_tokenizer, initialise, open_source
from mmre_jax.training.lock import locked
from mmre_jax.training.log import MetricLog, read_json, write_json
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.optim import make_optimizer
from mmre_jax.training.parallel import Devices, open_devices
from mmre_jax.training.resume import Saved, check_same, last_saved, tell_devices
from mmre_jax.training.run import Interrupted, NonFiniteError, Run
from mmre_jax.training.setup import Job, new_job, new_tokenizer, protocol, rehearse, versions
from mmre_jax.training.state import TrainState
from mmre_jax.weights import pretrained

__all__ = ["Interrupted", "NonFiniteError", "Run", "initial_state", "summarise", "train"]

logger = logging.getLogger(__name__)


def train(config: ConfigDict, workdir: str | os.PathLike[str], dataset: DataSet | None = None) -> dict[str, Any]:
    """Trains, evaluates each epoch on val, and scores the best checkpoint on test. Returns what it writes to metrics.json.

    A run starts in one of three ways:
      resume      where workdir has a checkpoint: it goes on, to the same numbers as if it had never stopped; the configuration and the
                  data must be the same.
      initialise  where config.train.init_from names a run: the parameters of its best checkpoint that fit, a new optimiser, step 0.
      fresh       else: random parameters, encoders from text.weights and vision.weights where given.

    Args:
      config: as configs/ makes them.
      workdir: the run's folder.
      dataset: a user's own, called data.name, if it is not one of datasets.DATASETS.

    Raises:
      CheckpointError: where workdir holds a checkpoint of another configuration or other data; where one cannot be saved.
      WorkdirInUse: where another run is at work in workdir.
      ValueError: for settings that no run can have.
      NonFiniteError: naming step and records; the state before that step is saved beside the checkpoints.
      Interrupted: after train.max_steps steps, or a SIGTERM or SIGINT; a checkpoint is saved first.
      PictureError: with data.require_images, before training, if a picture is missing or unreadable.
    """
    devices = check_settings(config, workdir)
    folder = processes.decided(lambda: prepare_workdir(workdir))
    with locked(folder):
        return _train(config, folder, devices, dataset)


def _train(config: ConfigDict, workdir: pathlib.Path, devices: Devices | MeshDevices, dataset: DataSet | None) -> dict[str, Any]:
    """`train` in a workdir that no other run is in."""
    began = time.perf_counter()
    enable_compilation_cache(config.train.compilation_cache)

    # ---- data and system
    saved = last_saved(workdir)
    source = open_source(config.train.init_from) if saved is None and config.train.init_from else None
    opened = {split: datasets.open_split(config.data, split, dataset) for split in datasets.SPLITS}
    records = {split: list(map(read.__getitem__, range(len(read)))) for split, (read, _) in opened.items()}  # each decoded once
    tokenizer = saved.tokenizer if saved else source.tokenizer if source else ""
    if not tokenizer and not config.text.weights:
        tokenizer = processes.decided(lambda: new_tokenizer(config, records["train"]))
    job = new_job(config, records["train"], dataset, tokenizer=tokenizer)
    config = job.config
    data = identity(config.data, records, job.system.plan, functools.partial(tasks.also_read, job.task))
    if saved is not None:
        check_same(saved, job, data, records, workdir)
    elif source is not None:
        check_tokenizer(source, job)
    report = processes.decided(lambda: check_pictures(job, records, dataset))
    splits = {
        name: make_split(job, found, train=name == "train", shuffled=is_shuffled(config.data, name), dataset=dataset)
        for name, found in records.items()
    }
    findings = annotation.look(config.task.name, job.task.none, records, view=config.data.view)
    reading = read_counts(job, splits["train"], records, {split: counts for split, (_, counts) in opened.items()}, findings)
    order = Order(splits["train"].lengths, config.train.batch, config.data.buckets, True, config.train.seed, config.data.window)
    total_steps = order.steps * config.train.epochs
    log_start(job, splits, report, order, devices)
    for name, counts in reading.items():
        logger.info("%s: %s", name, ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    for warning in (warnings := annotation.warnings(findings)):
        logger.warning("warning: %s", warning)

    if saved is not None:
        finished = processes.decided(lambda: read_json(workdir / "metrics.json")) if saved.step == total_steps else None
        if finished is not None:
            logger.info("%s is finished: see its metrics.json", workdir)
            return finished
        tell_devices(saved, job, devices.count)

    with Checkpoints(workdir / FOLDER) as checkpoints, MetricLog(workdir) as log:
        state = starting_state(job, splits["train"], total_steps, checkpoints, saved, source, devices)
        sizes = parameters.count(state, config.optim)
        logger.info("%s", parameters.told(sizes))
        shapes = devices.abstract(jax.eval_shape(state.variables))
        start = int(np.asarray(state.step))
        log.truncate(start)
        meta = {**job.meta(), "data": data, "devices": devices.count}
        run = Run(job, devices, order, splits, checkpoints, log, total_steps, meta)

        # ---- train, evaluating and saving at each epoch's end
        run.fit(devices.replicate(state), start)

        # ---- the best checkpoint on test
        found = checkpoints.best()
        best = processes.decided(lambda: found)
        variables = checkpoints.restore_variables(best, shapes)
        replicated = devices.replicate(variables)
        test = run.predictor.score(replicated, splits["test"], "test")
        scores = task_lib.headline(job.task, test)
        metrics = {
            "test": test,
            "val": run.history[best] if best in run.history else run.predictor.score(replicated, splits["val"], "val"),  # a lost log
            "headline": scores,
            "best_step": best,
            "steps": total_steps,
            "seed": config.train.seed,
            "protocol": protocol(config),
            "counts": {name: len(split.records) for name, split in splits.items()},
            "reading": reading,
            "warnings": warnings,
            "pictures": None if report is None else report.to_json(),
            "parameters": sizes,
            "speed": run.speed(),
            "minutes": (time.perf_counter() - began) / 60,  # since it was last started
            "versions": versions(),
        }
        write_json(workdir / "metrics.json", metrics)
    logger.info("test of step %d: %s", best, task_lib.as_line(scores))
    return metrics


def starting_state(
    job: Job,
    train: Split,
    total_steps: int,
    checkpoints: Checkpoints,
    saved: Saved | None,
    source: Source | None,
    devices: Devices | MeshDevices,
) -> TrainState:
    """The state that a run begins with: that of its last checkpoint, else one of another run's parameters, else a random one.

    Raises:
      CheckpointError: as `resume.restore` and `initialise`.
    """
    if saved is not None:
        state = jax.eval_shape(lambda variables: state_of(job, variables, total_steps), variable_shapes(job, train))
        return resume.restore(checkpoints, saved, devices.abstract(state))
    if source is not None:
        batch, parts = example(job, train), job.config.train.init_parts
        return state_of(job, initialise(source, job, initial_variables(job, train), batch, parts), total_steps)
    return initial_state(job, train, total_steps)


def initial_state(job: Job, split: Split, total_steps: int) -> TrainState:
    """Random parameters, encoders filled from their directories, optimiser state for what is trained; on the host's first device."""
    return state_of(job, initial_variables(job, split), total_steps)


def initial_variables(job: Job, split: Split) -> dict[str, Any]:
    """Random parameters, encoders filled from their directories; on the host's first device."""
    variables = jax.jit(job.system.init)(jax.random.key(job.config.train.seed), example(job, split))
    return pretrained.load(job.config, job.system.plan, variables)


def variable_shapes(job: Job, split: Split) -> Any:
    """Shapes and dtypes of a system's variables, without making them."""
    return jax.eval_shape(job.system.init, jax.random.key(0), example(job, split))


def example(job: Job, split: Split) -> dict[str, Any]:
    """A batch of the split's first record."""
    order = Order(split.lengths[:1], 1, job.config.data.buckets, train=False)
    return next(batches(order, split.records[:1], job.task.features, split.pictures, threads=1))


def state_of(job: Job, variables: Any, total_steps: int) -> TrainState:
    """The state at step 0 of these variables."""
    params, _ = state_lib.split_params(variables["params"], job.config.optim.frozen)
    return state_lib.create(variables, job.config.optim.frozen, make_optimizer(job.config.optim, params, total_steps))


def read_counts(
    job: Job,
    train: Split,
    records: Mapping[str, Sequence[Record]],
    read: Mapping[str, Mapping[str, int]],
    findings: Sequence[annotation.Finding],
) -> dict[str, dict[str, int]]:
    """What reading each split found and left out (`read`), what is to be told of its annotation and captions, and what training cannot be
    shown."""
    parts = (read, annotation.counts(findings), datasets.caption_counts(job.config.data, records))
    names = dict.fromkeys(name for part in parts for name in part)
    found = {name: counts for name in names if (counts := {k: n for part in parts for k, n in part.get(name, {}).items()})}
    if left := job.task.left_out(train.records):
        found["not learnt from"] = left
    return found


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
    begun = workdir is not None and (pathlib.Path(workdir).expanduser() / FOLDER).is_dir()
    if config.train.init_from and not begun and not pathlib.Path(config.train.init_from).expanduser().is_dir():
        raise CheckpointError(f"train.init_from={config.train.init_from}: there is no such folder")
    return devices


def prepare_workdir(workdir: str | os.PathLike[str]) -> pathlib.Path:
    """The run's folder, made and found writable.

    Raises:
      PermissionError, NotADirectoryError: naming it, if it cannot be written to.
    """
    path = pathlib.Path(workdir).expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise type(error)(error.errno, f"--workdir={workdir}: the run's folder cannot be written to ({error.strerror})") from error
    return path


def enable_compilation_cache(folder: str) -> None:
    """Keeps compiled programs in a folder of the user's own; '' for not at all.

    Raises:
      OSError: naming the setting, if the folder cannot be made.
    """
    if folder:
        path = pathlib.Path(folder).expanduser()
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise type(error)(error.errno, f"train.compilation_cache={folder}: the folder cannot be made ({error.strerror})") from error
        jax.config.update("jax_compilation_cache_dir", str(path))


def check_pictures(job: Job, records: dict[str, Any], dataset: DataSet | None = None) -> PictureReport | None:
    """Looks at every picture file once, before training; None where there are no files.

    Raises:
      PictureError: with data.require_images, if any is missing or unreadable.
    """
    if not job.system.plan or datasets.find(job.config.data, dataset).pictures is not None:
        return None
    report = check([record for found in records.values() for record in found], job.system.plan)
    if job.config.data.require_images and not report.complete:
        raise PictureError(f"data.require_images is set, but pictures are missing:\n{report.summary()}")
    return report


def log_start(job: Job, splits: dict[str, Split], report: PictureReport | None, order: Order, devices: Devices | MeshDevices) -> None:
    """What one wants to know before waiting for a run."""
    counts = ", ".join(f"{len(split.records):,} {name}" for name, split in splits.items())
    logger.info("%s on %s (%s), objects=%s", job.config.system.name, job.config.data.name, counts, job.config.data.objects)
    logger.info("%d steps an epoch, %d device(s), %s", order.steps, devices.count, jax.default_backend())
    if report is not None:
        logger.info("pictures:\n%s", report.summary())
    if warning := protocol(job.config).get("warning"):
        logger.warning(warning)


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation of the headline scores on test of runs that differ in their seeds."""
    values = {name: np.array([run["headline"][name] for run in runs]) for name in runs[0]["headline"]}
    spread = {k: {"mean": float(v.mean()), "std": float(v.std(ddof=1)) if len(v) > 1 else 0.0} for k, v in values.items()}
    return {"seeds": [run["seed"] for run in runs], "test": spread, "runs": runs}
