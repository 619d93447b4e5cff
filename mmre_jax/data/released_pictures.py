"""Pictures as the released code reads them, which shows a stand-in for a photo that cannot be opened."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib

from mmre_jax import storage
from mmre_jax.data import pictures
from mmre_jax.data.dataset import Pixels, RecordSource
from mmre_jax.data.decode import PictureError
from mmre_jax.data.pictures import PicturePlan, Reader
from mmre_jax.records import Record

STAND_IN = "inf.png"  # the picture that the authors' data folders have for photos that cannot be opened


@dataclasses.dataclass(frozen=True)
class ReleasedPictures:
    """Pictures as the released code reads them: a photo that cannot be opened is replaced by the data set's own `inf.png`.

    That file is looked for beside the photo and in the folders above it, up to `root`; where there is none the photo is absent.
    blank: as of `pictures.gather`.
    """

    plan: PicturePlan
    read: Reader
    root: str
    blank: bool = False

    def __call__(self, record: Record) -> Pixels:
        pixels, present = pictures.gather(record, self.plan, self.read, blank=self.blank)
        for slot in self.plan:
            if slot.source == "photo" and not present[slot.name][0] and (stand_in := self.stand_in(record)) is not None:
                with contextlib.suppress(PictureError):
                    pixels[slot.name][0] = pictures.fit(self.read(str(stand_in)), slot.side, slot.resize)
                    present[slot.name][0] = True
        return pixels, present

    def stand_in(self, record: Record) -> pathlib.Path | None:
        """The file that replaces a record's photo, where there is one."""
        if record.image is None or not self.root:
            return None
        photo, root = storage.path(record.image), storage.at_home(self.root)
        if not photo.is_relative_to(root):
            return None
        folders = [folder for folder in photo.parents if folder.is_relative_to(root)]
        return next((folder / STAND_IN for folder in folders if (folder / STAND_IN).is_file()), None)

    def replaced(self, records: RecordSource) -> tuple[int, int]:
        """How many photos are not there and replaced by that file, and how many that are not there are zeros; each photo once."""
        found = {record.image: record for record in map(records.__getitem__, range(len(records))) if record.image is not None}
        there = storage.sizes(filter(storage.is_remote, found))
        missing = [record for photo, record in found.items() if (there[photo] is None if photo in there else not os.path.isfile(photo))]
        replaced = sum(self.stand_in(record) is not None for record in missing)
        return replaced, len(missing) - replaced
