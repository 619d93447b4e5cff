"""Files of predictions compared on the embedded data set; runs of ours stand in tests/test_evaluate.py, where one is trained."""

import json

import pytest

from configs import hvformer
from mmre_jax import compare
from mmre_jax.data.readers import scenes
from mmre_jax.records import RecordError


@pytest.fixture(scope="module")
def config():
    found = hvformer.get_config("quickstart").unlock()
    found.data.counts = (64, 16, 16)
    return found.lock()


@pytest.fixture(scope="module")
def gold():
    """{id: relation} of the 16 test scenes."""
    return {record.id: record.relations[0].label for record in scenes.read("relations", "test", 16)}


def written(path, predicted):
    path.write_text("".join(json.dumps({"id": name, "relation": label}) + "\n" for name, label in predicted.items()))
    return path


def test_two_programs_predictions(config, gold, tmp_path):
    some = next(label for label in gold.values() if label != "None")
    places = [written(tmp_path / "right.jsonl", gold), written(tmp_path / "constant.jsonl", dict.fromkeys(gold, some))]
    found = compare.runs(places, config=config, resamples=100)
    assert found.names == ["right.jsonl", "constant.jsonl"]
    right, wrong = found.scores()
    hits = sum(label == some for label in gold.values())
    assert right["accuracy"] == 1 and wrong["accuracy"] == hits / 16 and right["system"] == "-" and right["step"] is None
    (pair,) = found.pairs()
    assert pair["mcnemar"]["only_first"] == 16 - hits == len(found.disagreements()) and pair["mcnemar"]["only_second"] == 0
    assert pair["mcnemar"]["p"] == pytest.approx(2 * 0.5 ** (16 - hits)), "one side of the binomial, twice"
    assert found.warnings() == [] and found.settings() == {}


def test_names_are_given_or_told_apart(config, gold, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    places = [written(tmp_path / folder / "found.jsonl", gold) for folder in ("one", "two")]
    assert compare.runs(places, config=config, resamples=10).names == ["one/found.jsonl", "two/found.jsonl"]
    assert compare.runs(places, names=["A", "B"], config=config, resamples=10).names == ["A", "B"]
    with pytest.raises(ValueError, match="2 runs need as many names, found 1: A"):
        compare.runs(places, names=["A"], config=config)


def test_predictions_alone_need_a_configuration(config, gold, tmp_path):
    place = written(tmp_path / "found.jsonl", gold)
    with pytest.raises(ValueError, match="predictions alone need a configuration"):
        compare.runs([place, place], names=["a", "b"])
    del gold[next(iter(gold))]
    with pytest.raises(RecordError, match="1 of 16 examples have no prediction"):
        compare.runs([place, written(tmp_path / "fewer.jsonl", gold)], config=config)
