"""Published crops of objects: lists {key: [crop file, ...]} and the files that they name, with a word where either is not there.

    ROOT/img_detect/{split}/{split}_img2crop.pth           MNRE: {photo's name without its suffix: [path relative to ROOT, ...]}
    ROOT/twitter{15,17}_detect/twitter{15,17}_img2crop.pth      the same of Twitter-2015 and -2017, for all splits

A list that is not there is not an empty list: then nothing is known of the crops. The files that MNRE's names lie in
ROOT/img_detect/{split}/crops/.
"""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmre_jax import storage
from mmre_jax.data.pictures import inside
from mmre_jax.data.readers.published import torch_table
from mmre_jax.records import Box, Record, RecordError, Region

logger = logging.getLogger(__name__)


def names(value: Any, file: pathlib.Path, key: str, where: str) -> list[str]:
    """The crop files that a list names. Raises RecordError where they are no names."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise RecordError(f"{file}: expected a list of crop files for {key} ({where}), found {value!r:.200}")
    return value


def detected(
    root: str | os.PathLike[str], file: pathlib.Path, records: Sequence[Record], boxes: Mapping[str, Box]
) -> list[tuple[Region, ...]]:
    """Each record's detected crops, in the order of a list by photo; none for a photo that the list leaves out.

    Args:
      root: the folder that the listed paths start from.
      file: the list.
      boxes: {name of a crop file: where it lies on its photo}, as far as that is known.

    Raises:
      RecordError: the list is damaged.
      PictureError: a path leads out of `root`.
    """
    lists = torch_table(file)
    found = []
    for record in records:
        stem = pathlib.Path(record.image or "").stem
        paths = names(lists.get(stem, []), file, repr(stem), record.origin)
        regions = [Region(boxes.get(pathlib.PurePath(path).name), inside(root, path, f"{file}, {stem!r}"), "detected") for path in paths]
        found.append(tuple(regions))
    warn_of_folders(file, [region for regions in found for region in regions])
    return found


def warn_of_folders(file: pathlib.Path, regions: Sequence[Region]) -> None:
    """Says which folders of crops that a list names are not there at all."""
    folders: dict[str, list[Region]] = {}
    for region in regions:
        folders.setdefault(os.path.dirname(region.file or ""), []).append(region)
    for folder, crops in folders.items():
        if not storage.is_dir(storage.path(folder)):
            boxes = sum(region.box is not None for region in crops)
            instead = f"{boxes:,} can be cut from their photos, {len(crops) - boxes:,} are missing"
            logger.warning("%s names %d crops, but there is no folder %s: %s", file, len(crops), folder, instead)


def warn_of_lists(files: Sequence[pathlib.Path], split: str) -> None:
    """Says that nothing is known of detected crops."""
    paths = " nor ".join(map(str, files))
    logger.warning("no list of detected crops of split %r, neither %s: a system that looks at them sees none", split, paths)
