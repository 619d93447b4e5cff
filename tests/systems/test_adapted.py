"""IFAformer*, HVPNeT* and VisualBERT*: gradients, absent pictures, padding, what is fused as in the systems for relations, and refusals."""

import functools
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import test_qeot
from small import assert_gradients, inputs, second_record

from configs import adapted as configs
from configs import ifaformer, qeot, rsrnet, visualbert
from mmre_jax import systems
from mmre_jax.heads import queries
from mmre_jax.systems import adapted
from mmre_jax.systems import qeot as qeot_system
from mmre_jax.weights.pretrained import resolve

LABELS, TARGETS, FUSIONS = test_qeot.LABELS, test_qeot.TARGETS, configs.FUSIONS
OTHERS = {"ifaformer": (ifaformer, "quickstart"), "hvpnet": (rsrnet, "quickstart"), "visualbert": (visualbert, "quickstart")}


def tiny(fusion="visualbert", **changes):
    config = configs.get_config(f"{fusion}_quickstart").copy_and_resolve_references()
    with config.unlocked():
        small = {"width": 16, "layers": 2, "heads": 2, "mlp": 32}
        config.text.update({**small, "positions": 32, "max_tokens": 32})
        config.vision.update(
            {**small, "dialect": "vit", "patch": 4, "side": 16, "depths": (1, 1), "stem": 8, "groups": 2, "stem_pool": False}
        )
        config.system.update({"queries": 4, "heads": 2, "mlp": 24, "cells": 4, "decoder_layers": 1})
        config.update_from_flattened_dict({name if "." in name else f"system.{name}": value for name, value in changes.items()})
    return config


VARIANTS = {fusion: {"fusion": fusion} for fusion in FUSIONS}
VARIANTS["queries"] = {"queries_by": "decoder", "encoder_layers": 0}
VARIANTS["text"] = {"modalities": "text"}


@functools.cache
def ready(name):
    """System, batch, variables and compiled prediction of a variant, for several tests: not to be changed in place."""
    system, batch, variables = test_qeot.make(tiny(**VARIANTS[name]))
    return system, batch, variables, jax.jit(system.predict)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_has_a_gradient(name):
    system, batch, variables, _ = ready(name)
    match = np.where(batch["targets"]["valid"], np.arange(TARGETS), -1).astype(np.int32)[None]  # any matching will do

    def loss(params):
        outputs = system.net.apply({"params": params}, *system.inputs(batch), train=True)
        return system.objective.matched_loss(outputs, batch, match, None)[0]

    share, grads = jax.jit(jax.value_and_grad(loss))(variables["params"])
    assert np.isfinite(share)
    assert_gradients(grads, set(), cancels=True)


def test_parts_are_those_of_each_system_and_of_qeots_heads():
    own = {"ifaformer": set(), "hvpnet": {"prefix"}, "visualbert": {"regions"}}
    for fusion, parts in own.items():
        assert set(ready(fusion)[2]["params"]) == {"text", "vision", "encoder", "slots", "head"} | parts
    assert set(ready("queries")[2]["params"]) == {"text", "vision", "regions", "decoder", "head"}
    assert set(ready("text")[2]["params"]) == {"text", "encoder", "slots", "head"}


@pytest.mark.parametrize("name", FUSIONS)
def test_states_are_those_of_the_system_for_relations(name):
    """Of the words, in every layer, with the same parameters; and what the heads read of the picture is that system's own."""
    system, batch, variables, _ = ready(name)
    module, variant = OTHERS[name]
    config, mine = module.get_config(variant).copy_and_resolve_references(), tiny(name)
    with config.unlocked():
        config.text, config.vision, config.data.objects = mine.text, mine.vision, "none"
        config.system.update({"cells": 4} if name == "visualbert" else {"gate": "leaky_relu"} if name == "hvpnet" else {})
    other = systems.build(resolve(config), vocab_size=40, labels=LABELS)
    marked = {**batch, "text": {**batch["text"], "markers": np.zeros((3, 2), np.int32)}}
    width, params = mine.text.width, dict(variables["params"])
    params["head"] = {"classifier": {"kernel": np.zeros((2 * width, 3), np.float32), "bias": np.zeros(3, np.float32)}}
    look = [
        jax.jit(lambda p, b, s=s: s.net.apply({"params": p}, *s.inputs(b), train=False, mutable=["intermediates"])[1]["intermediates"])
        for s in (system, other)
    ]
    ours, theirs = look[0](variables["params"], batch), look[1](params, marked)
    assert len(ours["text"]["hidden"]) == len(theirs["text"]["hidden"]) == 3
    valid = batch["text"]["mask"]
    for found, expected in zip(ours["text"]["hidden"], theirs["text"]["hidden"], strict=True):
        np.testing.assert_allclose(found[:, :9][valid], expected[:, :9][valid], atol=1e-5)


def test_what_is_read_of_the_picture(monkeypatch):
    """A ViT's patches without [CLS], the cells of the last layer's prefix, the regions of the stream; nothing of an absent photo."""
    counts = {}
    for name in FUSIONS:
        config = tiny(name, encoder_positions=False)
        system, batch, variables = test_qeot.make(config)
        batch["present"]["photo"][1] = False
        with monkeypatch.context() as patch:
            patch.setattr(adapted, "read_triples", lambda config, sequence, text, means, dtype, *, train: (sequence, means))
            look = jax.jit(lambda v, b, s=system: s.net.apply(v, *s.inputs(b), train=False, mutable=["intermediates"]))
            (((words, mask), (cells, there)), means), seen = jax.tree.map(np.asarray, look(variables, batch))
        counts[name] = cells.shape[1]
        hidden = np.asarray(seen["intermediates"]["text"]["hidden"][-1])
        np.testing.assert_array_equal(words, hidden[:, :9])
        np.testing.assert_array_equal(mask, batch["text"]["mask"])
        assert there[[0, 2]].all() and not there[1].any() and not means[1][1].any()
        if name == "visualbert":
            np.testing.assert_array_equal(cells, hidden[:, 9:])
        if name == "ifaformer":
            np.testing.assert_array_equal(cells, seen["intermediates"]["vision"]["hidden"][-1][:, 1:])
        np.testing.assert_allclose(means[1][0], cells[0].mean(0), rtol=1e-4, atol=1e-5)
    assert counts == {"ifaformer": 16, "hvpnet": 4, "visualbert": 16}


@pytest.mark.parametrize("name", [*FUSIONS, "queries"])
def test_pixels_of_an_absent_picture_never_change_a_prediction(name):
    _, batch, variables, predict = ready(name)
    present = {"photo": np.array([[True], [False], [False]])}
    noise = np.where(present["photo"][:, :, None, None, None], batch["pictures"]["photo"], 255 - batch["pictures"]["photo"])
    a = predict(variables, {**batch, "present": present})
    b = predict(variables, {**batch, "present": present, "pictures": {"photo": noise}})
    seen = predict(variables, batch)
    for output in a:
        np.testing.assert_array_equal(a[output], b[output])
        assert np.isfinite(a[output]).all()
        np.testing.assert_allclose(a[output][:1], seen[output][:1], atol=1e-5)
    assert not np.allclose(a["box"][1:], seen["box"][1:], atol=1e-4), "a present picture is looked at"


@pytest.mark.parametrize("name", [*FUSIONS, "text"])
def test_padding_and_other_records_change_nothing(name):
    _, batch, variables, predict = ready(name)
    whole, found = predict(variables, batch), predict(variables, second_record(batch))
    for output in ("relation", "box", "start", "end"):
        expected = whole[output][1:2, :, :5] if output in ("start", "end") else whole[output][1:2]
        np.testing.assert_allclose(found[output], expected, atol=1e-5)


def test_bf16_computation_keeps_fp32_parameters():
    config = tiny("hvpnet", **{"train.dtype": "bfloat16"})
    system, batch, variables = test_qeot.make(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    narrow, full = jax.jit(system.predict)(variables, batch), ready("hvpnet")[3](variables, batch)
    for output, found in narrow.items():
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, full[output], atol=0.1)


def test_settings_of_the_heads_are_qeots():
    """Declared once, and in every variant those of QEOT's of the same size, but for what carries the triples."""
    assert queries.SETTINGS.items() <= adapted.SETTINGS.items() and queries.SETTINGS.items() <= qeot_system.SETTINGS.items()
    for variant in configs.VARIANTS:
        mine, theirs = configs.get_config(variant), qeot.get_config(variant.partition("_")[2])
        for section in ("task", "data", "text", "optim", "train", "parallel"):
            assert mine[section].to_dict() == theirs[section].to_dict(), (variant, section)
        own = {"queries_by", "encoder_layers", "decoder_layers", "deep_supervision"}
        for name in queries.SETTINGS.keys() - own:
            assert mine.system[name] == theirs.system[name], (variant, name)
        assert (mine.system.queries_by, mine.vision.side) == ("slots", theirs.vision.side)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_papers_sizes_can_be_built(fusion):
    config = configs.get_config(f"{fusion}_more")
    assert (config.optim.lr, config.optim.clip, config.train.batch, config.system.encoder_layers) == (3e-5, 0.0, 8, 0)
    system = systems.build(config, vocab_size=30522, labels=tuple(map(str, range(21))))
    params = jax.eval_shape(system.init, jax.random.key(0), inputs(system, np.random.default_rng(0), 1))["params"]
    assert [(slot.name, slot.count, slot.side) for slot in system.plan] == [("photo", 1, 224)]
    assert params["slots"]["slots"]["kernel"].shape == (2 * 768, 5 * 768) and params["head"]["relation"]["kernel"].shape == (768, 22)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system.fusion": "qeot"}, "system.fusion=.* is not one of ifaformer, hvpnet, visualbert"),
        ({"flavour": "reference"}, "system.flavour=.* is not one of paper"),
        ({"task.name": "relation"}, "system.fusion=visualbert.* extracts triples: set task.name=triples"),
        ({"data.objects": "detected"}, "looks at the photo alone: set data.objects=none"),
        ({"vision.resize": "cover"}, "vision.resize=squash"),
        ({"fusion": "ifaformer", "vision.kind": "resnet"}, "the image encoder is a ViT here: vision.kind=vit, found 'resnet'"),
        ({"fusion": "ifaformer", "vision.layers": 3}, r"must agree, found text \(2, 2, 8\), vision \(3, 2, 8\)"),
        ({"fusion": "hvpnet", "vision.kind": "vit"}, "vision.kind='vit' has none"),
        ({"fusion": "hvpnet", "vision.side": 4}, "vision.side=4 leaves the last of 2 stages fewer than 2 x 2 cells"),
        ({"vision.kind": "vit"}, "vision.kind=resnet, resnest or rcnn, found 'vit'"),
        ({"cells": 5}, "system.cells=5, but the map of vision.side=16 has 4 cells a side"),
        ({"queries_by": "decoder", "decoder_layers": 0}, "needs at least 1 layer"),
        ({"text.width": 18}, "divisible by 4, found 18"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        systems.build(tiny(**change), vocab_size=40, labels=LABELS)
