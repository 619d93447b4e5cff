"""Pictures read ahead for some records: the same as one by one, and each photo read once."""

import collections
import concurrent.futures
import threading

import numpy as np
import pytest
from PIL import Image

from mmre_jax.data.dataset import FilePictures
from mmre_jax.data.decode import MissingPicture
from mmre_jax.data.parts import Part
from mmre_jax.data.pictures import Slot, gather
from mmre_jax.records import Record, Region

GREY = ((0.5,) * 3, (0.5,) * 3)
PLAN = (Slot("photo", 1, 4, "photo", "squash", *GREY), Slot("crops", 2, 2, "detected", "squash", *GREY))


def record(n):
    """Every third photo is missing, each is that of several records, far from each other, with other crops."""
    region = Region((0.0, 0.0, (n + 1) / 25, 1.0), source="detected", file=f"crop{n % 2}" if n % 4 == 0 else None)
    return Record(str(n), ("a",), None if n == 5 else f"photo{n % 6}", regions=(region,))


RECORDS = [record(n) for n in range(23)]


class Reader:
    def __init__(self):
        self.files, self.lock = collections.Counter(), threading.Lock()

    def __call__(self, name):
        with self.lock:
            self.files[name] += 1
        if name.startswith("photo") and int(name[5:]) % 3 == 0:
            raise MissingPicture(f"{name}: no such file")
        return Image.fromarray(np.random.default_rng(sum(map(ord, name))).integers(0, 255, (9, 8, 3), np.uint8))


@pytest.mark.parametrize("blank", [False, True])
def test_every_record_has_its_pictures_and_every_photo_is_read_once(blank):
    read = Reader()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        part = Part(RECORDS, FilePictures(PLAN, read, blank=blank), pool)
        for each in RECORDS:
            failed = []
            np.testing.assert_equal(part(each), gather(each, PLAN, Reader(), failed=failed, blank=blank))
            assert [(slot.name, str(why)) for slot, why in part.failed(each)] == [(slot.name, str(why)) for slot, why in failed]
    assert {name: count for name, count in read.files.items() if count > 1 and name.startswith("photo")} == {}
    assert sum(name.startswith("photo") for name in read.files) == 6
