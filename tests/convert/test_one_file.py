"""A run as one file, and the file as a run: the same numbers and words, and nothing that is damaged is taken."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

import mmre_jax
from mmre_jax.convert.one_file import VERSION_KEY, is_model, open_model, save_model
from mmre_jax.training.checkpoint import CheckpointError, Checkpoints
from mmre_jax.training.locate import locate
from mmre_jax.weights.rules import WeightError


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    save_model(trained, path)
    return path


def metadata(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, "numpy") as file:
        return file.metadata()


def test_names_and_metadata_are_as_documented(trained, saved):
    extractor = mmre_jax.load(trained)
    tensors, about = load_file(saved), metadata(saved)
    rows, width = extractor.job.task.encoder.vocab_size, extractor.job.config.text.width
    assert tensors["params/text/embeddings/word"].shape == (rows, width)
    assert tensors["params/text/layer_0/attention/query/kernel"].shape == (width, width)
    assert sum(x.size for x in tensors.values()) == sum(x.size for x in jax.tree.leaves(extractor.variables))
    assert about[VERSION_KEY] == "1" and json.loads(about["labels"]) == list(extractor.job.task.labels)
    assert json.loads(about["none"]) == extractor.job.task.none and json.loads(about["step"]) == extractor.step
    assert json.loads(about["config"])["system"]["name"] == "hvformer"
    assert json.loads(about["tokenizer"]) == extractor.job.task.encoder.tokenizer_json


def test_the_file_becomes_the_run_again(trained, saved, tmp_path):
    """Its metadata too, for whatever reads them."""
    assert is_model(saved) and not is_model(tmp_path)
    open_model(saved, tmp_path / "again")
    one, other = mmre_jax.load(trained), mmre_jax.load(tmp_path / "again")
    jax.tree.map(np.testing.assert_array_equal, one.variables, other.variables)
    assert one.step == other.step and one.job.config == other.job.config
    assert one.calibration == other.calibration is not None
    metas = []
    for place in (trained, tmp_path / "again"):
        directory, step = locate(place)
        with Checkpoints(directory, read_only=True) as checkpoints:
            metas.append(checkpoints.meta(step))
    assert metas[0] == metas[1]


def test_what_is_not_calibrated_is_not_calibrated_again(untrained, tmp_path):
    save_model(untrained["entities"], tmp_path / "model.safetensors")
    open_model(tmp_path / "model.safetensors", tmp_path / "again")
    assert "calibration" not in metadata(tmp_path / "model.safetensors") and not list(tmp_path.rglob("calibration.json"))


def test_a_file_that_is_damaged_or_anothers_is_refused(saved, tmp_path):
    tensors, about = load_file(saved), metadata(saved)
    bad: Any = tmp_path / "bad.safetensors"

    def refused(message: str, error: type[Exception] = WeightError, **changes: str) -> None:
        save_file(tensors, bad, {**about, **changes})
        with pytest.raises(error, match=message):
            open_model(bad, tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["bad.safetensors"]

    refused(f"do not say {VERSION_KEY}=1: it is none of launch.convert --to=safetensors", **{VERSION_KEY: "2"})
    refused("bad.safetensors: its metadata: labels: not a JSON value", labels="[")
    refused("name no step, found '3'", step='"3"')
    refused("format 99, written by", CheckpointError, format="99")
    tensors["params/strange"] = tensors.pop("params/head/classifier/bias")
    tensors["params/text/embeddings/word"] = tensors["params/text/embeddings/word"][:-1]
    refused(
        r"does not hold the model of its metadata, 3 problems:\n  params/head/classifier/bias is not there\n  params/strange is none of "
        r"the model's\n  params/text/embeddings/word is float32 \[\d+, 16\], expected float32"
    )
    bad.write_bytes(saved.read_bytes()[:1000])
    for reads in (is_model, lambda path: open_model(path, tmp_path / "out")):
        with pytest.raises(WeightError, match="not a readable safetensors file"):
            reads(bad)
    assert not is_model(bad.rename(tmp_path / "bad.pth"))
    with pytest.raises(WeightError, match="gone.safetensors does not exist"):
        open_model(tmp_path / "gone.safetensors", tmp_path / "out")


def test_what_is_there_is_left_alone(trained, saved, tmp_path):
    with pytest.raises(FileExistsError, match="model.safetensors exists already"):
        save_model(trained, saved)
    with pytest.raises(WeightError, match=r"a model is written as safetensors; name it \*\.safetensors"):
        save_model(trained, tmp_path / "model.bin")
    with pytest.raises(FileExistsError, match="is not an empty directory"):
        open_model(saved, saved.parent)
    assert not list(tmp_path.iterdir())
