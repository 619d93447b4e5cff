"""IFAformer: gradients in every configuration, absent pictures, padding, both tasks, and settings that contradict each other."""

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

from configs import ifaformer as configs

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def tiny(task="relation", objects="detected", **system):
    config = configs.get_config("reference" if system.get("flavour") == "reference" else "quickstart").copy_and_resolve_references()
    with config.unlocked():
        small = {"width": 16, "layers": 2, "heads": 2, "mlp": 32, "init_std": 0.25}
        config.text.update({**small, "dropout": 0.0, "attention_dropout": 0.0, "positions": 32, "max_tokens": 32})
        config.vision.update({**small, "side": 32, "patch": 8, "crop_side": 16, "crops": 2})
        config.system.update({"head_dropout": 0.0, **system})
        config.task.name = task
        config.data.objects = objects
    return config


def make(config):
    return build(config, TAGS)


VARIANTS = {
    "paper": {},
    "grounded": {"objects": "grounded"},
    "vanilla": {"objects": "none"},
    "w/o text attention": {"text_attention": False},
    "text-only": {"modalities": "text"},
    "entities": {"task": "entities"},
    "entities, vanilla": {"task": "entities", "objects": "none", "constrain": False},
    "entities, text-only": {"task": "entities", "modalities": "text"},
    "entities, grounded": {"task": "entities", "objects": "grounded"},
    "reference": {"flavour": "reference", "objects": "grounded"},
    "reference, entities": {"flavour": "reference", "objects": "grounded", "task": "entities"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_has_a_gradient(name):
    config = tiny(**VARIANTS[name])
    assert not config.optim.frozen
    system, batch, variables = make(config)

    gradients = (gradients_both_ways if name == "paper" else gradients_of)(system, batch, variables)
    # A shift of all keys cancels under the softmax where no other stream's keys stand beside them.
    assert_gradients(gradients, set(), cancels=config.system.modalities == "text")


@pytest.mark.parametrize("name", ["paper", "grounded", "w/o text attention", "entities"])
def test_pixels_of_an_absent_picture_never_change_a_prediction(name):
    assert_absent_pixels_are_not_read(*make(tiny(**VARIANTS[name])))


@pytest.mark.parametrize("task", ["relation", "entities"])
def test_without_pictures_it_is_the_text_only_system(task):
    system, batch, variables = make(tiny(task))
    text, _, _ = make(tiny(task, modalities="text"))
    assert text.plan == ()
    own = {"params": {name: variables["params"][name] for name in ("text", "head")}}
    np.testing.assert_allclose(outputs_of(system, variables, absent(batch)), outputs_of(text, own, batch), atol=1e-5)


@pytest.mark.parametrize("name", ["paper", "w/o text attention", "entities", "reference"])
def test_padding_and_other_records_change_nothing(name):
    system, batch, variables = make(tiny(**VARIANTS[name]))
    whole = outputs_of(system, variables, batch)[1:2]
    # As released the vision stream sees padding, and in another number of places another one.
    alone = second_record(batch, shorter=name != "reference")
    expected = whole[:, :5] if whole.ndim == 3 else whole
    np.testing.assert_allclose(outputs_of(system, variables, alone), expected, atol=1e-5)


@pytest.mark.parametrize("task", ["relation", "entities"])
def test_what_is_looked_at(task):
    """Under 'grounded' the photo and the crops of both kinds, at the sides that were released."""
    plans = {objects: make(tiny(task, objects=objects))[0].plan for objects in ("none", "detected", "grounded")}
    found = {objects: [(slot.name, slot.source, slot.count, slot.side) for slot in plan] for objects, plan in plans.items()}
    photo, grounded, detected = ("photo", "photo", 1, 32), ("grounded", "grounded", 2, 16), ("detected", "detected", 2, 8)
    assert found == {"none": [photo], "detected": [photo, (*detected[:3], 16)], "grounded": [photo, grounded, detected]}


@pytest.mark.parametrize("variant", ["mnre", "twitter2015", "twitter2017"])
def test_published_settings(variant):
    """Those of the release (DeepKE); it clips nothing."""
    optim, train, text = (configs.get_config(variant)[section] for section in ("optim", "train", "text"))
    rates = [optim.lr * optim.multipliers.get(part, 1.0) for part in ("text", "vision", "head")]
    expected = [1e-5] * 3 if variant == "mnre" else [5e-5, 3e-5, 5e-2]
    assert rates == pytest.approx(expected) and (optim.warmup, optim.clip) == (0.06, 0.0)
    assert (train.batch, train.epochs, text.max_tokens) == ((32, 12, 80) if variant == "mnre" else (32, 30, 40))
    assert configs.get_config("quickstart").optim.clip == configs.get_config("minilm_mnre").optim.clip == 1.0


def test_the_text_reaches_the_pictures_and_comes_back():
    """w/o text attention is not the same: what the patches hold of the text changes what the text sees of them."""
    (system, batch, variables), (without, _, _) = make(tiny()), make(tiny(text_attention=False))
    assert jax.tree.structure(variables) == jax.tree.structure(make(tiny(text_attention=False))[2])
    assert not np.allclose(outputs_of(system, variables, batch), outputs_of(without, variables, batch), atol=1e-3)


def test_reference_looks_at_two_kinds_of_crops_and_attends_to_absent_ones_as_zeros():
    system, batch, variables = make(tiny(**VARIANTS["reference"]))
    assert [(s.name, s.count, s.side) for s in system.plan] == [("grounded", 2, 16), ("detected", 2, 8)]
    noise = {**absent(batch), "pictures": {k: 255 - v for k, v in batch["pictures"].items()}}
    found = outputs_of(system, variables, absent(batch))
    np.testing.assert_array_equal(found, outputs_of(system, variables, noise))
    assert not np.allclose(found, outputs_of(system, variables, batch), atol=1e-3)


@pytest.mark.parametrize("task", ["relation", "entities"])
def test_shares_ignore_invalid_records(task):
    system, batch, variables = make(tiny(task))
    some = {**batch, "valid": np.array([True, False, True])}
    loss = jax.jit(lambda v, b: system.loss(v, b, jax.random.key(0), axis=None, train=False))
    share, metrics, _ = loss(variables, some)
    each = [loss(variables, {**batch, "valid": np.arange(3) == i})[0] for i in (0, 2)]
    np.testing.assert_allclose(share, np.mean(each), rtol=1e-5)
    assert metrics["loss"][1] == 2


def test_bf16_computation_keeps_fp32_parameters():
    config = tiny()
    with config.unlocked():
        config.train.dtype = "bfloat16"
    system, batch, variables = make(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(system.init, jax.random.key(0), batch))} == {jnp.dtype("float32")}
    a, b = (jax.jit(s.predict)(variables, batch)["probabilities"] for s in (system, make(tiny())[0]))
    assert a.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavour": "released"}, "system.flavour=.* is not one of paper, reference"),
        ({"modalities": "image"}, "system.modalities=.* is not one of both, text"),
        ({"task": "triples"}, "system 'ifaformer' has the tasks relation and entities"),
        ({"flavour": "reference", "objects": "detected"}, "set data.objects=grounded"),
        ({"flavour": "reference", "objects": "grounded", "text_attention": False}, "system.text_attention=True"),
        ({"vision.kind": "resnet", "vision.stem": 8}, "vision.kind='resnet' has no keys and values"),
        ({"vision.layers": 3}, r"must agree, found text \(2, 2, 8\), vision \(3, 2, 8\)"),
        ({"vision.heads": 4}, r"must agree, found text \(2, 2, 8\), vision \(2, 4, 4\)"),
        ({"text.attention": "cudnn", "text.attention_dropout": 0.1}, "text.attention_dropout=0.1 could drop: set it to 0"),
    ],
)
def test_contradictions_are_refused(change, message):
    config = tiny(**{name: value for name, value in change.items() if "." not in name})
    with config.unlocked():
        config.update_from_flattened_dict({name: value for name, value in change.items() if "." in name})
    with pytest.raises(ValueError, match=message):
        make(config)
