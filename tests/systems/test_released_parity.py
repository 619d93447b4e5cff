"""Converted releases against second forward passes in PyTorch that read the authors' state dicts, at small sizes and as released."""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "weights"))
import released_torch
from releases import KINDS, SMALL, Sizes, batch_for, empty_variables, full, random_release, system_for

from mmre_jax.weights import released

pytestmark = pytest.mark.thorough

TOLERANCE = 1e-4
STATISTICS = ("running_mean", "running_var")


def check(kind: str, s: Sizes) -> None:
    """A release of these sizes gives the same outputs and predictions here and there, and comes back bit for bit."""
    tensors = random_release(kind, s)
    assert released.recognise(tensors) == kind
    system = system_for(kind, tensors, s)
    batch = batch_for(kind, system, s)
    variables = released.read(kind, tensors, empty_variables(kind, system, s), system)
    kept = {name: tensors[name] for name in released.unread(kind, tensors, system)}
    back = released.write(kind, variables, kept, system)
    assert back.keys() == tensors.keys()
    for name, tensor in back.items():
        assert tensor.dtype == tensors[name].dtype
        np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)
    outputs = jax.jit(lambda v, b: system.net.apply(v, *system.inputs(b), train=False))(variables, batch)
    state = state_of(kind, tensors, s)
    with torch.no_grad():
        states = released_torch.states_of(state, batch, kind)
        if kind.endswith("_re"):
            check_relations(released_torch.logits(state, states, batch), outputs)
        else:
            check_entities(state, states, outputs, system.objective.predict(outputs, batch), batch)
            share, _ = system.objective.loss(outputs, batch, None)
            np.testing.assert_allclose(share, loss(state, states, batch), rtol=1e-5)


def state_of(kind: str, tensors: dict[str, np.ndarray], s: Sizes, train: bool = False) -> released_torch.State:
    held = {
        name: torch.tensor(x, requires_grad=train and x.dtype == np.float32 and not name.endswith(STATISTICS))
        for name, x in tensors.items()
    }
    return released_torch.State(held, s.heads, 1e-5 if kind.startswith("rsrnet") else 1e-12)


def check_relations(expected: torch.Tensor, outputs: jax.Array) -> None:
    assert expected.std(dim=0).max() > 0.1, "the two records must differ"
    np.testing.assert_allclose(outputs, expected.numpy(), atol=TOLERANCE, rtol=0)


def check_entities(state: Any, states: torch.Tensor, outputs: Any, predicted: Any, batch: Any) -> None:
    emissions, mask = state.linear("fc", states), torch.tensor(batch["text"]["mask"])
    assert (emissions[0] - emissions[1]).abs().max() > 0.1, "the two records must differ"
    np.testing.assert_allclose(outputs["emissions"], emissions.numpy(), atol=TOLERANCE, rtol=0)
    paths = released_torch.chain(state).decode(emissions, mask)
    assert [len(path) for path in paths] == batch["text"]["mask"].sum(axis=1).tolist()
    for row, path in zip(np.asarray(predicted["tags"]), paths, strict=True):
        assert row.tolist() == path + [0] * (len(row) - len(path))
    assert all(len(set(path)) > 1 for path in paths), "a path of one tag would show nothing"


def loss(state: Any, states: torch.Tensor, batch: Any) -> float:
    emissions, mask = state.linear("fc", states), torch.tensor(batch["text"]["mask"])
    return -released_torch.chain(state)(emissions, torch.tensor(batch["tags"]).long(), mask, reduction="mean").item()


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_releases(kind: str) -> None:
    check(kind, SMALL)


@pytest.mark.parametrize("kind", KINDS)
def test_unread_tensors_are_those_that_the_release_gives_no_gradient(kind: str) -> None:
    tensors = random_release(kind, SMALL)
    system = system_for(kind, tensors, SMALL)
    state = state_of(kind, {name: x for name, x in tensors.items() if not name.startswith("crf.")}, SMALL, train=True)
    states = released_torch.states_of(state, batch_for(kind, system, SMALL), kind)
    outputs = released_torch.logits(state, states, batch_for(kind, system, SMALL)) if kind.endswith("_re") else state.linear("fc", states)
    outputs.sin().sum().backward()
    untouched = {name for name, x in state.tensors.items() if x.grad is None and not name.endswith(STATISTICS)}
    assert untouched == set(released.unread(kind, tensors, system))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_releases_at_full_size(kind: str) -> None:
    check(kind, full(kind))
