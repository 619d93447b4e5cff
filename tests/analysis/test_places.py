"""The places of a visual sequence, against the encoder's own order of patches."""

import numpy as np
import pytest

import mmre_jax
from mmre_jax.analysis.places import Part, Places, visual_places

pytestmark = pytest.mark.thorough


def test_places_are_those_of_the_encoders_sequences(trained):
    """A photo of 32 pixels and two crops of 16, in patches of 16."""
    job = mmre_jax.load(trained).job
    vision = job.system.net.config.vision
    places = visual_places(job, vision.length)
    assert places == Places(7, (Part("photo", 0, 1, 2), Part("detected", 0, 5, 1), Part("detected", 1, 6, 1)))
    assert places.has_class and places.names == ("photo", "detected 1", "detected 2")
    assert [part.stop - part.start for part in places.parts] == [4, 1, 1] and places.parts[-1].stop == vision.length
    assert not visual_places(job, vision.length - 1).has_class
    with pytest.raises(ValueError, match="9 places are not the cells of 3 pictures of 2, 1, 1 cells a side"):
        visual_places(job, 9)


def test_cells_of_other_encoders_are_equal_parts(untrained):
    job = mmre_jax.load(untrained["triples"]).job
    places = visual_places(job, 64)
    assert places == Places(64, (Part("photo", 0, 0, 8),)) and not places.has_class
    np.testing.assert_array_equal(places.cells(np.arange(64.0), places.parts[0]), np.arange(64.0).reshape(8, 8))
    assert places.to_json()["pictures"] == [{"name": "photo", "slot": "photo", "number": 0, "start": 0, "grid": 8}]
