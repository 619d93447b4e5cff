"""The encoders of runs as directories that transformers opens, and that start other runs."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("systems", "weights"))

from mmre_jax.convert.encoders import save_encoders
from mmre_jax.data import datasets
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.training.initialise import open_source
from mmre_jax.weights import pretrained
from mmre_jax.weights.rules import WeightError

TEXT = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
VISION = ["config.json", "model.safetensors", "preprocessor_config.json"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    """The encoders of the trained HVFormer."""
    folder = tmp_path_factory.mktemp("written") / "out"
    assert save_encoders(trained, folder) == {}
    return folder


def test_a_runs_encoders_are_written_and_start_another(trained, written, tmp_path):
    transformers = pytest.importorskip("transformers")
    assert names(written) == ["text", "vision"] and names(written / "text") == TEXT and names(written / "vision") == VISION
    assert json.loads((written / "text" / "config.json").read_text())["architectures"] == ["BertModel"]
    source = open_source(str(trained))
    tokenizer = transformers.AutoTokenizer.from_pretrained(written / "text")
    record = datasets.open_records(source.job.config.data, "test")[0]
    encoder = source.job.task.encoder
    assert tokenizer(list(record.words), is_split_into_words=True)["input_ids"] == encoder.encode(record.words).ids.tolist()

    config = source.job.config.copy_and_resolve_references().unlock()
    config.text.weights, config.vision.weights = str(written / "text"), str(written / "vision")
    resolved = pretrained.resolve(config)
    theirs = source.variables["params"]
    own = {**theirs["text"], "embeddings": {**theirs["text"]["embeddings"]}}
    own["embeddings"]["word"] = np.pad(own["embeddings"]["word"], ((0, 4), (0, 0)))
    crops = {**theirs["vision"], "embeddings": {**theirs["vision"]["embeddings"]}}
    crops["embeddings"]["position_detected"] = np.zeros_like(crops["embeddings"]["position_detected"])
    wanted = {"text": own, "vision": crops}
    loaded = pretrained.load(resolved, source.job.system.plan, {"params": jax.tree.map(np.zeros_like, wanted)})["params"]
    jax.tree.map(np.testing.assert_array_equal, loaded, wanted)


def test_what_is_there_is_left_alone_and_what_fails_leaves_nothing(trained, written, tmp_path):
    with pytest.raises(FileExistsError, match="exists already and is not an empty directory"):
        save_encoders(trained, written)
    with pytest.raises(CheckpointError, match="neither a run's workdir nor"):
        save_encoders(tmp_path, tmp_path / "more")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["entities", "triples", "objects"])
def test_what_cannot_be_written_is_told(task, untrained, tmp_path, caplog):
    """IFAformer's last vision layer is its keys and values; QEOT's and the detector's small ResNets are none of transformers'."""
    if task == "objects":
        why = "no encoder that transformers could open: text: .*its parts are .*; vision: .*another stem: here stem_kernel 3"
        with pytest.raises(WeightError, match=why):
            save_encoders(untrained[task], tmp_path / "out")
        assert not list(tmp_path.iterdir())
        return
    with caplog.at_level("INFO", "mmre_jax"):
        left = save_encoders(untrained[task], tmp_path / "out")
    if task == "entities":
        assert not left and "its last layer, 1, is left out" in caplog.text
        assert json.loads((tmp_path / "out" / "vision" / "config.json").read_text())["num_hidden_layers"] == 1
    else:
        assert left.keys() == {"vision"} and "vision is not written: this image encoder cannot be written" in caplog.text
        assert names(tmp_path / "out") == ["text"]
