"""The head and the objective of a task, for systems that end in one state a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from mmre_jax.heads.entities import EntityHead, EntityObjective
from mmre_jax.heads.relation import RelationHead, RelationObjective

TASKS = ("relation", "entities")
POOLS = ("markers", "cls")  # what a relation is read from: the states of both entity markers, or of [CLS]


def check_task(task: str, system: str) -> None:
    """Raises ValueError for a task other than these two."""
    if task not in TASKS:
        raise ValueError(f"system {system!r} has the tasks {' and '.join(TASKS)}, found task.name={task!r}")


def apply_head(
    task: str,
    classes: int,
    states: jax.Array,
    text: Mapping[str, jax.Array],
    *,
    dropout: float,
    dtype: jnp.dtype,
    train: bool,
    pool: str = "markers",
) -> jax.Array | dict[str, jax.Array]:
    """The outputs that `objective(task)` takes, of token states [B, L, D].

    To be called inside a compact method: it makes the submodule `head` there. dropout: before the entity head. pool: one of POOLS, of the
    relation head.
    """
    if task == "relation":
        return RelationHead(classes, dtype=dtype, name="head")(states, text["markers"] if pool == "markers" else None)
    return EntityHead(classes, dropout, dtype=dtype, name="head")(states, train=train)


def objective(task: str, labels: Sequence[str], constrain: bool) -> RelationObjective | EntityObjective:
    """The objective of a task.

    Args:
      labels: relations or tags.
      constrain: whether paths that BIO forbids are ruled out (entities).
    """
    if task == "relation":
        return RelationObjective()
    return EntityObjective(tuple(labels) if constrain else None)
