"""Pictures as data URLs."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from configs import hvformer
from mmre_jax.data.dataset import DataSet
from mmre_jax.prompts.pictures import DAMAGED, MISSING, NONE, SHOWN, Pictures, reader


def opened(url):
    kind, _, data = url.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_large_ones_are_brought_down_and_small_ones_left(photo):
    url, state = Pictures(40, 90)(str(photo))  # of 80 x 48 pixels
    assert state == SHOWN and opened(url).size == (40, 24) and opened(url).format == "JPEG"
    assert opened(Pictures(512, 90)(str(photo))[0]).size == (80, 48)


def test_colours_are_kept(tmp_path):
    Image.fromarray(np.full((8, 8, 3), (200, 30, 60), np.uint8)).save(tmp_path / "x.png")
    found = np.asarray(opened(Pictures(8, 95)(str(tmp_path / "x.png"))[0]))
    assert np.abs(found.astype(int) - [200, 30, 60]).max() <= 4


def test_what_is_not_there_is_told(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    pictures = Pictures(64, 85)
    assert [pictures(name) for name in (None, str(tmp_path / "no.jpg"), str(tmp_path / "broken.jpg"))] == [
        ("", NONE),
        ("", MISSING),
        ("", DAMAGED),
    ]


def test_the_reader_is_the_data_sets():
    data = hvformer.get_config("quickstart").data
    assert reader(data)("scenes:relations:0:test:0:64").mode == "RGB"
    arrays = DataSet(name="scenes", read=lambda data, split: [], pictures=lambda data, plan: lambda record: ({}, {}))
    with pytest.raises(ValueError, match="has its pictures as arrays"):
        reader(data, arrays)
