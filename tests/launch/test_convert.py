"""The command as a person types it: a state dict in, a checkpoint that evaluates, and the state dict out again."""

import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

sys.path += [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "weights")]
import releases  # noqa: E402
from typed import run  # noqa: E402

pytestmark = pytest.mark.thorough

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "meets", "grace", "in", "paris")
SIZES = releases.Sizes(words=len(WORDS), positions=16)


@pytest.fixture
def folder(tmp_path):
    """A state dict for entities, a tokenizer that fits it, and posts."""
    save_file(releases.random_release("ifaformer_ner", SIZES), tmp_path / "state.safetensors")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    regions = [{"box": [0.1, 0.1, 0.6, 0.9], "source": source} for source in ("grounded", "detected")]
    mentions = [{"start": 0, "end": 1, "type": "PER"}, {"start": 4, "end": 5, "type": "LOC"}]
    line = {"text": "ada meets grace in paris", "image": "a.png", "mentions": mentions, "regions": regions}
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(line) + "\n" + json.dumps({"text": "grace in paris"}) + "\n")
    return tmp_path


def test_there_and_back(folder):
    state, target, back = folder / "state.safetensors", folder / "target", folder / "back.safetensors"
    tokenizer = f"--tokenizer={folder / 'tokenizer'}"
    result = run("convert", state, target, tokenizer, "--heads=2", "--data=jsonl", f"--root={folder}")
    assert result.returncode == 0, result.stderr
    for said in ("recognised as ifaformer_ner", "no labels given: the 13 tags of the released code: PAD O B-MISC", "13 labels: PAD O"):
        assert said in result.stderr

    result = run("evaluate", f"--checkpoint={target}")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((target / "evaluation" / "test" / "metrics.json").read_text())
    assert metrics["test"]["count"] == 2 and metrics["protocol"]["step"] == 0

    assert run("convert", target, back, "--to=released").returncode == 0
    assert run("convert", target, folder / "encoders", "--to=transformers").returncode == 0
    described = [json.loads((folder / "encoders" / part / "config.json").read_text()) for part in ("text", "vision")]
    assert [found["model_type"] for found in described] == ["bert", "clip_vision_model"]
    assert run("convert", target, folder / "model.safetensors", "--to=safetensors").returncode == 0
    found = run("convert", folder / "model.safetensors", folder / "again")
    assert found.returncode == 0 and "13 labels: PAD O" in found.stderr
    assert (folder / "again" / "checkpoints" / "0" / "meta").is_dir()
    for idle in ((target, folder / "no", "--to=transformers", "--max_tokens=9"), (folder / "model.safetensors", folder / "no", tokenizer)):
        refused = run("convert", *idle)
        assert refused.returncode == 2 and "is of the authors' checkpoints: it says nothing of" in refused.stderr, refused.stderr
        assert not (folder / "no").exists()
    before, after = load_file(state), load_file(back)
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)

    result = run("convert", state, folder / "other")
    assert result.returncode == 2 and result.stderr.startswith("error: give --tokenizer=DIR") and result.stderr.count("\n") == 1

    result = run("convert", state, target, tokenizer)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"error: {target} exists already and is not an empty directory"
