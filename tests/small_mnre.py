"""The text of a small MNRE folder, two lines a photo; photos and boxes are for the test to add."""

from __future__ import annotations

import json
import pathlib

RELATIONS = {"None": 0, "/per/per/peer": 1}


def write(root: pathlib.Path, split: str, photos: int) -> None:
    """Writes the lines of `photos` photos, {split}_0.jpg and so on, and the relations' ids."""
    (root / "txt").mkdir(parents=True, exist_ok=True)
    (root / "img_org" / split).mkdir(parents=True, exist_ok=True)
    (root / "ours_rel2id.json").write_text(json.dumps(RELATIONS))
    pair = {"h": {"name": "a", "pos": [0, 1]}, "t": {"name": "c", "pos": [2, 3]}, "relation": "None"}
    lines = [{"token": ["a", "b", "c", str(n)], "img_id": f"{split}_{n // 2}.jpg", **pair} for n in range(2 * photos)]
    (root / "txt" / f"ours_{split}.txt").write_text("".join(f"{line!r}\n" for line in lines))
