"""MKGformer: what is masked, gradients (the reference flavour's against the release's), where the streams meet, contradictory settings."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.extend(str(Path(__file__).parents[2] / name) for name in ("systems", "weights"))
import released_torch
import torch
from releases import SMALL, batch_for, empty_variables, random_release, system_for
from small import absent, assert_absent_pixels_are_not_read, assert_gradients, build, gradients_both_ways, outputs_of

from configs import mkgformer as configs
from mmre_jax import systems
from mmre_jax.weights import released
from mmre_jax.weights.pretrained import resolve

LABELS = tuple("abcde")


def tiny(objects="detected", **system):
    config = configs.get_config("reference" if system.get("flavour") == "reference" else "quickstart").copy_and_resolve_references()
    with config.unlocked():
        small = {"width": 16, "layers": 2, "heads": 2, "mlp": 32, "init_std": 0.25}
        config.text.update({**small, "dropout": 0.0, "attention_dropout": 0.0, "positions": 32, "max_tokens": 32})
        config.vision.update({**small, "side": 32, "patch": 8, "crop_side": 16, "crops": 2})
        config.system.update(system)
        config.data.objects = objects
    return config


def make(config):
    return build(config, LABELS)


VARIANTS = {
    "masked": {},
    "grounded": {"objects": "grounded"},
    "photo alone": {"objects": "none"},
    "reference": {"flavour": "reference", "objects": "grounded"},
}


def test_every_parameter_has_a_gradient_the_classifier_too():
    """Of the reference flavour see `test_gradients_of_the_reference_flavour_are_the_releases`."""
    config = tiny()
    assert not config.optim.frozen
    gradients = gradients_both_ways(*make(config))
    assert set(gradients) == {"text", "vision", "fusion_1", "head"} and "classifier" in gradients["head"]
    # A shift of all keys cancels under the softmax where no other stream's keys stand beside them, as the text's do in the vision
    # stream's last layer.
    assert_gradients(gradients, set(), cancels=True)
    assert np.abs(gradients["vision"]["layer_1"]["attention"]["key"]["bias"]).max() > 1e-7


def test_pixels_of_an_absent_picture_never_change_a_prediction():
    assert_absent_pixels_are_not_read(*make(tiny()))


@pytest.mark.parametrize("name", ["masked", "reference"])
def test_padding_and_other_records_change_nothing(name):
    """As released the vision stream sees padding: other words there make another prediction."""
    system, batch, variables = make(tiny(**VARIANTS[name]))
    whole = outputs_of(system, variables, batch)
    others = jax.tree.map(lambda x: x[[1, 1, 1]], batch)
    np.testing.assert_allclose(outputs_of(system, variables, others), whole[jnp.array([1, 1, 1])], atol=1e-5)
    text = {**batch["text"], "ids": np.where(batch["text"]["mask"], batch["text"]["ids"], 7)}
    padded = outputs_of(system, variables, {**batch, "text": text})
    np.testing.assert_array_equal(padded[0], whole[0])
    assert np.allclose(padded[1:], whole[1:], atol=1e-5) == (name == "masked")


def test_absent_crops_are_seen_as_zeros_in_the_reference_flavour_alone():
    """Masked, their places can hold no number that matters: the position tables of a slot whose pictures are all absent."""
    table = "position_detected"
    for name in ("reference", "masked"):
        system, batch, variables = make(tiny(**VARIANTS[name]))
        less = absent(batch, "detected")
        other = jax.tree.map(lambda leaf: leaf, variables)
        other["params"]["vision"]["embeddings"][table] = 1 - variables["params"]["vision"]["embeddings"][table]
        same = np.array_equal(outputs_of(system, variables, less), outputs_of(system, other, less))
        assert same == (name == "masked")
        assert not np.allclose(outputs_of(system, variables, batch), outputs_of(system, other, batch), atol=1e-3)


def test_without_pictures_it_is_the_text_alone_but_for_the_bias_of_what_is_fused():
    system, batch, variables = make(tiny())
    text, _, _ = make(tiny(modalities="text"))
    assert text.plan == ()
    own = {"params": {name: variables["params"][name] for name in ("text", "head")}}
    dense = variables["params"]["fusion_1"]["dense"]
    without = {"params": {**variables["params"], "fusion_1": {"dense": {**dense, "bias": np.zeros_like(dense["bias"])}}}}
    np.testing.assert_allclose(outputs_of(system, without, absent(batch)), outputs_of(text, own, batch), atol=1e-5)


def deep(layers, fused):
    config = tiny(fused=fused)
    with config.unlocked():
        config.text.layers = config.vision.layers = layers
    return config


def test_the_streams_meet_in_the_last_third_or_as_many_layers_as_are_asked_for():
    found = [systems.build(resolve(deep(*given)), vocab_size=40, labels=LABELS).net.config.first for given in ((12, 0), (6, 0), (2, 0))]
    assert found == [8, 4, 1]
    params = make(deep(3, 2))[2]["params"]
    assert {name for name in params if name.startswith("fusion")} == {"fusion_1", "fusion_2"}


def test_what_is_looked_at():
    plans = {name: make(tiny(**VARIANTS[name]))[0].plan for name in ("photo alone", "masked", "grounded", "reference")}
    found = {name: [(slot.name, slot.source, slot.count, slot.side) for slot in plan] for name, plan in plans.items()}
    photo, grounded, detected = ("photo", "photo", 1, 32), ("grounded", "grounded", 2, 16), ("detected", "detected", 2, 16)
    small = ("detected", "detected", 2, 8)
    assert found == {"photo alone": [photo], "masked": [photo, detected], "grounded": [photo, grounded], "reference": [grounded, small]}


def test_gradients_of_the_reference_flavour_are_the_releases():
    """The loss's gradient by every tensor that is read, as PyTorch finds it by the second implementation."""
    kind, tensors = "mkgformer_re", random_release("mkgformer_re", SMALL)
    system = system_for(kind, tensors, SMALL)
    batch, shapes = batch_for(kind, system, SMALL), empty_variables(kind, system, SMALL)
    variables = released.read(kind, tensors, shapes, system)
    held = {name: torch.tensor(x, requires_grad=x.dtype == np.float32) for name, x in tensors.items()}
    state = released_torch.State(held, SMALL.heads, 1e-12)
    logits = released_torch.logits(state, released_torch.states_of(state, batch, kind), batch)
    torch.nn.functional.cross_entropy(logits, torch.tensor(batch["label"]).long()).backward()
    unread = released.unread(kind, tensors, system)
    theirs = {name: x.grad.numpy() for name, x in held.items() if name not in unread}
    expected = released.read(kind, theirs, shapes, system)["params"]
    gradient = jax.jit(jax.grad(lambda p: system.loss({"params": p}, batch, jax.random.key(0), axis=None, train=False)[0]))
    found = gradient(variables["params"])
    jax.tree_util.tree_map_with_path(
        lambda path, a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4, err_msg=jax.tree_util.keystr(path)), found, expected
    )


def test_weights_of_the_fusion_can_be_looked_at():
    """They are a distribution over the patches that are there, of the last layers alone."""
    system, batch, variables = make(tiny())
    less = {**batch, "present": {**batch["present"], "detected": np.zeros_like(batch["present"]["detected"])}}
    _, sown = jax.jit(lambda v, b: system.net.apply(v, *system.inputs(b), train=False, mutable=["intermediates"]))(variables, less)
    fused = {name for name in sown["intermediates"] if name.startswith("fusion")}
    [weights] = sown["intermediates"]["fusion_1"]["attention"]
    assert fused == {"fusion_1"} and weights.shape == (3, 1, 9, 1 + 16 + 2 * 4)
    np.testing.assert_allclose(weights[..., :17].sum(-1), 1.0, atol=1e-5)
    assert not weights[..., 17:].any()


def test_bf16_computation_keeps_fp32_parameters():
    config = tiny()
    with config.unlocked():
        config.train.dtype = "bfloat16"
    system, batch, variables = make(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert jax.eval_shape(system.predict, variables, batch)["probabilities"].dtype == jnp.float32


def test_published_settings():
    """Those of the release, which clips nothing."""
    optim, train, text = (configs.get_config("mnre")[section] for section in ("optim", "train", "text"))
    assert (optim.lr, optim.warmup, optim.clip, dict(optim.multipliers)) == (1e-5, 0.06, 0.0, {})
    assert (train.batch, train.epochs, text.max_tokens, configs.get_config("mnre").vision.crop_side) == (32, 12, 80, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system.flavour": "paper"}, "system.flavour=.* is not one of masked, reference"),
        ({"task.name": "entities"}, "system 'mkgformer' has the task relation, found task.name='entities'"),
        ({"system.flavour": "reference"}, "set data.objects=grounded"),
        ({"vision.kind": "resnet", "vision.stem": 8}, "vision.kind='resnet' has no keys and values"),
        ({"vision.layers": 4}, r"layers, heads and widths must agree, found \(2, 2, 16\), \(4, 2, 16\)"),
        ({"vision.width": 24}, r"layers, heads and widths must agree, found \(2, 2, 16\), \(2, 2, 24\)"),
        ({"system.fused": 2}, r"last layers \(system.fused\), at least one and not all of them, found 2 of 2"),
        ({"text.layers": 1, "vision.layers": 1}, "found 1 of 1"),
    ],
)
def test_contradictions_are_refused(change, message):
    config = tiny()
    with config.unlocked():
        config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        make(config)
