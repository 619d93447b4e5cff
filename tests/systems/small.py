"""What the tests of systems share: batches and variables at random, and what every trained parameter must have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmre_jax import systems
from mmre_jax.systems.system import ModuleSystem, System
from mmre_jax.weights.pretrained import resolve

LENGTHS = (9, 5, 7)


def build(config: Any, labels: tuple[str, ...], seed: int = 0, size: int = 3, more: Callable[..., dict[str, Any]] | None = None) -> Any:
    """(system, batch, variables) of a configuration with 40 words; `more(rng, size)` gives the task's part of the batch."""
    system = systems.build(resolve(config), vocab_size=40, labels=labels)
    rng = np.random.default_rng(seed)
    batch = {**inputs(system, rng, size), **(more or marked)(rng, size)}
    return system, batch, random_variables(system, batch, rng)


def inputs(system: System, rng: np.random.Generator, size: int) -> dict[str, Any]:
    """Words of up to 9 pieces, padded with 1 as RoBERTa pads, and every picture present."""
    mask = np.arange(max(LENGTHS))[None] < np.resize(LENGTHS, size)[:, None]
    return {
        "text": {
            "ids": np.where(mask, rng.integers(2, 40, mask.shape), 1).astype(np.int32),
            "mask": mask,
            "markers": np.resize(np.array([[1, 3], [0, 2], [2, 4]], np.int32), (size, 2)),
        },
        "pictures": {s.name: rng.integers(0, 256, (size, s.count, s.side, s.side, 3)).astype(np.uint8) for s in system.plan},
        "present": {s.name: np.ones((size, s.count), bool) for s in system.plan},
        "valid": np.ones(size, bool),
        "index": np.arange(size, dtype=np.int32),
    }


def marked(rng: np.random.Generator, size: int) -> dict[str, Any]:
    """A relation of five, and nine tags of five."""
    tags = np.tile(np.array([0, 1, 2, 0, 3, 4, 0, 1, 3], np.int32), (size, 1))
    scored = np.arange(max(LENGTHS))[None] < np.resize(LENGTHS, size)[:, None]
    return {"label": rng.integers(0, 5, size).astype(np.int32), "tags": tags, "scored": scored}


def random_variables(system: System, batch: dict[str, Any], rng: np.random.Generator) -> Any:
    """Variables of which none is at a start that hides a part (residual blocks begin as 0); without compiling their own start."""

    def fill(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name, noise = path[-1].key, rng.standard_normal(leaf.shape).astype(np.float32)
        if name == "kernel":
            return noise * np.float32((1.5 / np.prod(leaf.shape[:-1])) ** 0.5)
        return np.abs(noise) + np.float32(0.5) if name in ("scale", "var") else np.float32(0.3) * noise

    return jax.tree_util.tree_map_with_path(fill, jax.eval_shape(system.init, jax.random.key(0), batch))


def assert_gradients(gradients: Any, frozen: set[str], cancels: bool) -> None:
    """Every parameter that is not frozen has a gradient.

    Args:
      gradients: those of the parameters.
      frozen: the parts that are declared so.
      cancels: a shift of all keys cancels under the softmax, so that the gradient of their bias is exactly 0; not so where keys of
        another origin stand beside them.
    """
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        where = jax.tree_util.keystr(path)
        assert bool(jnp.isfinite(gradient).all()), where
        if where.split("'")[1] not in frozen and not (cancels and where.endswith("['key']['bias']")):
            assert np.abs(gradient).max() > 1e-7, where


def gradients_of(system: ModuleSystem, batch: dict[str, Any], variables: Any) -> Any:
    """The gradients of a training step's loss by the parameters; of a relation see `gradients_both_ways`."""

    def loss(params: Any) -> jax.Array:
        return system.loss({**variables, "params": params}, batch, jax.random.key(0), axis=None, train=True)[0]

    return jax.jit(jax.grad(loss))(variables["params"])


@functools.partial(jax.jit, static_argnums=0)
def outputs_of(system: ModuleSystem, variables: Any, batch: dict[str, Any]) -> jax.Array:
    """Relation logits [B, R], or emissions [B, L, K] with zeros at padding, where they mean nothing."""
    found = system.net.apply(variables, *system.inputs(batch), train=False)
    return jnp.where(batch["text"]["mask"][..., None], found["emissions"], 0.0) if isinstance(found, dict) else found


@functools.partial(jax.jit, static_argnums=0)
def _both_ways(system: ModuleSystem, variables: Any, batch: dict[str, Any]) -> list[Any]:
    """A training step's outputs, and the gradients of its loss: as it is, and as it is watched, which asks for every token and picture."""

    def loss(params: Any, mutable: Any) -> tuple[jax.Array, Any]:
        found = system.net.apply({**variables, "params": params}, *system.inputs(batch), train=True, mutable=mutable)
        outputs = found[0] if mutable else found
        return system.objective.loss(outputs, batch, None)[0], outputs

    return [jax.grad(loss, has_aux=True)(variables["params"], mutable) for mutable in (False, ["intermediates"])]


def gradients_both_ways(system: ModuleSystem, batch: dict[str, Any], variables: Any) -> Any:
    """As `gradients_of`, without dropout. They and the outputs are those of a network that computes what nobody reads, too: with its
    pictures, without those of all slots but the first, and without any."""
    found = None
    for shown in (absent(batch), absent(batch, *list(batch["present"])[1:]), batch):
        found, everything = _both_ways(system, variables, shown)
        largest = max(float(np.abs(x).max()) for x in jax.tree.leaves(everything[0]))
        for ours, theirs in zip(found, everything, strict=True):
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * max(largest, 1.0)), ours, theirs)
    return found[0]


def absent(batch: dict[str, Any], *slots: str) -> dict[str, Any]:
    """The batch without the pictures of some slots, or without any."""
    return {**batch, "present": {k: v & (bool(slots) and k not in slots) for k, v in batch["present"].items()}}


def assert_absent_pixels_are_not_read(system: ModuleSystem, batch: dict[str, Any], variables: Any) -> None:
    """Pixels of a picture that is not there change no output, of any slot and of all together; those of one that is there do."""
    for slots in (*([name] for name in batch["present"]), []):
        masked = absent(batch, *slots)
        noise = {k: np.where(masked["present"][k][:, :, None, None, None], v, 255 - v) for k, v in batch["pictures"].items()}
        found = outputs_of(system, variables, masked)
        np.testing.assert_array_equal(found, outputs_of(system, variables, {**masked, "pictures": noise}))
        assert np.isfinite(found).all()
    assert not np.allclose(found, outputs_of(system, variables, batch), atol=1e-3), "a present picture is looked at"


def second_record(batch: dict[str, Any], shorter: bool = True) -> dict[str, Any]:
    """The second record alone, without its padding if `shorter`."""
    alone = jax.tree.map(lambda x: x[1:2], batch)
    length = LENGTHS[1] if shorter else None
    return {**alone, "text": {k: v if k == "markers" else v[:, :length] for k, v in alone["text"].items()}}
