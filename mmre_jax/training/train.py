"""A training run, from a configuration to test scores, in the order in which it happens."""

from __future__ import annotations

import contextlib
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

from mmre_jax import tasks
from mmre_jax.data import annotation, datasets
from mmre_jax.data.dataset import DataSet
from mmre_jax.data.loader import Order
from mmre_jax.data.sampling import is_shuffled
from mmre_jax.progress import Progress
from mmre_jax.records import Record
from mmre_jax.tasks import task as task_lib
from mmre_jax.training import calibration, checks, parameters, processes, xla_cache
from mmre_jax.training.ahead import compile_run
from mmre_jax.training.checkpoint import FOLDER, Checkpoints
from mmre_jax.training.clock import Clock
from mmre_jax.training.evaluate import make_predictor
from mmre_jax.training.features import with_features
from mmre_jax.training.identity import identity
from mmre_jax.training.initialise import check_tokenizer, open_source
from mmre_jax.training.interrupt import Interrupted, StopSignal
from mmre_jax.training.job import Job, new_job, new_tokenizer
from mmre_jax.training.lasting import lasting
from mmre_jax.training.lock import locked
from mmre_jax.training.log import MetricLog, read_json, write_json
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.optim import schedule
from mmre_jax.training.parallel import Devices
from mmre_jax.training.protocol import protocol, versions
from mmre_jax.training.resident import resident
from mmre_jax.training.resume import as_padded, check_same, last_saved, tell_devices
from mmre_jax.training.splits import Split, batches_of, make_split, order_of, padded
from mmre_jax.training.starting import starting_state, word_counts, word_vectors
from mmre_jax.training.state import TrainState
from mmre_jax.training.step import mapped_step
from mmre_jax.training.trained_on import TrainedOn

logger = logging.getLogger(__name__)


class NonFiniteError(RuntimeError):
    """The loss or its gradient was not finite."""


def train(config: ConfigDict, workdir: str | os.PathLike[str], dataset: DataSet | None = None) -> dict[str, Any]:
    """Trains, evaluates each epoch on val, and scores the best checkpoint on test. Returns what it writes to metrics.json.

    A run starts in one of three ways:
      resume      where workdir has a checkpoint: it goes on, to the same numbers as if it had never stopped; the configuration and the
                  data must be the same.
      initialise  where config.train.init_from names a run: the parameters of its best checkpoint that fit, a new optimiser, step 0.
      fresh       else: random parameters, encoders from text.weights and vision.weights where given.

    Every process of a run goes through this function, and each through the same collectives: what they must agree on is decided once
    (training/processes.py).

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
    with contextlib.ExitStack() as opened:
        # ---- devices, and a folder that no other run is in
        began = time.perf_counter()
        devices = checks.check_settings(config, workdir)
        workdir = processes.decided(lambda: checks.prepare_workdir(workdir))
        hold = opened.enter_context(locked(workdir))
        xla_cache.enable(config.train.compilation_cache)

        # ---- what it starts from: this run's last checkpoint, else another run's best one, else nothing
        saved = last_saved(workdir)
        source = open_source(config.train.init_from) if saved is None and config.train.init_from else None

        # ---- data, and the task and the system that fit them
        read_all = opened.enter_context(lasting())
        read = {split: datasets.open_split(config.data, split, dataset) for split in datasets.SPLITS}
        records = {split: list(map(found.__getitem__, range(len(found)))) for split, (found, _) in read.items()}  # each decoded once
        tokenizer = saved.tokenizer if saved else source.tokenizer if source else ""
        if not tokenizer and not config.text.weights:
            tokenizer = processes.decided(lambda: new_tokenizer(config, records["train"]))
        config = config if saved is None else as_padded(config, saved)
        job = new_job(config, records["train"], dataset, tokenizer=tokenizer)
        config = job.config
        data = identity(config.data, records, job.system.plan, functools.partial(tasks.also_read, job.task))
        if saved is not None:
            check_same(saved, job, data, records, workdir)
        elif source is not None:
            check_tokenizer(source, job)
        pictures = processes.decided(lambda: checks.check_pictures(job, records, dataset))
        splits = {
            name: make_split(job, found, train=name == "train", shuffled=is_shuffled(config.data, name), dataset=dataset)
            for name, found in records.items()
        }
        job = padded(job, splits["train"])
        config, order = job.config, order_of(job, splits["train"])
        total = order.steps * config.train.epochs

        # ---- what one wants to know before waiting for it
        findings = annotation.look(config.task.name, job.task.none, records, view=config.data.view)
        reading = read_counts(job, splits["train"], records, {split: counts for split, (_, counts) in read.items()}, findings)
        words = word_vectors(job) if saved is None else None
        if counts := word_counts(words, saved):
            reading["word vectors"] = counts
        warnings = annotation.warnings(findings)
        sizes = {name: len(split.records) for name, split in splits.items()}
        tell(job, sizes, None if pictures is None else pictures.summary(), order.steps, devices.count, reading, warnings)
        read_all()
        if saved is not None:
            finished = processes.decided(lambda: read_json(workdir / "metrics.json")) if saved.step == total else None
            if finished is not None:
                logger.info("%s is finished: see its metrics.json", workdir)
                return finished
            tell_devices(saved, job, devices.count)

        # ---- the state on the devices, the compiled steps, and the batches that come
        checkpoints = opened.enter_context(Checkpoints(workdir / FOLDER))
        log = opened.enter_context(MetricLog(workdir, hold.check))
        TrainedOn.of(config.task.name, splits["train"].records).write(workdir)
        host = starting_state(job, splits["train"], total, checkpoints, saved, source, devices, words)
        splits = with_features(job, splits, host.variables())
        counted, shapes, start = parameters.count(host, config.optim), jax.eval_shape(host.variables), int(np.asarray(host.step))
        logger.info("%s", parameters.told(counted))
        log.truncate(start)
        history = processes.decided(lambda: {row["step"]: row["val"] for row in log.rows() if "val" in row})
        meta = {**job.meta(), "data": data, "devices": devices.count, "words": counts}
        state = devices.replicate(host)
        del host
        step, key = mapped_step(job, devices, state, total)
        until = min(total, config.train.max_steps or total)
        shown, fill = resident(job, splits["train"], devices)
        held = (splits["val"], splits["test"])
        step, predictor = compile_run(step, (state, key), make_predictor(job, devices), order, shown, fill, held, (start, until))
        stream = map(fill, devices.prefetch(batches_of(job, order, shown, start, total)))
        check = functools.partial(check_finite, devices=devices, order=order, train=splits["train"], workdir=workdir, meta=meta)
        rates, clock, note = schedule(config.optim, total), Clock(skip=2), ""  # the first batches are waited for

        # ---- train: log, evaluate and save at each epoch's end, save now and then, stop when any process is asked to
        asked, stop = processes.AnyFlag(), opened.enter_context(StopSignal())

        def stopping() -> bool:
            return asked.ask(stop.asked)

        with Progress("train", total, start=start, unit="step") as progress:
            for done in range(start, total + 1):  # the first may be an epoch's end that was saved, but not evaluated
                epoch_ends = done > 0 and (done % order.steps == 0 or done == total)
                if done > start:
                    with clock.step():
                        with clock.waiting():
                            batch = next(stream)
                        state, metrics = step(state, batch, key)
                        if jax.default_backend() == "cpu":  # steps in flight with callbacks can starve each other of threads there
                            jax.block_until_ready(metrics)
                    if epoch_ends or done % config.train.log_every == 0:
                        means = {name: float(value) for name, value in devices.first(metrics).items()}
                        check(state, done)
                        note = f"loss {means['loss']:.3f}"
                        log.write(done, {"train": means, "lr": float(rates(done - 1))})
                    progress.advance(note)

                fresh = done > start or (epoch_ends and done not in history)
                if epoch_ends and done not in history:
                    with contextlib.suppress(Interrupted):  # then it is evaluated when the run goes on
                        history[done] = predictor.score(state.variables(), splits["val"], "val", stopping=stopping)
                        log.write(done, {"val": history[done]})
                        said = task_lib.as_line(task_lib.headline(job.task, history[done]))
                        logger.info("epoch %d, step %d, val: %s", done // order.steps, done, said)
                score = next(iter(task_lib.headline(job.task, history[done]).values())) if epoch_ends and done in history else None
                stopped = stopping() or start < done == config.train.max_steps
                if fresh and (epoch_ends or stopped or (config.train.save_every and done % config.train.save_every == 0)):
                    check(state, done)
                    log.flush()
                    checkpoints.save(done, devices.saved(state), meta, score)
                if stopped:
                    checkpoints.wait()
                    raise Interrupted(f"stopped after step {done} of {total}; the same command goes on from there")
        checkpoints.wait()

        del state, stream, fill  # the devices are free for the best checkpoint

        # ---- the best checkpoint on test
        best = processes.decided(checkpoints.best)
        variables = devices.replicate(checkpoints.restore_variables(best, devices.abstract(shapes)))
        test = predictor.score(variables, splits["test"], "test", stopping=stopping)
        headline = task_lib.headline(job.task, test)
        about = {"split": "val", "data": config.data.name, "step": best}
        fitted = calibration.fit_run(predictor, variables, splits["val"], checkpoints.directory, about, stopping)
        metrics = {
            "test": test,
            "val": history[best] if best in history else predictor.score(variables, splits["val"], "val", stopping=stopping),  # a lost log
            "headline": headline,
            "calibration": fitted,
            "best_step": best,
            "steps": total,
            "seed": config.train.seed,
            "protocol": protocol(config),
            "counts": sizes,
            "reading": reading,
            "warnings": warnings,
            "pictures": None if pictures is None else pictures.to_json(),
            "parameters": counted,
            "speed": clock.speed(order.batch) | {"from_step": start},
            "minutes": (time.perf_counter() - began) / 60,  # since it was last started, from that step
            "versions": versions(),
        }
        write_json(workdir / "metrics.json", metrics)
        logger.info("test of step %d: %s", best, task_lib.as_line(headline))
        return metrics


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
    if left := job.task.left_out(train.records, train.encoded):
        found["not learnt from"] = left
    return found


def tell(
    job: Job,
    sizes: Mapping[str, int],
    pictures: str | None,
    steps: int,
    devices: int,
    reading: Mapping[str, Mapping[str, int]],
    warnings: Sequence[str],
) -> None:
    """Logs the run's data, devices and warnings. steps: of an epoch."""
    config, counts = job.config, ", ".join(f"{count:,} {name}" for name, count in sizes.items())
    logger.info("%s on %s (%s), objects=%s", config.system.name, config.data.name, counts, config.data.objects)
    logger.info("%d steps an epoch, %d device(s), %s", steps, devices, jax.default_backend())
    if pictures is not None:
        logger.info("pictures:\n%s", pictures)
    if warning := protocol(config).get("warning"):
        logger.warning(warning)
    for name, found in reading.items():
        logger.info("%s: %s", name, ", ".join(f"{count:,} {what}" for what, count in found.items()))
    for warning in warnings:
        logger.warning("warning: %s", warning)


def check_finite(
    state: TrainState,
    done: int,
    *,
    devices: Devices | MeshDevices,
    order: Order,
    train: Split,
    workdir: pathlib.Path,
    meta: Mapping[str, Any],
) -> None:
    """Stops a run of which one of the `done` steps failed: the state before that step has been kept, and is saved for inspection.

    Raises:
      NonFiniteError: naming the step, its records, and where the state is.
    """
    failed = int(devices.first(state.failed))
    if failed < 0:
        return
    folder = workdir / "non_finite"
    with Checkpoints(folder) as kept:
        kept.save(failed, devices.saved(state).replace(step=np.int32(failed), failed=np.int32(-1)), meta)
    raise NonFiniteError(
        f"step {failed}: the loss or its gradient is not finite (noticed after step {done - 1}). The state before it is in {folder}. "
        f"Its records: {', '.join(train.records[i].id for i in order.at(failed))}"
    )


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation of the headline scores on test of runs that differ in their seeds."""
    values = {name: np.array([run["headline"][name] for run in runs]) for name in runs[0]["headline"]}
    spread = {k: {"mean": float(v.mean()), "std": float(v.std(ddof=1)) if len(v) > 1 else 0.0} for k, v in values.items()}
    return {"seeds": [run["seed"] for run in runs], "test": spread, "runs": runs}
