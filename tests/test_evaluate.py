"""A run of DGF-PT from its configuration to the table of its gates, and what its checkpoint reads of a post."""

import dataclasses
import functools
import json

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import mmre_jax
from configs import dgf_pt
from mmre_jax import analyse, compare, convert, evaluate, tasks
from mmre_jax.data.readers import scenes
from mmre_jax.records import RecordError
from mmre_jax.training.identity import identity
from mmre_jax.training.train import train

OWN = "trained with detected objects, none given: masked"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Five steps on 160 scenes, with captions, the language model frozen."""
    folder = tmp_path_factory.mktemp("scenes")
    for split, count in (("train", 160), ("val", 8), ("test", 8)):
        scenes.export(folder, "relations", split, count, side=32)
        lines = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
        captions = [{"caption": f"picture number {i}"} if i % 2 else {} for i in range(count)]
        text = "".join(json.dumps({**line, **caption}) + "\n" for line, caption in zip(lines, captions, strict=True))
        (folder / f"{split}.jsonl").write_text(text)
    config = dgf_pt.get_config("quickstart").unlock()
    config.text.update({"width": 16, "layers": 1, "heads": 2, "mlp": 32})
    config.vision.update({"side": 32, "stem": 8, "groups": 2, "depths": (1,)})
    config.system.update({"objects": 2, "cells": 2, "caption_tokens": 6})
    config.data.update({"name": "jsonl", "root": str(folder), "buckets": (32,)})
    config.optim.frozen = ("text",)
    config.train.update({"epochs": 1, "batch": 32, "eval_batch": 8, "compilation_cache": ""})
    run = tmp_path_factory.mktemp("run")
    train(config.lock(), run)
    return run


def test_the_prefixes_are_trained_beside_a_frozen_model(workdir):
    extractor = mmre_jax.load(workdir)
    config, params = extractor.job.config, extractor.variables["params"]
    assert config.optim.frozen == ("text",) and config.system.types == ("per",) and len(config.system.prefix.behind) == 4
    for name in ("prefix_objects", "prefix_entities"):
        assert np.abs(params[name]["offset"]).max() > 0, "the checkpoint keeps what was trained"
    assert np.abs(params["added"]).max() > 0


def test_a_written_text_encoder_has_what_was_trained_beside_its_words(workdir, tmp_path):
    """Of the markers: a frozen model's own rows of them are as they began."""
    convert.save_encoders(workdir, tmp_path)
    extractor = mmre_jax.load(workdir)
    count = extractor.job.config.system.added
    own, added = (np.asarray(x)[0] for x in (extractor.variables["params"]["text"]["word"], extractor.variables["params"]["added"]))
    written = load_file(tmp_path / "text" / "model.safetensors")["wte.weight"]
    np.testing.assert_array_equal(written[:-count], own[:-count])
    np.testing.assert_allclose(written[-count:], own[-count:] + added, atol=1e-6)
    assert np.abs(written - own).max() > 0


def test_gates_with_right_and_with_other_pictures(workdir):
    found = evaluate.gates(workdir, "test")
    assert found.records == 8 and found.own["pictures"] == found.other["pictures"] == 8
    assert all(0 < found.own[name] < 1 for name in ("|gamma|", "|beta|", "max alpha"))
    assert found.own != found.other
    lines = found.table().splitlines()
    assert len(lines) == 8 and len(set(map(len, lines))) == 1
    assert "own pictures" in lines[0] and "other records' pictures" in lines[0]


def test_the_figure_of_the_gates_has_the_same_means(workdir):
    """Two ways through the checkpoint."""
    found, drawn = evaluate.gates(workdir, "test"), analyse.draw(analyse.view(workdir), "dual_gates")
    for name, row in (("own", found.own), ("other", found.other)):
        means = drawn.facts["mean"][name]
        np.testing.assert_allclose([means[key] for key in means], [row[key] for key in means], atol=1e-5)
    assert drawn.arrays["own"].shape == (8, 5) and len(means) == 5


def test_captions_for_other_pictures_are_told(workdir, tmp_path):
    """They would be read as none, and the table would say so of the model."""
    path = tmp_path / "captions.json"
    path.write_text('{"elsewhere.png": "a house"}')
    for read in (evaluate.gates, evaluate.checkpoint):
        with pytest.raises(RecordError, match="captions.json: none of its 1 names is that of a record's picture: its first name"):
            read(workdir, "test", captions=str(path))


def test_a_post_is_read_with_its_objects_and_its_caption(workdir, tmp_path):
    extractor, path = mmre_jax.load(workdir), tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)).save(path)
    post = {"text": "Ada meets Grace today", "image": path, "head": "Ada", "tail": "Grace"}
    plain = extractor.extract(**post)
    assert extractor.object_sources == ("detected",) and OWN in plain.notes
    boxed = extractor.extract(**post, boxes=[(0.1, 0.1, 0.6, 0.9)])
    said = extractor.extract(**post, boxes=[(0.1, 0.1, 0.6, 0.9)], caption="picture number")
    assert not boxed.notes and not said.notes
    assert len({x.found[0].score for x in (plain, boxed, said)}) == 3


def test_without_gates_there_is_nothing_to_print(trained):
    with pytest.raises(ValueError, match="a checkpoint of 'hvformer' without dual-gated fusion has no gates"):
        evaluate.gates(trained, "test")


def test_what_is_read_of_a_record_is_its_identity(workdir):
    """Another box is other data, where boxes are read."""
    extractor = mmre_jax.load(workdir)
    record = scenes.read("relations", "test", 1)[0]
    moved = dataclasses.replace(record, regions=record.regions[1:])

    def sums(*records, also):
        return identity(extractor.job.config.data, {"train": list(records)}, (), also)["train"]["checksum"]

    read = functools.partial(tasks.also_read, extractor.job.task)
    assert sums(record, also=read) != sums(moved, also=read)
    assert sums(record, also=lambda r: None) == sums(moved, also=lambda r: None)


def test_a_run_beside_what_it_predicted_does_not_differ(workdir, tmp_path):
    """Its predictions.jsonl is scored against its own configuration."""
    written = evaluate.checkpoint(workdir, "test").write(tmp_path / "evaluation")
    found = compare.runs([workdir, tmp_path / "evaluation" / "predictions.jsonl"], names=["run", "file"], resamples=50)
    assert written[1].name == "predictions.jsonl" and found.runs[0].config == compare.configuration(workdir)
    (pair,) = found.pairs()
    assert pair["agreement"] == 1 and pair["mcnemar"]["p"] == 1 and not found.disagreements() and not found.warnings()
    assert all(test == {"difference": 0, "low": 0, "high": 0, "p": 1, "p_holm": 1} for test in pair["measures"].values())
    assert [row["system"] for row in found.scores()] == ["dgf_pt", "-"]
