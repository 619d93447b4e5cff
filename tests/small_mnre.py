"""The text of a small MNRE folder, two lines a photo; photos and boxes are for the test to add."""

from __future__ import annotations

import json
import pathlib
import pickle
import zipfile

RELATIONS = {"None": 0, "/per/per/peer": 1}


def write(root: pathlib.Path, split: str, photos: int) -> None:
    """Writes the lines of `photos` photos, {split}_0.jpg and so on, and the relations' ids."""
    (root / "txt").mkdir(parents=True, exist_ok=True)
    (root / "img_org" / split).mkdir(parents=True, exist_ok=True)
    (root / "ours_rel2id.json").write_text(json.dumps(RELATIONS))
    pair = {"h": {"name": "a", "pos": [0, 1]}, "t": {"name": "c", "pos": [2, 3]}, "relation": "None"}
    lines = [{"token": ["a", "b", "c", str(n)], "img_id": f"{split}_{n // 2}.jpg", **pair} for n in range(2 * photos)]
    (root / "txt" / f"ours_{split}.txt").write_text("".join(f"{line!r}\n" for line in lines))


def write_counted(root: pathlib.Path, split: str, count: int) -> None:
    """Writes `count` lines of the same words, of which every second has the relation, and lists of grounded crops whose files are missing:
    three of a line with the relation, two of the others."""
    write(root, split, 0)
    pair = {"h": {"name": "a", "pos": [0, 1]}, "t": {"name": "c", "pos": [2, 3]}}
    lines = [{"token": ["a", "b", "c"], "img_id": f"{split}_{n}.jpg", **pair, "relation": list(RELATIONS)[n % 2]} for n in range(count)]
    (root / "txt" / f"ours_{split}.txt").write_text("".join(f"{line!r}\n" for line in lines))
    lists = {n: [f"{split}_{n}_{k}.png" for k in range(2 + n % 2)] for n in range(count)}
    name = {"train": "train", "val": "dev", "test": "test"}[split]
    with zipfile.ZipFile(root / "txt" / f"mre_{name}_dict.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(lists, 2))
