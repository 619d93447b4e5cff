"""What the matching of queries and targets costs: a call alone, as a share of a training step, and whether it lasts."""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mmre_jax.analysis.report import table
from mmre_jax.analysis.speed import ROUNDS, Setup, Trainer
from mmre_jax.matching import MATCHERS, match
from mmre_jax.training.parallel import AXIS, local_devices
from mmre_jax.training.protocol import versions
from mmre_jax.training.starting import initial_state

SIZES = ((8, 5, 6), (64, 20, 20), (64, 100, 100))  # batch, queries, targets


def measure(sizes: Sequence[tuple[int, int, int]] = SIZES, calls: int = 50) -> dict[str, Any]:
    """Times one matching of each size on the default device, all matchers in turns; random costs, all targets valid.

    Args:
      sizes: (batch, queries, targets) of each row.
      calls: timed calls per size and matcher, each waited for.

    Returns:
      Plain JSON values:
      about: what ran where.
      calls: per size batch, queries, targets; milliseconds of a call {matcher}_ms, median over rounds; times, how many times longer
        optax takes than scipy, with low and high over the rounds.

    Raises:
      ValueError: fewer than 1 call.
    """
    if calls < 1:
        raise ValueError(f"at least 1 call is needed to time anything, found {calls}")
    rng = np.random.default_rng(0)
    rows = []
    for batch, queries, targets in sizes:
        inputs = jax.device_put((rng.random((batch, queries, targets), np.float32), np.ones((batch, targets), bool)))
        timed = {name: _timed(jax.jit(functools.partial(match, matcher=name)), inputs) for name in MATCHERS}
        rounds = in_turns(timed, calls)
        rows.append({"batch": batch, "queries": queries, "targets": targets, **_milliseconds(rounds), **_times(rounds)})
    return {"about": _about(calls=calls), "calls": rows}


def step_share(config: ConfigDict, steps: int = 20) -> dict[str, Any]:
    """Times training steps of a configuration with either matcher, and the matching alone on costs of the same shape and the same valid
    targets on the same devices, all in turns. Takes a batch of the length that occurs most often.

    Args:
      config: of a system that matches, with system.matcher; which one it names does not matter.
      steps: timed steps and matchings per matcher.

    Returns:
      Plain JSON values:
      about: what ran where; tokens, layers, and batch (per device), queries, targets of the matching.
      steps: per matcher step_ms and match_ms, medians over rounds; share, of the matching in the step, with low and high over the rounds.
      ratio: times, how many times longer a step takes with optax than with scipy, with low and high.

    Raises:
      ValueError: if the system does not match, or parallel.mapping is not pmap.
    """
    if config.parallel.mapping != "pmap":
        raise ValueError(f"parallel.mapping={config.parallel.mapping}: matchings are timed with pmap")
    if "matcher" not in config.system:
        raise ValueError(f"{config.system.name} does not match anything: it has no system.matcher")
    setup = Setup.of(config, steps)
    start = initial_state(setup.job, setup.split, setup.order.steps * config.train.epochs)
    examples = setup.examples()
    tokens = max(examples, key=lambda length: int(np.sum(setup.lengths == length)))
    batch = examples[tokens]
    trainers = {name: Trainer(_with_matcher(setup, name), config.train.dtype, start, {tokens: batch}) for name in MATCHERS}
    costs, valid = _matching_of(setup, start.variables(), batch)
    alone = {name: setup.devices.map(functools.partial(match, matcher=name)) for name in MATCHERS}
    timed = {f"{name} step": functools.partial(trainers[name].seconds, batch) for name in MATCHERS}
    timed |= {f"{name} match": _timed(alone[name], (costs, valid)) for name in MATCHERS}
    rounds = in_turns(timed, steps)
    layers = costs.shape[1] // batch["targets"]["valid"].shape[1]
    shape = {"tokens": tokens, "layers": layers, "batch": costs.shape[1] // layers, "queries": costs.shape[2], "targets": costs.shape[3]}
    about = _about(system=config.system.name, devices=setup.devices.count, global_batch=setup.order.batch, steps=steps, **shape)
    return {
        "about": about,
        "steps": [_share_row(name, rounds[f"{name} step"], rounds[f"{name} match"]) for name in MATCHERS],
        "ratio": _times({name: rounds[f"{name} step"] for name in MATCHERS}),
    }


def in_turns(timed: Mapping[str, Callable[[int], float]], calls: int) -> dict[str, np.ndarray]:
    """Seconds a call of each of `timed`, which is told how often to call: one number a round, every other round in reverse order, so that
    a machine that slows down slows all of them."""
    rounds = min(ROUNDS, calls)
    found: dict[str, list[float]] = {name: [] for name in timed}
    for run in timed.values():
        run(2)
    for number in range(rounds):
        for name in list(timed)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(timed[name](calls // rounds))
    return {name: np.array(seconds) for name, seconds in found.items()}


def stress(steps: int, matcher: str, *, batch: int = 8, queries: int = 12, targets: int = 16) -> dict[str, Any]:
    """Training steps in miniature, a matching, its loss, a gradient and a sum over all local devices in each, one after the other as in
    training: whether many of them run to the end.

    Args:
      batch: records per device.

    Returns:
      matcher, devices, device, steps, steps_per_second.

    Raises:
      RuntimeError: if some step did not match every target it had a query for.
    """
    devices = local_devices()
    rng = np.random.default_rng(0)
    records = len(devices.local) * batch
    points = {"queries": rng.normal(size=(records, queries, 4)), "targets": rng.normal(size=(records, targets, 4))}
    valid = rng.random((records, targets)) < 0.7
    data = devices.shard({**{name: x.astype(np.float32) for name, x in points.items()}, "valid": valid})
    state = devices.replicate({"weight": np.eye(4, dtype=np.float32), "matched": np.int32(0)})
    step = devices.map(functools.partial(_small_step, matcher), donate=(0,))
    began = time.perf_counter()
    for number in range(steps):
        state, loss = step(state, data)
        if jax.default_backend() == "cpu":  # as training does
            jax.block_until_ready(loss)
        if number == 0:
            jax.block_until_ready(loss)
            began = time.perf_counter()  # the first one compiles
    found = int(devices.first(state)["matched"])
    seconds = time.perf_counter() - began
    expected = steps * int(np.minimum(valid.sum(axis=1), queries).sum())
    if found != expected:
        raise RuntimeError(f"{matcher}: {found} targets were matched in {steps} steps, not {expected}")
    rate = (steps - 1) / seconds
    return {"matcher": matcher, "devices": devices.count, "device": devices.local[0].device_kind, "steps": steps, "steps_per_second": rate}


def text(result: Mapping[str, Any]) -> str:
    """The tables of `measure`, and under "share" those of `step_share` if they are there, with what the columns mean."""
    about = result["about"]
    lines = [
        f"milliseconds a call on one {about['device']}, random costs, {about['calls']} calls a row; times: optax over scipy, in turns",
        table(result["calls"], ["batch", "queries", "targets", *(f"{name}_ms" for name in MATCHERS), "times", "low", "high"]),
    ]
    if share := result.get("share"):
        about, ratio = share["about"], share["ratio"]
        lines += [
            "",
            f"{about['system']} on {about['devices']} x {about['device']}: steps of {about['global_batch']} records, "
            f"{about['tokens']} tokens; on a device they match "
            f"{about['layers']} x {about['batch']} x {about['queries']} queries x {about['targets']} targets",
            table(share["steps"], ["matcher", "step_ms", "match_ms", "share", "low", "high"]),
            f"a step with optax takes {ratio['times']:.3f} times as long as one with scipy ({ratio['low']:.3f} to {ratio['high']:.3f})",
        ]
    return "\n".join(lines)


def _timed(function: Callable[..., jax.Array], inputs: tuple[jax.Array, jax.Array]) -> Callable[[int], float]:
    """Seconds a call, each waited for."""

    def seconds(calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            jax.block_until_ready(function(*inputs))
        return (time.perf_counter() - began) / calls

    return seconds


def _with_matcher(setup: Setup, matcher: str) -> Setup:
    config = ConfigDict(copy.deepcopy(setup.job.config.to_dict()))
    config.system.matcher = matcher
    return dataclasses.replace(setup, job=dataclasses.replace(setup.job, config=config.lock()))


def _matching_of(setup: Setup, variables: Mapping[str, Any], batch: Any) -> tuple[jax.Array, jax.Array]:
    """Random costs [devices, N B, Q, T] and the batch's valid targets [devices, N B, T], N layers being matched in one call."""
    system, shard = setup.job.system, jax.tree.map(lambda x: x[0], batch)
    outputs = jax.eval_shape(lambda v, b: system.net.apply(v, *system.inputs(b), train=False), variables, shard)
    layers, _, queries, _ = outputs["box"].shape
    valid = np.concatenate([np.asarray(batch["targets"]["valid"])] * layers, axis=1)
    costs = np.random.default_rng(0).random((*valid.shape[:2], queries, valid.shape[2]), np.float32)
    flat = (costs.reshape(-1, *costs.shape[2:]), valid.reshape(-1, valid.shape[2]))
    return setup.devices.shard(flat)


def _small_step(matcher: str, state: dict[str, jax.Array], data: Mapping[str, jax.Array]) -> tuple[dict[str, jax.Array], jax.Array]:
    """One device's step: a linear map of the queries learns to meet their targets."""
    whole = jax.lax.psum(data["valid"].sum(dtype=jnp.float32), AXIS)

    def loss(weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        cost = jnp.abs((data["queries"] @ weight)[:, :, None] - data["targets"][:, None]).sum(axis=-1)
        query = match(cost, data["valid"], matcher)
        picked = jnp.take_along_axis(cost, jnp.maximum(query, 0)[:, None], axis=1)[:, 0]
        return jnp.where(query >= 0, picked, 0.0).sum() / whole, (query >= 0).sum(dtype=jnp.int32)

    (share, matched), gradient = jax.value_and_grad(loss, has_aux=True)(state["weight"])
    share, matched, gradient = jax.lax.psum((share, matched, gradient), AXIS)
    return {"weight": state["weight"] - 1e-3 * gradient, "matched": state["matched"] + matched}, share


def _milliseconds(rounds: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {f"{name}_ms": float(1e3 * np.median(seconds)) for name, seconds in rounds.items()}


def _times(rounds: Mapping[str, np.ndarray]) -> dict[str, float]:
    return _spread("times", rounds["optax"] / rounds["scipy"])


def _share_row(name: str, step: np.ndarray, alone: np.ndarray) -> dict[str, Any]:
    return {"matcher": name, **_milliseconds({"step": step, "match": alone}), **_spread("share", alone / step)}


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    return {name: float(np.median(values)), "low": float(values.min()), "high": float(values.max())}


def _about(**more: Any) -> dict[str, Any]:
    return {"backend": jax.default_backend(), "device": jax.local_devices()[0].device_kind, **more, "versions": versions()}
