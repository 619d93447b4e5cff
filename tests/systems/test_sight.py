"""Features of an image encoder that is not trained in place of the pictures: the same losses and gradients, in every system with such."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import test_adapted
import test_dgf_pt
import test_qeot
from small import build

from configs import hvformer, mkgformer, rsrnet, visualbert

SIZES = {"width": 8, "layers": 2, "heads": 2, "mlp": 8, "dropout": 0.0}
CONVOLUTIONS = {"depths": (1, 1), "stem": 4, "groups": 2, "side": 32, "crop_side": 32}
RELEASED = {"system.flavour": "reference", "data.objects": "grounded", "vision.crop_side": 32}
CASES = {
    "hvformer": (hvformer, {"data.objects": "detected", "vision.crop_side": 32}),
    "hvformer, reference": (hvformer, RELEASED),
    "mkgformer": (mkgformer, {"vision.crop_side": 32, "data.objects": "detected"}),
    "mkgformer, reference": (mkgformer, RELEASED),
    "rsrnet": (rsrnet, {"data.objects": "detected", "vision.norm": "batch"}),
    "rsrnet, a pyramid": (rsrnet, {"vision.kind": "rcnn", "vision.pyramid_width": 4, "vision.stem_kernel": 0}),
    "visualbert": (visualbert, {"data.objects": "detected", "system.cells": 2}),
    "rsrnet, reference": (
        rsrnet,
        {
            "system.flavour": "reference",
            "data.objects": "grounded",
            "vision.depths": (1, 1, 1, 1),
            "vision.side": 64,
            "vision.crop_side": 64,
        },
    ),
}


def config_of(module, changes):
    config = module.get_config("quickstart").copy_and_resolve_references().unlock()
    config.text.update({**SIZES, "attention_dropout": 0.0})
    config.vision.update({**SIZES, "side": 32, "patch": 16} if config.vision.kind == "vit" else CONVOLUTIONS)
    config.vision.update({"crops": 2})
    if "heads" in config.system:
        config.system.heads = 2
    config.optim.frozen = ("vision",)
    config.update_from_flattened_dict(changes)
    return config.lock()


def made(case):
    """(system, batch, variables); of the last two records one has no crop, and one no picture at all."""
    if case == "qeot":
        system, batch, variables = test_qeot.make(test_qeot.tiny(), size=3)
    elif case.startswith("adapted"):
        system, batch, variables = test_qeot.make(test_adapted.tiny(case.split()[1]), size=3)
    elif case == "dgf_pt":
        system, batch, variables = build(test_dgf_pt.tiny(), test_dgf_pt.LABELS, more=test_dgf_pt.asked)
    else:
        system, batch, variables = build(config_of(*CASES[case]), ("None", "a", "b", "c", "d"))
    there = {name: x.copy() for name, x in batch["present"].items()}
    for n, found in enumerate(there.values()):
        found[2] = False
        found[1, -1] = n == 0
    return system, {**batch, "present": there}, variables


def with_features(system, variables, batch):
    """The batch as the loader gives it where features are kept: each set of pictures, or each picture, was encoded by itself."""
    part = system.sight.part
    own = {name: {part: tree[part]} for name, tree in variables.items() if part in tree}
    see = jax.jit(system.features)
    if system.sight.apart:
        (slot,) = system.seen_at_once
        pixels, present = (np.concatenate([batch[k][s.name] for s in system.plan], axis=1) for k in ("pictures", "present"))
        each = [
            see(own, {"pictures": {slot.name: pixels[:, [n]]}, "present": {slot.name: present[:, [n]]}}) for n in range(pixels.shape[1])
        ]
        features = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *each)
    else:
        features = see(own, batch)
    return {**{k: v for k, v in batch.items() if k != "pictures"}, "features": features}


@pytest.mark.parametrize("case", [*CASES, "qeot", "dgf_pt", "adapted hvpnet", "adapted visualbert"])
def test_features_in_place_of_pictures_change_no_number(case):
    system, batch, variables = made(case)
    trained = {part: tree for part, tree in variables["params"].items() if part != "vision"}

    def loss(params, batch):
        own = {**variables, "params": {**variables["params"], **params}}
        return system.loss(own, batch, jax.random.key(0), axis=None, train=True)[0]

    # Gradients follow from the program that is differentiated: that the features enter it as the pictures' states did is the same for all.
    step = jax.jit(jax.value_and_grad(loss) if case in ("hvformer", "rsrnet") else loss)
    kept = with_features(system, variables, batch)
    assert "pictures" not in kept
    for ours, theirs in zip(*(jax.tree.leaves(step(trained, x)) for x in (kept, batch)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
