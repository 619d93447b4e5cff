"""Attention of text to pictures: maps and shares are of the same weights, and a record without a picture is refused."""

import dataclasses

import numpy as np
import pytest

from mmre_jax import analyse
from mmre_jax.analysis.attention_maps import sights, to_picture
from mmre_jax.analysis.figures import pictured
from mmre_jax.analysis.figures.single import spread

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def view(trained):
    return analyse.view(trained, ids=("scenes:relations:0:test:2",))


def test_shares_are_sums_over_the_cells_of_the_maps(view):
    maps, shares = pictured.over_pictures(view), pictured.alignment(view)
    weights, found = maps.arrays["attention_0"], shares.arrays["alignment_0"]
    facts = maps.facts["records"][0]
    assert weights.shape == (2, len(facts["tokens"]), facts["places"]["count"]) and facts["tokens"][:2] == ["[CLS]", facts["tokens"][1]]
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
    pictures = [part for part in facts["places"]["pictures"] if part["name"] in shares.facts["records"][0]["pictures"]]
    for place, part in enumerate(pictures):
        cells = slice(part["start"], part["start"] + part["grid"] ** 2)
        np.testing.assert_allclose(found[:, place], weights.mean(axis=0)[:, cells].sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1) + weights.mean(axis=0)[:, 0], 1, atol=1e-5)  # the rest is [CLS]'s


def test_rows_are_those_of_the_markers(view):
    look = view.once(pictured.looks)[0]
    markers = [look.tokens.index(name) for name in ("<s>", "<o>")]
    np.testing.assert_allclose(look.rows, look.weights[:, markers], atol=1e-6)


def test_a_record_without_a_picture_is_refused(view):
    bare = dataclasses.replace(view.split, picture_of=np.full(len(view.split.records), -1))
    with pytest.raises(ValueError, match="test:2: no picture to look at"):
        pictured.over_pictures(dataclasses.replace(view, split=bare))


def test_mkgformers_fusion_is_a_sight_behind_its_layer():
    shapes = {"fusion_3/attention": (1, 1, 5, 7), "fusion_2/attention": (1, 1, 5, 7), "text/layer_3/attention/attention": (1, 2, 5, 5)}
    found = sights(shapes)
    assert [(sight.label, sight.level, sight.prefix) for sight in found] == [("layer 3", 3, False), ("layer 4", 4, False)]


def test_words_see_the_regions_behind_them_in_one_stream():
    shapes = {f"text/layer_{n}/attention/attention": (1, 2, 7, 7) for n in (10, 2)}
    assert not sights(shapes)
    found = sights({**shapes, "regions/embedded": (1, 3, 8)})
    assert [(sight.label, sight.level, sight.behind) for sight in found] == [("layer 3", 2, 3), ("layer 11", 10, 3)]
    weights = np.random.default_rng(0).random((1, 2, 7, 7))
    np.testing.assert_array_equal(to_picture({found[0].name: weights}, found[0]), weights[:, :, :4, 4:])


def test_a_spread_has_both_ends():
    assert spread(13, 4) == [0, 4, 8, 12] and spread(3, 4) == [0, 1, 2] and spread(1, 4) == [0] and spread(0, 4) == []
