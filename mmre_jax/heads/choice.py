"""The head and the objective of a task, for systems that end in one state a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.encoders.blocks import rows_at
from mmre_jax.heads.entities import EntityHead, EntityObjective
from mmre_jax.heads.relation import RelationHead, RelationObjective

TASKS = ("relation", "entities")
POOLS = ("markers", "cls")  # what a relation is read from: the states of both entity markers, or of [CLS]


def check_task(task: str, system: str) -> None:
    """Raises ValueError for a task other than these two."""
    if task not in TASKS:
        raise ValueError(f"system {system!r} has the tasks {' and '.join(TASKS)}, found task.name={task!r}")


def places_read(module: nn.Module, task: str, text: Mapping[str, jax.Array], pool: str = "markers") -> jax.Array | None:
    """The places of the text whose last states are to be computed, int [B, K]; None for all of them.

    Of a relation's it is those that its head reads, see `pool` of `apply_head`; but all of them where "intermediates" is mutable in the
    module: who looks at what is computed on the way looks at every token.
    """
    if task != "relation" or module.is_mutable_collection("intermediates"):
        return None
    return _read(text, pool)


def apply_head(
    task: str,
    classes: int,
    states: jax.Array,
    text: Mapping[str, jax.Array],
    *,
    at: jax.Array | None,
    dtype: jnp.dtype,
    train: bool,
    dropout: float = 0.0,
    pool: str = "markers",
) -> jax.Array | dict[str, jax.Array]:
    """The outputs that `objective(task)` takes, of token states [B, L, D], or [B, K, D] at the places `at` as of `places_read`.

    To be called inside a compact method: it makes the submodule `head` there. dropout: before the entity head. pool: one of POOLS, of the
    relation head.
    """
    if task == "relation":
        return RelationHead(classes, dtype=dtype, name="head")(rows_at(states, _read(text, pool)) if at is None else states)
    return EntityHead(classes, dropout, dtype=dtype, name="head")(states, train=train)


def _read(text: Mapping[str, jax.Array], pool: str) -> jax.Array:
    return text["markers"] if pool == "markers" else jnp.zeros((len(text["ids"]), 1), jnp.int32)


def objective(task: str, labels: Sequence[str], constrain: bool) -> RelationObjective | EntityObjective:
    """The objective of a task.

    Args:
      labels: relations or tags.
      constrain: whether paths that BIO forbids are ruled out (entities).
    """
    if task == "relation":
        return RelationObjective()
    return EntityObjective(tuple(labels), constrain)
