"""Writes the requests of a split and their manifest."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmre_jax import storage
from mmre_jax.analysis.evaluation import scoring_task
from mmre_jax.data import datasets
from mmre_jax.data.dataset import DataSet, RecordSource
from mmre_jax.data.sampling import hidden_pictures, is_shuffled, shuffled_pictures, stratified
from mmre_jax.prompts import batch, manifest, meanings, shots
from mmre_jax.prompts.manifest import Asked, Manifest
from mmre_jax.prompts.pictures import LEFT_OUT, SHOWN, Pictures, reader
from mmre_jax.prompts.questions import FIELDS, TOKENS, Question
from mmre_jax.records import Record
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.task import Task
from mmre_jax.training.protocol import protocol

PICTURES = ("photo", "none")
OWN = ("model", "messages")  # fields of a body that have an option or are what is written
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Way:
    """How a split is asked about.

    model: what the server calls it.
    pictures: photo, or none: only the text is shown.
    side, quality: of the JPEGs, see `pictures.Pictures`.
    meanings: the file of the labels' meanings; '': their names alone.
    shots: examples with their answers before the question, drawn from training: draw, one of shots.DRAWS, by seed.
    shot_pictures: whether these are shown with their pictures, too.
    structured: whether the server is told the schema of an answer.
    temperature, max_tokens: fields of the body; max_tokens 0: as many as an answer of the task needs.
    body: further fields of the body, or others instead; None takes one away.
    file_requests, file_megabytes: the most of a file.
    """

    model: str
    pictures: str = "photo"
    side: int = 512
    quality: int = 85
    meanings: str = ""
    shots: int = 0
    draw: str = "balanced"
    seed: int = 0
    shot_pictures: bool = False
    structured: bool = False
    temperature: float = 0.0
    max_tokens: int = 0
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    file_requests: int = batch.REQUESTS
    file_megabytes: int = batch.MEGABYTES


def write(config: ConfigDict, split: str, folder: pathlib.Path, way: Way, dataset: DataSet | None = None) -> Manifest:
    """Writes a request for every example of a split, and the manifest when all are there.

    The label of no example of the split is read, but to see that it is one: what is written of them depends on texts and pictures alone.
    What is shown as an example is of training (`shots.draw`).

    Args:
      config: the configuration whose task and data are asked about; of its system, text and vision nothing is.
      split: train, val or test.
      folder: where to; made where it is not there.
      dataset: a user's own, if it is not one of datasets.DATASETS.

    Raises:
      ValueError: for a task, setting or `way` that requests cannot be made of, or a folder that holds requests already.
      RecordError: as `datasets.open_records` and `meanings.read`.
      OSError: a file cannot be read or written.
    """
    config = settled(config, way.pictures != "none")
    _check(way, folder, config.task.name)
    read = datasets.open_records(config.data, "train", dataset)
    task = scoring_task(config, *datasets.labels(config.data, config.task.name, read, dataset))
    examples = task.examples(datasets.open_records(config.data, split, dataset))
    train = task.examples(read)
    question = _question(config.task.name, task, way)
    pictures = Pictures(way.side, way.quality, *([reader(config.data, dataset)] if question.pictures else []))
    drawn = _shots(config, task, train, examples, way)
    before = [{"role": "system", "content": question.system()}]
    for example, image in drawn:
        url, state = pictures(image) if way.shot_pictures else ("", LEFT_OUT)
        before += [message(question.ask(example, state), url), {"role": "assistant", "content": question.say(example, state)}]
    head = batch.dumps(before)[:-1]
    storage.make_folder(folder)
    files = batch.Files(folder, way.file_requests, way.file_megabytes * 10**6)
    asked = []
    for number, (example, image) in enumerate(zip(examples, images_of(config, examples, split), strict=True)):
        url, state = pictures(image) if question.pictures else ("", LEFT_OUT)
        front = batch.dumps({"model": way.model, **_fields(question, state, way)})[:-1]
        body = f'{front}, "messages": {head}, {batch.dumps(message(question.ask(example, state), url))}]}}'
        name, line = batch.line(number, body)
        files.add(line, example.id)
        asked.append(Asked(name, example.id, state))
    written = files.close()
    about = {**protocol(config), **_about(way, config.task.name, asked)}
    about.pop("precision")  # of products: none is computed
    settings, texts = manifest.settings_of(config), manifest.checksum(examples)
    found = Manifest(split, settings, texts, question, about, asked, [example.id for example, _ in drawn], written)
    found.write(folder)
    return found


def settled(config: ConfigDict, pictures: bool) -> ConfigDict:
    """A locked copy of a configuration without crops of objects, which requests do not show, for a task that there are requests for.

    Args:
      pictures: whether posts are shown with their pictures.

    Raises:
      ValueError: naming a task, or a setting of section data, that requests cannot be made of.
    """
    data = config.data
    if config.task.name not in FIELDS:
        raise ValueError(f"task.name={config.task.name!r}: there are requests for {', '.join(FIELDS)}")
    if datasets.view_of(data) == "pairs":
        raise ValueError("data.view='pairs': a request cannot show a box: ask for the triples themselves")
    if data.blank_words:
        raise ValueError("data.blank_words=True: a request without words asks nothing")
    if not pictures and (data.image_share != 1.0 or data.shuffle_pictures != "none"):
        raise ValueError("data.image_share and data.shuffle_pictures say whose pictures are shown, and --pictures=none shows none")
    found = ConfigDict(copy.deepcopy(config.to_dict()))
    found.data.objects = "none"
    return found.lock()


def images_of(config: ConfigDict, examples: Sequence[Record], split: str) -> list[str | None]:
    """The picture that each example of a split is shown with: its own, or as data.shuffle_pictures and data.image_share say."""
    data, seed = config.data, config.train.seed
    whose = shuffled_pictures(len(examples), seed) if is_shuffled(data, split) else np.arange(len(examples))
    if data.image_share != 1.0:
        whose = hidden_pictures(examples, whose, data.image_share, seed)
    return [None if other < 0 else examples[other].image for other in whose.tolist()]


def message(text: str, url: str) -> dict[str, Any]:
    """A user's message, its picture in front where there is one."""
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return {"role": "user", "content": parts if url else text}


def named(kind: str, task: Task) -> tuple[tuple[str, ...], str]:
    """(what answers may name, of relations the empty one, else '')."""
    return tuple(task.types if isinstance(task, EntitiesTask) else task.labels), task.none if kind == "relation" else ""


def _question(kind: str, task: Task, way: Way) -> Question:
    labels, none = named(kind, task)
    if lost := [label for label in labels if label.strip() != label or len(label.splitlines()) != 1]:
        raise ValueError(f"label {lost[0]!r}: no answer can name it: it begins or ends with white space, or has several lines")
    told = meanings.read(way.meanings, labels) if way.meanings else None
    return Question(kind, labels, none, way.pictures != "none", told, way.structured)


def _shots(config: ConfigDict, task: Task, train: RecordSource, asked: Sequence[Record], way: Way) -> list[tuple[Record, str | None]]:
    """Training examples, of the share that is trained on, and the pictures that they are shown with."""
    if not way.shots:
        return []
    examples = [train[i] for i in range(len(train))]
    images = {example.id: image for example, image in zip(examples, images_of(config, examples, "train"), strict=True)}
    if config.data.train_share != 1.0:
        strata = [task.stratum(example) for example in examples]
        examples = [examples[i] for i in stratified(strata, config.data.train_share, config.train.seed)]
    return [(example, images[example.id]) for example in shots.draw(task, examples, asked, way.shots, way.draw, way.seed)]


def _fields(question: Question, state: str, way: Way) -> dict[str, Any]:
    """The fields of a body beside model and messages."""
    fields: dict[str, Any] = {"temperature": way.temperature, "max_tokens": way.max_tokens or TOKENS[question.task]}
    fields |= {"response_format": question.response_format(state)} if question.structured else {}
    return {name: value for name, value in {**fields, **way.body}.items() if value is not None}


def _about(way: Way, task: str, asked: Sequence[Asked]) -> dict[str, Any]:
    """What of a way stands beside scores."""
    states = Counter(each.picture for each in asked)
    prompt: dict[str, Any] = {"pictures": dict(states) if way.pictures != "none" else "none"}
    prompt |= {"side": way.side, "quality": way.quality} if states[SHOWN] else {}
    prompt |= {"meanings": bool(way.meanings), "structured": way.structured, "temperature": way.temperature}
    prompt |= {"max_tokens": way.max_tokens or TOKENS[task], "body": dict(way.body)}
    prompt["shots"] = way.shots
    prompt |= {"draw": way.draw, "seed": way.seed, "shot_pictures": way.shot_pictures} if way.shots else {}
    return {"system": "prompted", "asked": way.model, "prompt": prompt}


def _check(way: Way, folder: pathlib.Path, task: str) -> None:
    if own := [name for name in OWN if name in way.body]:
        raise ValueError(f"--body: {own[0]!r} is not to be changed there")
    if way.shot_pictures and (way.pictures == "none" or not way.shots):
        raise ValueError("--shot_pictures needs --shots, and --pictures=photo")
    if task == "triples" and way.shots and way.pictures != "none" and not way.shot_pictures:
        raise ValueError("--shots of triples need --shot_pictures: without its picture an example has no boxes, and says to leave them out")
    there = sorted(path.name for path in folder.iterdir()) if storage.is_dir(folder) else []
    if held := [name for name in there if name == manifest.FILE or name.startswith("requests-")]:
        raise ValueError(f"{folder}: holds {held[0]} already: give another --out, or remove it")
