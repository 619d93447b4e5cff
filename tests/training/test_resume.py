"""Going on with a run: only with its own data and settings, alone in its workdir, on any number of devices."""

import dataclasses
import logging
import pathlib
import shutil

import numpy as np
import pytest

from configs import hvformer
from mmre_jax.data.readers import jsonl
from mmre_jax.records import Mention, Record, Relation
from mmre_jax.training import resume
from mmre_jax.training import state as state_lib
from mmre_jax.training.checkpoint import FOLDER, CheckpointError, Checkpoints
from mmre_jax.training.interrupt import Interrupted
from mmre_jax.training.job import new_job
from mmre_jax.training.log import read_json, read_rows
from mmre_jax.training.optim import make_optimizer
from mmre_jax.training.train import train

LABELS = ("likes", "knows", "None")
CASES = pathlib.Path(__file__).resolve().parents[3] / "shared" / "cases" / "resume_data"


def records(count, start=0):
    return [
        Record(
            id=f"post{i}",
            words=("anna", "meets", f"person{i % 5}"),
            relations=(Relation(Mention(0, 1), Mention(2, 3), LABELS[i % 3]),),
        )
        for i in range(start, start + count)
    ]


def write(folder, **changed):
    folder.mkdir(exist_ok=True)
    for split, found in {"train": records(16), "val": records(4), "test": records(4)}.items():
        jsonl.write(changed.get(split, found), folder / f"{split}.jsonl")
    return folder


def config(root, **changes):
    found = hvformer.get_config("quickstart").copy_and_resolve_references()
    with found.unlocked():
        found.text.update({"width": 16, "layers": 1, "heads": 2, "mlp": 16})
        found.system.update({"heads": 2, "modalities": "text"})
        found.data.update({"name": "jsonl", "root": str(root), "buckets": (16,), "threads": 1})
        found.text.max_tokens = 16
        found.train.update({"batch": 4, "eval_batch": 4, "epochs": 2, "log_every": 1, "compilation_cache": ""})
        found.update_from_flattened_dict(changes)
    return found.lock()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """A run of two devices that was stopped after 3 of 8 steps."""
    workdir = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Interrupted):
        train(config(data, **{"train.max_steps": 3}), workdir)
    return workdir


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    train(config(data), workdir)
    return workdir


def relabelled(found):
    return [dataclasses.replace(r, relations=(dataclasses.replace(r.relations[0], label="knows"),)) for r in found]


OTHER = {
    "cut": ({"train": records(10)}, r"train: 16 records in the checkpoint, 10 here; of the first 10, 0 differ$"),
    "doubled": (
        {"train": records(16) + [dataclasses.replace(r, id=f"again {r.id}") for r in records(16)]},
        "train: 16 records in the checkpoint, 32 here; of the first 16, 0 differ",
    ),
    "relabelled": ({"train": relabelled(records(16))}, r"train: 11 of 16 records differ in .*, the first being number 0 \(post0\)"),
    "moved": ({"train": records(16)[::-1]}, "train: 14 of 16 records differ"),
    "another word": (
        {"train": [dataclasses.replace(r, words=("eve", *r.words[1:])) if r.id == "post7" else r for r in records(16)]},
        r"train: 1 of 16 records differ in words, labels, spans, captions or pictures, the first being number 7 \(post7\)",
    ),
    "another span": (
        {"test": [dataclasses.replace(r, relations=(dataclasses.replace(r.relations[0], tail=Mention(1, 3)),)) for r in records(4)]},
        "test: 4 of 4 records differ",
    ),
    "a caption": (
        {"val": [dataclasses.replace(r, caption="two women") if r.id == "post1" else r for r in records(4)]},
        r"val: 1 of 4 records differ .*\(post1\)",
    ),
    "two splits": (
        {"val": records(5), "test": records(4, 1)},
        r"test: 4 of 4 records differ.*val: 4 records in the checkpoint, 5 here",
    ),
}


@pytest.mark.parametrize("case", OTHER)
def test_other_data_are_refused_naming_split_and_difference(stopped, tmp_path, case):
    changed, message = OTHER[case]
    before = (stopped / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"(?s)was begun on other data; give it those, or use another --workdir:\s+.*" + message):
        train(config(write(tmp_path / "data", **changed)), stopped)
    assert (stopped / "metrics.jsonl").read_bytes() == before


def test_data_may_move_and_another_number_of_devices_gives_the_same_losses(data, stopped, whole, tmp_path, caplog):
    workdir = tmp_path / "run"
    shutil.copytree(stopped, workdir)
    shutil.copytree(data, tmp_path / "moved")
    with caplog.at_level(logging.INFO):
        train(config(tmp_path / "moved", **{"parallel.devices": 1}), workdir)
    assert "the run goes on on 1 device(s), until step 3 it was on 2: its losses stay those of an unchanged run to 1e-5" in caplog.text
    ours, theirs = ([row["train"]["loss"] for row in read_rows(folder) if "train" in row] for folder in (workdir, whole))
    assert len(ours) == 8
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "causes"),
    [
        ({}, []),
        ({"text.dropout": 0.1, "vision.dropout": 0.5}, ["text.dropout=0.1"]),  # there is no image encoder
        ({"optim.accumulate": 2, "train.dtype": "bfloat16"}, ["optim.accumulate=2", "train.dtype=bfloat16"]),
    ],
)
def test_what_depends_on_the_number_of_devices(data, changes, causes, caplog):
    job = new_job(config(data, **changes), records(16))
    assert resume.depending_on_devices(job) == causes
    with caplog.at_level(logging.INFO):
        resume.tell_devices(resume.Saved(3, {"devices": 4}, pathlib.Path("run")), job, 2)
    assert ("will differ from those of an unchanged run, because of " + ", ".join(causes) in caplog.text) == bool(causes)


def test_a_finished_run_says_why_it_takes_no_more_epochs(data, whole, stopped):
    message = r"(?s)scheduled over train.epochs=2, and that schedule has ended with step 8: it cannot become one over 4. "
    with pytest.raises(CheckpointError, match=message + r"To train on from its parameters: --workdir=ANOTHER --config.train.init_from="):
        train(config(data, **{"train.epochs": 4}), whole)
    with pytest.raises(CheckpointError, match="that schedule is under way, at step 3: it cannot become one over 4"):
        train(config(data, **{"train.epochs": 4}), stopped)


def test_scores_whose_log_was_lost_are_computed_anew(data, whole, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    before = read_json(workdir / "metrics.json")
    for name in ("metrics.json", "metrics.jsonl"):
        (workdir / name).unlink()
    again = train(config(data), workdir)
    assert again["val"] == before["val"] and again["test"] == before["test"]


def test_a_run_from_anothers_parameters_takes_its_tokenizer_and_resumes_without_it(whole, tmp_path, caplog):
    """Other labels in another order, other words: the tokenizer is the first run's, and a resumed run keeps it."""
    others = [
        dataclasses.replace(r, words=("eve", "trusts", *r.words), relations=(Relation(Mention(2, 3), Mention(4, 5), label),))
        for r, label in zip(records(16), ("knows", "admires", "likes", "None") * 4, strict=True)
    ]
    root, source, workdir = write(tmp_path / "data", train=others, val=others[:4], test=others[:4]), tmp_path / "source", tmp_path / "run"
    shutil.copytree(whole, source)
    with caplog.at_level(logging.INFO), pytest.raises(Interrupted):
        train(config(root, **{"train.init_from": str(source), "optim.lr": 0.0, "train.max_steps": 1}), workdir)
    assert "head is the checkpoint's (labels taken: None, knows, likes; fresh: admires; left behind: none)" in caplog.text
    with Checkpoints(workdir / FOLDER, read_only=True) as ours, Checkpoints(source / FOLDER, read_only=True) as theirs:
        one, other = ours.meta(1), theirs.meta(8)
        assert one["tokenizer"] == other["tokenizer"] and one["labels"] == ["None", "admires", "knows", "likes"]
        kernels = [c.read_variables(c.preferred())["params"]["head"]["classifier"]["kernel"] for c in (ours, theirs)]
    for label in other["labels"]:
        np.testing.assert_array_equal(*(k[:, m["labels"].index(label)] for k, m in zip(kernels, (one, other), strict=True)))
    shutil.rmtree(source)
    with pytest.raises(Interrupted, match="after step 2"):
        train(config(root, **{"train.init_from": str(source), "optim.lr": 0.0, "train.max_steps": 2}), workdir)


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no {CASES}")
def test_the_case_of_a_training_file_that_changed(tmp_path):
    root = tmp_path / "data"
    shutil.copytree(CASES, root)
    with pytest.raises(Interrupted):
        train(config(root, **{"train.max_steps": 1}), tmp_path / "run")
    lines = (root / "train.jsonl").read_text().splitlines(keepends=True)
    half, again = lines[: len(lines) // 2], [line.replace('"id": "', '"id": "again-') for line in lines]
    told = [line.replace('"label": "knows"', '"label": "at"') for line in lines]
    for changed, message in ((half, "48 records in the checkpoint, 24 here"), (lines + again, "96 here"), (told, "of 48 records differ")):
        (root / "train.jsonl").write_text("".join(changed))
        with pytest.raises(CheckpointError, match=f"(?s)begun on other data.*train: .*{message}"):
            train(config(root), tmp_path / "run")


def cut(*paths):
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


DAMAGES = {
    "metadata cut": lambda step: cut(largest(step / "meta")),
    "metadata gone": lambda step: shutil.rmtree(step / "meta"),
    "variables cut": lambda step: cut(*(path for path in (step / "variables").rglob("d/*"))),
    "variables gone": lambda step: shutil.rmtree(step / "variables"),
    "optimiser's files gone": lambda step: largest(step / "optimiser").unlink(),
}


@pytest.fixture(scope="module")
def twice(data, tmp_path_factory):
    """A run that was stopped after 4 of 8 steps, with checkpoints of 3 and 4."""
    workdir = tmp_path_factory.mktemp("twice")
    with pytest.raises(Interrupted):
        train(config(data, **{"train.max_steps": 4, "train.save_every": 1}), workdir)
    return workdir


# What TensorStore reads when Orbax has given up is told to an event loop that is gone.
given_up = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@given_up
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(twice, tmp_path, damage, caplog):
    workdir = tmp_path / "run"
    shutil.copytree(twice, workdir)
    with Checkpoints(workdir / FOLDER, read_only=True) as checkpoints:
        assert checkpoints.steps() == [4, 3]
        shapes = checkpoints.read_variables(3)
    DAMAGES[damage](workdir / FOLDER / "4")
    with caplog.at_level(logging.INFO):
        saved = resume.last_saved(workdir)
        assert saved.step == (3 if "metadata" in damage else 4)
        with Checkpoints(workdir / FOLDER) as checkpoints:
            restored = resume.restore(checkpoints, saved, state_like(shapes, config("")))
            assert restored.step == 3 and checkpoints.steps() == [3]
    [warning] = [line.getMessage() for line in caplog.records if line.levelname == "WARNING" and line.name.startswith("mmre_jax")]
    assert str(workdir / FOLDER / "4") in warning and "the checkpoint is damaged or incomplete" in warning
    assert "resumed from step 3" in caplog.text


def state_like(variables, settings):
    params = {name: variables["params"][name] for name in variables["params"]}
    return state_lib.create({"params": params}, (), make_optimizer(settings.optim, params, 8))


@given_up
def test_a_run_with_a_damaged_checkpoint_ends_as_if_it_had_never_stopped(data, twice, whole, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(twice, workdir)
    DAMAGES["variables cut"](workdir / FOLDER / "4")
    train(config(data), workdir)
    assert [row for row in read_rows(workdir) if "train" in row] == [row for row in read_rows(whole) if "train" in row]


def test_where_all_checkpoints_are_damaged_that_is_told(twice, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(twice, workdir)
    for step in ("3", "4"):
        DAMAGES["metadata cut"](workdir / FOLDER / step)
    with pytest.raises(CheckpointError, match=f"{FOLDER}/4: the checkpoint is damaged or incomplete"):
        resume.last_saved(workdir)
