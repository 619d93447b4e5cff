"""Orbax's checkpoint manager as runs use it: what is kept, and which processes wait for each other."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import sys
from collections.abc import Iterator, Mapping

import jax
import orbax.checkpoint as ocp

from mmre_jax.training import processes

REMOVED = "removed"  # where steps go whole, at once, before their files are removed one by one: a crash leaves no half of one


def manager(directory: pathlib.Path, *, read_only: bool, alone: bool) -> ocp.CheckpointManager:
    """Orbax's view of a folder of steps: for all processes together, or for this one alone."""
    policies, own = ocp.checkpoint_managers, jax.process_index()
    alone = alone and not processes.is_alone()  # where there is one, Orbax's defaults say so
    among = ocp.options.MultiprocessingOptions(own, {own}, f"of_{own}") if alone else ocp.options.MultiprocessingOptions()
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(
            [policies.LatestN(2), policies.BestN(get_metric_fn=score_of, n=1, keep_checkpoints_without_metrics=False)]
        ),
        best_fn=score_of,  # without it Orbax stores no metrics for the policy to read
        todelete_subdir=None if read_only else REMOVED,
        create=not read_only and not alone,  # which Orbax does for all processes together only
        read_only=read_only,
        save_interval_steps=0 if read_only else 1,
        async_options=ocp.AsyncOptions(barrier_sync_fn=None if alone or processes.is_alone() else _barrier),
        multiprocessing_options=among,
    )
    handlers = {
        "variables": ocp.StandardCheckpointHandler(multiprocessing_options=among),
        "optimiser": ocp.StandardCheckpointHandler(multiprocessing_options=among),
        "meta": ocp.JsonCheckpointHandler(multiprocessing_options=among),
    }
    with _without_message("Given directory is read only"):  # which was asked for
        return ocp.CheckpointManager(directory, options=options, item_handlers=handlers)


def _barrier(*, key: str, timeout_ms: int) -> None:
    """Where the threads that save wait for those of the other processes. One whose save has just failed does not wait: the others never
    come where it is, and it is to say so and end, which they notice."""
    if sys.exc_info()[1] is None:
        ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)


@contextlib.contextmanager
def _without_message(start: str) -> Iterator[None]:
    """Keeps one message of Orbax from the log, where a program that only loads a checkpoint would print it."""

    def other(entry: logging.LogRecord) -> bool:
        return not entry.getMessage().startswith(start)

    logger = logging.getLogger("absl")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def score_of(metrics: Mapping[str, float]) -> float:
    """The dev score that a step was saved with."""
    return float(metrics["score"])
