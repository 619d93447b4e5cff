"""A data set of one's own: whether two people like each other, which only the colour of the photo tells."""

import numpy as np
from PIL import Image

from mmre_jax.data.dataset import DataSet, FilePictures
from mmre_jax.records import SPLITS, Mention, Record, Relation

COUNTS = {"train": 32, "val": 8, "test": 8}
LABELS = {"red": "likes", "blue": "None"}


def read(data, split):
    """The records of a split; data.root is of no matter to it."""
    rng = np.random.default_rng(SPLITS.index(split))
    records = []
    for number in range(COUNTS[split]):
        colour = str(rng.choice(["red", "blue"]))
        words = (f"Ada{number}", "meets", f"Bob{split}")
        pair = Relation(Mention(0, 1, "PER"), Mention(2, 3, "PER"), LABELS[colour])
        records.append(Record(f"{split}{number}", words, image=f"toy:{split}:{number}:{colour}", relations=(pair,)))
    return records


def draw(key):
    """A photo by its key."""
    return Image.new("RGB", (40, 32), key.split(":")[-1])


TOY = DataSet(
    name="toy",
    read=read,
    objects=("none",),
    tasks=lambda data, train: ("relation",),
    report=lambda data, split: {"records": COUNTS[split]},
    published=COUNTS,
    pictures=lambda data, plan: FilePictures(plan, draw),
)
