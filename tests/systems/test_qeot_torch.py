"""Everything of QEOT behind the encoders, its joint loss and the gradient of every parameter, against a second implementation in PyTorch.

The second implementation starts from the encoders' states, which have tests of their own, and has its own matching, by trying all.
"""

import itertools
import math

import jax
import numpy as np
import pytest
import torch
from torch.nn import functional

from configs import qeot as configs
from mmre_jax import systems
from mmre_jax.fusion.positions import sine_positions
from mmre_jax.weights.pretrained import resolve

pytestmark = pytest.mark.thorough

B, L, D, Q, T, R, CELLS = 4, 6, 16, 3, 2, 3, 16
LENGTHS, PRESENT, COUNTS = np.array([6, 4, 5, 6]), np.array([True, True, False, True]), np.array([2, 1, 1, 2])
VALID = np.array([True, True, True, False])
VARIANTS = {
    "paper": {},
    "mlp, both, w/o gated, last layer": {"entity_head": "mlp", "memory": "both", "gate": False, "deep_supervision": False},
    "w/o query, w/o select": {"queries_by": "slots", "select": False, "encoder_positions": True},
}


def made(change):
    config = configs.get_config("quickstart").copy_and_resolve_references()
    with config.unlocked():
        small = {"width": D, "layers": 1, "heads": 2, "mlp": 24}
        config.text.update({**small, "positions": 32, "max_tokens": 32})
        config.vision.update({**small, "kind": "vit", "dialect": "vit", "patch": 4, "side": 16})
        config.system.update({"queries": Q, "heads": 2, "mlp": 24, "empty_weight": 0.2, "encoder_positions": False, **change})
    system = systems.build(resolve(config), vocab_size=40, labels=tuple("abc"))
    numbers = np.random.default_rng(0)
    start = numbers.integers(0, 3, (B, T)).astype(np.int32)
    batch = {
        "text": {"ids": numbers.integers(0, 40, (B, L)).astype(np.int32), "mask": np.arange(L) < LENGTHS[:, None]},
        "pictures": {"photo": numbers.integers(0, 256, (B, 1, 16, 16, 3)).astype(np.uint8)},
        "present": {"photo": PRESENT[:, None]},
        "valid": VALID,
        "targets": {
            "start": start,
            "end": start + 1,
            "relation": numbers.integers(0, R, (B, T)).astype(np.int32),
            "box": numbers.uniform(0.2, 0.6, (B, T, 4)).astype(np.float32),
            "valid": np.arange(T) < COUNTS[:, None],
        },
    }
    shapes = jax.eval_shape(system.init, jax.random.key(0), batch)["params"]
    return config, system, batch, jax.tree.map(lambda x: numbers.normal(0, 0.4, x.shape).astype(np.float32), shapes)


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", torch.zeros(()))


def norm(p, x):
    return functional.layer_norm(x, x.shape[-1:], p["scale"], p["bias"], 1e-5)


def softmax(scores, mask):
    """Weights over places where the mask holds; 0 everywhere where it holds nowhere."""
    some = mask.any(-1, keepdim=True)
    return torch.where(some, scores.masked_fill(~mask & some, -math.inf).softmax(-1), 0.0)


def attend(p, x, context, mask, heads=2):
    def split(name, of):
        return dense(p[name], of).unflatten(-1, (heads, -1)).transpose(1, 2)

    q, k, v = split("query", x), split("key", context), split("value", context)
    weights = softmax(q @ k.transpose(-1, -2) / math.sqrt(D / heads), mask[:, None, None].expand(-1, heads, q.shape[2], -1))
    return dense(p["out"], (weights @ v).transpose(1, 2).flatten(2))


def layer(p, x, memory, mask):
    if "cross" in p:
        x = norm(p["attention_norm"], x + attend(p["attention"], x, x, torch.ones(x.shape[:2], dtype=torch.bool)))
        x = norm(p["cross_norm"], x + attend(p["cross"], x, memory, mask))
    else:
        x = norm(p["attention_norm"], x + attend(p["attention"], x, x, mask))
    return norm(p["mlp_norm"], x + dense(p["mlp"]["down"], dense(p["mlp"]["up"], x).relu()))


def mean(x, mask):
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def gated(p, own, other):
    gate = torch.sigmoid(dense(p["own"], own) + dense(p["attended"], other))
    return own + gate * (other - own)


def network(p, system, text, image, words, cells):
    """The outputs of every layer with a loss: eq. 1-6 from the encoders' states."""
    image = dense(p["project"], image)
    placed = image + torch.tensor(sine_positions(4, 4, D))
    if system.select:
        scores = text @ placed.transpose(1, 2) / math.sqrt(D)
        to_image = softmax(scores, cells[:, None].expand_as(scores))
        to_text = softmax(scores.transpose(1, 2), words[:, None].expand(-1, CELLS, -1))
        found_text, found_image = to_image @ image, to_text @ text
        if system.gate:
            text = torch.where(cells.any(1)[:, None, None], gated(p["gate_text"], text, found_text), text)
            image = gated(p["gate_image"], image, found_image)
        else:
            text, image = text + found_text, image + found_image
    memory, mask = image, cells
    if system.encoder_positions:
        memory = image + torch.tensor(sine_positions(4, 4, D))
    if system.memory == "both":
        memory, mask = torch.cat([text, memory], 1), torch.cat([words, cells], 1)
    for name in sorted(p["encoder"]):
        memory = layer(p["encoder"][name], memory, memory, mask)
    if system.queries_by == "slots":
        states = [dense(p["slots"]["slots"], torch.cat([mean(text, words), mean(memory, mask)], -1)).unflatten(-1, (Q, D))]
    else:
        states, x = [], p["decoder"]["queries"].expand(B, Q, D)
        for name in ("layer_0", "layer_1"):
            states.append(x := layer(p["decoder"][name], x, memory, mask))
    cross = torch.cat([mean(text, words), mean(image, cells)], -1)
    return [head(p["head"], x, text, words, cross) for x in (states if system.deep_supervision else states[-1:])]


def head(p, queries, text, words, cross):
    if "span_in" in p:
        spans = dense(p["span_out"], dense(p["span_in"], queries[:, :, None] + text[:, None]).relu()).unbind(-1)
    else:
        asked, tokens = dense(p["span_query"], queries).split(D, -1), dense(p["span_token"], text).split(D, -1)
        spans = [q @ t.transpose(1, 2) / math.sqrt(D) for q, t in zip(asked, tokens, strict=True)]
    start, end = (x.masked_fill(~words[:, None], -1e9) for x in spans)
    box = dense(p["box_2"], dense(p["box_1"], dense(p["box_0"], queries).relu()).relu()).sigmoid()
    return {"start": start, "end": end, "relation": dense(p["relation"], dense(p["cross"], cross)[:, None] + queries), "box": box}


def giou_loss(a, b):
    (a0, a1), (b0, b1) = ((x[:2] - x[2:] / 2, x[:2] + x[2:] / 2) for x in (a, b))
    inner = (torch.minimum(a1, b1) - torch.maximum(a0, b0)).clamp(min=0).prod()
    union = a[2:].prod() + b[2:].prod() - inner
    hull = (torch.maximum(a1, b1) - torch.minimum(a0, b0)).prod()
    return 1 - inner / union + (hull - union) / hull


def pair(outputs, gold, b, q, t):
    """-log p_e, -log p_r, l1 and giou of query q beside target t."""
    span = sum(functional.cross_entropy(outputs[name][b, q], gold[name][b, t].long()) for name in ("start", "end"))
    relation = functional.cross_entropy(outputs["relation"][b, q], gold["relation"][b, t].long())
    return span, relation, (outputs["box"][b, q] - gold["box"][b, t]).abs().sum(), giou_loss(outputs["box"][b, q], gold["box"][b, t])


def best(outputs, gold, b):
    """Eq. 7-8: (query, target) pairs of a record, the cheapest of all."""
    with torch.no_grad():
        costs = {}
        for q, t in itertools.product(range(Q), range(COUNTS[b])):
            span, relation, l1, giou = pair(outputs, gold, b, q, t)
            costs[q, t] = float(-(-span).exp() - (-relation).exp() + 3 * l1 + 3.5 * giou)
    choices = [list(zip(qs, range(COUNTS[b]), strict=True)) for qs in itertools.permutations(range(Q), int(COUNTS[b]))]
    return min(choices, key=lambda choice: sum(costs[one] for one in choice))


def joint_loss(layers, gold):
    """Eq. 9, and the matching, [N, B, T]."""
    total, matching = torch.zeros(()), np.full((len(layers), B, T), -1, np.int32)
    triples = sum(COUNTS[VALID])
    for n, outputs in enumerate(layers):
        labels = torch.full((B, Q), R)
        for b in np.flatnonzero(VALID):
            for q, t in best(outputs, gold, b):
                matching[n, b, t], labels[b, q] = q, gold["relation"][b, t]
                span, _, l1, giou = pair(outputs, gold, b, q, t)
                total = total + (span + 3 * l1 + 3.5 * giou) / triples
        weight = torch.tensor([1.0] * R + [0.2])
        total = total + 2 * functional.cross_entropy(outputs["relation"][VALID].flatten(0, 1), labels[VALID].flatten(), weight)
    return total, matching


@pytest.mark.parametrize("name", VARIANTS)
def test_joint_loss_and_gradients_are_pytorchs(name):
    config, system, batch, params = made(VARIANTS[name])
    inputs = system.inputs(batch)
    encoders = {part: params[part] for part in ("text", "vision")}
    own = {part: tree for part, tree in params.items() if part not in encoders}

    @jax.jit
    def run(own):
        return system.net.apply({"params": {**own, **encoders}}, *inputs, train=False, mutable=["intermediates"])

    outputs, seen = run(own)
    text, image = (torch.tensor(np.asarray(seen["intermediates"][part]["hidden"][-1])) for part in encoders)
    theirs = jax.tree.map(lambda x: torch.tensor(x, requires_grad=True), own)

    words = torch.tensor(batch["text"]["mask"])
    cells = torch.tensor(PRESENT)[:, None].expand(B, CELLS)
    layers = network(theirs, config.system, text, image[:, 1:], words, cells)
    for output, found in outputs.items():
        np.testing.assert_allclose(found, torch.stack([x[output] for x in layers]).detach(), atol=1e-4, err_msg=output)
    loss, matching = joint_loss(layers, jax.tree.map(torch.tensor, batch["targets"]))
    np.testing.assert_array_equal(system.objective.assign(outputs, batch), matching)

    def share(own):
        return system.objective.matched_loss(run(own)[0], batch, matching, None)[0]

    ours, grads = jax.jit(jax.value_and_grad(share))(own)
    np.testing.assert_allclose(ours, loss.detach(), rtol=1e-4)
    np.testing.assert_allclose(system.objective.loss(outputs, batch, None)[0], loss.detach(), rtol=1e-4)
    loss.backward()
    for path, expected in jax.tree_util.tree_leaves_with_path(theirs):
        found = grads
        for key in path:
            found = found[key.key]
        np.testing.assert_allclose(found, expected.grad, rtol=1e-4, atol=1e-4, err_msg=jax.tree_util.keystr(path))
    assert sum(float(x.grad.abs().sum()) for x in jax.tree.leaves(theirs)) > 1
