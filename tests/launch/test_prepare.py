"""The command as a person types it, each in a process of its own: launchers share flag names."""

import json
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.thorough

ROOT = pathlib.Path(__file__).parents[2]
PUBLISHED = {"train": 12247, "val": 1624, "test": 1614}


def run(*arguments, **environment):
    command = [sys.executable, "-W", "error", "-m", "launch.prepare", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False)


@pytest.fixture
def posts(tmp_path):
    """JSON lines of two splits; of the three photos one is missing and one is cut off."""
    folder = tmp_path / "posts"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(folder / name)
    (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:1500])
    relation = {"head": [0, 1], "tail": [1, 2], "label": "knows"}
    region = {"box": [0.1, 0.1, 0.6, 0.9]}
    lines = [{"text": "Ada Grace", "image": name, "relations": [relation], "regions": [region]} for name in ("a.png", "b.jpg", "c.jpg")]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "test.jsonl").write_text(json.dumps(lines[0]) + "\n")
    return folder


def test_json_lines(posts, tmp_path):
    (captions := tmp_path / "captions.json").write_text('{"a.png": "two women", "lost.png": "none"}')
    sides = ("--photo_side=16", "--crop_side=8")
    result = run("--dataset=jsonl", f"--source={posts}", f"--out={tmp_path / 'out'}", *sides, f"--captions={captions}")
    assert result.returncode == 0, result.stderr
    assert "train: 2 without_caption" in result.stdout and "captions: 2 in_the_file, 1 of_unknown_pictures" in result.stdout
    summary = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert {split: counts["records"] for split, counts in summary["splits"].items()} == {"train": 3, "test": 1}
    assert summary["about"]["labels"] == {"relation": {"labels": ["None", "knows"], "none": "None"}}
    assert set(summary["about"]["sha256"]) == {"train.jsonl", "test.jsonl", str(captions)}
    for name in ("photos", "crops"):
        assert {key: summary["pictures"][name][key] for key in ("referenced", "present", "missing", "unreadable")} == {
            "referenced": 3,
            "present": 1,
            "missing": 1,
            "unreadable": 1,
        }
    assert "2 of 4 records have their photo" in result.stdout
    assert "b.jpg: damaged picture" in result.stdout and "c.jpg: no such file" in result.stdout


def test_mnre_from_the_manual_folder(tmp_path):
    folder = tmp_path / "downloads" / "manual" / "mnre"
    (folder / "txt").mkdir(parents=True)
    (folder / "ours_rel2id.json").write_text('{"None": 0}')
    side = {"name": "a", "pos": [0, 1]}
    line = {"token": ["a", "b"], "h": side, "t": side, "img_id": "a.jpg", "relation": "None"}
    for split in PUBLISHED:
        (folder / "txt" / f"ours_{split}.txt").write_text(f"{line!r}\n")
    result = run("--dataset=mnre", f"--out={tmp_path / 'out'}", "--objects=none", TFDS_DATA_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    about = json.loads((tmp_path / "out" / "prepare.json").read_text())["about"]
    assert (about["published"], about["objects"]) == (PUBLISHED, "none")
    assert about["labels"] == {"relation": {"labels": ["None"], "none": "None"}}
    assert result.stdout.count("DIFFERS") == 3


def test_twitter_with_its_own_crops(tmp_path):
    folder = tmp_path / "posts" / "twitter2017"
    folder.mkdir(parents=True)
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        (folder / f"{name}.txt").write_text("IMGID:7\nAda\tI-PER\nsings\tO\n")
        (folder / f"twitter2017_{split}_dict.pth").write_bytes(pickle.dumps({"7.jpg": ["7_crop_0.jpg"]}))
    result = run("--dataset=twitter2017", f"--source={tmp_path / 'posts'}", f"--out={tmp_path / 'out'}", "--crops=1")
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert [slot["source"] for slot in summary["plan"]] == ["photo", "grounded"]
    assert summary["about"]["labels"]["entities"]["labels"][:3] == ["O", "B-PER", "I-PER"]
    assert summary["about"]["reading"]["val"]["entities_begun_by_i"] == 1
    assert len(summary["about"]["sha256"]) == 6
    assert result.stdout.splitlines()[0].split() == ["split", "records", "published", "words", "mentions"]


def test_benchmark(posts):
    result = run("--dataset=jsonl", f"--source={posts}", "--benchmark", "--benchmark_noise=3")
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()[2:]]
    assert [line[0] for line in lines] == ["files", "files,", "png", "raw", "raw,"] and all(float(line[-1]) > 0 for line in lines)


def test_a_users_mistake_ends_with_a_message(tmp_path):
    result = run(f"--source={tmp_path / 'none'}", f"--out={tmp_path / 'out'}")
    assert result.returncode != 0
    assert "none: no such folder: give the folder of 'mnre' with --source" in result.stderr and "Traceback" not in result.stderr
    result = run("--dataset=gmner", f"--source={tmp_path}", f"--out={tmp_path / 'out'}", "--objects=detected")
    assert result.returncode != 0 and "data.objects='detected': gmner has none" in result.stderr
    assert not (tmp_path / "out").exists()
