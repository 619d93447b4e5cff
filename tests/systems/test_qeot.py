"""QEOT: ablations and their parameters, absent pictures, padding, what can be looked at, and gradients on 1, 2 and 8 devices."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small import assert_gradients, build, inputs, second_record

from configs import qeot as configs
from mmre_jax import systems
from mmre_jax.encoders.rcnn import faster_rcnn as rcnn

ROOT = Path(__file__).resolve().parents[2]
LABELS, QUERIES, TARGETS = ("a", "b", "c"), 4, 3


def tiny(kind="resnet", **system):
    config = configs.get_config("quickstart").copy_and_resolve_references()
    with config.unlocked():
        small = {"width": 16, "layers": 1, "heads": 2, "mlp": 32}
        config.text.update({**small, "positions": 32, "max_tokens": 32})
        config.vision.update({**small, "kind": kind, "dialect": "vit", "patch": 4})
        config.vision.update({"side": 16, "depths": (1,), "stem": 8, "groups": 2, "stem_pool": True})  # 4 x 4 cells of every kind
        config.vision.update({"level": 0, "pyramid_width": 8})
        config.system.update({"queries": QUERIES, "heads": 2, "mlp": 24, "decoder_layers": 1, "encoder_positions": False, **system})
    return config


def targets(rng, size):
    start = rng.integers(0, 5, (size, TARGETS)).astype(np.int32)
    found = {"start": start, "end": np.minimum(start + 1, 4).astype(np.int32)}
    found["relation"] = rng.integers(0, len(LABELS), (size, TARGETS)).astype(np.int32)
    found["box"] = rng.uniform(0.2, 0.5, (size, TARGETS, 4)).astype(np.float32)
    found["valid"] = np.arange(TARGETS) < np.resize([3, 1, 0], size)[:, None]
    return {"targets": found}


def make(config, size=3):
    system, batch, variables = build(config, LABELS, size=size, more=targets)
    del batch["text"]["markers"]
    return system, batch, variables


VARIANTS = {
    "paper": {},
    "two layers": {"decoder_layers": 2},
    "last of two": {"decoder_layers": 2, "deep_supervision": False},
    "no encoder": {"encoder_layers": 0},
    "one query": {"queries": 1},
    "w/o gated": {"gate": False},
    "w/o select": {"select": False},
    "w/o query": {"queries_by": "slots"},
    "w/o anything": {"queries_by": "slots", "select": False, "encoder_layers": 0},
    "both": {"memory": "both"},
    "mlp": {"entity_head": "mlp"},
    "positions at the encoder": {"encoder_positions": True},
    "vit": {"kind": "vit"},
    "rcnn": {"kind": "rcnn"},
    "text": {"modalities": "text"},
}


@functools.cache
def ready(name):
    """System, batch, variables and compiled prediction of a variant, for several tests: not to be changed in place."""
    system, batch, variables = make(tiny(**VARIANTS[name]))
    return system, batch, variables, jax.jit(system.predict)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_has_a_gradient(name):
    system, batch, variables, _ = ready(name)
    layers = 2 if name == "two layers" else 1
    queries = system.net.config.triples.queries
    # Any matching will do, and programs without a call to the host can be kept on disk.
    match = np.where(batch["targets"]["valid"] & (np.arange(TARGETS) < queries), np.arange(TARGETS), -1).astype(np.int32)

    def loss(params):
        outputs = system.net.apply({"params": params}, *system.inputs(batch), train=True)
        return system.objective.matched_loss(outputs, batch, np.stack([match] * layers), None)[0]

    share, grads = jax.jit(jax.value_and_grad(loss))(variables["params"])
    assert np.isfinite(share)
    assert_gradients(grads, set(), cancels=True)


def test_ablations_leave_nothing_behind():
    found = {name: set(ready(name)[2]["params"]) for name in VARIANTS if name not in ("vit", "rcnn")}
    whole = {"text", "vision", "project", "gate_text", "gate_image", "encoder", "decoder", "head"}
    missing = {
        "no encoder": {"encoder"},
        "w/o gated": {"gate_text", "gate_image"},
        "w/o select": {"gate_text", "gate_image"},
        "w/o query": {"decoder"},
        "w/o anything": {"gate_text", "gate_image", "encoder", "decoder"},
        "text": {"vision", "project", "gate_text", "gate_image"},
    }
    assert {name: parts - {"slots"} for name, parts in found.items()} == {name: whole - missing.get(name, set()) for name in found}
    assert [name for name, parts in found.items() if "slots" in parts] == ["w/o query", "w/o anything"]


@pytest.mark.parametrize("name", ["paper", "w/o query", "both", "vit", "rcnn"])
def test_pixels_of_an_absent_picture_never_change_a_prediction(name):
    _, batch, variables, predict = ready(name)
    present = np.array([[True], [False], [False]])
    noise = np.where(present[:, :, None, None, None], batch["pictures"]["photo"], 255 - batch["pictures"]["photo"])
    a = predict(variables, {**batch, "present": {"photo": present}})
    b = predict(variables, {**batch, "present": {"photo": present}, "pictures": {"photo": noise}})
    seen = predict(variables, batch)
    for output in a:
        np.testing.assert_array_equal(a[output], b[output])
        assert np.isfinite(a[output]).all()
        np.testing.assert_allclose(a[output][:1], seen[output][:1], atol=1e-6)
    assert not np.allclose(a["box"][1:], seen["box"][1:]), "a present picture is looked at"


def test_the_text_of_a_record_without_a_picture_is_not_gated():
    """What reaches the heads of it is what the text encoder made, to the last bit; that of the others is changed."""
    system, batch, variables, _ = ready("paper")
    pixels, present = system.inputs(batch)[1], {"photo": np.array([[True], [False], [False]])}
    look = functools.partial(system.net.apply, variables, batch["text"], pixels, train=False, capture_intermediates=_states)
    seen = jax.jit(lambda there: look(there, mutable=["intermediates"])[1]["intermediates"])(present)
    (own,), (gated,) = seen["text"]["hidden"][-1:], seen["gate_text"]["__call__"]
    np.testing.assert_array_equal(gated[1:], own[1:])
    assert not np.allclose(gated[0], own[0], atol=1e-3)


def _states(module, method):
    return method == "__call__" and module.name == "gate_text"


def test_positions_are_added_once_and_at_the_encoder_by_configuration():
    """The two have the same parameters and differ in what they make of them."""
    (_, batch, variables, once), (_, _, again, twice) = ready("paper"), ready("positions at the encoder")
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, again)
    assert not np.allclose(once(variables, batch)["box"], twice(variables, batch)["box"], atol=1e-4)


def test_without_any_picture_or_target_loss_and_gradients_are_finite():
    system, batch, variables, _ = ready("paper")

    @jax.jit
    def gradient(params, batch):
        return jax.value_and_grad(lambda p: system.loss({"params": p}, batch, jax.random.key(0), axis=None, train=True)[0])(params)

    for valid in (batch["targets"]["valid"], np.zeros((3, TARGETS), bool)):
        targets = {**batch["targets"], "valid": valid}
        share, grads = gradient(variables["params"], {**batch, "targets": targets, "present": {"photo": np.zeros((3, 1), bool)}})
        assert np.isfinite(share) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("name", ["both", "text"])
def test_padding_and_other_records_change_nothing(name):
    _, batch, variables, predict = ready(name)
    whole = predict(variables, batch)
    found = predict(variables, second_record(batch))
    for output in ("relation", "box", "start", "end"):
        expected = whole[output][1:2, :, :5] if output in ("start", "end") else whole[output][1:2]
        np.testing.assert_allclose(found[output], expected, atol=1e-5)
    assert not whole["start"][1, :, 5:].any() and not whole["end"][1, :, 5:].any()


def test_only_deep_supervision_shows_every_layer():
    for name, layers in (("two layers", 2), ("last of two", 1)):
        system, batch, variables, _ = ready(name)
        outputs = jax.eval_shape(functools.partial(system.net.apply, train=False), variables, *system.inputs(batch))
        shapes = {"start": (9,), "end": (9,), "relation": (len(LABELS) + 1,), "box": (4,)}
        assert {output: x.shape for output, x in outputs.items()} == {k: (layers, 3, QUERIES, *last) for k, last in shapes.items()}


def test_attention_can_be_looked_at():
    system, batch, variables, _ = ready("two layers")
    batch = {**batch, "present": {"photo": np.array([[True], [True], [False]])}}
    look = jax.jit(lambda *inputs: system.net.apply(variables, *inputs, train=False, mutable=["intermediates"])[1]["intermediates"])
    seen = look(*system.inputs(batch))
    (image_to_text,) = seen["select"]["image_to_text"]  # figure 3
    assert image_to_text.shape == (3, 1, 16, 9)
    for layer in ("layer_0", "layer_1"):
        (cross,) = seen["decoder"][layer]["cross"]["attention"]  # figure 4
        assert cross.shape == (3, 2, QUERIES, 16)
        np.testing.assert_allclose(cross[:2].sum(-1), 1, rtol=1e-5)
        assert not cross[2].any()


def test_bf16_computation_keeps_fp32_parameters():
    config = tiny()
    with config.unlocked():
        config.train.dtype = "bfloat16"
    system, batch, variables = make(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    narrow, full = jax.jit(system.predict)(variables, batch), ready("paper")[3](variables, batch)
    for output, found in narrow.items():
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, full[output], atol=0.1)


def test_a_detectors_backbone_is_read_at_one_level_in_its_own_colours():
    """Levels differ in their cells, 16 pixels at stride 2 being 8 a side, and what none of them reads is not there."""
    cells = {}
    for level in (0, 1, 2):
        config = tiny("rcnn")
        with config.unlocked():
            config.vision.update({"depths": (1, 1), "stem_pool": False, "level": level})
        system, batch, variables = make(config)
        (slot,) = system.plan
        assert (slot.mean, slot.std) == (rcnn.MEAN, rcnn.STD)
        assert set(variables["params"]["vision"]) == {"backbone", "pyramid"}
        seen = jax.eval_shape(lambda v, s=system, b=batch: s.net.apply(v, *s.inputs(b), train=False, mutable=["intermediates"]), variables)
        cells[level] = seen[1]["intermediates"]["select"]["image_to_text"][0].shape[2]
    assert cells == {0: 64, 1: 16, 2: 4}


def test_a_frozen_image_encoder_normalises_in_training_as_in_prediction():
    """Of a detector with norms that follow the batches: frozen, neither its statistics change nor what it makes of a picture."""
    found = {}
    for frozen in ((), ("vision",)):
        config = _change(_change(tiny("rcnn"), "vision", norm="batch"), "optim", frozen=frozen)
        system, batch, variables = make(config)
        assert system.batch_norm == (not frozen)
        loss = functools.partial(system.loss, key=jax.random.key(0), axis=None)
        updates = jax.eval_shape(functools.partial(loss, train=True), variables, batch)[2]
        assert bool(jax.tree.leaves(updates)) == (not frozen)
        see = functools.partial(system.net.apply, variables, *system.inputs(batch), capture_intermediates=_vision)
        look = jax.jit(lambda train, see=see: see(train=train, mutable=["intermediates", "batch_stats"]), static_argnums=0)
        states = [look(train)[1]["intermediates"]["vision"]["__call__"][0] for train in (True, False)]
        found[frozen] = np.allclose(*states, atol=1e-4)
    assert found == {(): False, ("vision",): True}


def _vision(module, method):
    return method == "__call__" and module.name == "vision"


def _change(config, section, **values):
    with config.unlocked():
        config[section].update(values)
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (tiny(queries_by="boxes"), "system.queries_by=.* is not one of decoder, slots"),
        (tiny(memory="text"), "system.memory=.* is not one of image, both"),
        (tiny(entity_head="linear"), "system.entity_head=.* is not one of dot, mlp"),
        (tiny(matcher="greedy"), "system.matcher=.* is not one of scipy, optax"),
        (tiny(flavour="reference"), "system.flavour=.* is not one of paper"),
        (tiny(queries=0), "system.queries=0 is not a whole number of at least 1"),
        (tiny(decoder_layers=0), "system.decoder_layers=0, but .* needs at least 1 layer"),
        (_change(tiny(), "task", name="relation"), "set task.name=triples"),
        (_change(tiny(), "data", objects="detected"), "set data.objects=none"),
        (_change(tiny(), "vision", resize="cover"), "vision.resize=squash"),
        (_change(tiny("rcnn"), "vision", level=2), r"vision.level=2: .* 1 stages of vision.depths=\(1,\) has the levels 0 to 1"),
        (_change(tiny("rcnn"), "vision", side=18), "vision.side=18 is not a multiple of 4"),
    ],
)
def test_contradictions_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        systems.build(config, vocab_size=40, labels=LABELS)


def test_the_papers_sizes_can_be_built():
    config = configs.get_config("more")
    assert (config.optim.lr, config.optim.clip, config.train.batch, config.system.encoder_positions) == (3e-5, 0.0, 8, False)
    system = systems.build(config, vocab_size=30522, labels=tuple(map(str, range(21))))
    params = jax.eval_shape(system.init, jax.random.key(0), inputs(system, np.random.default_rng(0), 1))["params"]
    assert [(slot.name, slot.count) for slot in system.plan] == [("photo", 1)]
    assert params["decoder"]["queries"].shape == (5, 768)
    assert params["head"]["relation"]["kernel"].shape == (768, 22)
    assert {name: len(params[name]) for name in ("encoder", "decoder")} == {"encoder": 6, "decoder": 7}


ON_DEVICES = """
import json, sys
import jax, numpy as np
sys.path[:0] = sys.argv[1:3]
import test_qeot as tests

system, batch, variables = tests.make(tests.tiny(), size=16)
# Unevenly spread: the first records have three triples each, the next one each, the last none, two of them padding.
batch["targets"]["valid"] = np.arange(3)[None] < np.array([3] * 5 + [1] * 2 + [0] * 9)[:, None]
batch["valid"][14:] = False
key = jax.random.key(0)

def gradient(params, shard):
    return jax.value_and_grad(lambda p: system.loss({"params": p}, shard, key, axis="batch", train=True)[0])(params)

found = {}
for count in (1, 8):
    shards = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
    mapped = jax.pmap(gradient, axis_name="batch", in_axes=(None, 0), devices=jax.devices()[:count])
    share, grads = jax.device_get(mapped(variables["params"], shards))
    found[count] = (float(share.sum(dtype=np.float64)), jax.tree.map(lambda g: g.sum(0, dtype=np.float64), grads))
ones, others = (jax.tree.leaves(found[count][1]) for count in (1, 8))
norm = np.sqrt(sum((x**2).sum() for x in ones))
apart = np.sqrt(sum(((x - y) ** 2).sum() for x, y in zip(ones, others)))
loss = abs(found[8][0] / found[1][0] - 1)
print(json.dumps({"devices": jax.device_count(), "norm": float(norm), "loss": loss, "gradient": float(apart / norm)}))
"""


@pytest.mark.processes
def test_loss_and_gradients_are_the_same_on_eight_devices():
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-W", "error", "-c", ON_DEVICES, str(ROOT), str(Path(__file__).parent)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["devices"] == 8 and found["norm"] > 0
    assert found["loss"] <= 1e-5 and found["gradient"] <= 1e-5, found
