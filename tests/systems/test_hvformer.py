"""HVFormer: sizes, ablations, gradients, absent pictures, and the router against the paper's equations by hand."""

import math
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
    inputs,
    outputs_of,
    second_record,
)

from configs import hvformer as configs
from mmre_jax import systems
from mmre_jax.fusion.mome import MixtureOfExperts
from mmre_jax.systems.hvformer import default_levels
from mmre_jax.weights.pretrained import resolve

REFERENCE_PARAMETERS = 208_804_635  # the released model's 247,829,019 less 39,024,384 that are never read


def tiny(objects="detected", **system):
    config = configs.get_config("reference" if system.get("flavour") == "reference" else "quickstart").copy_and_resolve_references()
    with config.unlocked():
        small = {"width": 16, "layers": 2, "heads": 2, "mlp": 32}
        config.text.update({**small, "dropout": 0.0, "attention_dropout": 0.0, "init_std": 0.25, "positions": 32, "max_tokens": 32})
        config.vision.update({**small, "side": 32, "patch": 8, "crop_side": 16, "crops": 2, "init_std": 0.25})
        config.system.update({"heads": 2, **system})
        config.data.objects = objects
    return config


def make(config):
    return build(config, tuple("abcde"))


VARIANTS = {
    "paper": {},
    "text-only": {"modalities": "text"},
    "w/o HVF": {"levels": (2,)},
    "patches only": {"levels": (0,)},
    "w/o TVA": {"gather": "cls"},
    "w/o MoME": {"mixture": "concat"},
    "w/o TVA, w/o MoME": {"gather": "cls", "mixture": "concat"},
    "reference": {"flavour": "reference", "objects": "grounded"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_trained_parameter_has_a_gradient(name):
    config = tiny(**VARIANTS[name])
    system, batch, variables = make(config)
    gradients = (gradients_both_ways if name in ("paper", "w/o TVA") else gradients_of)(system, batch, variables)
    assert_gradients(gradients, set(config.optim.frozen), cancels=True)


@pytest.mark.parametrize("name", ["paper", "w/o TVA", "w/o MoME"])
def test_pixels_of_an_absent_picture_never_change_a_prediction(name):
    assert_absent_pixels_are_not_read(*make(tiny(**VARIANTS[name])))


def test_reference_attends_to_absent_crops_as_zeros():
    system, batch, variables = make(tiny(flavour="reference", objects="grounded"))
    middle = {s.name: np.broadcast_to(np.float32(s.mean)[None], batch["pictures"][s.name].shape) for s in system.plan}
    as_zeros = {**batch, "pictures": {k: v * np.float32(255) for k, v in middle.items()}}
    a, b = outputs_of(system, variables, absent(batch)), outputs_of(system, variables, as_zeros)
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert not np.allclose(a, outputs_of(system, variables, batch), atol=1e-3)


def test_reference_flavour_has_the_released_parameters_that_are_read():
    config = configs.get_config("reference")
    system = systems.build(resolve(config), vocab_size=30526, labels=tuple(map(str, range(23))))
    assert [(s.name, s.count, s.side) for s in system.plan] == [("grounded", 3, 128), ("detected", 3, 64)]
    shapes = jax.eval_shape(system.init, jax.random.key(0), inputs(system, np.random.default_rng(0), 1))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == REFERENCE_PARAMETERS


def test_padding_and_other_records_change_nothing():
    system, batch, variables = make(tiny())
    whole = outputs_of(system, variables, batch)
    np.testing.assert_allclose(outputs_of(system, variables, second_record(batch)), whole[1:2], atol=1e-5)


def test_shares_ignore_invalid_records():
    system, batch, variables = make(tiny())
    batch["valid"] = np.array([True, False, True])
    share, metrics, _ = jax.jit(lambda v: system.loss(v, batch, jax.random.key(0), axis=None, train=False))(variables)
    logits = np.asarray(outputs_of(system, variables, batch), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -np.mean([log_p[i, batch["label"][i]] for i in (0, 2)])
    np.testing.assert_allclose(share, expected, rtol=1e-5)
    assert metrics["loss"][1] == 2


def test_mixture_by_hand():
    rng = np.random.default_rng(0)
    text, v1, v2 = (rng.normal(size=(1, 2, 3)).astype(np.float32) for _ in range(3))
    module = MixtureOfExperts()
    params = module.init(jax.random.key(1), text, [v1, v2])["params"]
    params = jax.tree.map(lambda p: p + 0.1, params)
    p = jax.tree.map(np.float64, params)

    def exact(x):
        return np.vectorize(lambda t: 0.5 * t * (1 + math.erf(t / 2**0.5)))(x)

    experts = [text]
    for level, visual in enumerate((v1, v2)):  # eq. 6
        joined = np.concatenate([text, visual], -1)
        hidden = exact(joined @ p["experts_in"][level] + p["experts_in_bias"][level])
        experts.append(hidden @ p["experts_out"][level] + p["experts_out_bias"][level] + text)
    routed = np.concatenate([text, v1, v2], -1) @ p["router"]["kernel"] + p["router"]["bias"]  # eq. 9
    weights = np.exp(routed) / np.exp(routed).sum(-1, keepdims=True)
    expected = sum(weights[..., e : e + 1] * experts[e] for e in range(3))  # eq. 10
    np.testing.assert_allclose(module.apply({"params": params}, text, [v1, v2]), expected, atol=1e-5)


def test_expert_weights_can_be_looked_at():
    system, batch, variables = make(tiny())
    _, seen = system.net.apply(variables, *system.inputs(batch), train=False, mutable=["intermediates"])
    (weights,) = seen["intermediates"]["mome"]["expert_weights"]
    assert weights.shape == (3, 9, 4)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert seen["intermediates"]["tva_0"]["attention"]["attention"][0].shape == (3, 2, 9, 1 + 16 + 2 * 4)


def test_training_is_told_the_experts_weights_at_the_markers():
    system, batch, variables = make(tiny())
    predicted = jax.jit(system.predict)(variables, batch)
    _, seen = system.net.apply(variables, *system.inputs(batch), train=False, mutable=["intermediates"])
    weights, markers = np.asarray(seen["intermediates"]["mome"]["expert_weights"][0]), batch["text"]["markers"]
    for expert, name in enumerate(("text", "0", "1", "2")):
        expected = [(weights[b, markers[b, 0], expert] + weights[b, markers[b, 1], expert]) / 2 for b in range(3)]
        np.testing.assert_allclose(predicted[f"told/expert_{name}"], expected, atol=1e-6)
    for without in ({"mixture": "concat"}, {"modalities": "text"}):
        system, batch, variables = make(tiny(**without))
        assert set(jax.eval_shape(system.predict, variables, batch)) == {"logits", "probabilities"}


def test_bf16_computation_keeps_fp32_parameters():
    config = tiny()
    with config.unlocked():
        config.train.dtype = "bfloat16"
    system, batch, variables = make(config)
    full, _, _ = make(tiny())
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    a, b = (jax.jit(s.predict)(variables, batch)["probabilities"] for s in (system, full))
    assert a.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavour": "released"}, "system.flavour=.* is not one of paper, reference"),
        ({"gather": "max"}, "system.gather=.* is not one of tva, cls"),
        ({"levels": (0, 3)}, "system.levels=.* go beyond the image encoder's vision.layers=2"),
        ({"levels": (2, 0)}, "system.levels=.* is not a tuple of whole numbers of at least 0, ascending"),
        ({"flavour": "reference", "objects": "detected"}, "set data.objects=grounded"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make(tiny(**change))


def test_published_settings():
    """Appendix A.1 of the paper, and the release's script; neither clips gradients."""
    for variant in ("mnre", "reference"):
        config = configs.get_config(variant)
        assert (config.optim.lr, config.optim.warmup, config.optim.clip) == (1e-5, 0.06, 0.0)
        assert (config.train.batch, config.train.epochs, config.text.max_tokens, config.system.heads) == (32, 20, 80, 12)
    assert {configs.get_config(variant).optim.clip for variant in ("quickstart", "minilm")} == {1.0}


def test_default_levels_are_first_middle_last():
    assert default_levels(12) == (0, 6, 12)
    assert default_levels(2) == (0, 1, 2)
    assert default_levels(1) == (0, 1)
