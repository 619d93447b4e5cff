"""The triple head's equations by hand, the matching against all permutations, and the joint loss by hand, over shards and at its limits."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.heads.triples import PADDING, TripleHead, TripleObjective, TripleWeights

N, B, Q, L, D, R, T = 2, 4, 3, 5, 4, 3, 2
random = np.random.default_rng(0)
QUERIES = random.normal(size=(N, B, Q, D)).astype(np.float32)
TEXT = random.normal(size=(B, L, D)).astype(np.float32)
CROSS = random.normal(size=(B, 2 * D)).astype(np.float32)
MASK = np.arange(L) < np.array([5, 3, 4, 0])[:, None]


def randomised(params: Any) -> Any:
    """Every parameter at random, zero-initialised biases included."""
    numbers = np.random.default_rng(1)
    return jax.tree.map(lambda p: numbers.normal(size=p.shape).astype(np.float32), params)


def dense(part: Any, x: np.ndarray) -> np.ndarray:
    return x @ part["kernel"] + part.get("bias", 0)


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max(-1, keepdims=True)) / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)


def applied(entity: str) -> tuple[Any, dict[str, np.ndarray]]:
    head = TripleHead(R, entity)
    params = randomised(head.init(jax.random.key(0), QUERIES, TEXT, MASK, CROSS)["params"])
    return params, jax.tree.map(np.asarray, head.apply({"params": params}, QUERIES, TEXT, MASK, CROSS))


def test_spans_by_dot_product_query_by_query() -> None:
    p, found = applied("dot")
    for n, b, q, i in np.ndindex(N, B, Q, L):
        asked, token = dense(p["span_query"], QUERIES[n, b, q]), dense(p["span_token"], TEXT[b, i])
        expected = [asked[:D] @ token[:D] / math.sqrt(D), asked[D:] @ token[D:] / math.sqrt(D)] if MASK[b, i] else [PADDING] * 2
        np.testing.assert_allclose([found["start"][n, b, q, i], found["end"][n, b, q, i]], expected, atol=1e-5)


def test_spans_by_mlp_query_by_query() -> None:
    p, found = applied("mlp")
    for n, b, q, i in np.ndindex(N, B, Q, L):
        logits = dense(p["span_out"], np.maximum(dense(p["span_in"], QUERIES[n, b, q] + TEXT[b, i]), 0))
        expected = logits if MASK[b, i] else [PADDING] * 2
        np.testing.assert_allclose([found["start"][n, b, q, i], found["end"][n, b, q, i]], expected, atol=1e-5)


@pytest.mark.parametrize("entity", ["dot", "mlp"])
def test_every_query_has_a_span_of_its_own(entity: str) -> None:
    """Not so by eq. 5 as printed: there the queries' part is the same for all tokens and cancels."""
    _, found = applied(entity)
    probabilities = softmax(found["start"][:, :3])
    assert np.abs(probabilities[:, :, 0] - probabilities[:, :, 1]).max() > 0.01
    printed = (QUERIES[:, :, :, None] + TEXT[None, :, None]) @ random.normal(size=D)
    np.testing.assert_allclose(softmax(printed)[:, :, :1].repeat(Q, 2), softmax(printed), atol=1e-6)


def test_relations_and_boxes_query_by_query() -> None:
    p, found = applied("dot")
    for n, b, q in np.ndindex(N, B, Q):
        np.testing.assert_allclose(
            found["relation"][n, b, q], dense(p["relation"], dense(p["cross"], CROSS[b]) + QUERIES[n, b, q]), atol=1e-4
        )
        hidden = np.maximum(dense(p["box_1"], np.maximum(dense(p["box_0"], QUERIES[n, b, q]), 0)), 0)
        np.testing.assert_allclose(found["box"][n, b, q], 1 / (1 + np.exp(-dense(p["box_2"], hidden))), atol=1e-5)
    assert found["relation"].shape[-1] == R + 1


def test_padding_is_never_part_of_a_span() -> None:
    head = TripleHead(R)
    params = randomised(head.init(jax.random.key(0), QUERIES, TEXT, MASK, CROSS)["params"])
    other = np.where(MASK[..., None], TEXT, np.float32(1e3))
    found = head.apply({"params": params}, QUERIES, other, MASK, CROSS)
    predicted = TripleObjective().predict(found, {})
    for name in ("start", "end"):
        assert not np.asarray(predicted[name])[:3][~np.broadcast_to(MASK[:3, None], (3, Q, L))].any()
    clean = TripleObjective().predict(head.apply({"params": params}, QUERIES, TEXT, MASK, CROSS), {})
    assert all(np.array_equal(predicted[name], clean[name]) for name in clean)


def made(seed: int = 0, layers: int = N, size: int = B, queries: int = Q, count: int = T) -> tuple[Any, Any]:
    """Outputs of a head, and a batch in which records have 0 to `count` targets; the last record is not valid."""
    numbers = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return numbers.normal(size=shape).astype(np.float32)

    box = numbers.uniform(0.1, 0.6, (layers, size, queries, 4)).astype(np.float32)
    outputs = {"start": normal(layers, size, queries, L), "end": normal(layers, size, queries, L), "box": box}
    targets = {name: numbers.integers(0, L, (size, count)).astype(np.int32) for name in ("start", "end")}
    targets["relation"] = numbers.integers(0, R, (size, count)).astype(np.int32)
    targets["box"] = numbers.uniform(0.1, 0.6, (size, count, 4)).astype(np.float32)
    targets["valid"] = np.arange(count) < np.arange(size)[:, None] % (count + 1)
    return {**outputs, "relation": normal(layers, size, queries, R + 1)}, {"targets": targets, "valid": np.arange(size) < size - 1}


def corners(box: np.ndarray) -> tuple[float, float, float, float]:
    x, y, w, h = map(float, box)
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def giou(a: np.ndarray, b: np.ndarray) -> float:
    (ax, ay, az, aw), (bx, by, bz, bw) = corners(a), corners(b)
    inner = max(min(az, bz) - max(ax, bx), 0) * max(min(aw, bw) - max(ay, by), 0)
    union = (az - ax) * (aw - ay) + (bz - bx) * (bw - by) - inner
    hull = (max(az, bz) - min(ax, bx)) * (max(aw, bw) - min(ay, by))
    return inner / union - (hull - union) / hull


def parts(outputs: Any, targets: Any, n: int, b: int, q: int, t: int) -> tuple[float, float, float, float]:
    """(p_e, p_r, l1, 1 - giou) of a query beside a target."""
    start, end, relation = (softmax(outputs[name][n, b, q].astype(np.float64)) for name in ("start", "end", "relation"))
    found, gold = outputs["box"][n, b, q], targets["box"][b, t]
    span = start[targets["start"][b, t]] * end[targets["end"][b, t]]
    return span, relation[targets["relation"][b, t]], float(np.abs(found - gold).sum()), 1 - giou(found, gold)


def cost(outputs: Any, targets: Any, n: int, b: int, q: int, t: int) -> float:
    span, relation, l1, apart = parts(outputs, targets, n, b, q, t)
    return -span - relation + 3.0 * l1 + 3.5 * apart  # eq. 8


@pytest.mark.parametrize("matcher", ["scipy", "optax"])
@pytest.mark.parametrize("queries", [1, 3, 4])
def test_no_assignment_is_cheaper(matcher: str, queries: int) -> None:
    outputs, batch = made(1, size=6, queries=queries, count=3)
    targets = batch["targets"]
    found = np.asarray(jax.jit(TripleObjective(matcher=matcher).assign)(outputs, batch))
    assert found.shape == (N, 6, 3)
    for n, b in np.ndindex(N, 6):
        wanted = [t for t in range(3) if targets["valid"][b, t] and batch["valid"][b]]
        taken = [(q, t) for t, q in enumerate(found[n, b]) if q >= 0]
        assert {t for _, t in taken} <= set(wanted) and len({q for q, _ in taken}) == len(taken) == min(len(wanted), queries)
        fewer = min(len(wanted), queries)
        choices = (
            sum(cost(outputs, targets, n, b, q, t) for q, t in zip(qs, ts, strict=True))
            for qs in itertools.permutations(range(queries), fewer)
            for ts in itertools.combinations(wanted, fewer)
        )
        np.testing.assert_allclose(sum(cost(outputs, targets, n, b, q, t) for q, t in taken), min(choices), atol=1e-4)


def test_equation_9_by_hand() -> None:
    """Two queries, one gold triple, everything else certain or halved."""
    log2 = math.log(2)
    outputs = {
        "start": np.array([[[[50, 0], [0, 50]]]], np.float32),  # query 0 says token 0, query 1 token 1
        "end": np.zeros((1, 1, 2, 2), np.float32),  # both tokens alike
        "relation": np.array([[[[0, 0], [0, 0]]]], np.float32),  # one relation, and none
        "box": np.array([[[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]]]], np.float32),
    }
    targets = {"start": [[1]], "end": [[0]], "relation": [[0]], "box": [[[0.5, 0.5, 0.4, 0.2]]], "valid": [[True]]}
    batch = {"targets": {k: np.array(v, {"box": np.float32, "valid": bool}.get(k, np.int32)) for k, v in targets.items()}}
    share, metrics = TripleObjective().loss(outputs, {**batch, "valid": np.array([True])}, None)
    # Query 1 is matched: span -log(1 * 1/2), box 0.2 too high, IoU = gIoU = 1/2. Both relations cost log 2, the empty one counts 0.1.
    expected = 1 * log2 + 2 * (1.0 * log2 + 0.1 * log2) / 1.1 + 3 * 0.2 + 3.5 * 0.5
    np.testing.assert_allclose(share, expected, rtol=1e-5)
    means = {name: float(total / count) for name, (total, count) in metrics.items()}
    wanted = {"loss": expected, "entity": log2, "relation": log2, "l1": 0.2, "giou": 0.5, "unmatched": 0}
    assert means == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def by_loops(outputs: Any, batch: Any, query: np.ndarray, weights: TripleWeights, empty_weight: float) -> float:
    """Eq. 9 record by record, query by query."""
    targets = batch["targets"]
    live = [b for b in range(len(batch["valid"])) if batch["valid"][b]]
    gold = max(sum(int(targets["valid"][b].sum()) for b in live), 1)
    total = 0.0
    for n in range(len(query)):
        losses, weight = 0.0, 0.0
        for b in live:
            of = {int(q): t for t, q in enumerate(query[n, b]) if q >= 0}
            for q in range(outputs["relation"].shape[2]):
                probabilities = softmax(outputs["relation"][n, b, q].astype(np.float64))
                label, heavy = (targets["relation"][b, of[q]], 1.0) if q in of else (R, empty_weight)
                losses, weight = losses - heavy * math.log(probabilities[label]), weight + heavy
                if q in of:
                    span, _, l1, apart = parts(outputs, targets, n, b, q, of[q])
                    total += (weights.entity * -math.log(span) + weights.l1 * l1 + weights.giou * apart) / gold
        total += weights.relation * losses / weight
    return total


@pytest.mark.parametrize("weights", [TripleWeights(), TripleWeights(0.5, 0.0, 1.0, 2.0)])
def test_the_joint_loss_query_by_query(weights: TripleWeights) -> None:
    outputs, batch = made(2, size=6, count=4)
    objective = TripleObjective(weights, empty_weight=0.3)
    query = np.asarray(objective.assign(outputs, batch))
    share, metrics = jax.jit(lambda o: objective.loss(o, batch, None))(outputs)
    np.testing.assert_allclose(share, by_loops(outputs, batch, query, weights, 0.3), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (share * 5, 5), rtol=1e-6)
    valid = batch["targets"]["valid"] & batch["valid"][:, None]
    np.testing.assert_array_equal(metrics["unmatched"], (np.maximum(valid.sum(1) - Q, 0).sum(), valid.sum()))
    assert metrics["unmatched"][0] > 0, "the example is to have more targets than queries somewhere"


def test_layers_add_up_and_each_is_matched_for_itself() -> None:
    outputs, batch = made(3)
    objective = TripleObjective()
    single = [{name: x[n : n + 1] for name, x in outputs.items()} for n in range(N)]
    shares = [objective.loss(one, batch, None)[0] for one in single]
    np.testing.assert_allclose(objective.loss(outputs, batch, None)[0], sum(shares), rtol=1e-5)
    np.testing.assert_array_equal(objective.assign(outputs, batch), np.concatenate([objective.assign(one, batch) for one in single]))


def gradient(outputs: Any, batch: Any) -> tuple[Any, Any]:
    return jax.jit(jax.value_and_grad(lambda o: TripleObjective().loss(o, batch, None)[0]))(outputs)


def test_what_is_not_valid_is_never_looked_at() -> None:
    outputs, batch = made(4, size=6)
    valid = batch["targets"]["valid"] & batch["valid"][:, None]
    spoilt = {k: np.where(valid, v, -7) for k, v in batch["targets"].items() if k in ("start", "end", "relation")}
    box = np.where(valid[..., None], batch["targets"]["box"], np.float32(np.nan))
    # The invalid record claims targets, too.
    claimed = batch["targets"]["valid"] | ~batch["valid"][:, None]
    other = {"targets": {**spoilt, "box": box, "valid": claimed}, "valid": batch["valid"]}
    (a, of_a), (b, of_b) = gradient(outputs, batch), gradient(outputs, other)
    np.testing.assert_array_equal(a, b)
    jax.tree.map(np.testing.assert_array_equal, of_a, of_b)
    assert all(not g[:, -1].any() and g[:, :-1].any() for g in of_a.values())


def test_batches_without_targets_or_records_are_finite() -> None:
    outputs, batch = made(5)
    nothing = {**batch, "targets": {**batch["targets"], "valid": np.zeros((B, T), bool)}}
    share, gradients = gradient(outputs, nothing)
    expected = -2 * sum(np.log(softmax(outputs["relation"][n, :-1].astype(np.float64))[..., R]).mean() for n in range(N))
    np.testing.assert_allclose(share, expected, rtol=1e-5)
    assert not any(gradients[name].any() for name in ("start", "end", "box")) and np.isfinite(gradients["relation"]).all()
    share, gradients = gradient(outputs, {**batch, "valid": np.zeros(B, bool)})
    assert share == 0 and not any(g.any() for g in gradients.values())


def test_extreme_outputs_have_finite_gradients() -> None:
    outputs, batch = made(6)
    extreme = {name: np.sign(x - 0.3) * np.float32(300) for name, x in outputs.items() if name != "box"}
    for value in (0.0, 1.0):
        share, gradients = gradient({**extreme, "box": np.full_like(outputs["box"], value)}, batch)
        assert np.isfinite(share) and all(np.isfinite(g).all() for g in gradients.values())


def test_shares_and_gradients_of_uneven_shards_add_up() -> None:
    outputs, batch = made(7, size=6)
    batch["targets"]["valid"] = np.array([[True, True]] * 2 + [[True, False]] + [[False, False]] * 3)  # 5 against 0
    batch["valid"] = np.array([True, True, True, True, False, False])

    def share(outputs: Any, batch: Any, axis: str | None) -> Any:
        (found, metrics), grads = jax.value_and_grad(lambda o: TripleObjective().loss(o, batch, axis), has_aux=True)(outputs)
        return found, metrics, grads

    def cut(x: np.ndarray, axis: int) -> np.ndarray:
        return np.moveaxis(x.reshape(*x.shape[:axis], 2, 3, *x.shape[axis + 1 :]), axis, 0)

    halves = {name: cut(x, 1) for name, x in outputs.items()}, jax.tree.map(lambda x: cut(x, 0), batch)
    shares, metrics, grads = jax.pmap(lambda o, b: share(o, b, "shards"), axis_name="shards")(*halves)
    whole, whole_metrics, expected = jax.jit(lambda o, b: share(o, b, None))(outputs, batch)
    np.testing.assert_allclose(shares.sum(), whole, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.sum(), b, rtol=1e-5), metrics, whole_metrics)
    for name, found in grads.items():
        np.testing.assert_allclose(np.moveaxis(found, 0, 1).reshape(expected[name].shape), expected[name], atol=1e-6)


def test_predictions_are_the_last_layers() -> None:
    outputs, batch = made(8)
    outputs["box"][-1, 0, 0] = (0.9, 0.5, 0.4, 0.2)
    found = TripleObjective().predict(outputs, batch)
    assert {name: x.shape for name, x in found.items()} == {
        "start": (B, Q, L),
        "end": (B, Q, L),
        "relation": (B, Q, R + 1),
        "box": (B, Q, 4),
    }
    for name in ("start", "end", "relation"):
        np.testing.assert_allclose(found[name], softmax(outputs[name][-1]), atol=1e-6)
    np.testing.assert_allclose(found["box"][0, 0], (0.7, 0.4, 1.1, 0.6), atol=1e-6)  # as the loss saw it: decoding clips
    np.testing.assert_allclose(found["box"][1, 1], corners(outputs["box"][-1, 1, 1]), atol=1e-6)


def test_logits_are_fp32_in_bf16_computation() -> None:
    params, full = applied("dot")
    narrow = TripleHead(R, dtype=jnp.bfloat16)
    low = (x.astype(jnp.bfloat16) for x in (QUERIES, TEXT))
    found = narrow.apply({"params": params}, *low, MASK, CROSS.astype(jnp.bfloat16))
    assert {x.dtype for x in found.values()} == {jnp.dtype("float32")}
    np.testing.assert_allclose(found["relation"], full["relation"], atol=0.3)
