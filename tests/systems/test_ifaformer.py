"""IFAformer: gradients in every configuration, absent pictures, padding, both tasks, and settings that contradict each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import ifaformer as configs
from mmre_jax import systems
from mmre_jax.weights.pretrained import resolve

QUICKLY = {"xla_backend_optimization_level": 0}  # for programs that run once
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


def batch_for(system, rng, size=3, length=9):
    mask = np.arange(length)[None] < np.array([9, 5, 7])[:size, None]
    return {
        "text": {
            "ids": rng.integers(0, 40, (size, length)).astype(np.int32),
            "mask": mask,
            "markers": np.array([[1, 3], [0, 2], [2, 4]], np.int32)[:size],
        },
        "label": rng.integers(0, 5, size).astype(np.int32),
        "tags": np.tile(np.array([0, 1, 2, 0, 3, 4, 0, 1, 3], np.int32), (size, 1)),
        "scored": mask,
        "pictures": {s.name: rng.integers(0, 256, (size, s.count, s.side, s.side, 3)).astype(np.uint8) for s in system.plan},
        "present": {s.name: np.ones((size, s.count), bool) for s in system.plan},
        "valid": np.ones(size, bool),
        "index": np.arange(size, dtype=np.int32),
    }


def make(config, seed=0):
    """A system, a batch and random variables."""
    system = systems.build(resolve(config), vocab_size=40, labels=TAGS)
    rng = np.random.default_rng(seed)
    batch = batch_for(system, rng)
    shapes = jax.eval_shape(system.init, jax.random.key(seed), batch)
    return system, batch, jax.tree.map(lambda p: rng.normal(0, 0.25, p.shape).astype(np.float32), shapes)


@functools.partial(jax.jit, static_argnums=0)
def outputs_of(system, variables, batch):
    """Relation logits [B, R], or emissions [B, L, K] with zeros at padding, where they mean nothing."""
    found = system.net.apply(variables, *system.inputs(batch), train=False)
    return jnp.where(batch["text"]["mask"][..., None], found["emissions"], 0.0) if isinstance(found, dict) else found


VARIANTS = {
    "paper": {},
    "vanilla": {"objects": "none"},
    "w/o text attention": {"text_attention": False},
    "text-only": {"modalities": "text"},
    "entities": {"task": "entities"},
    "entities, vanilla": {"task": "entities", "objects": "none", "constrain": False},
    "entities, text-only": {"task": "entities", "modalities": "text"},
    "reference": {"flavour": "reference", "objects": "grounded"},
    "reference, entities": {"flavour": "reference", "objects": "grounded", "task": "entities"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_has_a_gradient(name):
    config = tiny(**VARIANTS[name])
    assert not config.optim.frozen
    system, batch, variables = make(config)

    def loss(v):
        return system.loss(v, batch, jax.random.key(0), axis=None, train=True)[0]

    gradients = jax.jit(jax.grad(loss), compiler_options=QUICKLY)(variables)
    for path, grad in jax.tree_util.tree_leaves_with_path(gradients["params"]):
        where = jax.tree_util.keystr(path)
        assert bool(jnp.isfinite(grad).all()), where
        # A shift of all keys cancels under the softmax, where no other stream's stand beside them.
        shift = config.system.modalities == "text" and where.endswith("['key']['bias']")
        if not shift:
            assert np.abs(grad).max() > 1e-7, where


@pytest.mark.parametrize("name", ["paper", "w/o text attention", "entities"])
def test_pixels_of_an_absent_picture_never_change_a_prediction(name):
    system, batch, variables = make(tiny(**VARIANTS[name]))
    run = functools.partial(outputs_of, system, variables)
    for absent in ("photo", "detected", "all"):
        present = {k: np.zeros_like(v) if absent in (k, "all") else v for k, v in batch["present"].items()}
        noise = {k: np.where(present[k][:, :, None, None, None], v, 255 - v) for k, v in batch["pictures"].items()}
        a, b = run({**batch, "present": present}), run({**batch, "present": present, "pictures": noise})
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    assert not np.allclose(a, run(batch), atol=1e-3), "a present picture is looked at"


@pytest.mark.parametrize("task", ["relation", "entities"])
def test_without_pictures_it_is_the_text_only_system(task):
    system, batch, variables = make(tiny(task))
    text, _, _ = make(tiny(task, modalities="text"))
    assert text.plan == ()
    absent = {**batch, "present": {k: np.zeros_like(v) for k, v in batch["present"].items()}}
    own = {"params": {name: variables["params"][name] for name in ("text", "head")}}
    np.testing.assert_allclose(outputs_of(system, variables, absent), outputs_of(text, own, batch), atol=1e-5)


@pytest.mark.parametrize("name", ["paper", "w/o text attention", "entities", "reference"])
def test_padding_and_other_records_change_nothing(name):
    system, batch, variables = make(tiny(**VARIANTS[name]))
    whole = outputs_of(system, variables, batch)[1:2]
    alone = jax.tree.map(lambda x: x[1:2], batch)
    if name != "reference":  # there the vision stream sees padding, in another number of places another one
        alone["text"] = {k: v if k == "markers" else v[:, :5] for k, v in alone["text"].items()}
    expected = whole[:, :5] if whole.ndim == 3 else whole
    np.testing.assert_allclose(outputs_of(system, variables, alone), expected, atol=1e-5)


def test_the_text_reaches_the_pictures_and_comes_back():
    """w/o text attention is not the same: what the patches hold of the text changes what the text sees of them."""
    (system, batch, variables), (without, _, _) = make(tiny()), make(tiny(text_attention=False))
    assert jax.tree.structure(variables) == jax.tree.structure(make(tiny(text_attention=False))[2])
    assert not np.allclose(outputs_of(system, variables, batch), outputs_of(without, variables, batch), atol=1e-3)


def test_reference_looks_at_two_kinds_of_crops_and_attends_to_absent_ones_as_zeros():
    system, batch, variables = make(tiny(**VARIANTS["reference"]))
    assert [(s.name, s.count, s.side) for s in system.plan] == [("grounded", 2, 16), ("detected", 2, 8)]
    absent = {**batch, "present": {k: np.zeros_like(v) for k, v in batch["present"].items()}}
    noise = {**absent, "pictures": {k: 255 - v for k, v in batch["pictures"].items()}}
    found = outputs_of(system, variables, absent)
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
        ({"flavour": "released"}, "system.flavour is one of paper, reference"),
        ({"modalities": "image"}, "system.modalities is one of both, text"),
        ({"objects": "found"}, "data.objects is none, detected or grounded"),
        ({"task": "triples"}, "system 'ifaformer' has the tasks relation and entities"),
        ({"flavour": "reference", "objects": "detected"}, "set data.objects=grounded"),
        ({"flavour": "reference", "objects": "grounded", "text_attention": False}, "system.text_attention=True"),
        ({"vision.kind": "resnet", "vision.stem": 8}, "vision.kind='resnet' has no keys and values"),
        ({"vision.layers": 3}, r"must agree, found text \(2, 2, 8\), vision \(3, 2, 8\)"),
        ({"vision.heads": 4}, r"must agree, found text \(2, 2, 8\), vision \(2, 4, 4\)"),
    ],
)
def test_contradictions_are_refused(change, message):
    config = tiny(**{name: value for name, value in change.items() if "." not in name})
    with config.unlocked():
        config.update_from_flattened_dict({name: value for name, value in change.items() if "." in name})
    with pytest.raises(ValueError, match=message):
        make(config)
