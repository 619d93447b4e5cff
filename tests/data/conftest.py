"""A small MNRE folder in the published layout, with pictures, crops, and some of both missing or damaged."""

import json
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

RELATIONS = ("None", "/per/per/peer", "/per/loc/place_of_birth")


def torch_dict(path: pathlib.Path, value: dict) -> None:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, 2))


def mnre_split(root: pathlib.Path, split: str, count: int, rng: np.random.Generator) -> None:
    """`count` lines, two a photo; the photo of every third pair is missing; a photo, a crop list and boxes for each."""
    photos, crops = root / "img_org" / split, root / "img_vg" / split / "crops"
    photos.mkdir(parents=True), crops.mkdir(parents=True), (root / "txt").mkdir(exist_ok=True)
    lines, boxes, lists, places = [], {}, {}, {}
    for i in range(count):
        words = [f"word{j}" for j in range(rng.integers(4, 9))] + ["héllo"]
        head, tail = {"name": "a", "pos": [0, 1]}, {"name": "b", "pos": [2, 4]}
        photo = f"{split}_{i // 2}"
        lines.append({"token": words, "h": head, "t": tail, "img_id": f"{photo}.jpg", "relation": RELATIONS[i % 3]})
        lists[i] = [f"{split}_{i}_{k}.png" for k in range(i % 5)]
        for k, name in enumerate(lists[i]):
            places[name] = (0.5, 0.5, 0.3, 0.1 + 0.1 * k, 0.0)
            if k % 2:  # the others are cut from the photo
                Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(crops / name)
        if i % 2 == 0:
            boxes.update({f"{photo}_crop_{k}.jpg": (0.3 + 0.1 * k, 0.4, 0.4, 0.3, 0.12) for k in range(i // 2 % 4)})
            if i // 2 % 3 != 2:
                size = rng.integers(40, 90, 2)
                Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(photos / f"{photo}.jpg", quality=90)
    (photos / f"{split}_0.jpg").write_bytes((photos / f"{split}_0.jpg").read_bytes()[:900])  # cut off
    (root / "txt" / f"ours_{split}.txt").write_text("".join(f"{line!r}\n" for line in lines), "utf-8")
    in_dicts = "dev" if split == "val" else split
    torch_dict(root / "boxes" / f"{in_dicts}_detect_box_dict.pth", boxes)
    torch_dict(root / "boxes" / f"{in_dicts}_vg_box_dict.pth", places)
    torch_dict(root / "txt" / f"mre_{in_dicts}_dict.pth", lists)


@pytest.fixture(scope="session")
def mnre_folder(tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("mnre")
    rng = np.random.default_rng(0)
    for split, count in (("train", 9), ("val", 6), ("test", 5)):
        mnre_split(root, split, count, rng)
    (root / "ours_rel2id.json").write_text(json.dumps({name: i for i, name in enumerate(RELATIONS)}))
    return root


@pytest.fixture
def mark_all():
    """Puts a byte-order mark before every text file of a folder, wherever it lies in it, and says how many there were."""

    def put(root):
        paths = [path for path in root.rglob("*") if path.suffix in (".txt", ".json", ".jsonl", ".xml")]
        for path in paths:
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        return len(paths)

    return put
