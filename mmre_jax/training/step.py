"""One optimisation step and one prediction step, each written for one device's shard."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mmre_jax.systems.system import System
from mmre_jax.training.job import Job
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.optim import make_optimizer
from mmre_jax.training.parallel import Devices, Layout, Replicated
from mmre_jax.training.state import TrainState

Metrics = Mapping[str, jax.Array]

KEPT = {"dot_general", "conv_general_dilated", "psum", "pmax", "pure_callback"}  # names of primitives


def precise(fn: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """`fn`, traced with matrix products and convolutions of one of settings.PRECISIONS.

    On a CPU all are float32. On GPUs and TPUs 'default' multiplies float32 in TF32 or bf16, unless JAX_DEFAULT_MATMUL_PRECISION says
    otherwise; 'highest' is float32.
    """
    if precision == "default":
        return fn

    @functools.wraps(fn)
    def traced(*arguments: Any) -> Any:
        with jax.default_matmul_precision(precision):
            return fn(*arguments)

    return traced


def with_products_alone(loss: Callable[..., Any]) -> Callable[..., Any]:
    """`loss`, of whose forward pass nothing is kept for the backward one but what is dear to compute again: matrix products, convolutions,
    sums over devices, and what the host has computed."""
    return jax.checkpoint(loss, policy=lambda primitive, *_, **__: primitive.name in KEPT)


def make_train_step(
    system: System, tx: optax.GradientTransformation, *, axis: Any, accumulate: int = 1, layout: Layout | None = None, remat: str = "none"
) -> Callable[[TrainState, Any, jax.Array], tuple[TrainState, Metrics]]:
    """train_step(state, batch, key) -> (state, metrics), to be mapped over `axis`.

    Shares of the loss add up over the axis, so their gradients are summed. The system's key is folded with step and part, and the same on
    every device.
    A step whose loss or gradient is not finite changes nothing but `state.failed`, and neither does any step after it. Of a part that is
    frozen nothing changes, its batch statistics included.

    Args:
      axis: the mapped axis, or the axes of a mesh.
      tx: may ask for `norm`, the gradients' global norm.
      layout: how the parameters lie on the devices; whole on each if None.
      remat: one of settings.REMATS, what the backward pass computes again instead of keeping it.
      accumulate: the shard is worked through in that many equal parts, one after the other, and their gradients averaged: less memory.
        Each part's loss is normalised over that part of the global batch.
    """

    layout = Replicated(axis) if layout is None else layout
    told = optax.with_extra_args_support(tx)
    remembering = {"none": layout.regathering, "dots": with_products_alone}[remat]

    def gradients(state: TrainState, stats: Any, batch: Any, key: jax.Array) -> tuple[Any, Any, Any]:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            variables = {**layout.gather(state.variables(params)), **stats}
            share, metrics, updates = system.loss(variables, batch, key, axis=axis, train=True)
            return share, (metrics, {name: {**found, **_held(stats[name], state.frozen)} for name, found in updates.items()})

        grads, (metrics, updates) = jax.grad(remembering(loss), has_aux=True)(state.params)
        return grads, metrics, updates

    def accumulated(state: TrainState, batch: Any, key: jax.Array) -> tuple[Any, Any, Any]:
        if accumulate == 1:
            return gradients(state, state.stats, batch, key)
        parts = jax.tree.map(lambda x: x.reshape(accumulate, -1, *x.shape[1:]), batch)

        def body(carry: Any, part: Any) -> tuple[Any, Any]:
            total, stats, i = carry
            grads, metrics, updates = gradients(state, stats, part, jax.random.fold_in(key, i))
            return (jax.tree.map(jnp.add, total, grads), {**stats, **updates}, i + 1), metrics

        start = (jax.tree.map(jnp.zeros_like, state.params), state.stats, jnp.zeros((), jnp.int32))
        (total, stats, _), metrics = jax.lax.scan(body, start, parts)
        return jax.tree.map(lambda g: g / accumulate, total), jax.tree.map(lambda m: m.sum(axis=0), metrics), stats

    def train_step(state: TrainState, batch: Any, key: jax.Array) -> tuple[TrainState, Metrics]:
        grads, metrics, stats = accumulated(state, batch, jax.random.fold_in(key, state.step))
        grads, metrics = layout.sum(grads), jax.lax.psum(metrics, axis)
        means = {name: total / jnp.maximum(count, 1.0) for name, (total, count) in metrics.items()}
        means["gradient_norm"] = layout.norm(grads)
        fine = jnp.isfinite(means["loss"]) & jnp.isfinite(means["gradient_norm"]) & (state.failed < 0)

        old = {"params": state.params, "opt_state": state.opt_state, "stats": state.stats}

        def updated() -> dict[str, Any]:
            updates, opt_state = told.update(grads, state.opt_state, state.params, norm=means["gradient_norm"])
            return {"params": optax.apply_updates(state.params, updates), "opt_state": opt_state, "stats": {**state.stats, **stats}}

        # One branch or the other on buffers that are donated, and nothing but numbers is known only now: a pass over each parameter and its
        # moments. Choosing with `where`, parameter by parameter, would take three.
        kept = jax.lax.cond(fine, updated, lambda: old)
        failed = jnp.where(fine | (state.failed >= 0), state.failed, state.step)
        return state.replace(step=state.step + 1, failed=failed, **kept), means

    return train_step


def _held(collection: Mapping[str, Any], frozen: Mapping[str, Any]) -> dict[str, Any]:
    """Of a collection of variables the parts that are frozen."""
    return {part: held for part, held in collection.items() if part in frozen}


def make_predict_step(system: System) -> Callable[[Mapping[str, Any], Any], dict[str, jax.Array]]:
    """predict_step(variables, batch) -> the system's predictions with `index`, `valid` and `seen` (any picture at all), bool [B].

    Raises:
      ValueError: while it is traced, for a system whose predictions have one of these names.
    """

    def predict_step(variables: Mapping[str, Any], batch: Any) -> dict[str, jax.Array]:
        seen = jnp.zeros_like(batch["valid"])
        for slot in system.plan:
            seen |= batch["present"][slot.name].any(axis=1)
        own, told = system.predict(variables, batch), {"index": batch["index"], "valid": batch["valid"], "seen": seen}
        if taken := own.keys() & told.keys():
            raise ValueError(f"a system's predictions are called otherwise than {', '.join(sorted(taken))}, which the record's own are")
        return {**own, **told}

    return predict_step


def mapped_step(job: Job, devices: Devices | MeshDevices, state: TrainState, total_steps: int) -> tuple[Callable[..., Any], Any]:
    """The job's training step over all devices, step(state, batch, key) -> (state, metrics), and the key it is to be called with.

    Args:
      state: on the devices or not; only its structure matters, and for a mesh its shapes.
    """
    config, layout = job.config, devices.layout(state.variables())
    tx = make_optimizer(config.optim, state.params, total_steps)
    step = make_train_step(job.system, tx, axis=layout.axis, accumulate=config.optim.accumulate, layout=layout, remat=config.train.remat)
    step = precise(step, config.train.precision)
    kind = config.train.prng
    key = devices.replicate(jax.random.key_data(jax.random.key(config.train.seed + 1, impl=kind)))

    def keyed(state: TrainState, batch: Any, data: jax.Array) -> tuple[TrainState, Metrics]:
        return step(state, batch, jax.random.wrap_key_data(data, impl=kind))

    return devices.map(keyed, donate=(0,), takes=("state", "records", "same"), gives=("state", "same")), key
