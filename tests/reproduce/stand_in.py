"""A small table of two systems, and hands that train and score nothing: what they are asked for is remembered, what they say is made up."""

import json
import zlib

import numpy as np
from ml_collections import ConfigDict

from mmre_jax.reproduce import execute, scores
from mmre_jax.reproduce.plan import Asked, plan
from mmre_jax.reproduce.table import Column, Entry, Family, Place, not_run, row

F1 = (Column("P", "micro.precision"), Column("F1", "micro.f1"))
ONE = Family("one", {"small": "quickstart", "paper": "mnre"}, {"paper": {"text.weights": Place("bert")}})
TWO = Family("two", {"small": "quickstart", "minilm": "minilm"})
TABLE = Entry(
    "hvformer.table99",
    "what <b>two</b> systems | score",
    "made up",
    F1,
    "F1",
    (
        row(F1, "One", (80.0, 70.5), ONE, group="both", deviation=(0.5, 0.25)),
        row(F1, "w/o part", (79.0, None), ONE, {"system.part": False}, group="both"),
        row(F1, "One, shuffled", (), ONE, how="shuffled", group="both"),
        row(F1, "Two", (60.0, 50.0), TWO),
        not_run(F1, "Three", (1.0, 2.0), "its <script>code</script> was never released"),
    ),
    reference="both: One",
)
OTHER = Entry("hvformer.figure98", "the same run again", "made up", F1, "F1", (row(F1, "One", (), ONE),))
DRAWING = Entry("hvformer.figure97", "the architecture")


def load(value):
    """A configuration of every name but 'missing'."""
    if "missing" in value:
        raise ValueError(f"{value}: there is no such file")
    data = {"name": "scenes" if value.endswith("quickstart") else "mnre", "root": ""}
    sections = {"system": {"part": True, "of": value}, "data": data, "text": {"weights": ""}, "train": {"seed": 0, "epochs": 4, "lr": 1.0}}
    return ConfigDict({**sections, "vision": {}, "optim": {}, "parallel": {}}).lock()


def parts(config):
    """A pipeline of two."""
    return {name: ConfigDict({**config.to_dict(), "part": name}) for name in ("tagger", "detector")}


class Hands:
    """`done` names runs and scores in their order. A run in whose folder's name one of `fails` stands ends in an error, of `stops` in a
    signal's."""

    def __init__(self, fails=(), stops=()):
        self.done, self.fails, self.stops = [], fails, stops
        self.hands = execute.Hands(self.train, self.score)

    def train(self, config, folder):
        self.done.append(("train", folder.name))
        if any(name in folder.name for name in self.fails):
            raise RuntimeError("out of\nmemory")
        if any(name in folder.name for name in self.stops):
            raise execute.Interrupted("stopped after step 3")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps({"minutes": 1.5}))

    def score(self, planned, workdir, _):
        self.done.append(("score", planned.name, planned.score))
        random = np.random.default_rng(zlib.crc32(f"{planned.name}{planned.score}".encode()))
        right = random.random(200) < (0.9 if "one" in planned.name else 0.4)
        counts = np.stack([right, np.ones(200), np.ones(200)], axis=-1).astype(np.int64)[:, None]
        f1 = float(right.mean())
        found = {"micro": {"precision": f1, "f1": f1}}
        ids = tuple(f"post-{n}" for n in range(200))
        scores.keep(
            scores.Result(found, {"data": "scenes", "objects": "none", "warning": "distrust <it>"}, ("micro.f1",), ids, counts),
            execute.place(planned, workdir),
        )


def planned(*entries, scale="small", seeds=(0,), **more):
    """Of all entries, one behind the other."""
    return [each for entry in entries for each in plan(entry, Asked(scale, seeds, **more), load)]
