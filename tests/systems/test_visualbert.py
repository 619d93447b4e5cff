"""VisualBERT: gradients in every configuration, absent pictures, padding, both tasks, and settings that contradict each other."""

import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small import (
    absent,
    assert_absent_pixels_are_not_read,
    assert_gradients,
    build,
    gradients_both_ways,
    gradients_of,
    outputs_of,
    second_record,
)

from configs import rsrnet
from configs import visualbert as configs
from mmre_jax import systems
from mmre_jax.weights.pretrained import resolve

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def tiny(task="relation", objects="detected", kind="resnet", norm="group", **system):
    config = configs.get_config("quickstart").copy_and_resolve_references()
    with config.unlocked():
        small = {"width": 16, "layers": 2, "heads": 2, "mlp": 32, "init_std": 0.25, "positions": 32, "max_tokens": 32}
        config.text.update({**small, "dropout": 0.0, "attention_dropout": 0.0})
        blocks = {"depths": (1, 1), "stem": 8, "stem_kernel": 3, "stem_pool": False, "bottleneck": kind == "resnest"}
        config.vision.update({"kind": kind, **blocks, "norm": norm, "groups": 2, "side": 16, "crop_side": 16, "crops": 2})
        config.vision.update({"pyramid_width": 8, "level": 1})
        config.system.update({"head_dropout": 0.0, "cells": 2, **system})
        config.task.name = task
        config.data.objects = objects
    return config


def make(config):
    return build(config, TAGS)


VARIANTS = {
    "paper": {},
    "a region each": {"cells": 1},
    "text-only": {"modalities": "text"},
    "entities": {"task": "entities"},
    "entities, text-only": {"task": "entities", "modalities": "text"},
    "pyramid": {"kind": "rcnn"},
    "trained norm": {"norm": "batch"},
}


@functools.cache
def ready(name):
    """System, batch and variables of a variant, for several tests, whose programs are compiled once: not to be changed in place."""
    return make(tiny(**VARIANTS[name]))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "a region each"])
def test_every_parameter_has_a_gradient(name):
    system, batch, variables = ready(name)
    gradients = (gradients_both_ways if name == "paper" else gradients_of)(system, batch, variables)
    assert_gradients(gradients, set(), cancels=True)


@pytest.mark.parametrize("name", ["paper", "a region each", "entities", "pyramid"])
def test_pixels_of_an_absent_picture_never_change_a_prediction(name):
    assert_absent_pixels_are_not_read(*ready(name))


@pytest.mark.parametrize("task", ["relation", "entities"])
def test_without_pictures_it_is_the_text_only_system(task):
    paper = {"relation": "paper", "entities": "entities"}[task]
    (system, batch, variables), (text, _, _) = ready(paper), make(tiny(task, modalities="text"))
    assert text.plan == ()
    own = {"params": {name: variables["params"][name] for name in ("text", "head")}}
    np.testing.assert_allclose(outputs_of(system, variables, absent(batch)), outputs_of(text, own, batch), atol=1e-5)


def test_without_pictures_it_is_hvpnet_without_pictures():
    """Text-only a BERT with its head is one network, whichever system it is of, down to the names of its parameters."""
    config, other = tiny(modalities="text"), rsrnet.get_config("quickstart").copy_and_resolve_references()
    with other.unlocked():
        other.text, other.system.modalities, other.data.objects = config.text, "text", "none"
    system, batch, variables = make(config)
    np.testing.assert_array_equal(outputs_of(system, variables, batch), outputs_of(make(other)[0], variables, batch))


@pytest.mark.parametrize("name", ["paper", "entities"])
def test_padding_and_other_records_change_nothing(name):
    system, batch, variables = ready(name)
    whole = outputs_of(system, variables, batch)[1:2]
    expected = whole[:, :5] if whole.ndim == 3 else whole
    np.testing.assert_allclose(outputs_of(system, variables, second_record(batch)), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "cells"), [("resnet", 1), ("resnet", 3), ("resnet", 4), ("rcnn", 2)])
def test_regions_are_means_over_the_cells_of_each_picture(kind, cells):
    """Of 4 x 4 cells: of a pyramid's coarser stage, too."""
    system, batch, variables = make(tiny(kind=kind, cells=cells))
    own = {"params": {"vision": variables["params"]["vision"]}}
    (slot,) = system.seen_at_once
    one = {"pictures": {"photo": batch["pictures"]["photo"]}, "present": {"photo": batch["present"]["photo"]}}
    found = jax.jit(system.features)(own, one)["regions"]
    assert slot.count == 1 and found.shape == (3, 1, cells**2, 8 if kind == "rcnn" else 16)
    whole = jax.jit(make(tiny(kind=kind, cells=4))[0].features)(own, one)["regions"].reshape(3, 4, 4, -1)
    shares = {
        1: [slice(0, 4)],
        2: [slice(0, 2), slice(2, 4)],
        3: [slice(0, 2), slice(1, 3), slice(2, 4)],
        4: [slice(n, n + 1) for n in range(4)],
    }
    expected = np.stack([[picture[rows, columns].mean((0, 1)) for rows in shares[cells] for columns in shares[cells]] for picture in whole])
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5, atol=1e-5)


def test_shares_ignore_invalid_records():
    system, batch, variables = ready("paper")
    batch = {**batch, "valid": np.array([True, False, True])}
    share, metrics, updates = jax.jit(lambda v: system.loss(v, batch, jax.random.key(0), axis=None, train=False))(variables)
    logits = np.asarray(outputs_of(system, variables, batch), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(share, -np.mean([log_p[i, batch["label"][i]] for i in (0, 2)]), rtol=1e-5)
    assert metrics["loss"][1] == 2 and not updates


def test_bf16_computation_keeps_fp32_parameters():
    config = tiny()
    with config.unlocked():
        config.train.dtype = "bfloat16"
    system, batch, variables = make(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(system.init, jax.random.key(0), batch))} == {jnp.dtype("float32")}
    a, b = (jax.jit(s.predict)(variables, batch)["probabilities"] for s in (system, ready("paper")[0]))
    assert a.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.1)


@pytest.mark.parametrize(
    ("variant", "lr", "warmup", "head", "batch", "epochs", "tokens"),
    [
        ("mnre", 3e-5, 0.06, 3e-5, 16, 15, 80),
        ("twitter2015", 3e-5, 0.01, 5e-2, 8, 30, 128),
        ("twitter2017", 3e-5, 0.01, 5e-2, 8, 30, 128),
    ],
)
def test_published_settings_are_hvpnets(variant, lr, warmup, head, batch, epochs, tokens):
    config, theirs = configs.get_config(variant), rsrnet.get_config(f"hvpnet_{variant}")
    assert (config.optim.lr, config.optim.warmup, config.optim.clip, config.optim.frozen) == (lr, warmup, 0.0, ("vision",))
    assert config.optim.lr * config.optim.multipliers.get("head", 1.0) == pytest.approx(head)
    assert (config.train.batch, config.train.epochs, config.text.max_tokens) == (batch, epochs, tokens)
    for section in ("task", "data", "text", "vision", "optim", "train", "parallel"):
        assert config[section].to_dict() == theirs[section].to_dict(), section
    net = systems.build(resolve(config), vocab_size=40, labels=TAGS).net.config
    assert (net.text.layers, net.vision.depths, net.pictures, net.cells) == (12, (3, 4, 6, 3), ("photo", config.data.objects), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavour": "reference"}, "system.flavour=.* is not one of paper"),
        ({"modalities": "image"}, "system.modalities=.* is not one of both, text"),
        ({"cells": 5}, "system.cells=5, but the map of vision.side=16 has 4 cells a side"),
        ({"kind": "rcnn", "cells": 3, "vision.level": 2}, "system.cells=3, but the map of vision.side=16 has 2 cells a side"),
        ({"kind": "vit"}, "vision.kind=resnet, resnest or rcnn, found 'vit'"),
        ({"task": "triples"}, "system 'visualbert' has the tasks relation and entities"),
        ({"vision.crop_side": 8}, "vision.crop_side=8 is not 16"),
    ],
)
def test_contradictions_are_refused(change, message):
    config = tiny(**{name: value for name, value in change.items() if "." not in name})
    with config.unlocked():
        config.update_from_flattened_dict({name: value for name, value in change.items() if "." in name})
    with pytest.raises(ValueError, match=message):
        make(config)
