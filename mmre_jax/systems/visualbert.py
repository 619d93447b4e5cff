"""VisualBERT (A Simple and Performant Baseline for Vision and Language, Li et al. 2019): one BERT over a text's words and a picture's
regions (fusion/single_stream.py).

As published the regions are those of a detector. Here they are the photo and the record's object crops, each through the image encoder and
averaged (`cells` makes several regions of each, the cells of a grid): the boxes are the detector's, the features those of its crop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.declare import Section, choice, flag, number, whole
from mmre_jax.encoders.absent import encode_maps
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, check_one_side, norms_follow, photo_and_objects, pyramid_config, resnet_config
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig, PyramidEncoder
from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.encoders.vgg import adaptive_mean
from mmre_jax.fusion.single_stream import RegionEmbeddings, single_stream
from mmre_jax.heads.choice import apply_head, check_task, objective, places_read
from mmre_jax.systems.system import ModuleSystem, Pictures, Sight, side_by_side

VisionConfig = ResNetConfig | PyramidConfig


@dataclasses.dataclass(frozen=True)
class VisualBertConfig:
    """Sizes.

    vision: None for the text-only configuration.
    pictures: names of the picture slots, the photo's first.
    cells: a side of the grid of regions of each picture.
    task, classes: 'relation' or 'entities', and its relations or tags.
    head_dropout: before the entity head.
    """

    text: BertConfig
    vision: VisionConfig | None
    pictures: tuple[str, ...]
    cells: int
    task: str
    classes: int
    head_dropout: float = 0.1


class VisualBert(nn.Module):
    """The network: (text, pictures, present) -> relation logits [B, R], or the outputs of an `EntityHead`."""

    config: VisualBertConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool
    ) -> jax.Array | dict[str, jax.Array]:
        """Computes the stream and the head.

        Args:
          text: ids int32 [B, L], mask bool [B, L], for relations markers int32 [B, 2].
          pictures: per slot float32 [B, K, S, S, 3], normalised, all slots of one size, or the features of `sight`.
          present: per slot bool [B, K].
        """
        config, at = self.config, places_read(self, self.config.task, text)
        see = None if config.vision is None else sight(config.vision, config.pictures, config.cells, self.dtype)
        states = stream(config.text, see, config.pictures, self.dtype, text, pictures, present, train=train, at=at)[0]
        how = {"at": at, "dropout": config.head_dropout, "dtype": self.dtype, "train": train}
        return apply_head(config.task, config.classes, states, text, **how)


def stream(
    config: BertConfig,
    see: Sight | None,
    names: tuple[str, ...],
    dtype: jnp.dtype,
    text: Mapping[str, jax.Array],
    pictures: Pictures,
    present: Mapping[str, jax.Array],
    *,
    train: bool,
    at: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """The last states of words [B, L, D], or [B, K, D] at the places `at`, and, without `at`, of regions [B, P, D]; and which regions there
    are, bool [B, P]. None of both without pictures.

    To be called inside a compact method: it makes the submodules `text`, `regions` and that of `see`.

    Args:
      see: of `sight`; None: words alone.
      names: of the picture slots.
    """
    bert, length = Bert(config, dtype=dtype, name="text"), text["ids"].shape[1]
    if see is None:
        return single_stream(bert, text["ids"], text["mask"], None, None, train=train, at=at), None, None
    features = see(pictures, present, train=train)["regions"]  # [B, K, R, C]
    each = features.shape[2]
    regions = RegionEmbeddings(config, dtype, name="regions")(features.reshape(len(features), -1, features.shape[-1]))
    there = jnp.repeat(side_by_side(present, names), each, axis=1)
    states = single_stream(bert, text["ids"], text["mask"], regions, there, train=train, at=at)
    return (states, None, there) if at is not None else (states[:, :length], states[:, length:], there)


def sight(vision: VisionConfig, names: tuple[str, ...], cells: int, dtype: jnp.dtype) -> Sight:
    """The features of the regions of each picture, "regions" [B, K, cells * cells, C]: means over the encoder's last map, or over the level
    that is read of a detector's pyramid.

    Args:
      names: of the picture slots, the photo's first.
    """

    def see(pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool) -> dict[str, jax.Array]:
        pictures, there = side_by_side(pixels, names), side_by_side(present, names)  # [B, K, S, S, 3], [B, K]
        encoder = (PyramidEncoder if isinstance(vision, PyramidConfig) else ResNet)(vision, dtype=dtype, name="vision")

        def regions(maps: Sequence[jax.Array]) -> jax.Array:
            grid = adaptive_mean(maps[-1].astype(jnp.float32), cells).astype(maps[-1].dtype)
            return grid.reshape(len(grid), cells * cells, grid.shape[-1])

        return {"regions": encode_maps(encoder, pictures, there, regions, train=train)}

    return Sight(see, apart=True)


SETTINGS: Section = {
    "flavour": choice("paper", ("paper",), "the published model; no code was released for these tasks"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "cells": whole(1, "[1, inf)", "a side of the grid of regions of each picture; 1: each is one region"),
    "head_dropout": number(0.1, "[0, 1)", "entities: before the linear layer"),
    "constrain": flag(True, "entities: rule out what BIO forbids"),
}


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, data, text, vision, optim.
      vocab_size: rows of the word table.
      labels: relations, or tags.

    Raises:
      ValueError: for settings that contradict each other.
    """
    check_task(config.task.name, "visualbert")
    system, text = config.system, bert_config(config.text, vocab_size)
    aim = objective(config.task.name, labels, system.constrain)
    sees = system.modalities == "both"
    vision = vision_of(config) if sees else None
    plan = photo_and_objects(config.vision, config.data.objects) if sees else ()
    names = tuple(slot.name for slot in plan)
    net = VisualBertConfig(text, vision, names, system.cells, config.task.name, len(labels), system.head_dropout)
    eye = None if vision is None else sight(vision, names, system.cells, dtype)
    return ModuleSystem(VisualBert(net, dtype), aim, plan, norms_follow(vision), sight=eye)


def vision_of(config: ConfigDict) -> VisionConfig:
    """The image encoder of the regions. Raises ValueError for one of another kind, and for pictures that it cannot make so many regions
    of."""
    vision, frozen = config.vision, "vision" in config.optim.frozen
    if vision.kind not in ("resnet", "resnest", "rcnn"):
        raise ValueError(f"regions are cells of a convolutional encoder's map: vision.kind=resnet, resnest or rcnn, found {vision.kind!r}")
    found = pyramid_config(vision, frozen=frozen) if vision.kind == "rcnn" else resnet_config(vision, frozen=frozen)
    check_one_side(config)
    stride = found.backbone.stride if isinstance(found, PyramidConfig) else found.stride
    if isinstance(found, PyramidConfig) and found.level is not None:
        stride = stride // 2 ** (found.stages - 1) * 2**found.level
    if config.system.cells > (side := -(-vision.side // stride)):
        raise ValueError(f"system.cells={config.system.cells}, but the map of vision.side={vision.side} has {side} cells a side")
    return found
