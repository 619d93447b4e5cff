"""Sizes of encoders from a configuration."""

import dataclasses

import pytest

from configs import common
from mmre_jax.encoders.from_config import norms_follow, pyramid_config, resnet_config, vgg_config


@pytest.mark.parametrize(("norm", "frozen", "follow"), [("batch", False, True), ("batch", True, False), ("group", False, False)])
def test_norms_follow_where_an_image_encoder_or_a_pyramids_backbone_has_statistics(norm, frozen, follow):
    vision = common.section("vision")
    vision.update({**common.small_rcnn(), "norm": norm})
    pyramid = pyramid_config(vision, frozen=frozen)
    assert norms_follow(pyramid) is norms_follow(resnet_config(vision, frozen=frozen)) is follow
    assert norms_follow(dataclasses.replace(pyramid, level=0)) is follow


def test_what_has_no_statistics_has_none_that_follow():
    vision = common.section("vision")
    vision.kind = "vgg"
    assert not norms_follow(None) and not norms_follow(vgg_config(vision))
