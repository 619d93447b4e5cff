"""A run that starts from a file of word vectors: its rows, what log and metrics say of it, going on without the file, and extraction."""

import json
import logging

import numpy as np
import pytest

import mmre_jax
from configs import text_baselines
from mmre_jax.data import datasets
from mmre_jax.declare import SettingError
from mmre_jax.training.checks import rehearse
from mmre_jax.training.interrupt import Interrupted
from mmre_jax.training.job import new_job
from mmre_jax.training.splits import make_split
from mmre_jax.training.starting import initial_variables, word_counts, word_vectors
from mmre_jax.training.train import train
from mmre_jax.weights.hub import WeightError

WIDTH = 6


def config(variant="quickstart_cnn_bilstm_crf", **changes):
    found = text_baselines.get_config(variant).copy_and_resolve_references().unlock()
    found.text.update({"tokenizer": "whole", "vocab_size": 500, "width": 0, "word_dropout": 0.1})
    found.data.update({"counts": (48, 12, 10), "buckets": (32,), "threads": 1})
    found.train.update({"batch": 8, "eval_batch": 8, "epochs": 1, "log_every": 2, "compilation_cache": ""})
    if variant.endswith("crf"):
        found.system.update({"width": 8, "letters": 6})
    found.update_from_flattened_dict(changes)
    return found.lock()


@pytest.fixture(scope="module")
def known():
    """The words of training, those that come first the most frequent."""
    used = config(**{"text.width": WIDTH})
    return list(new_job(used, datasets.open_records(used.data, "train")).task.encoder.words)


@pytest.fixture
def file(tmp_path, known):
    """Vectors of every other word of training, and of many others: row n holds n alone."""
    rows = [f"{word} {' '.join([str(n)] * WIDTH)}" for n, word in enumerate([*known[::2], "elsewhere", *map(str, range(50))])]
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("variant", ["quickstart_cnn_bilstm_crf", "quickstart_pcnn"])
def test_rows_are_the_files_where_it_has_them(file, variant):
    used = config(variant, **{"text.vectors": str(file)})
    records = datasets.open_records(used.data, "train")
    job = new_job(used, records)
    assert job.config.text.width == WIDTH, "as the file has it"
    table = np.asarray(initial_variables(job, make_split(job, records))["params"]["text"]["word"])
    plain = new_job(config(variant, **{"text.width": WIDTH}), records)
    fresh = np.asarray(initial_variables(plain, make_split(plain, records))["params"]["text"]["word"])
    words = job.task.encoder.words
    there = {line.split(" ")[0]: n for n, line in enumerate(file.read_text(encoding="utf-8").splitlines())}
    for word, place in words.items():
        expected = there.get(word, there.get(word.lower()))
        np.testing.assert_array_equal(table[place], fresh[place] if expected is None else np.float32(expected))
    others = sorted(set(range(len(table))) - set(words.values()))
    np.testing.assert_array_equal(table[others], fresh[others])
    assert np.abs(fresh).max() <= (3 / WIDTH) ** 0.5, "Ma and Hovy's range"


def test_a_run_tells_what_it_found_and_goes_on_without_the_file(file, tmp_path, known, caplog):
    caplog.set_level(logging.INFO)
    used = {"text.vectors": str(file)}
    with pytest.raises(Interrupted):
        train(config(**used, **{"train.max_steps": 3}), tmp_path / "run")
    counts = {"words": len(known), "found": len(known[::2]), "found in lower case": 0, "random": len(known) - len(known[::2])}
    said = f"word vectors: {counts['words']:,} words, {counts['found']:,} found, 0 found in lower case, {counts['random']:,} random"
    assert said in caplog.text
    file.unlink()
    metrics = train(config(**{"text.width": WIDTH}), tmp_path / "run")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["reading"]["word vectors"] == written["reading"]["word vectors"] == counts

    (tmp_path / "run").rename(tmp_path / "elsewhere")
    extractor = mmre_jax.load(tmp_path / "elsewhere")
    assert list(extractor.job.task.encoder.words) == known
    found = extractor.extract(text=("nobody", "saw", "Zzyzx", "@ünknown"))
    assert found.task == "entities" and all(0 <= mention.score <= 1 for mention in found.mentions)
    assert extractor.calibration is not None


def test_random_vectors_are_told():
    used = config("quickstart_pcnn", **{"text.width": WIDTH})
    job = new_job(used, datasets.open_records(used.data, "train"))
    words = len(job.task.encoder.words)
    assert word_counts(word_vectors(job), None) == {"words": words, "found": 0, "found in lower case": 0, "random": words}
    assert word_counts(None, None) == {}


def test_a_file_that_has_none_of_the_words_is_refused(tmp_path):
    """With two spaces behind a word its name ends with one."""
    file = tmp_path / "vectors.txt"
    file.write_text(f"the  {' '.join(['0.5'] * WIDTH)}\n")
    used = config("quickstart_pcnn", **{"text.width": WIDTH, "text.vectors": str(file)})
    with pytest.raises(WeightError, match="the file has none of the .* words, such as '"):
        word_vectors(new_job(used, datasets.open_records(used.data, "train")))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"text.width": 5}, WeightError, "text.width=5, but PLACE has vectors of 6 numbers"),
        ({"text.vectors": "PLACE.gone"}, WeightError, "text.vectors=PLACE.gone: there is no such file of word vectors"),
        ({"text.tokenizer": "bpe"}, SettingError, "a file has vectors of whole words: text.tokenizer=whole, not bpe"),
        ({"text.vectors": ""}, ValueError, "text.width unset: give it, or --config.text.vectors=FILE"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_read(file, changes, kind, message):
    changes = {name: value.replace("PLACE", str(file)) if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises(kind) as error:
        rehearse(config(**{"text.vectors": str(file), **changes}))
    assert message.replace("PLACE", str(file)) in str(error.value) and "\n" not in str(error.value)
