"""Runs that keep the features of an encoder that is not trained: the same numbers, computed once; refused where they would be others."""

import dataclasses
import logging
import pathlib
import pickle
import re
import sys

import jax
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import small_mnre

from configs import detector, hvformer, ifaformer, qeot, rsrnet
from mmre_jax import evaluate, extract
from mmre_jax.data import datasets
from mmre_jax.data.loader import Order, batches
from mmre_jax.data.readers import jsonl
from mmre_jax.declare import SettingError
from mmre_jax.records import Mention, Record, Region, Relation
from mmre_jax.training import checks, feature_maker, features
from mmre_jax.training.job import new_job, sample
from mmre_jax.training.log import read_rows
from mmre_jax.training.splits import make_split
from mmre_jax.training.starting import initial_variables
from mmre_jax.training.train import train

pytestmark = pytest.mark.thorough

SMALL = {"width": 16, "layers": 1, "heads": 2, "mlp": 16}


def config(folder="", base=hvformer, **changes):
    found = base.get_config("quickstart").copy_and_resolve_references().unlock()
    found.text.update({**SMALL, "dropout": 0.1})
    found.vision.update(
        {**SMALL, "side": 32} if found.vision.kind == "vit" else {"depths": (1, 1), "stem": 8, "groups": 2, "side": 32, "crop_side": 32}
    )
    if "heads" in found.system:
        found.system.heads = 2
    found.data.update({"counts": (48, 12, 10), "buckets": (32,), "threads": 1})
    found.optim.frozen = ("vision",)
    found.train.update({"batch": 8, "eval_batch": 8, "epochs": 1, "log_every": 1, "compilation_cache": ""})
    if folder:
        found.data.update({"features": "cache", "features_folder": str(folder)})
    found.update_from_flattened_dict(changes)
    return found.lock()


def told(caplog):
    """[sets of pictures, of them not there yet] of each time that features were asked for."""
    lines = [re.search(r"features: ([\d,]+) .*; ([\d,]+) of them are not", record.getMessage()) for record in caplog.records]
    return [[int(found[1]), int(found[2])] for found in lines if found]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """{features: (workdir, metrics)} of a run on other records' pictures, half of them hidden; and where features are kept."""
    folder, found = tmp_path_factory.mktemp("features"), {}
    shown = {"data.shuffle_pictures": "both", "data.image_share": 0.5}
    for name, where in (("none", ""), ("cache", folder)):
        workdir = tmp_path_factory.mktemp(name)
        found[name] = workdir, train(config(where, **shown), workdir)
    return found, folder


def test_a_run_has_the_same_numbers_also_under_shuffles_and_masks(runs):
    (plain, expected), (kept, metrics) = runs[0]["none"], runs[0]["cache"]
    ours, theirs = ([row["train"]["loss"] for row in read_rows(path) if "train" in row] for path in (kept, plain))
    assert len(ours) == 6
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for name in ("test", "val"):
        assert metrics[name]["micro"] == expected[name]["micro"]


def test_another_run_and_an_evaluation_compute_nothing_anew(runs, caplog):
    caplog.set_level(logging.INFO)
    (workdir, metrics), folder = runs[0]["cache"], runs[1]
    found, plain = (evaluate.checkpoint(path, "test") for path in (workdir, runs[0]["none"][0]))
    assert found.seen == plain.seen and 0 < len(found.seen) < 10 and found.headline() == metrics["headline"]
    for ours, theirs in zip(found.outputs, plain.outputs, strict=True):
        np.testing.assert_allclose(ours["probabilities"], theirs["probabilities"], rtol=1e-4)
    job = new_job(config(folder, **{"text.width": 8}), records := datasets.open_records(config().data, "train"))
    split = make_split(job, records)
    features.with_features(job, {"train": split}, initial_variables(job, split))
    before, after = told(caplog)
    assert before[1] == 0 and after[0] == 49 and after[1] == 24, "the half of the pictures that was hidden from the first run"
    assert len(list(folder.iterdir())) == 1


def test_a_checkpoint_extracts_without_the_features(runs):
    """It is whole: the encoder is in it, and looks at pictures that no cache has seen."""
    record = datasets.open_records(config().data, "val")[0]
    ours, theirs = (extract.load(runs[0][name][0]).extract_records([record])[0].relations[0] for name in ("cache", "none"))
    assert ours.label == theirs.label and abs(ours.score - theirs.score) < 1e-5


def test_each_picture_is_encoded_once_by_an_encoder_of_single_pictures(tmp_path, caplog):
    """Two records show one photo, one of them with a crop of it that the other lacks; a third one's file is damaged."""
    caplog.set_level(logging.INFO)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels if name == "a.png" else 255 - pixels).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no picture")
    crop = Region(box=(0.0, 0.0, 0.5, 0.5), source="detected")
    pair = (Relation(Mention(0, 1), Mention(1, 2), "x"),)
    shows = [("a", (crop,)), ("a", ()), ("b", (crop,)), ("c", ()), ("b", (crop,))]
    records = [
        Record(f"{n}", ("a", "b"), image=str(tmp_path / f"{x}.png"), relations=pair, regions=crops) for n, (x, crops) in enumerate(shows)
    ]
    jsonl.write(records, tmp_path / "train.jsonl")
    changes = {"data.name": "jsonl", "data.root": str(tmp_path), "data.objects": "detected", "vision.crops": 2, "train.eval_batch": 2}
    job = new_job(config(tmp_path / "kept", rsrnet, **changes), records)
    split = dataclasses.replace(make_split(job, records), picture_of=np.array([0, 1, 2, 3, -1]))
    variables = initial_variables(job, split)
    (kept,) = features.with_features(job, {"train": split}, variables).values()
    assert told(caplog) == [[6, 6]], "two photos, their crops, the damaged one and what is absent"
    batch = next(batches(Order(split.lengths, 5, (32,), False), dataclasses.replace(split, picture_of=None)))
    order = np.argsort(batch["index"])
    pictures, there = ({name: x[order] for name, x in batch[k].items()} for k in ("pictures", "present"))
    for x in (*pictures.values(), *there.values()):
        x[4] = 0  # it is shown no picture
    found, present = kept.features[np.arange(5)]
    for name in present:
        np.testing.assert_array_equal(present[name], there[name])
    (slot,) = job.system.seen_at_once
    joined = {k: np.concatenate([x[s.name] for s in job.system.plan], axis=1) for k, x in (("pictures", pictures), ("present", there))}
    each = {k: {slot.name: x.reshape(-1, 1, *x.shape[2:])} for k, x in joined.items()}
    for name, expected in jax.jit(job.system.features)(variables, each).items():
        np.testing.assert_allclose(found[name].reshape(expected.shape), expected, atol=1e-5)
    (rows,) = (tmp_path / "kept").glob("*/rows.bin")
    assert rows.stat().st_size == 5 * sum(x[0, 0].nbytes for x in found.values()), "nothing is kept of the damaged one"


@pytest.mark.parametrize("base", [hvformer, rsrnet])
def test_features_of_blank_crops_are_not_those_of_masked_ones(base, tmp_path):
    """Of pictures that are encoded together, and each by itself: in one folder, first the masked ones, then the blank ones."""
    small_mnre.write_counted(tmp_path, "train", 4)
    data = {"data.name": "mnre", "data.root": str(tmp_path), "data.objects": "grounded", "vision.crops": 3, "vision.crop_side": 32}
    for missing, shown in (("masked", [0] * 4), ("blank", [2, 3, 2, 3])):
        found = config(tmp_path / "kept", base, **data, **{"data.missing": missing})
        job = new_job(found, records := datasets.open_records(found.data, "train"))
        split = make_split(job, records)
        variables = initial_variables(job, split)
        (kept,) = features.with_features(job, {"train": split}, variables).values()
        read, batch = kept(np.arange(4), 32), split(np.arange(4), 32)
        assert read["present"]["grounded"].sum(axis=1).tolist() == shown
        ours, theirs = (job.system.predict(variables, {**x, "index": np.arange(4), "valid": np.ones(4, bool)}) for x in (read, batch))
        np.testing.assert_allclose(ours["probabilities"], theirs["probabilities"], atol=1e-5)
        if missing == "masked":
            before = theirs["probabilities"]
    assert np.abs(before - theirs["probabilities"]).max() > 1e-4


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (
            hvformer,
            {"optim.frozen": ()},
            "data.features=cache keeps what an encoder makes of pictures that is not trained: name vision in optim.frozen",
        ),
        (hvformer, {"vision.dropout": 0.1}, "data.features=cache: vision.dropout=0.1 makes features others each time: set it to 0"),
        (ifaformer, {}, "image encoder of system 'ifaformer' computes is no function of pictures alone, or larger than they are"),
        (hvformer, {"optim.frozen": ("text",)}, "data.features=cache: text.dropout=0.1 makes the text's states others each time"),
        (rsrnet, {"optim.frozen": ("text",)}, "text encoder of system 'rsrnet' computes is no function of the words alone"),
        (detector, {"optim.frozen": ("backbone",)}, "image encoder of system 'faster_rcnn' computes is no function of pictures alone"),
    ],
)
def test_features_that_would_be_others_are_refused(base, changes, message):
    with pytest.raises(SettingError, match=message):
        checks.rehearse(config("anywhere", base, **changes))


UNDROPPED = {"text.dropout": 0.0, "text.attention_dropout": 0.0, "data.counts": (16, 4, 4), "data.buckets": (12, 32)}


def small(folder, base=hvformer, **changes):
    """(a job on few records whose text encoder is not trained, its training split)."""
    found = config(folder, base, **{**UNDROPPED, "optim.frozen": ("text",), **changes})
    job = new_job(found, records := datasets.open_records(found.data, "train"))
    return job, make_split(job, records)


@pytest.mark.parametrize(("base", "vision"), [(hvformer, ("vision",)), (qeot, ())])
def test_the_states_of_the_words_are_kept_without_their_padding(base, vision, tmp_path, caplog):
    """Those of an HVFormer are two a record, those of a QEOT as many as it has tokens; losses and gradients are the same at any padding."""
    caplog.set_level(logging.INFO)
    less = {"system.encoder_layers": 1, "system.decoder_layers": 1, "system.modalities": "text"} if base is qeot else {}
    job, split = small(tmp_path, base, **{"optim.frozen": ("text", *vision), **less})
    variables = initial_variables(job, split)
    (kept,) = features.with_features(job, {"train": split}, variables).values()
    rows = sum(map(len, {tuple(each.ids) for each in split.encoded})) if base is qeot else 2 * len(split.records)
    (said,) = (text for record in caplog.records if "texts" in (text := record.getMessage()))
    assert f" {rows:,} states" in said and (kept.features is None) == (not vision)

    @jax.jit
    @jax.value_and_grad
    def loss(params, batch):
        return job.system.loss({"params": {**variables["params"], **params}}, batch, jax.random.key(0), axis=None, train=True)[0]

    trained = {name: tree for name, tree in variables["params"].items() if name not in ("text", *vision)}
    order, lengths = Order(split.lengths, 8, (12, 32), train=False), set()
    for plain, ours in zip(batches(order, split), batches(order, pickle.loads(pickle.dumps(kept))), strict=True):
        lengths.add(ours["text"]["ids"].shape[1])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), loss(trained, ours), loss(trained, plain))
    assert len(lengths) == 2
    turned = dataclasses.replace(split, records=split.records[::-1], encoded=split.encoded[::-1])
    features.with_features(job, {"train": turned}, variables)
    assert told(caplog)[-1][1] == 0, "known again by their ids, in whatever order"


def test_what_of_two_frozen_encoders_cannot_be_kept_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    job, split = small(tmp_path, **{"text.dropout": 0.1, "optim.frozen": ("text", "vision")})
    (kept,) = features.with_features(job, {"train": split}, initial_variables(job, split)).values()
    assert kept.features is not None and kept.states is None
    assert "features of words are not kept: data.features=cache: text.dropout=0.1 makes the text's states others each time" in caplog.text


def test_states_at_some_places_are_not_taken_for_those_of_all_tokens(tmp_path):
    job, _ = small(tmp_path)
    batch = {**sample(job), "text": {**sample(job)["text"], "states": np.zeros((1, 2, 16), np.float32)}}
    variables = jax.eval_shape(job.system.init, jax.random.key(0), sample(job))
    with pytest.raises(ValueError, match="those at the places that the net reads, not of all tokens"):
        jax.eval_shape(lambda v: job.system.net.apply(v, *job.system.inputs(batch), train=False, mutable=["intermediates"]), variables)


def test_other_weights_or_another_program_have_a_folder_of_their_own(tmp_path):
    job = new_job(config(tmp_path), records := datasets.open_records(config().data, "val"))
    split = make_split(job, records)
    variables = initial_variables(job, split)

    def name(job, variables):
        own = {"params": {"vision": jax.tree.map(np.asarray, variables["params"]["vision"])}}
        return feature_maker.Maker.of(job, job.system, own, job.config.data).store.folder.name

    moved = jax.tree.map(lambda x: x + 1e-7 * (x.ndim == 1), variables)
    coarse = new_job(config(tmp_path, **{"train.dtype": "bfloat16"}), records)
    seed = new_job(config(tmp_path, **{"train.seed": 3, "text.width": 8, "train.eval_batch": 4}), records)
    first = name(job, variables)
    assert len({first, name(job, moved), name(coarse, variables)}) == 3
    assert name(seed, variables) == first, "of what the encoder does not depend on, nothing"
