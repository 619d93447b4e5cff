"""What is said of a post that a system does not see whole; of real runs: tests/test_extract.py."""

import pytest

import mmre_jax
from mmre_jax.data.decode import PictureError
from mmre_jax.not_seen import not_seen, object_sources
from mmre_jax.records import Record


def test_failed_pictures_are_masked_once_each_or_an_error(trained):
    job = mmre_jax.load(trained).job
    assert object_sources(job) == ("detected",)
    record = Record("p", ("Ada", "meets", "Bo"), image="gone.png", caption="two women", origin="posts:4")
    encoded = [Whole()]
    crops = [slot for slot in job.system.plan if slot.source != "photo"]
    photo = next(slot for slot in job.system.plan if slot.source == "photo")
    failed = [(photo, PictureError("gone.png: no such file")), *((crops[0], PictureError("c.png: damaged")) for _ in range(2))]
    notes, masked = not_seen(job, record, encoded, failed, strict=False)
    assert masked == ("image: gone.png: no such file: masked", "detected crop: c.png: damaged: masked") and notes[-2:] == masked
    assert "trained without captions: the caption is not read" in notes and "no picture: masked" not in notes
    with pytest.raises(PictureError, match="^posts:4: image: gone.png: no such file$"):
        not_seen(job, record, encoded, failed, strict=True)


class Whole:
    """Words of which none are cut off."""

    def cut_off(self):
        return ()
