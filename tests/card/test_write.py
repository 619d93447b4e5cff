"""A run's card: what the Hub reads in it, and that nothing in it is invented."""

import dataclasses
import json
import shutil

import ml_collections
import pytest
import yaml

from mmre_jax.card import card, write
from mmre_jax.card.run import open_run
from mmre_jax.card.words import PAPERS, text
from mmre_jax.data import annotation
from mmre_jax.records import Mention, Record
from mmre_jax.systems import BUILDERS
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.training.locate import locate
from mmre_jax.training.protocol import LEAK_WARNING


@pytest.fixture(scope="module")
def made(trained):
    return card(trained, name="scenes *HVFormer*", license="apache-2.0")


def front(made: str) -> dict:
    _, matter, _ = made.split("---\n", 2)
    return yaml.safe_load(matter)


def test_the_front_matter_is_what_the_hub_reads(made, trained, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    (tmp_path / "README.md").write_text(made)
    data = huggingface_hub.ModelCard.load(tmp_path / "README.md").data
    assert data.license == "apache-2.0" and data.datasets == ["scenes"] and data.library_name == "mmre_jax"
    assert data.tags == ["mmre_jax", "jax", "multimodal", "relation-extraction", "hvformer"]
    headline = json.loads((trained / "metrics.json").read_text())["headline"]
    assert {each.metric_name: each.metric_value for each in data.eval_results} == pytest.approx(headline, abs=1e-6)
    assert {each.dataset_args["objects"] for each in data.eval_results} == {"detected"}


def test_it_says_what_stands_beside_the_checkpoint(made, trained):
    metrics, run = json.loads((trained / "metrics.json").read_text()), open_run(trained)
    assert made.startswith("---\n") and "\n# scenes \\*HVFormer\\*\n" in made
    assert f"| micro.f1 | {metrics['test']['micro']['f1']:.4f} | {metrics['val']['micro']['f1']:.4f} |" in made
    assert "- Examples: 64 train, 16 val, 16 test." in made and "`data.objects=detected`" in made
    assert f"{metrics['parameters']['all']:,} parameters" in made
    assert all(f"`{label}`" in made for label in run.job.task.labels)
    assert all(f"{name} {value}" in made for name, value in run.meta["versions"].items())
    assert "Scores are calibrated: temperature" in made and "Its data set is generated" in made and LEAK_WARNING[9:] not in made
    assert 'mmre_jax.load("scenes *HVFormer*")' in made and "give `boxes=`" in made


def test_what_is_not_known_is_said_not_to_be(trained, tmp_path):
    """Without metrics.json; with one of another step; no licence."""
    shutil.copytree(trained / "checkpoints", tmp_path / "run" / "checkpoints", ignore=shutil.ignore_patterns("calibration.json"))
    found = card(tmp_path / "run")
    assert "None was fitted" in found
    assert "its scores are not known" in found and "How many examples there were is not known" in found
    assert "No licence was given" in found
    assert "model-index" not in front(found) and "license" not in front(found) and "metrics" not in front(found)

    metrics = json.loads((trained / "metrics.json").read_text())
    (tmp_path / "run" / "metrics.json").write_text(json.dumps({**metrics, "best_step": 99}))
    found, (_, step) = card(tmp_path / "run"), locate(tmp_path / "run")
    assert f"metrics.json is of step 99, this checkpoint of step {step}" in found and "model-index" not in front(found)
    (tmp_path / "run" / "metrics.json").write_text("[]")
    with pytest.raises(CheckpointError, match="metrics.json holds a list, expected an object"):
        card(tmp_path / "run")


def test_a_leak_and_a_calibration_are_told(trained, tmp_path, monkeypatch):
    shutil.copytree(trained / "checkpoints", tmp_path / "run" / "checkpoints")
    _, step = locate(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / str(step) / "calibration.json").write_text('{"temperature": 1.25, "bias": 0.0, "split": "val"}')
    found = card(tmp_path / "run")
    assert "Scores are calibrated: temperature 1.2500, bias 0.0000, split val." in found

    run = open_run(tmp_path / "run")
    config = ml_collections.ConfigDict(run.job.config.to_dict())
    config.data.update({"name": "mnre", "objects": "grounded", "root": "/some/one/MNRE"})
    config.text.weights = "/some/one/bert-base-uncased"
    grounded = dataclasses.replace(run, job=dataclasses.replace(run.job, config=config), meta={**run.meta, "config": config.to_dict()})
    monkeypatch.setattr(write, "open_run", lambda checkpoint, name: grounded)
    found = card(tmp_path / "run")
    assert f"**Warning.** P{LEAK_WARNING[1:]}" in found and "started from `bert-base-uncased`" in found
    assert "/some/one" not in found and '"root": "MNRE"' in found and front(found)["datasets"] == ["mnre"]


def test_warnings_of_records_name_no_folder(trained, tmp_path):
    """As training writes them, of a data set that stands in two files of a folder with a space and parentheses in its name."""
    record = Record("a", ("Ada",), mentions=(Mention(0, 1, "PER"),))
    splits = {
        split: [dataclasses.replace(record, id=split, origin=f"/some/one/my data (1)/{split}.jsonl:{line}")]
        for line, split in enumerate(("train", "test"), 3)
    }
    warnings = annotation.warnings(annotation.look("entities", "O", splits))
    shutil.copytree(trained / "checkpoints", tmp_path / "run" / "checkpoints")
    metrics = json.loads((trained / "metrics.json").read_text())
    (tmp_path / "run" / "metrics.json").write_text(json.dumps({**metrics, "warnings": warnings}))
    found = card(tmp_path / "run")
    assert "Such as test (test.jsonl:4) is train (train.jsonl:3)" in found and "/some" not in found and "my data" not in found


@pytest.mark.parametrize("task", ["entities", "triples", "objects"])
def test_every_task_has_a_card(task, untrained):
    found = card(untrained[task])
    assert {"entities": "token-classification", "objects": "object-detection"}.get(task) == front(found).get("pipeline_tag")
    assert f"print(extractor.extract({'image' if task == 'objects' else 'text'}=" in found


def test_every_system_has_a_paper():
    assert PAPERS.keys() == BUILDERS.keys()


def test_what_comes_from_data_is_no_markup():
    assert text("a|b <script>\n# *x* [y](z)") == "a\\|b &lt;script> # \\*x\\* \\[y\\](z)"
