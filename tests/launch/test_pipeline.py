"""launch.pipeline as a person types it: three small parts trained, put together and scored as QEOT is."""

import json
import pathlib
import sys

import numpy as np
import pytest

from mmre_jax import pipelines
from mmre_jax.data.readers import scenes

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import typed  # noqa: E402

PARTS = {"tagger": "entities", "detector": "objects", "classifier": "relation"}
SMALL = {
    "data": {"counts": "48,8,8"},
    "text": {"width": 16, "layers": 1, "heads": 2, "mlp": 32},
    "vision": {"side": 16, "depths": "(1,)", "stem": 8, "groups": 2},
    "system": {"heads": 2, "mlp": 32, "encoder_layers": 1, "decoder_layers": 1},
    "train": {"epochs": 3, "batch": 16, "eval_batch": 16, "log_every": 1, "compilation_cache": ""},
}


pytestmark = pytest.mark.slow  # three runs are trained; tests/test_pipelines.py composes stand-ins


def run(*arguments):
    """With one device and the compiled programs of the suite: starting and compiling take all the time."""
    small = [f"--config.{section}.{name}={value}" for section, found in SMALL.items() for name, value in found.items()]
    return typed.run("pipeline", "--config=configs/qeot.py:quickstart", *small, *arguments, environment={"XLA_FLAGS": ""}, seconds=600)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("pipeline")
    result = run(f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    return workdir, result


def test_each_part_is_a_run_whose_loss_falls(trained):
    for part, task in PARTS.items():
        rows = [json.loads(line) for line in (trained[0] / part / "metrics.jsonl").read_text().splitlines()]
        losses = [row["train"]["loss"] for row in rows if "train" in row]
        assert np.mean(losses[-3:]) < np.mean(losses[:3]), part
        assert json.loads((trained[0] / part / "metrics.json").read_text())["protocol"]["task"] == task


def test_the_scores_are_those_of_triples(trained):
    found = json.loads((trained[0] / "metrics.json").read_text())
    assert found["test"]["count"] == 8 and found["test"]["gold"] == sum(len(r.triples) for r in scenes.read("triples", "test", 8))
    assert {"strict", "paper"} == found["test"]["triple"].keys() and "beyond_queries" not in found["test"]
    assert found["headline"].keys() >= {"triple.strict.f1", "pair.f1", "relation.accuracy", "entity.accuracy"}
    about = found["protocol"]["pipeline"]
    assert {part: row["run"] for part, row in about.items()} == {part: str(trained[0] / part) for part in PARTS}
    assert "triple.strict.f1" in trained[1].stdout


def test_the_parts_make_a_pipeline_whose_triples_are_what_was_written(trained):
    pipeline = pipelines.load(*(trained[0] / part for part in PARTS))
    assert set(pipeline.labels) == set(scenes.triple_relations())
    records = scenes.read("triples", "test", 8)
    found = pipeline.extract_records(records)
    written = [json.loads(line) for line in (trained[0] / "predictions.jsonl").read_text().splitlines()]
    for record, extraction, line in zip(records, found, written, strict=True):
        assert line["id"] == record.id and len(line["triples"]) == len(extraction.triples)
        for triple, row in zip(extraction.triples, line["triples"], strict=True):
            assert [list(triple.mention.span), triple.label] == [row["span"], row["relation"]]
            assert row["score"] == pytest.approx(triple.score, abs=1e-4) and row["box"] == pytest.approx(triple.box, abs=1e-4)
            assert 0 < triple.score <= 1 and triple.mention.end <= len(record.words)


def test_parts_of_other_runs_are_taken_as_they_are(trained, tmp_path):
    workdir, runs = trained[0], [f"--{part}={trained[0] / part}" for part in ("tagger", "classifier")]
    result = run(f"--workdir={tmp_path}", *runs, f"--detector={workdir / 'tagger'}")
    assert result.returncode == 2 and "error: detector: trained for task 'entities', not 'objects'" in result.stderr
    assert not list(tmp_path.iterdir())


def test_blank_crops_are_refused_before_anything_is_trained(tmp_path):
    result = run(f"--workdir={tmp_path / 'run'}", "--config.data.missing=blank")
    assert result.returncode and "data.missing='blank': a pipeline masks crops that are missing" in result.stderr
    assert not (tmp_path / "run").exists()
