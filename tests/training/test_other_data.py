"""A checkpoint on other data than its own: the same scores on the same records in another format, and what does not fit is named."""

import dataclasses

import pytest

import mmre_jax
from mmre_jax import evaluate
from mmre_jax.data.readers import scenes
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.declare import SettingError
from mmre_jax.records import Mention, Record, Region, Relation, Triple
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.objects import ObjectsTask
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.tasks.triples import TriplesTask
from mmre_jax.training.other_data import SETTINGS, check_labels, data_of

ENCODER = TextEncoder(train_tokenizer([], 8, "word"))
BOX = (0.0, 0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The records that the run was tested on, as JSON lines."""
    place = tmp_path_factory.mktemp("jsonl")
    scenes.export(place, "relations", "test", 16)
    return place


def test_the_same_records_in_another_format_score_the_same(trained, folder):
    own = evaluate.checkpoint(trained, "test")
    other = evaluate.checkpoint(trained, "test", changes={"name": "jsonl", "root": str(folder)}, precision=0.5)
    assert other.scores() == own.scores() and [x[0].label for x in other.predicted] == [x[0].label for x in own.predicted]
    about = {"data": "jsonl", "root": str(folder), "trained on": "scenes"}
    assert {name: other.protocol[name] for name in about} == about and "trained on" not in own.protocol
    assert own.by_training_count() and not other.by_training_count(), "its training records are not at hand"
    said, others = ({row["slice"] for row in each.slices()} for each in (own, other))
    assert said - others == {"entity pair seen in training", "entity pair not seen"} and others < said
    assert own.reliability.threshold() is None and other.to_json()["calibration"]["threshold"]["wanted"] == 0.5


def test_labels_that_do_not_fit_are_an_error(trained, folder, tmp_path):
    (tmp_path / "test.jsonl").write_text((folder / "test.jsonl").read_text().replace("/per/per/", "/per/org/"))
    with pytest.raises(ValueError, match=rf"data.root='{tmp_path}', split 'test': labels that the checkpoint lacks, .*: '/per/org/"):
        evaluate.checkpoint(trained, "test", changes={"name": "jsonl", "root": str(tmp_path)})


def test_all_labels_that_do_not_fit_are_named():
    words = ("a", "b")
    pair = Relation(Mention(0, 1), Mention(1, 2))
    tasks = {
        RelationTask(ENCODER, ("none", "knows"), "none"): [
            Record(str(n), words, relations=(dataclasses.replace(pair, label=label),)) for n, label in enumerate(("x", "knows", "y", "x"))
        ],
        EntitiesTask(ENCODER, ("O", "B-knows", "I-knows")): [
            Record("r", words, mentions=tuple(Mention(0, 1, kind) for kind in ("x", "knows", "y", "x")))
        ],
        TriplesTask(ENCODER, ("knows",), "none", 3): [
            Record("r", words, triples=tuple(Triple(Mention(0, 1), label, BOX) for label in ("x", "knows", "y", "x")))
        ],
        ObjectsTask(ENCODER, ("none", "knows"), "none", 3): [
            Record("r", words, regions=tuple(Region(BOX, source="gold", label=label) for label in ("x", "knows", "y", "x")))
        ],
    }
    for task, records in tasks.items():
        with pytest.raises(ValueError, match=r"here: labels that the checkpoint lacks, .*: 'x' \(2\), 'y' \(1\); it has .*knows"):
            check_labels(task, records, "here")
        fits = [r for r in records if task.stratum(r) == "knows"]
        check_labels(task, fits, "here")
        with pytest.raises(ValueError, match="here: in none of 2 records is annotated what the checkpoint finds, which is .*knows"):
            check_labels(task, [Record("r", words), Record("s", words)], "here")


def test_only_what_names_the_data_can_be_changed(trained):
    config = mmre_jax.load(trained).job.config
    assert data_of(config, "").to_dict() == config.data.to_dict()
    changed = data_of(config, "", {"name": "jsonl", "root": "there"})
    assert (changed.name, changed.root, changed.captions, changed.buckets) == ("jsonl", "there", "", config.data.buckets)
    assert config.data.name == "scenes", "the checkpoint's own stay"
    for change, message in (
        (
            {"blank_words": True},
            "data.blank_words: of a checkpoint's settings those can be changed that say",
        ),
        ({"counts": (0, 1, 1)}, "data.counts"),
        ({"objects": "grounded"}, "data.objects='grounded': the checkpoint was trained with 'detected'; none masks them"),
        ({"view": "mentions"}, "data.view='mentions' shows records of another task than the checkpoint's, 'relation'"),
    ):
        with pytest.raises(SettingError, match=message):
            data_of(config, "", change)
    with pytest.raises(SettingError, match="data.root='there' and --root='here': two folders"):
        data_of(config, "here", {"name": "jsonl", "root": "there"})
    assert data_of(config, "here", {"name": "jsonl"}).root == "here"
    assert data_of(config, "", {"objects": "none"}).objects == "none" and set(SETTINGS) <= set(config.data)
