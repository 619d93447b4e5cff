"""HVFormer: sizes, ablations, gradients, absent pictures, and the router against the paper's equations by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def batch_for(system, rng, size=3, length=9):
    lengths = np.array([9, 5, 7])[:size]
    return {
        "text": {
            "ids": rng.integers(0, 40, (size, length)).astype(np.int32),
            "mask": np.arange(length)[None] < lengths[:, None],
            "markers": np.array([[1, 3], [0, 2], [2, 4]], np.int32)[:size],
        },
        "label": rng.integers(0, 5, size).astype(np.int32),
        "pictures": {s.name: rng.integers(0, 256, (size, s.count, s.side, s.side, 3)).astype(np.uint8) for s in system.plan},
        "present": {s.name: np.ones((size, s.count), bool) for s in system.plan},
        "valid": np.ones(size, bool),
        "index": np.arange(size, dtype=np.int32),
    }


def make(config, seed=0):
    system = systems.build(resolve(config), vocab_size=40, labels=tuple("abcde"))
    batch = batch_for(system, np.random.default_rng(seed))
    return system, batch, system.init(jax.random.key(seed), batch)


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
    frozen = set(config.optim.frozen)

    def loss(params):
        return system.loss({"params": params}, batch, jax.random.key(0), axis=None, train=True)[0]

    grads = jax.jit(jax.grad(loss))(variables["params"])
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        where = jax.tree_util.keystr(path)
        assert bool(jnp.isfinite(grad).all()), where
        if where.split("'")[1] in frozen:
            assert not grad.any(), f"{where} is declared frozen"
        elif not where.endswith("['key']['bias']"):  # a shift of all keys cancels under the softmax: its gradient is exactly 0
            assert grad.any(), where


@pytest.mark.parametrize("name", ["paper", "w/o TVA", "w/o MoME"])
def test_pixels_of_an_absent_picture_never_change_a_prediction(name):
    system, batch, variables = make(tiny(**VARIANTS[name]))
    predict = jax.jit(system.predict)
    for absent in ("photo", "detected", "all"):
        present = {k: np.zeros_like(v) if absent in (k, "all") else v for k, v in batch["present"].items()}
        noise = {k: np.where(present[k][:, :, None, None, None], v, 255 - v) for k, v in batch["pictures"].items()}
        a = predict(variables, {**batch, "present": present})
        b = predict(variables, {**batch, "present": present, "pictures": noise})
        np.testing.assert_array_equal(a["logits"], b["logits"])
        assert np.isfinite(a["logits"]).all()
    assert not np.allclose(a["logits"], predict(variables, batch)["logits"]), "a present picture is looked at"


def test_reference_attends_to_absent_crops_as_zeros():
    system, batch, variables = make(tiny(flavour="reference", objects="grounded"))
    absent = {**batch, "present": {k: np.zeros_like(v) for k, v in batch["present"].items()}}
    middle = {s.name: np.broadcast_to(np.float32(s.mean)[None], batch["pictures"][s.name].shape) for s in system.plan}
    as_zeros = {**batch, "pictures": {k: v * np.float32(255) for k, v in middle.items()}}
    a, b = system.predict(variables, absent)["logits"], system.predict(variables, as_zeros)["logits"]
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert not np.allclose(a, system.predict(variables, batch)["logits"], atol=1e-3)


def test_reference_flavour_has_the_released_parameters_that_are_read():
    config = configs.get_config("reference")
    system = systems.build(resolve(config), vocab_size=30526, labels=tuple(map(str, range(23))))
    assert [(s.name, s.count, s.side) for s in system.plan] == [("grounded", 3, 128), ("detected", 3, 64)]
    batch = batch_for(system, np.random.default_rng(0), size=1)
    shapes = jax.eval_shape(system.init, jax.random.key(0), batch)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == REFERENCE_PARAMETERS


def test_padding_and_other_records_change_nothing():
    system, batch, variables = make(tiny())
    whole = system.predict(variables, batch)["logits"]
    alone = jax.tree.map(lambda x: x[1:2], batch)
    alone["text"] = {k: v[:, :5] for k, v in alone["text"].items()}
    np.testing.assert_allclose(system.predict(variables, alone)["logits"], whole[1:2], atol=1e-5)


def test_shares_ignore_invalid_records():
    system, batch, variables = make(tiny())
    batch["valid"] = np.array([True, False, True])
    share, metrics, _ = system.loss(variables, batch, jax.random.key(0), axis=None, train=False)
    logits = np.asarray(system.predict(variables, batch)["logits"], np.float64)
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


def test_bf16_computation_keeps_fp32_parameters():
    config = tiny()
    with config.unlocked():
        config.train.dtype = "bfloat16"
    system, batch, variables = make(config)
    full, _, _ = make(tiny())
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    a, b = system.predict(variables, batch)["probabilities"], full.predict(variables, batch)["probabilities"]
    assert a.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavour": "released"}, "system.flavour is one of paper, reference"),
        ({"gather": "max"}, "system.gather is one of tva, cls"),
        ({"levels": (0, 3)}, "beyond the image encoder's 2 layers"),
        ({"levels": (2, 0)}, "must be ascending"),
        ({"flavour": "reference", "objects": "detected"}, "set data.objects=grounded"),
        ({"objects": "found"}, "data.objects is none, detected or grounded"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make(tiny(**change))


def test_default_levels_are_first_middle_last():
    assert default_levels(12) == (0, 6, 12)
    assert default_levels(2) == (0, 1, 2)
    assert default_levels(1) == (0, 1)
