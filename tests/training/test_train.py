"""Runs of the real loop: to the end, stopped and resumed, from another checkpoint, failing, refused."""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from toy import ToyNet, ToySystem

import mmre_jax
from configs import hvformer
from mmre_jax import storage, systems
from mmre_jax.data import datasets
from mmre_jax.data.decode import PictureError
from mmre_jax.data.readers import jsonl
from mmre_jax.progress import track
from mmre_jax.records import Mention, Record, RecordError, Relation
from mmre_jax.training import evaluate
from mmre_jax.training.checkpoint import FOLDER, CheckpointError, Checkpoints
from mmre_jax.training.clock import Clock
from mmre_jax.training.interrupt import Interrupted
from mmre_jax.training.job import new_job
from mmre_jax.training.log import read_json, read_rows, scalars, write_json
from mmre_jax.training.splits import make_split
from mmre_jax.training.starting import initial_state
from mmre_jax.training.train import NonFiniteError, summarise, train


def config(**changes):
    found = hvformer.get_config("quickstart").copy_and_resolve_references()
    small = {"width": 16, "layers": 1, "heads": 2, "mlp": 16}
    with found.unlocked():
        found.text.update({**small, "dropout": 0.1})
        found.vision.update({**small, "side": 32})
        found.system.heads = 2
        found.data.update({"counts": (48, 12, 10), "buckets": (32,), "threads": 1})
        found.train.update({"batch": 8, "eval_batch": 8, "epochs": 2, "log_every": 2, "compilation_cache": ""})
        found.update_from_flattened_dict(changes)
    return found.lock()


def arrays(workdir, step, folder=FOLDER):
    with Checkpoints(workdir / folder, read_only=True) as checkpoints:
        restored = checkpoints._manager.restore(step)
    return restored["variables"], restored["optimiser"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, train(config(), workdir)


def test_a_run_leaves_what_it_promises(whole):
    workdir, metrics = whole
    saved = json.loads((workdir / "metrics.json").read_text())
    assert saved == json.loads(json.dumps(metrics))
    assert set(saved["test"]) == {"count", "accuracy", "micro", "macro", "per_relation", "told"}
    assert saved["counts"] == {"train": 48, "val": 12, "test": 10}
    assert saved["warnings"] == [] and set(saved["reading"]) == {"val", "test", "not learnt from"}
    assert not any(count for counts in saved["reading"].values() for count in counts.values())
    assert saved["protocol"] == {"task": "relation", "data": "scenes", "objects": "none", "precision": "default"}
    assert {"jax", "flax", "mmre_jax"} <= set(saved["versions"])
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "val" in row] == [6, 12]
    assert all(np.isfinite(row["train"]["loss"]) for row in rows if "train" in row)
    assert list((workdir / "tensorboard").glob("events.out.tfevents.*"))
    with Checkpoints(workdir / FOLDER, read_only=True) as checkpoints:
        assert checkpoints.latest() == 12
        assert checkpoints.best() == saved["best_step"]
        best = max(row["val"]["micro"]["f1"] for row in rows if "val" in row)
        assert saved["val"]["micro"]["f1"] == best, "the best on dev is scored, never on test"


@pytest.mark.parametrize("stop", [6, 9])
def test_stopped_and_resumed_is_bit_identical(whole, tmp_path, stop):
    with pytest.raises(Interrupted, match=f"after step {stop} of 12"):
        train(config(**{"train.max_steps": stop}), tmp_path)
    resumed = train(config(), tmp_path)
    for a, b in zip(jax.tree.leaves(arrays(whole[0], 12)), jax.tree.leaves(arrays(tmp_path, 12)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed["test"] == whole[1]["test"] and resumed["best_step"] == whole[1]["best_step"]
    first, second = ((folder / "metrics.jsonl").read_text() for folder in (whole[0], tmp_path))
    assert [json.loads(line) for line in first.splitlines() if '"val"' in line] == [
        json.loads(line) for line in second.splitlines() if '"val"' in line
    ]


@pytest.mark.parametrize(("split", "said", "best"), [("val", "after step 6 of 12", None), ("test", "while a split was scored", 12)])
def test_a_signal_while_a_split_is_scored_does_not_wait_for_its_end(whole, tmp_path, monkeypatch, split, said, best):
    def signalled(stream, name, *given, **more):
        if name == split:
            os.kill(os.getpid(), signal.SIGTERM)
        return track(stream, name, *given, **more)

    monkeypatch.setattr(evaluate, "track", signalled)
    with pytest.raises(Interrupted, match=said):
        train(config(), tmp_path)
    with Checkpoints(tmp_path / FOLDER, read_only=True) as checkpoints:
        assert checkpoints.latest() == (best or 6) and (best is not None or checkpoints.best() is None), "nothing is lost"
    monkeypatch.undo()
    assert train(config(), tmp_path)["test"] == whole[1]["test"]
    with Checkpoints(tmp_path / FOLDER, read_only=True) as ours, Checkpoints(whole[0] / FOLDER, read_only=True) as theirs:
        assert ours.best() == theirs.best() and ours.steps() == theirs.steps()
    assert [row["val"] for row in read_rows(tmp_path) if "val" in row] == [row["val"] for row in read_rows(whole[0]) if "val" in row]
    for a, b in zip(jax.tree.leaves(arrays(whole[0], 12)), jax.tree.leaves(arrays(tmp_path, 12)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_in_a_bucket_is_the_run_on_a_disk(whole, bucket):
    with pytest.raises(Interrupted, match="after step 9 of 12"):
        train(config(**{"train.max_steps": 9}), "s3://bucket/run")
    resumed = train(config(), "s3://bucket/run")
    assert resumed["test"] == whole[1]["test"] and resumed["best_step"] == whole[1]["best_step"]
    workdir = storage.path("s3://bucket/run")
    assert read_json(workdir / "metrics.json") == read_json(whole[0] / "metrics.json") | {k: resumed[k] for k in ("speed", "minutes")}
    rows, same = read_rows(workdir), read_rows(whole[0])
    assert [row for row in rows if row["step"] % 2 == 0] == [row for row in same if row["step"] % 2 == 0]
    with Checkpoints(workdir / FOLDER, read_only=True) as ours, Checkpoints(whole[0] / FOLDER, read_only=True) as theirs:
        assert set(ours.steps()) == {12, 9, resumed["best_step"]} and ours.best() == theirs.best()
        for a, b in zip(*(jax.tree.leaves(found.read_variables(12)) for found in (ours, theirs)), strict=True):
            np.testing.assert_array_equal(a, b)
    mmre_jax.load("s3://bucket/run/checkpoints/12")
    assert train(config(), "s3://bucket/run") == read_json(workdir / "metrics.json"), "it is finished"
    assert {name.split("/")[2] for name in bucket.objects} == {
        ".lock", "checkpoints", "metrics.json", "metrics.jsonl", "tensorboard", "trained_on.json",
    }  # fmt: skip


def test_a_finished_run_is_left_as_it_is(whole):
    before = (whole[0] / "metrics.json").read_bytes()
    assert train(config(), whole[0]) == json.loads(before)
    assert (whole[0] / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train.seeds": (0, 1)}, "train.seeds are runs of launch.train"),
        ({"train.log_every": 0}, "train.log_every=0 is not a whole number of at least 1: steps between lines of the log"),
        ({"optim.accumulate": 3}, r"train.batch=8 does not divide over 2 device\(s\), each working through optim.accumulate=3 parts"),
        ({"train.init_parts": ("text",)}, "train.init_parts names the parts to take from a checkpoint: say with train.init_from"),
        ({"train.precision": "exact"}, "train.precision='exact' is not one of default, high, highest"),
        ({"data.shuffle_pictures": "val"}, "data.shuffle_pictures='val' is not one of none, train, test, both"),
        ({"vision.patch": 15}, "vision.patch=15 does not divide vision.side=32"),
    ],
)
def test_settings_that_no_run_can_have_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(config(**change), tmp_path)


def test_a_signal_stops_after_the_step_with_a_checkpoint(tmp_path):
    def interrupt(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return waiting(self)

    waiting = Clock.waiting
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Clock, "waiting", interrupt)
        with pytest.raises(Interrupted, match="after step 1 of 12"):
            train(config(), tmp_path)
    with Checkpoints(tmp_path / FOLDER, read_only=True) as checkpoints:
        assert checkpoints.latest() == 1


def test_a_new_run_starts_from_another_ones_best(whole, tmp_path):
    with pytest.raises(Interrupted):
        train(config(**{"train.init_from": str(whole[0]), "optim.lr": 0.0, "train.max_steps": 1}), tmp_path)
    ours, theirs = arrays(tmp_path, 1)[0], arrays(whole[0], whole[1]["best_step"])[0]
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_parts_do_not_move(whole, tmp_path):
    with pytest.raises(Interrupted):
        train(config(**{"optim.frozen": ("text",), "train.max_steps": 3}), tmp_path)
    job = new_job(config(), datasets.open_records(config().data, "train"))
    split = make_split(job, datasets.open_records(config().data, "train"))
    initial = initial_state(job, split, 12).params["text"]
    variables, optimiser = arrays(tmp_path, 3)
    for a, b in zip(jax.tree.leaves(variables["params"]["text"]), jax.tree.leaves(initial), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "'text'" not in str(jax.tree_util.tree_structure(optimiser))


def test_another_configuration_is_not_resumed(whole):
    with pytest.raises(CheckpointError, match=r"(?s)another configuration.*optim.lr: 0.001 in the checkpoint, 0.5 here"):
        train(config(**{"optim.lr": 0.5}), whole[0])


def test_a_loss_that_is_not_finite_stops_with_step_and_records(tmp_path):
    with pytest.raises(NonFiniteError, match=r"(?s)step \d: the loss .*scenes:relations:0:train:\d+"):
        train(config(**{"optim.lr": 1e30, "optim.clip": 0.0, "optim.warmup": 0.0}), tmp_path)
    with Checkpoints(tmp_path / "non_finite", read_only=True) as checkpoints:
        step = checkpoints.latest()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays(tmp_path, step, "non_finite")[0]))
    with Checkpoints(tmp_path / FOLDER, read_only=True) as checkpoints:
        assert checkpoints.latest() is None, "a failed state is never a checkpoint to resume from"


def test_a_workdir_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"--workdir=.*file.*cannot be written to"):
        train(config(), tmp_path / "file" / "run")
    with pytest.raises(OSError, match=r"--workdir=.*cannot be written to"):
        train(config(), "/proc/mmre_jax")


def write_jsonl(folder, image):
    from mmre_jax.data.readers import jsonl

    for split, count in (("train", 16), ("val", 4), ("test", 4)):
        pair = Relation(Mention(0, 1), Mention(2, 3), "likes")
        records = [
            Record(id=f"{split}{i}", words=("anna", "likes", "bert"), image=str(image), relations=(pair,) * (i % 2 + 1))
            for i in range(count)
        ]
        jsonl.write(records, folder / f"{split}.jsonl")


def test_required_pictures_are_checked_before_training(tmp_path):
    write_jsonl(tmp_path, tmp_path / "missing.png")
    changes = {"data.name": "jsonl", "data.root": str(tmp_path), "data.require_images": True}
    with pytest.raises(PictureError, match=r"(?s)require_images.*missing.png"):
        train(config(**changes), tmp_path / "run")


class Asked:
    """Records that count how often each is asked for, as a source does that decodes them."""

    def __init__(self, records):
        self.records, self.times = records, [0] * len(records)

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        record = self.records[index]
        self.times[index] += 1
        return record


def test_json_lines_train_without_being_prepared_and_each_record_is_read_once(tmp_path, caplog):
    write_jsonl(tmp_path, tmp_path / "missing.png")
    asked = {}
    own = dataclasses.replace(jsonl.JSONL, read=lambda data, split: asked.setdefault(split, Asked(jsonl.JSONL.read(data, split))))
    metrics = train(config(**{"data.name": "jsonl", "data.root": str(tmp_path), "train.epochs": 1}), tmp_path / "run", own)
    assert {split: set(source.times) for split, source in asked.items()} == {"train": {1}, "val": {1}, "test": {1}}
    assert metrics["counts"] == {"train": 24, "val": 6, "test": 6}
    assert metrics["pictures"]["photos"]["missing"] == 1
    told = {"in_training_by_text_and_pair": 6, "in_training_by_text_pair_and_picture": 6}
    assert metrics["reading"]["train"] == {"without_the_empty_label": 24} and metrics["reading"]["test"] == told
    assert metrics["reading"]["not learnt from"] == {"sentences_cut": 0, "words_cut_off": 0, "entities_cut": 0}
    assert [line.split(":")[0] for line in metrics["warnings"]] == ["train", "val", "test"]
    assert [line.getMessage() for line in caplog.records if line.levelname == "WARNING" and line.name.startswith("mmre_jax")] == [
        f"warning: {line}" for line in metrics["warnings"]
    ]


def test_missing_split(tmp_path):
    write_jsonl(tmp_path, tmp_path / "missing.png")
    (tmp_path / "val.jsonl").unlink()
    with pytest.raises((RecordError, OSError), match="val.jsonl"):
        train(config(**{"data.name": "jsonl", "data.root": str(tmp_path)}), tmp_path / "run")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_a_record_or_without_annotation_is_refused(tmp_path, split):
    write_jsonl(tmp_path, tmp_path / "missing.png")
    changes = {"data.name": "jsonl", "data.root": str(tmp_path)}
    for text, message in (("\n", rf"{split}.jsonl: split '{split}' has no records"), ('{"text": "a b"}\n', "")):
        (tmp_path / f"{split}.jsonl").write_text(text)
        if split == "train" and not message:  # told by the labels that there are not
            message = "data.name='jsonl' is not annotated for task.name='relation'"
        with pytest.raises(ValueError, match=message or f"split '{split}': none of its 1 records .* has a pair with a label"):
            train(config(**changes), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_numbers_of_any_kind_are_logged(tmp_path):
    values = {"a": np.float32(0.5), "b": {"c": np.int64(2), "d": 1}, "name": "x"}
    assert scalars(values) == {"a": 0.5, "b/c": 2.0, "b/d": 1.0}
    write_json(tmp_path / "m.json", values)
    assert read_json(tmp_path / "m.json") == {"a": 0.5, "b": {"c": 2, "d": 1}, "name": "x"}


def test_a_new_system_needs_nothing_but_three_functions(tmp_path, monkeypatch):
    def build(config, *, vocab_size, labels, dtype):
        return ToySystem(ToyNet(len(labels)))

    monkeypatch.setitem(systems.BUILDERS, "toy", build)
    metrics = train(config(**{"system.name": "toy", "train.epochs": 1}), tmp_path)
    assert metrics["test"]["count"] == 10
    variables, _ = arrays(tmp_path, 6)
    assert np.abs(variables["batch_stats"]["norm"]["mean"]).max() > 0, "batch statistics were trained and saved"


def test_seeds_are_summarised():
    runs = [{"seed": s, "headline": {"micro.f1": a, "accuracy": a}} for s, a in ((0, 0.5), (1, 0.7))]
    found = summarise(runs)
    assert found["seeds"] == [0, 1]
    assert found["test"]["micro.f1"] == {"mean": pytest.approx(0.6), "std": pytest.approx(np.std([0.5, 0.7], ddof=1))}
