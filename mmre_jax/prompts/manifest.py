"""What stands beside requests: of which data they were made and how, and which of them asks about which record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.prompts.pictures import SHOWN, STATES
from mmre_jax.prompts.questions import FIELDS, Question
from mmre_jax.records import Record, RecordError
from mmre_jax.text_files import read_json
from mmre_jax.training.log import write_json

FILE = "manifest.json"
VERSION = 1
# Of section data: which records there are, which of them are trained on, and whose pictures they are shown with.
_DATA = ("name", "view", "published", "none_label", "train_share", "image_share", "shuffle_pictures")
_OF_SCENES = ("scene", "counts")


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request: its custom id, the id of the example that it asks about, and what became of its picture, one of `pictures.STATES`."""

    custom_id: str
    id: str
    picture: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What requests were made of.

    split: whose examples are asked about.  data: `settings_of` the configuration.  texts: `checksum` of the examples.
    question: what is asked.  protocol: what stands beside scores (training/protocol.py), and how it was asked: model, pictures, shots.
    asked: the requests, in the order of the examples.  shots: ids of the training examples that are shown.
    files: {file, requests, bytes, sha256} of each file of requests.
    """

    split: str
    data: Mapping[str, Any]
    texts: str
    question: Question
    protocol: Mapping[str, Any]
    asked: Sequence[Asked]
    shots: Sequence[str]
    files: Sequence[Mapping[str, Any]]

    def write(self, folder: pathlib.Path) -> pathlib.Path:
        """Writes the file into a folder. Returns its path."""
        path = folder / FILE
        value = {"version": VERSION, "config": digest(self.data), **dataclasses.asdict(self)}
        write_json(path, value)
        return path

    def check(self, config: ConfigDict, split: str, examples: Sequence[Record], labels: Sequence[str], none: str) -> None:
        """Refuses a configuration or data that are not those of the requests.

        Args:
          labels, none: of the question that would be asked now.

        Raises:
          ValueError: naming the first setting that differs, or that the labels or the texts do.
        """
        if split != self.split:
            raise ValueError(f"the requests ask about split {self.split!r}, found --split={split}")
        for name, value in settings_of(config).items():
            if value != self.data.get(name):
                raise ValueError(f"{name}={value!r}: the requests were made with {self.data.get(name)!r}")
        if changed := sorted({*labels, none} ^ {*self.question.labels, self.question.none}):
            raise ValueError(f"the labels are not those that the requests name: {', '.join(changed):.200} on one side alone")
        if self.question.task != config.task.name or self.question.none != none:
            raise ValueError(f"the requests ask for {self.question.task} with the empty label {self.question.none!r}")
        if [example.id for example in examples] != [each.id for each in self.asked] or checksum(examples) != self.texts:
            raise ValueError(f"the examples of split {split!r} are not those that the requests ask about: other ids, words or entities")

    @property
    def shown(self) -> frozenset[str]:
        """The ids of the examples whose picture was shown."""
        return frozenset(each.id for each in self.asked if each.picture == SHOWN)


def settings_of(config: ConfigDict) -> dict[str, Any]:
    """The settings that requests depend on, as plain JSON values: not where the data lie."""
    data = config.data
    names = _DATA + (_OF_SCENES if data.name == "scenes" else ())
    found = {"task.name": config.task.name, **{f"data.{name}": data[name] for name in names if name in data}}
    if data.train_share != 1.0 or data.image_share != 1.0 or data.shuffle_pictures != "none":
        found["train.seed"] = config.train.seed  # which these are drawn by
    return json.loads(json.dumps(found))


def digest(settings: Mapping[str, Any]) -> str:
    """The checksum of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode("ascii")).hexdigest()


def checksum(examples: Sequence[Record]) -> str:
    """The checksum of what is asked about: words, and of pairs the places of head and tail. No label is in it."""
    rows = [[example.words, example.string, [[pair.head.span, pair.tail.span] for pair in example.relations]] for example in examples]
    return hashlib.sha256(json.dumps(rows).encode("ascii")).hexdigest()


def read(folder: str | os.PathLike[str]) -> Manifest:
    """The manifest in a folder.

    Raises:
      RecordError: for a file that is none, or of another version, or whose digest is not that of its settings.
      OSError: it cannot be read.
    """
    path = storage.path(folder, FILE)
    if not path.is_file():
        raise RecordError(f"{path}: no such file: give the folder that launch.prompts wrote")
    value = read_json(path)
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise RecordError(f"{path}: not a manifest of version {VERSION}, which launch.prompts writes")
    try:
        asked = tuple(Asked(**each) for each in value["asked"])
        question = Question(**{**value["question"], "labels": tuple(value["question"]["labels"])})
        found = Manifest(
            value["split"], value["data"], value["texts"], question, value["protocol"], asked, tuple(value["shots"]), value["files"]
        )
        if question.task not in FIELDS or not all(each.picture in STATES and isinstance(each.id, str) for each in asked):
            raise ValueError("an unknown task or state of a picture")
        if not all(isinstance(label, str) for label in question.labels) or not isinstance(found.protocol, dict):
            raise ValueError("labels that are no texts, or a protocol that is none")
        if digest(found.data) != value["config"] or len({each.custom_id for each in asked}) != len(asked):
            raise ValueError("it was changed since it was written")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{path}: not a manifest as launch.prompts writes it ({type(error).__name__}: {error})") from error
    return found
