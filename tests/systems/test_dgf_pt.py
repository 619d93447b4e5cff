"""DGF-PT: gradients, what is absent, types, stages against one pass, every ablation, and settings that contradict each other."""

import functools
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent))
from small import LENGTHS, absent, assert_gradients, build, gradients_of, second_record

from configs import dgf_pt as configs
from mmre_jax.data import datasets
from mmre_jax.encoders.bert import Bert
from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.encoders.language import read_stage
from mmre_jax.fusion.prefixes import Prefix
from mmre_jax.systems import dgf_pt
from mmre_jax.training.job import new_job
from mmre_jax.training.state import split_params
from mmre_jax.weights import pretrained
from mmre_jax.weights.gpt import write_gpt

LABELS = ("None", "/per/per/peer", "/per/org/member_of", "/org/org/subsidiary", "/misc/misc/part_of")
BERT = {"text.kind": "bert", "text.activation": "gelu", "text.eps": 1e-12}


def tiny(**changes):
    config = configs.get_config("quickstart").copy_and_resolve_references().unlock()
    config.text.update({"width": 16, "layers": 1, "heads": 2, "mlp": 32, "positions": 48, "max_tokens": 9, "init_std": 0.25})
    config.vision.update({"side": 32, "stem": 8, "groups": 2, "depths": (1,)})
    config.data.buckets = (9,)
    config.system.update({"objects": 3, "cells": 2, "caption_tokens": 4, "dropout": 0.0, "added": 4})
    config.system.types = ("per", "org", "misc")
    config.system.prefix.update({"before": (5,), "behind": (6, 7)})
    config.update_from_flattened_dict(changes)
    return config.lock()


def asked(rng, size):
    """What the task adds: the second record has one object, the third none and no caption; some types are not known."""
    corners = np.sort(rng.random((size, 3, 2, 2)), axis=2).reshape(size, 3, 4).astype(np.float32)
    entities = np.zeros((size, 2, max(LENGTHS)), bool)
    entities[:, 0, 1:2], entities[:, 1, 3:5] = True, True
    there = np.resize(np.array([[True, True, True], [True, False, False], [False] * 3]), (size, 3))
    spoken = np.resize(np.array([[True] * 4, [True] * 3 + [False], [False] * 4]), (size, 4))
    return {
        "entities": entities,
        "objects": {"boxes": corners, "mask": there},
        "caption": {"ids": rng.integers(2, 36, (size, 4)).astype(np.int32), "mask": spoken},
        "types": np.resize(np.array([[0, 1], [-1, -1], [2, -1]], np.int32), (size, 2)),
        "label": np.resize(np.array([2, 0, 4, 1], np.int32), size),
    }


@functools.cache
def paper():
    return build(tiny(), LABELS, more=asked)


@functools.partial(jax.jit, static_argnums=0)
def predict(system, variables, batch):
    return system.predict(variables, batch)


@functools.partial(jax.jit, static_argnums=0)
def metrics_of(system, variables, batch):
    share, metrics, _ = system.loss(variables, batch, jax.random.key(0), axis=None, train=False)
    return share, metrics


@pytest.mark.parametrize("more", [{}, pytest.param(BERT, marks=pytest.mark.slow)], ids=["gpt2", "bert"])
def test_every_parameter_has_a_gradient(more):
    system, batch, variables = build(tiny(**more), LABELS, more=asked)
    parts = {"text", "vision", "image", "objects", "added", "prefix_objects", "prefix_entities", "gate", "decoder", "head"}
    assert set(variables["params"]) == parts
    assert_gradients(gradients_of(system, batch, variables), set(), cancels=True)


def test_a_picture_that_is_absent_is_not_read():
    """Neither its pixels, nor the objects on it: without pictures and captions it is the text-only system."""
    system, batch, variables = paper()
    silent = {**batch["caption"], "mask": np.zeros_like(batch["caption"]["mask"])}
    without = {**absent(batch), "caption": silent}
    found = predict(system, variables, without)
    noise = {k: 255 - v for k, v in batch["pictures"].items()}
    moved = {**batch["objects"], "boxes": batch["objects"]["boxes"][:, ::-1]}
    other = predict(system, variables, {**without, "pictures": noise, "objects": moved})
    np.testing.assert_array_equal(found["logits"], other["logits"])
    assert np.isfinite(found["logits"]).all() and np.abs(found["fusion"]).max() < 1e-6
    assert not np.allclose(found["logits"], predict(system, variables, {**batch, "caption": silent})["logits"], atol=1e-3)

    text, _, _ = build(tiny(**{"system.modalities": "text"}), LABELS, more=asked)
    assert text.plan == () and text.given == ("entities",)
    own = {k: v for k, v in variables["params"].items() if k not in ("vision", "image", "objects", "gate")}
    np.testing.assert_allclose(predict(text, {"params": own}, batch)["logits"], found["logits"], atol=1e-5)


def test_objects_and_captions_that_are_absent_are_not_read():
    system, batch, variables = paper()
    found = predict(system, variables, batch)
    boxes = np.where(batch["objects"]["mask"][..., None], batch["objects"]["boxes"], np.float32(0.5))
    ids = np.where(batch["caption"]["mask"], batch["caption"]["ids"], 9).astype(np.int32)
    changed = {**batch, "objects": {**batch["objects"], "boxes": boxes}, "caption": {**batch["caption"], "ids": ids}}
    np.testing.assert_array_equal(found["logits"], predict(system, variables, changed)["logits"])
    assert found["fusion"][2, 1] == found["fusion"][2, 2] == 0 and found["fusion"][1, 2] == 1, "no object has no share, one has all"

    boxes = np.broadcast_to(np.array([0.0, 0.0, 0.4, 0.4], np.float32), boxes.shape)
    moved = predict(system, variables, {**batch, "objects": {**batch["objects"], "boxes": boxes}})["logits"]
    differs = ~np.isclose(found["logits"], moved, atol=1e-5).all(axis=1)
    np.testing.assert_array_equal(differs, [True, True, False])
    said = predict(system, variables, {**batch, "caption": {**batch["caption"], "ids": np.full_like(ids, 9)}})["logits"]
    np.testing.assert_array_equal(~np.isclose(found["logits"], said, atol=1e-5).all(axis=1), [True, True, False])


def test_padding_and_other_records_change_nothing():
    system, batch, variables = paper()
    alone = second_record(batch)
    alone["entities"] = alone["entities"][:, :, : LENGTHS[1]]
    np.testing.assert_allclose(predict(system, variables, batch)["logits"][1:2], predict(system, variables, alone)["logits"], atol=2e-5)


def test_no_gold_type_reaches_the_relation():
    system, batch, variables = paper()
    other = {**batch, "types": np.array([[1, 2], [0, 0], [-1, 2]], np.int32)}
    (_, before), (_, after) = (metrics_of(system, variables, b) for b in (batch, other))
    for name in ("relation", "consistency", "identification", "accuracy"):
        np.testing.assert_array_equal(before[name], after[name])
    assert not np.allclose(before["types"], after["types"])
    assert (float(before["types"][1]), float(after["types"][1])) == (3, 5), "types that are not known are not learnt from"


@pytest.mark.parametrize("more", [{}, BERT], ids=["gpt2", "bert"])
def test_one_pass_is_stage_after_stage(more, monkeypatch):
    """Prefixes and objects, image, text: what is read at once is what is read of each with the keys and values of those before it."""
    system, batch, variables = build(tiny(**{"text.layers": 2, **more}), LABELS, more=asked)
    kind = Gpt if isinstance(system.net.config.text, GptConfig) else Bert

    @jax.jit
    def look(variables):
        stages = spied(system, variables, batch, monkeypatch)

        def one_by_one(model):
            cache, found = None, []
            for words, mask, _ in stages:
                state, cache = read_stage(model, words, mask, cache, train=False)
                found.append(state)
            return found

        return stages, kind(system.net.config.text).apply({"params": variables["params"]["text"]}, method=one_by_one)

    stages, expected = look(variables)
    assert [words.shape[1] for words, _, _ in stages] == [5 + 5 + 3, 4, 9]
    for (_, mask, found), other in zip(stages, expected, strict=True):
        assert np.abs(found - other)[mask].max() <= 1e-5


def spied(system, variables, batch, monkeypatch):
    """Words, mask and states of each stage."""
    read, stages = dgf_pt.read_stages, []

    def spy(model, given, *, train):
        states, cache = read(model, given, train=train)
        stages.extend((*own, state) for own, state in zip(given, states, strict=True))
        return states, cache

    with monkeypatch.context() as patch:
        patch.setattr(dgf_pt, "read_stages", spy)
        system.net.apply(variables, *system.inputs(batch), train=False)
    return stages


PREFIX, OBJECTS, IMAGE, TEXT = 5, 3, 4, 9  # places of a prefix, the objects, the image, the text
PREFIXES = {  # the rows of table 2: the stages that the object-oriented and the entity-oriented prefix open, and the places of each stage
    "DGF-PT": (1, 1, [2 * PREFIX + OBJECTS, IMAGE, TEXT]),
    "w/o all prefixes": (0, 0, [OBJECTS, IMAGE, TEXT]),
    "w/o E-P": (1, 0, [PREFIX + OBJECTS, IMAGE, TEXT]),
    "w/o O-P": (0, 1, [PREFIX + OBJECTS, IMAGE, TEXT]),
    "all in S2": (2, 2, [OBJECTS, 2 * PREFIX + IMAGE, TEXT]),
    "all in S3": (3, 3, [OBJECTS, IMAGE, 2 * PREFIX + TEXT]),
    "E-P in S2": (1, 2, [PREFIX + OBJECTS, PREFIX + IMAGE, TEXT]),
    "E-P in S3": (1, 3, [PREFIX + OBJECTS, IMAGE, PREFIX + TEXT]),
    "O-P in S2": (2, 1, [PREFIX + OBJECTS, PREFIX + IMAGE, TEXT]),
    "O-P in S3": (3, 1, [PREFIX + OBJECTS, IMAGE, PREFIX + TEXT]),
    "E-P in S2, O-P in S3": (3, 2, [OBJECTS, PREFIX + IMAGE, PREFIX + TEXT]),
    "E-P in S3, O-P in S2": (2, 3, [OBJECTS, PREFIX + IMAGE, PREFIX + TEXT]),
}
LENGTH = {"objects": OBJECTS, "image": IMAGE, "text": TEXT}
READ = {
    **{name: ({"system.prefix.objects": o, "system.prefix.entities": e}, read) for name, (o, e, read) in PREFIXES.items()},
    **{
        order: ({"system.order": order}, [LENGTH[name] + (0 if n else 2 * PREFIX) for n, name in enumerate(order.split("-"))])
        for order in dgf_pt.ORDERS
    },
    "no objects": ({"data.objects": "none"}, [2 * PREFIX, IMAGE, TEXT]),
    "text alone": ({"system.modalities": "text", "system.prefix.entities": 3}, [PREFIX, PREFIX + TEXT]),
}
ABLATIONS = {
    **{name: changes for name, (changes, _) in READ.items() if name not in ("DGF-PT", dgf_pt.ORDERS[0])},
    "w/o dual gate": {"system.dual_gate": False},
    "w/o joint objective": {"system.joint": False},
    "no captions": {"system.caption_tokens": 0},
    "no types": {"system.types": ()},
    "markers": {"system.entity_states": "markers"},
}


@pytest.mark.parametrize("name", READ)
def test_what_each_stage_reads(name, monkeypatch):
    changes, expected = READ[name]
    system, batch, variables = build(tiny(**changes), LABELS, more=asked)
    stages = jax.eval_shape(lambda v: spied(system, v, batch, monkeypatch), variables)
    assert [words.shape[1] for words, _, _ in stages] == expected


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name.startswith("w/o joint") else pytest.mark.slow) for name in ABLATIONS])
def test_every_ablation_trains_and_is_another_system(name):
    """Its loss, with the same values of the parameters that it shares with the paper's, is another one; so is its gradient finite."""
    system, batch, variables = paper()
    own, _, _ = build(tiny(**ABLATIONS[name]), LABELS, more=asked)
    shapes = traverse_util.flatten_dict(jax.eval_shape(own.init, jax.random.key(0), batch)["params"])
    known = traverse_util.flatten_dict(variables["params"])
    assert all(known[path].shape == leaf.shape for path, leaf in shapes.items())
    params = traverse_util.unflatten_dict({path: known[path] for path in shapes})
    share, gradient = jax.jit(jax.value_and_grad(lambda p: own.loss({"params": p}, batch, jax.random.key(0), axis=None, train=True)[0]))(
        params
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert abs(float(share) - float(metrics_of(system, variables, batch)[0])) > 1e-4


@pytest.mark.parametrize(
    ("vision", "channels"),
    [
        ({"kind": "vgg", "depths": (1, 2), "stem": 4}, 8),
        ({"kind": "resnest", "depths": (1,), "stem": 8, "bottleneck": True}, 32),
        ({"kind": "vit", "patch": 8, "width": 12, "layers": 1, "heads": 2, "mlp": 16}, 12),
    ],
)
def test_any_image_encoder(vision, channels):
    config = tiny(**{f"vision.{name}": value for name, value in {"side": 32, **vision}.items()})
    system, batch, variables = build(config, LABELS, more=asked)
    assert variables["params"]["objects"]["kernel"].shape == variables["params"]["image"]["kernel"].shape == (channels, 16)
    found = predict(system, variables, batch)
    moved = {**batch["objects"], "boxes": batch["objects"]["boxes"][:, :, ::-1] * np.float32(0.5)}
    assert np.isfinite(found["logits"]).all()
    assert not np.allclose(found["logits"], predict(system, variables, {**batch, "objects": moved})["logits"], atol=1e-4)


def test_bert_computes_in_bf16_too():
    """Given words are bf16 there, its own tables are not."""
    system, batch, variables = build(tiny(**{"train.dtype": "bfloat16", **BERT}), LABELS, more=asked)
    share, _ = jax.eval_shape(lambda v: system.loss(v, batch, jax.random.key(0), axis=None, train=True)[:2], variables)
    assert share.dtype == jax.eval_shape(system.predict, variables, batch)["probabilities"].dtype == jnp.float32


def test_bf16_computation_keeps_fp32_parameters():
    system, batch, variables = build(tiny(**{"train.dtype": "bfloat16"}), LABELS, more=asked)
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(system.init, jax.random.key(0), batch))} == {jnp.dtype("float32")}
    a, b = (predict(s, variables, batch)["probabilities"] for s in (system, paper()[0]))
    assert a.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task.name": "entities"}, "system 'dgf_pt' has the task relation, found task.name='entities'"),
        ({"vision.resize": "crop"}, "vision.resize=squash alone keeps, found 'crop'"),
        ({"system.caption_tokens": 2}, "system.caption_tokens=2 leaves no room"),
        ({"system.caption_tokens": 49}, "system.caption_tokens=49 exceeds the language model's 48 positions"),
        ({"system.order": "text-image"}, "system.order='text-image' is not one of objects-image-text"),
        ({"system.prefix.objects": 4}, r"system.prefix.objects=4 is not a whole number in \[0, 3\]"),
        ({"text.positions": 28}, "read up to 29 places .10 of prefixes, 3 of objects, 4 of image, 9 of text, 3 of decoder."),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(tiny(**changes), LABELS, more=asked)


@pytest.mark.parametrize("more", [{}, BERT], ids=["gpt2", "bert"])
def test_the_longest_sequence_may_have_as_many_places_as_there_are_positions(more):
    system, batch, variables = build(tiny(**{"text.positions": 29, **more}), LABELS, more=asked)
    assert jax.eval_shape(system.predict, variables, batch)["logits"].shape == (3, len(LABELS))


def test_words_of_prefixes_start_as_a_loaded_table_has_them(tmp_path, monkeypatch):
    """Of a directory of weights; they are parts of their own, trained where the language model is frozen."""
    sizes = GptConfig(vocab_size=36, width=16, layers=1, heads=2, mlp=32, positions=48)
    shapes = jax.eval_shape(lambda: Gpt(sizes).init(jax.random.key(0), jnp.zeros((1, 3, 16)), train=False))["params"]
    loaded = jax.tree.map(lambda leaf: np.random.default_rng(7).normal(size=leaf.shape).astype(np.float32), shapes)
    save_file(write_gpt(loaded, "gpt2"), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(sizes.to_transformers()))
    config = tiny(**{"text.weights": str(tmp_path), "optim.frozen": ("text", "vision"), "text.layers": 0})
    system, batch, variables = build(config, LABELS, more=asked)
    for name in ("prefix_objects", "prefix_entities"):
        initial = Prefix((5,), (6, 7)).init(
            jax.random.key(0), lambda ids: jnp.zeros((1, 3, 16)), jnp.zeros((1, 2, 16)), jnp.ones((1, 2), bool)
        )
        variables["params"][name] = initial["params"]
    variables = pretrained.load(pretrained.resolve(config), system.plan, variables)
    first = jax.jit(lambda v: spied(system, v, batch, monkeypatch)[0][0])(variables)
    for start in (0, 5):  # both prefixes: a word, two slots, two words
        np.testing.assert_allclose(first[:, [start, start + 3, start + 4]], [loaded["word"][[5, 6, 7]]] * 3, atol=1e-6)
    trained, held = split_params(variables["params"], config.optim.frozen)
    assert set(held) == {"text", "vision"} and {"prefix_objects", "prefix_entities", "added"} <= set(trained)


@pytest.mark.parametrize("variant", ["quickstart", "gpt2_small"])
def test_variants_have_room_for_their_prefixes(variant):
    """As a run makes them, with the tokenizer of its records."""
    config = configs.get_config(variant).unlock()
    config.data.update({"name": "scenes", "counts": (64, 4, 4), "buckets": (config.text.max_tokens,)})
    job = new_job(config.lock(), datasets.open_records(config.data, "train"))
    system = job.config.system
    assert len(system.prefix.before) >= 1 and len(system.prefix.behind) >= 4 and system.types == ("per",) and system.added == 4


def test_published_settings():
    """Table 3 and section 5.3."""
    config = configs.get_config("mnre")
    system, weights = config.system, config.system.weights
    assert (system.objects, system.delta, system.dropout) == (10, 0.4, 0.6)
    assert (weights.consistency, weights.identification, weights.relation) == (2, 2, 3)
    assert (config.text.kind, config.text.max_tokens, config.text.width) == ("gpt2", 128, 768)
    assert (config.optim.lr, config.train.batch, config.train.epochs) == (2e-4, 100, 20)
    assert (config.vision.kind, tuple(config.vision.depths)) == ("vgg", (2, 2, 3, 3, 3)) and "text" in config.optim.frozen
