"""Which head and objective a task has."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.heads.choice import TASKS, apply_head, check_task, objective
from mmre_jax.heads.entities import EntityHead, EntityObjective
from mmre_jax.heads.relation import RelationHead, RelationObjective

STATES = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
TEXT = {"markers": np.array([[0, 3], [1, 2]], np.int32)}
TAGS = ("O", "B-PER", "I-PER")


class Headed(nn.Module):
    """A system of nothing but its head."""

    task: str
    dropout: float = 0.5

    @nn.compact
    def __call__(self, states: Any, train: bool = False) -> Any:
        return apply_head(self.task, 3, states, TEXT, dropout=self.dropout, dtype=jnp.float32, train=train)


@pytest.mark.parametrize("task", TASKS)
def test_the_head_is_that_of_the_task(task: str) -> None:
    variables = Headed(task).init(jax.random.key(0), STATES)
    assert list(variables["params"]) == ["head"]
    own = {"params": variables["params"]["head"]}
    found = Headed(task).apply(variables, STATES)
    alone = RelationHead(3).apply(own, STATES, TEXT["markers"]) if task == "relation" else EntityHead(3).apply(own, STATES, train=False)
    jax.tree.map(np.testing.assert_array_equal, found, alone)


def test_dropout_is_the_entity_heads() -> None:
    def emissions(dropout: float) -> Any:
        head = Headed("entities", dropout)
        return head.apply(head.init(jax.random.key(0), STATES), STATES, True, rngs={"dropout": jax.random.key(1)})["emissions"]

    assert not np.allclose(emissions(0.0), emissions(0.5))


def test_objectives() -> None:
    assert objective("relation", ("a", "b"), constrain=True) == RelationObjective()
    assert objective("entities", TAGS, constrain=True) == EntityObjective(TAGS)
    assert objective("entities", TAGS, constrain=False) == EntityObjective(None)


def test_other_tasks_are_refused_by_name() -> None:
    for task in TASKS:
        check_task(task, "rsrnet")
    with pytest.raises(ValueError, match="system 'rsrnet' has the tasks relation and entities, found task.name='triples'"):
        check_task("triples", "rsrnet")
