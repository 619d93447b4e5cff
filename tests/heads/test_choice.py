"""Which head and objective a task has, and where they read."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.heads.choice import POOLS, TASKS, apply_head, check_task, objective, places_read
from mmre_jax.heads.entities import EntityHead, EntityObjective
from mmre_jax.heads.relation import RelationHead, RelationObjective

STATES = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
TEXT = {"ids": np.zeros((2, 5), np.int32), "markers": np.array([[0, 3], [4, 2]], np.int32)}
READ = {"markers": TEXT["markers"], "cls": np.zeros((2, 1), np.int32)}
TAGS = ("O", "B-PER", "I-PER")


class Headed(nn.Module):
    """A system of nothing but its head."""

    task: str
    dropout: float = 0.5
    pool: str = "markers"

    @nn.compact
    def __call__(self, states: Any, train: bool = False, at: Any = None) -> Any:
        how = {"at": at, "dropout": self.dropout, "dtype": jnp.float32, "train": train, "pool": self.pool}
        return apply_head(self.task, 3, states, TEXT, **how)


@pytest.mark.parametrize("task", TASKS)
def test_the_head_is_that_of_the_task(task: str) -> None:
    variables = Headed(task).init(jax.random.key(0), STATES)
    assert list(variables["params"]) == ["head"]
    own = {"params": variables["params"]["head"]}
    found, marked = Headed(task).apply(variables, STATES), np.take_along_axis(STATES, TEXT["markers"][..., None], axis=1)
    alone = RelationHead(3).apply(own, marked) if task == "relation" else EntityHead(3).apply(own, STATES, train=False)
    jax.tree.map(np.testing.assert_array_equal, found, alone)


@pytest.mark.parametrize("pool", POOLS)
def test_of_a_relation_its_own_places_alone_are_read(pool: str) -> None:
    head, read = Headed("relation", pool=pool), np.zeros((2, 5), bool)
    np.put_along_axis(read, READ[pool], True, axis=1)
    variables = head.init(jax.random.key(0), STATES)
    gradient = jax.grad(lambda states: jnp.sin(head.apply(variables, states)).sum())(STATES)
    np.testing.assert_array_equal(gradient.any(axis=-1), read)
    there = np.take_along_axis(STATES, READ[pool][..., None], axis=1)
    np.testing.assert_array_equal(head.apply(variables, there, at=READ[pool]), head.apply(variables, STATES))


class Asking(nn.Module):
    """What a network is told of the places that are read."""

    task: str
    pool: str = "markers"

    def __call__(self) -> Any:
        return places_read(self, self.task, TEXT, self.pool)


def test_states_are_asked_for_where_they_are_read_or_looked_at() -> None:
    for pool in POOLS:
        for mutable in (False, ["told"]):
            found = Asking("relation", pool).apply({}, mutable=mutable)
            np.testing.assert_array_equal(found[0] if mutable else found, READ[pool])
        assert Asking("relation", pool).apply({}, mutable=["intermediates"])[0] is None
    assert Asking("entities").apply({}) is None


def test_dropout_is_the_entity_heads() -> None:
    def emissions(dropout: float) -> Any:
        head = Headed("entities", dropout)
        return head.apply(head.init(jax.random.key(0), STATES), STATES, True, rngs={"dropout": jax.random.key(1)})["emissions"]

    assert not np.allclose(emissions(0.0), emissions(0.5))


def test_objectives() -> None:
    assert objective("relation", ("a", "b"), constrain=True) == RelationObjective()
    assert objective("entities", TAGS, constrain=True) == EntityObjective(TAGS, True)
    assert objective("entities", TAGS, constrain=False) == EntityObjective(TAGS, False)


def test_other_tasks_are_refused_by_name() -> None:
    for task in TASKS:
        check_task(task, "rsrnet")
    with pytest.raises(ValueError, match="system 'rsrnet' has the tasks relation and entities, found task.name='triples'"):
        check_task("triples", "rsrnet")
