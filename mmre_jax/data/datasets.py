"""The data sets that a configuration's section `data` can name, and what is done with any of them: records, views, labels, pictures.

A user's own data set goes in as an argument wherever one is taken; data.name is then its name.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from PIL import Image

from mmre_jax.data import captions, decode, views
from mmre_jax.data.dataset import (
    OBJECT_REGIONS,
    TASKS,
    Counted,
    DataSet,
    FilePictures,
    Labels,
    PictureSource,
    RecordSource,
    entity_labels,
    labels_of_records,
    object_labels,
)
from mmre_jax.data.given import Given
from mmre_jax.data.pictures import MISSING, PicturePlan
from mmre_jax.data.readers import gmner, jsonl, mnre, more, scenes, twitter
from mmre_jax.data.released_pictures import ReleasedPictures
from mmre_jax.data.source import PREPARED
from mmre_jax.records import SPLITS, Record, RecordError

DATASETS = {
    found.name: found
    for found in (
        scenes.SCENES,
        mnre.MNRE,
        mnre.MNRE_V1,
        twitter.TWITTER2015,
        twitter.TWITTER2017,
        gmner.GMNER,
        more.MORE,
        jsonl.JSONL,
        PREPARED,
    )
}


def find(data: ConfigDict, dataset: DataSet | None = None) -> DataSet:
    """The data set that data.name names: one of DATASETS, or `dataset`, a user's own, which must be called so.

    Raises:
      ValueError: for an unknown name, or another one than the given data set's.
    """
    if dataset is None and data.name not in DATASETS:
        raise ValueError(f"data.name is one of {', '.join(DATASETS)}, found {data.name!r}; a data set of one's own is an argument")
    if dataset is not None and data.name != dataset.name:
        raise ValueError(f"the data set that was given is called {dataset.name!r}, found data.name={data.name!r}")
    return DATASETS[data.name] if dataset is None else dataset


def open_records(data: ConfigDict, split: str, dataset: DataSet | None = None) -> RecordSource:
    """The records of a split, read and checked, with captions from data.captions; under a view (data/views.py), what it makes of them.

    Args:
      data: section of a configuration.
      split: train, val or test.
      dataset: a user's own, if it is not one of DATASETS.

    Raises:
      ValueError: for an unknown data set, split or view, or one that the data set cannot be seen through.
      RecordError: for a damaged or missing file, a split without a record, or object crops that the data set does not have.
    """
    return _opened(data, split, dataset)[0]


def open_split(data: ConfigDict, split: str, dataset: DataSet | None = None) -> tuple[RecordSource, dict[str, int]]:
    """(the records as `open_records` gives them, what `read_report` tells of them), read once where the data set's reader can do that."""
    records, source = _opened(data, split, dataset)
    return records, dict(source.counts) if isinstance(source, Counted) else read_report(data, split, dataset)


def _opened(data: ConfigDict, split: str, dataset: DataSet | None) -> tuple[RecordSource, RecordSource]:
    """(the records as they are to be seen, the records as they were read)."""
    named = captions.read(data.captions) if data.get("captions") else {}  # of which an older configuration says nothing
    seen, source = _read(data, split, dataset)
    return captions.add(seen, named) if named else seen, source


def caption_counts(data: ConfigDict, records: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, int]]:
    """What is to be told of captions before a run; see `captions.counts`. Raises RecordError."""
    file = data.get("captions", "")
    return captions.counts(records, captions.read(file) if file else {}, file)


def _read(data: ConfigDict, split: str, dataset: DataSet | None) -> tuple[RecordSource, RecordSource]:
    """`_opened` without captions."""
    if split not in SPLITS:
        raise ValueError(f"a split is one of {', '.join(SPLITS)}, found {split!r}")
    found = find(data, dataset)
    name = view_of(data)
    if not name:
        _check_objects(data, found)
        records = _some(data, split, found.read(data, split), found)
        return records, records
    views.check(name)
    if name == "pairs" and not found.cuts_crops:
        raise ValueError("data.view='pairs' cuts crops that a prepared data set does not hold: give the data set it was prepared from")
    records = found.read(data, split)
    if "triples" not in (there := found.tasks(data, records)):
        raise ValueError(f"data.view={name!r} shows triples, for which {_called(data, found)} is not annotated; {_has(there)}")
    return _some(data, split, views.view(name, records, found.labels(data, "triples", records)[1]), found), records


def view_of(data: ConfigDict) -> str:
    """The view that a data set is seen through, '' for none."""
    return str(data.get("view", ""))  # a checkpoint written before there were views has none in its configuration


def read_report(data: ConfigDict, split: str, dataset: DataSet | None = None) -> dict[str, int]:
    """What reading a split finds, and what it leaves out and why; nothing where the data set does not count that.

    Raises:
      ValueError, RecordError: as `open_records`.
    """
    report = find(data, dataset).report
    return {} if report is None else report(data, split)


def files(data: ConfigDict, split: str, dataset: DataSet | None = None) -> list[pathlib.Path]:
    """The annotation files that a split is read from, for checksums; none for a split that JSON lines do not have.

    Raises:
      ValueError: for a data set that is not read from such files.
      RecordError: where one that is needed is missing, or for object crops that the data set does not have.
    """
    found = find(data, dataset)
    if found.files is None:
        raise ValueError(f"data.name={data.name!r} is not read from annotation files")
    _check_objects(data, found)
    return found.files(data, split)


def labels(data: ConfigDict, task: str, train: Sequence[Record], dataset: DataSet | None = None) -> Labels:
    """(the labels of a task in the order of their ids, the empty one).

    relation: all relations, the empty one (first, unless a table of ids says otherwise) included. triples: the relations of triples
    without the empty one, which is `data.none_label`, or '' where that is itself a relation. entities: O, then B-X and I-X of each
    entity type. objects: the background, then the classes. Of JSON lines they are those of the training split, sorted; of a prepared data
    set those it was prepared with, else those of its training split. Under a view: of mentions one type, of regions one class, of pairs
    the relations of triples.

    Args:
      data: section of a configuration.
      task: 'relation', 'entities', 'triples' or 'objects'.
      train: the records of the training split.
      dataset: a user's own, if it is not one of DATASETS.

    Raises:
      ValueError: for an unknown task, or one that the data set has no annotation for; says which it has.
    """
    if task not in TASKS:
        raise ValueError(f"task.name is one of {', '.join(TASKS)}, found {task!r}")
    found = find(data, dataset)
    if view_of(data):
        return _labels_of_view(data, found, task, train)
    if task not in (there := found.tasks(data, train)):
        hint = f"; objects are {OBJECT_REGIONS}" if task == "objects" else ""
        raise ValueError(f"{_called(data, found)} is not annotated for task.name={task!r}; {_has(there)}{hint}")
    return found.labels(data, task, train)


def all_labels(data: ConfigDict, train: Sequence[Record], dataset: DataSet | None = None) -> dict[str, dict[str, Any]]:
    """{task: {labels, none}} of every task that a data set is annotated for, as plain JSON values.

    Under the key 'labels' of what `builders.prepare` is told about a data set, this gives a prepared data set the same ids.
    """
    there = (views.TASK_OF[view_of(data)],) if view_of(data) else find(data, dataset).tasks(data, train)
    found = {task: labels(data, task, train, dataset) for task in there}
    return {task: {"labels": list(names), "none": none} for task, (names, none) in found.items()}


def open_pictures(
    plan: PicturePlan, data: ConfigDict | None = None, dataset: DataSet | None = None, *, released: bool = False
) -> PictureSource | None:
    """What gives a record's (pixels, present) under a plan; None for a plan without slots.

    Args:
      data: section of a configuration that says where the records come from; where there is none, from files (and keys of `scenes`).
      dataset: a user's own, if it is not one of DATASETS.
      released: as the reference flavour sees them: read as Pillow converts them, and a stand-in for a photo that cannot be opened
        (released_pictures.py).

    Raises:
      ValueError: for data.missing=blank and crops of a data set whose pictures are not files.
    """
    if not plan:
        return None
    opened = None if data is None else find(data, dataset).pictures
    blank = data is not None and shows_blank(data) and any(slot.source != "photo" for slot in plan)
    if data is not None and opened is not None:
        if blank:
            raise ValueError(f"data.missing='blank' is of crops in files, and the pictures of data.name={data.name!r} are no files")
        return opened(data, plan)
    if data is not None and released:
        return ReleasedPictures(plan, read_released, str(data.root), blank)
    draft = data is not None and not released and bool(data.get("draft", False))  # of which an older configuration says nothing
    return FilePictures(plan, read_released if released else read_picture, decode.read_draft if draft else None, blank)


def shows_blank(data: ConfigDict) -> bool:
    """Whether section `data` of a configuration wants listed crops whose files are missing to be shown as black pictures."""
    return bool(data.get("missing", MISSING[0]) == "blank")  # of which an older configuration says nothing


def check_draft(data: ConfigDict, dataset: DataSet | None = None, *, released: bool = False) -> None:
    """Raises ValueError for data.draft where pictures are not decoded from files, or are to be those of the released code."""
    if data.draft and (released or find(data, dataset).pictures is not None):
        why = "the reference flavour sees the released ones" if released else f"those of data.name={data.name!r} are not decoded from files"
        raise ValueError(f"data.draft=True makes other pixels of JPEGs, and {why}")


def decodes_files(pictures: PictureSource | None) -> bool:
    """Whether a picture source decodes files, which takes long enough for worker processes; its own `read` may do anything."""
    return isinstance(pictures, FilePictures | ReleasedPictures) and pictures.read in (read_picture, read_released)


def read_picture(name: str) -> Image.Image:
    """A picture by its path, or by its key in `scenes`; one that was given as itself (given.py) as it is."""
    if isinstance(name, Given):
        return name.read()
    return _scene(name) if name.startswith(scenes.PREFIX) else decode.read_picture(name)


def read_released(name: str) -> Image.Image:
    """`read_picture` as the released code does it: not turned, transparency dropped."""
    if isinstance(name, Given):
        return name.read(plain=True)
    return _scene(name) if name.startswith(scenes.PREFIX) else decode.read_picture(name, plain=True)


def _scene(key: str) -> Image.Image:
    try:
        return scenes.picture(key)
    except RecordError as error:  # a key may stand in anyone's post
        raise decode.PictureError(str(error)) from error


def readable(name: str) -> bool:
    """Whether the picture of that path, or key in `scenes`, is there and undamaged."""
    try:
        if name.startswith(scenes.PREFIX):
            scenes.parse_key(name)
        else:
            read_picture(name)
    except (decode.PictureError, RecordError):
        return False
    return True


def _check_objects(data: ConfigDict, dataset: DataSet) -> None:
    if data.objects not in dataset.objects:
        raise RecordError(f"data.objects={data.objects!r}: {dataset.name} has {' or '.join(dataset.objects)}")


def _called(data: ConfigDict, dataset: DataSet) -> str:
    """What a data set is called in messages."""
    chosen = f" (data.{dataset.chosen_by}={data[dataset.chosen_by]!r})" if dataset.chosen_by else ""
    return f"data.name={data.name!r}{chosen}"


def _has(there: Sequence[str]) -> str:
    return f"it is annotated for {', '.join(there)}" if there else "nor for any other"


def _labels_of_view(data: ConfigDict, dataset: DataSet, task: str, train: Sequence[Record]) -> Labels:
    """`labels` under a view, through which the training records are seen, too."""
    name = view_of(data)
    views.check(name)
    if task != views.TASK_OF[name]:
        raise ValueError(f"data.view={name!r} goes with task.name={views.TASK_OF[name]!r}, found {task!r}")
    if name == "mentions":
        return entity_labels((views.ENTITY,))
    if name == "regions":
        return object_labels((views.OBJECT,))
    names, none = dataset.labels(data, "triples", train)
    if not names:  # they are those of the training records, whose triples are seen as relations here
        return labels_of_records(data, "relation", train)
    return (none, *names), none


def _some(data: ConfigDict, split: str, records: RecordSource, dataset: DataSet) -> RecordSource:
    """The records of a split, if there are any: nothing can be learnt from, chosen or scored by none."""
    if not len(records):
        place = str(next(iter(dataset.files(data, split)), data.root)) if dataset.files else _called(data, dataset)
        raise RecordError(f"{place}: split {split!r} has no records")
    return records
