"""Both matchers against all assignments there are, alone and mapped; costs that are not finite, padding, too many targets; endurance."""

import functools
import itertools
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.sharding import AxisType, PartitionSpec

from mmre_jax import matching
from mmre_jax.matching import MATCHERS, match

ROOT = pathlib.Path(__file__).parents[1]
BAD = (np.nan, np.inf, -np.inf)
both = pytest.mark.parametrize("matcher", tuple(MATCHERS))
compiled = {matcher: jax.jit(functools.partial(match, matcher=matcher)) for matcher in MATCHERS}


def run(cost: np.ndarray, valid: np.ndarray, matcher: str) -> np.ndarray:
    return np.asarray(compiled[matcher](np.asarray(cost, np.float32), np.asarray(valid, bool)))


def price(cost: np.ndarray, pairs: list[tuple[int, int]]) -> tuple[int, float]:
    """How many pairs [query, target] have a cost that is not finite, and the sum of the others' costs."""
    found = np.array([cost[pair] for pair in pairs], np.float64)
    return int((~np.isfinite(found)).sum()), float(found[np.isfinite(found)].sum())


def best(cost: np.ndarray, valid: np.ndarray) -> tuple[int, float]:
    """The least price of all complete assignments, by trying each."""
    targets, queries = np.flatnonzero(valid).tolist(), range(len(cost))
    if len(targets) <= len(cost):
        ways = (zip(chosen, targets, strict=True) for chosen in itertools.permutations(queries, len(targets)))
    else:
        ways = (zip(queries, chosen, strict=True) for chosen in itertools.permutations(targets, len(cost)))
    return min(price(cost, list(way)) for way in ways)


def check(cost: np.ndarray, valid: np.ndarray, found: np.ndarray) -> None:
    """One record's assignment is one, complete, and a cheapest one; float32 sums its costs exactly if they are whole numbers."""
    assert found.shape == valid.shape and found.dtype == np.int32
    pairs = [(int(query), target) for target, query in enumerate(found) if query >= 0]
    assert all(valid[target] for _, target in pairs) and (found >= -1).all() and (found < len(cost)).all()
    assert len({query for query, _ in pairs}) == len(pairs) == min(len(cost), valid.sum())
    assert price(cost, pairs) == pytest.approx(best(cost, valid), rel=1e-5, abs=1e-5)


WHOLE = st.integers(-50, 50).map(float)


@both
@pytest.mark.parametrize(("queries", "targets"), [(4, 4), (5, 3), (3, 5), (1, 3), (3, 1)])
@given(data=st.data())
def test_no_assignment_is_cheaper(matcher: str, queries: int, targets: int, data: st.DataObject) -> None:
    elements = data.draw(st.sampled_from([WHOLE, WHOLE | st.sampled_from(BAD)]))
    cost = data.draw(arrays(np.float32, (4, queries, targets), elements=elements))
    valid = data.draw(arrays(bool, (4, targets)))
    for row in zip(cost, valid, run(cost, valid, matcher), strict=True):
        check(*row)


@pytest.mark.parametrize(("queries", "targets"), [(20, 12), (12, 20), (30, 30)])
def test_matchers_agree_in_cost(queries: int, targets: int) -> None:
    rng = np.random.default_rng(0)
    cost, valid = rng.normal(size=(16, queries, targets)).astype(np.float32), rng.random((16, targets)) < 0.8
    totals = []
    for matcher in MATCHERS:
        found = run(cost, valid, matcher)
        assert ((found >= 0).sum(axis=1) == np.minimum(valid.sum(axis=1), queries)).all()
        picked = np.take_along_axis(cost, np.maximum(found, 0)[:, None], axis=1)[:, 0]
        totals.append(np.where(found >= 0, picked, 0).sum(axis=1, dtype=np.float64))
    np.testing.assert_allclose(totals[1], totals[0], atol=1e-4)


@both
def test_by_hand(matcher: str) -> None:
    cost = np.array([[[1, 2], [1, 9], [9, 9]]])
    np.testing.assert_array_equal(run(cost, [[True, True]], matcher), [[1, 0]])  # not the cheapest query for each in turn
    np.testing.assert_array_equal(run(cost, [[False, True]], matcher), [[-1, 0]])
    np.testing.assert_array_equal(run(cost, [[False, False]], matcher), [[-1, -1]])


@both
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30, 3.4e38])
def test_dear_targets_are_matched_before_padding(matcher: str, scale: float) -> None:
    """With fewer queries than targets padding competes for them."""
    cost = np.array([[[0, 1, 0, 0.5], [0, 0.75, 0, 1]]]) * scale
    np.testing.assert_array_equal(run(cost, [[False, True, False, True]], matcher), [[-1, 1, -1, 0]])
    np.testing.assert_array_equal(run(cost, [[False, True, False, False]], matcher), [[-1, 1, -1, -1]])
    np.testing.assert_array_equal(run(cost * np.array([1, np.inf, 1, 1]), [[False, True, False, True]], matcher) >= 0, [[0, 1, 0, 1]])


@both
@pytest.mark.parametrize(("queries", "targets"), [(6, 4), (4, 6)])
def test_what_stands_in_padding_changes_nothing(matcher: str, queries: int, targets: int) -> None:
    rng = np.random.default_rng(1)
    cost, valid = rng.normal(size=(8, queries, targets)), rng.random((8, targets)) < 0.5
    expected = run(cost, valid, matcher)
    for junk in (*BAD, 3e38, -3e38, 0.0):
        np.testing.assert_array_equal(run(np.where(valid[:, None], cost, junk), valid, matcher), expected)


@both
def test_records_do_not_influence_each_other(matcher: str) -> None:
    rng = np.random.default_rng(2)
    cost, valid = rng.normal(size=(5, 4, 3)), np.ones((5, 3), bool)
    others = cost.copy()
    others[1], others[3, 2, 1], others[4] = np.nan, -np.inf, 1e38
    expected = run(cost, valid, matcher)
    np.testing.assert_array_equal(run(others, valid, matcher)[[0, 2]], expected[[0, 2]])


@both
def test_costs_that_are_not_finite_are_avoided_and_survived(matcher: str) -> None:
    rng = np.random.default_rng(3)
    for bad in BAD:
        cost = np.full((1, 4, 4), bad)
        assert sorted(run(cost, np.ones((1, 4)), matcher)[0]) == [0, 1, 2, 3]
        order = rng.permutation(4)
        cost[0, order, np.arange(4)] = [3e38, -3e38, 1.0, 0.0]  # the only finite assignment, however dear
        np.testing.assert_array_equal(run(cost, np.ones((1, 4)), matcher), [order])


@both
@pytest.mark.parametrize("scale", [2.0**-100, 1.0, 2.0**100])
def test_scale_and_sign(matcher: str, scale: float) -> None:
    rng = np.random.default_rng(4)
    cost, valid = rng.integers(-20, 20, (8, 4, 4)).astype(np.float32), rng.random((8, 4)) < 0.8
    np.testing.assert_array_equal(run(cost * np.float32(scale), valid, matcher), run(cost, valid, matcher))
    for row in zip(-cost, valid, run(-cost, valid, matcher), strict=True):
        check(*row)


@both
@pytest.mark.parametrize("shape", [(2, 3, 0), (2, 0, 3), (0, 3, 4)])
def test_nothing_to_match(matcher: str, shape: tuple[int, ...]) -> None:
    found = run(np.zeros(shape), np.ones((shape[0], shape[2])), matcher)
    assert found.dtype == np.int32 and found.shape == (shape[0], shape[2]) and (found == -1).all()


@both
def test_mapped_any_way_it_is_the_same(matcher: str) -> None:
    rng = np.random.default_rng(5)
    cost = rng.normal(size=(2, 6, 5, 4)).astype(np.float32)
    cost[0, 1, 2, 3] = np.nan
    valid = rng.random((2, 6, 4)) < 0.7
    one = functools.partial(match, matcher=matcher)
    expected = np.stack([run(c, v, matcher) for c, v in zip(cost, valid, strict=True)])
    mesh, spec = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,)), PartitionSpec("batch")
    ways = {
        "leading axes": jax.jit(one),
        "vmap": jax.jit(jax.vmap(one)),
        "vmap of vmap": jax.jit(jax.vmap(jax.vmap(one))),
        "other axes": jax.jit(lambda c, v: jax.vmap(one, in_axes=(-1, 1))(jnp.moveaxis(c, 0, -1), jnp.moveaxis(v, 0, 1))),
        "pmap": jax.pmap(one),
        "shard_map": jax.jit(jax.shard_map(one, mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=False)),
    }
    for name, way in ways.items():
        found = way(jnp.asarray(cost), jnp.asarray(valid))
        assert found.dtype == jnp.int32, name
        np.testing.assert_array_equal(found, expected, err_msg=name)
    shared = jax.jit(jax.vmap(one, in_axes=(0, None)))(jnp.asarray(cost), jnp.asarray(valid[0]))
    np.testing.assert_array_equal(shared[1], run(cost[1], valid[0], matcher))


def test_one_callback_for_a_whole_batch_in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger parts than 100 KiB would still be on their way to the callback that waits for them."""
    shapes, sizes, assign = [], [], matching._assign

    def noted(shape: tuple[int, ...], *parts: Sequence[np.ndarray]) -> np.ndarray:
        shapes.append(shape)
        sizes.extend(part.nbytes for array in parts for part in array)
        return assign(shape, *parts)

    monkeypatch.setattr(matching, "_assign", noted)
    cost, valid = jnp.zeros((2, 30, 40, 30)), jnp.ones((2, 30, 30), bool)
    ways = {
        "leading axes": (jax.jit(lambda c, v: match(c, v)), [(2, 30, 40, 30)]),
        "vmap": (jax.jit(lambda c, v: jax.vmap(match)(c, v)), [(2, 30, 40, 30)]),
        "vmap of vmap": (jax.jit(lambda c, v: jax.vmap(jax.vmap(match))(c, v)), [(30, 2, 40, 30)]),
        "pmap": (jax.pmap(lambda c, v: match(c, v)), [(30, 40, 30)] * 2),
    }
    for name, (way, expected) in ways.items():
        shapes.clear()
        jax.block_until_ready(way(cost, valid))
        assert [sorted(shape) for shape in shapes] == [sorted(shape) for shape in expected], name
    assert max(sizes) < 100 * 2**10 < cost[0].nbytes


def test_the_host_side_never_raises() -> None:
    for shape in ((2, 3, 4), (2, 4, 3), (3, 4), (1, 1, 1)):
        for valid in (np.ones, np.zeros):
            parts = [np.full(shape, 1e38, np.float32).reshape(-1)], [valid((*shape[:-2], shape[-1]), bool).reshape(-1)]
            found = matching._assign(shape, *parts)
            assert found.dtype == np.int32 and found.shape == (*shape[:-2], shape[-1])


@both
def test_gradients_flow_past_the_matching(matcher: str) -> None:
    """Of the matched pairs' costs, as if the matching were given; also where the costs depend on a mapped, summed parameter."""
    rng = np.random.default_rng(6)
    queries, targets = rng.normal(size=(2, 3, 4, 2)).astype(np.float32), rng.normal(size=(2, 3, 5, 2)).astype(np.float32)
    valid = rng.random((2, 3, 5)) < 0.6

    def loss(weight: jax.Array, q: jax.Array, t: jax.Array, v: jax.Array, fixed: jax.Array | None = None) -> jax.Array:
        cost = ((q @ weight)[:, :, None] - t[:, None]) ** 2  # [B, Q, T, 2]
        found = match(cost.sum(axis=-1), v, matcher) if fixed is None else fixed
        picked = jnp.take_along_axis(cost.sum(axis=-1), jnp.maximum(found, 0)[:, None], axis=1)[:, 0]
        return jnp.where(found >= 0, picked, 0.0).sum()

    weight = jnp.eye(2)
    gradient = jax.pmap(lambda q, t, v: jax.lax.psum(jax.grad(loss)(weight, q, t, v), "i"), axis_name="i")(queries, targets, valid)
    expected = 0.0
    for part in zip(queries, targets, valid, strict=True):
        q, t, v = map(jnp.asarray, part)
        fixed = run(((q[:, :, None] - t[:, None]) ** 2).sum(axis=-1), v, matcher)
        expected += jax.grad(loss)(weight, q, t, v, fixed)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(gradient[0], expected, rtol=1e-5)
    none = jax.grad(lambda c: match(c, jnp.asarray(valid[0]), matcher).sum(dtype=jnp.float32))(jnp.ones((3, 4, 5)))
    np.testing.assert_array_equal(none, np.zeros((3, 4, 5)))


def test_bf16_costs() -> None:
    cost = np.random.default_rng(7).normal(size=(3, 4, 4)).astype(jnp.bfloat16)
    for matcher in MATCHERS:
        found = compiled[matcher](cost, np.ones((3, 4), bool))
        np.testing.assert_array_equal(found, run(cost, np.ones((3, 4)), matcher))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="one of scipy, optax, found 'greedy'"):
        match(jnp.zeros((1, 2, 3)), jnp.ones((1, 3), bool), "greedy")
    with pytest.raises(ValueError, match=re.escape("found (1, 2, 3) and (1, 2)")):
        match(jnp.zeros((1, 2, 3)), jnp.ones((1, 2), bool))


def endure(*arguments: str, timeout: int) -> str:
    """Runs Python on 8 simulated devices, in a process that is ended if it hangs. Returns what it printed."""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=timeout, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.processes
def test_hundreds_of_steps_on_8_devices_do_not_hang() -> None:
    shown = endure("-m", "launch.benchmark_matching", "--stress=300", timeout=120)
    assert all(f"{matcher}: 300 steps on 8 x cpu" in shown for matcher in MATCHERS)


@pytest.mark.processes
def test_large_costs_on_8_devices_do_not_hang() -> None:
    call = "stress(30, 'scipy', batch=16, queries=50, targets=60)"  # 188 KiB a device
    assert "steps_per_second" in endure("-c", f"from mmre_jax.analysis.matching_speed import stress; print({call})", timeout=120)


@pytest.mark.slow
def test_thousands_of_steps_on_8_devices_do_not_hang() -> None:
    shown = endure("-m", "launch.benchmark_matching", "--stress=5000", timeout=900)
    assert all(f"{matcher}: 5000 steps on 8 x cpu" in shown for matcher in MATCHERS)
    call = "stress(1000, 'scipy', batch=16, queries=50, targets=60)"
    assert "steps_per_second" in endure("-c", f"from mmre_jax.analysis.matching_speed import stress; print({call})", timeout=900)
