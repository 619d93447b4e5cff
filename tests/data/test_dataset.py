"""A data set of one's own goes, as an argument, through training, evaluation and audit, and into no list."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from toy_dataset import COUNTS, TOY

import mmre_jax
from configs import hvformer
from mmre_jax import evaluate
from mmre_jax.analysis import leakage
from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet, annotated_tasks, labels_of_records
from mmre_jax.data.pictures import Slot
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple
from mmre_jax.training.train import train

pytestmark = pytest.mark.thorough

ADA, OSLO = Mention(0, 1, "PER"), Mention(2, 3, "LOC")
BOX = (0.0, 0.0, 0.5, 0.5)


def config(**changes):
    found = hvformer.get_config("quickstart").copy_and_resolve_references()
    small = {"width": 16, "layers": 1, "heads": 2, "mlp": 16}
    with found.unlocked():
        found.text.update(small)
        found.vision.update({**small, "side": 32})
        found.system.heads = 2
        found.data.update({"name": "toy", "objects": "none", "buckets": (32,), "threads": 1})
        found.train.update({"batch": 8, "eval_batch": 8, "epochs": 1, "compilation_cache": ""})
        found.update_from_flattened_dict(changes)
    return found.lock()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    return workdir, train(config(), workdir, TOY)


def test_training(run):
    workdir, metrics = run
    assert metrics["counts"] == COUNTS and metrics["steps"] == 4
    assert metrics["reading"]["val"]["records"] == 8
    assert metrics["protocol"]["data"] == "toy" and metrics["pictures"] is None, "its pictures are no files to look for"
    assert set(metrics["test"]["per_relation"]) == {"None", "likes"}
    assert train(config(), workdir, TOY) == metrics, "a finished run is left as it is"


def test_evaluation(run):
    workdir, metrics = run
    found = evaluate.checkpoint(workdir, "test", dataset=TOY)
    assert found.headline() == pytest.approx(metrics["headline"])
    assert len(found.seen) == COUNTS["test"], "its photos were drawn and looked at"
    hidden = evaluate.checkpoint(workdir, "val", dataset=TOY, shuffle=True)
    assert hidden.protocol["pictures"] == "shuffled"


def test_predictions_of_another_program(tmp_path):
    lines = [{"id": record.id, "relation": record.relations[0].label} for record in TOY.read(config().data, "test")]
    (tmp_path / "found.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert evaluate.predictions(tmp_path / "found.jsonl", config(), "test", dataset=TOY).headline()["micro.f1"] == 1.0


def test_audit():
    report = leakage.audit_dataset(config(), dataset=TOY)
    assert not report.failed and (report.train_count, report.held_out_count) == (32, 16)


def test_extraction_needs_no_data_set(run):
    extraction = mmre_jax.load(run[0]).extract(text="Ada meets Bob", head="Ada", tail="Bob")
    assert extraction.relations[0].label in ("likes", "None")


def test_without_it_the_name_is_unknown(run, tmp_path):
    assert "toy" not in datasets.DATASETS
    message = "data.name is one of scenes, mnre, .*prepared, found 'toy'; a data set of one's own is an argument"
    for failing in (
        lambda: train(config(), tmp_path),
        lambda: evaluate.checkpoint(run[0], "test"),
        lambda: leakage.audit_dataset(config()),
        lambda: datasets.open_records(config().data, "train"),
    ):
        with pytest.raises(ValueError, match=message):
            failing()


def test_it_is_called_by_its_name(tmp_path):
    with pytest.raises(ValueError, match="the data set that was given is called 'toy', found data.name='scenes'"):
        train(config(**{"data.name": "scenes"}), tmp_path, TOY)


def test_it_has_what_it_says():
    with pytest.raises(ValueError, match="data.objects='detected': toy has none"):
        datasets.open_records(config(**{"data.objects": "detected"}).data, "train", TOY)
    with pytest.raises(ValueError, match="data.name='toy' is not annotated for task.name='triples'; it is annotated for relation"):
        datasets.labels(config().data, "triples", [], TOY)
    with pytest.raises(ValueError, match="for relation; objects are regions with the source 'gold', a box and a label"):
        datasets.labels(config().data, "objects", [], TOY)
    with pytest.raises(ValueError, match="data.view='regions' shows triples, for which data.name='toy' is not annotated"):
        datasets.open_records(config(**{"data.view": "regions"}).data, "train", TOY)
    with pytest.raises(ValueError, match="data.name='toy' is not read from annotation files"):
        datasets.files(config().data, "train", TOY)


def test_a_name_and_a_reader_are_enough():
    """Tasks, labels and crops follow the records, as they do for JSON lines; pictures are files."""
    relation, triple = Relation(ADA, OSLO, "lives in"), Triple(ADA, "holds", BOX)
    records = [Record("a", ("Ada", "in", "Oslo"), mentions=(ADA, OSLO), relations=(relation,), triples=(triple,))]
    least = DataSet("least", lambda data, split: records)
    data = config(**{"data.name": "least"}).data
    assert datasets.open_records(data, "val", least) == records
    assert datasets.all_labels(data, records, least) == {
        "relation": {"labels": ["None", "lives in"], "none": "None"},
        "entities": {"labels": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"], "none": "O"},
        "triples": {"labels": ["holds"], "none": "None"},
    }
    assert datasets.read_report(data, "val", least) == {}
    plan = (Slot("photo", 1, 8, "photo", "squash", (0.5,) * 3, (0.5,) * 3),)
    assert not datasets.open_pictures(plan, data, least)(records[0])[1]["photo"].any()
    pairs = config(**{"data.name": "least", "data.view": "pairs"}).data
    seen = datasets.open_records(pairs, "train", least)
    assert datasets.labels(pairs, "relation", seen, least) == (("None", "holds"), "None")


def test_labels_of_records():
    data = config().data
    bare = [Record("a", ("Ada", "in", "Oslo"), mentions=(Mention(0, 1),), relations=(Relation(ADA, OSLO),))]
    assert annotated_tasks(data, bare) == () == annotated_tasks(data, [])
    named = [Record("a", ("Ada",), triples=tuple(Triple(Mention(0, 1), label, BOX) for label in ("b", "None", "a")))]
    assert labels_of_records(data, "triples", named) == (("a", "b"), "None")
    assert labels_of_records(data, "relation", bare) == (("None",), "None")


def test_an_object_called_like_the_background_is_told_by_its_record():
    fine, other = (Region(BOX, source="gold", label=label) for label in ("cat", "background"))
    records = [Record("a", (), regions=(fine,)), Record("b", (), regions=(fine, other), origin="train.jsonl:2")]
    with pytest.raises(RecordError, match="^train.jsonl:2: a region's label is 'background', which is what a detector"):
        labels_of_records(config().data, "objects", records)
