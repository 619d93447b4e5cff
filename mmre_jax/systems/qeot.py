"""QEOT: a query-based entity-object transformer (Multimodal Entity-Object Relational Triple Extraction, 2024).

Text and picture are encoded apart and collect from each other what they select (fusion/selective_attention.py), as much of it as a gate
lets through (fusion/gated_fusion.py). A transformer encoder reads the fused image, learnt queries read the encoder, and each query says
one triple: span, relation, box (heads/queries.py, heads/triples.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from mmre_jax.data.pictures import PicturePlan
from mmre_jax.declare import Section, choice, flag
from mmre_jax.encoders.absent import encode_maps, encode_patches
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, norms_follow, photo_and_objects, pyramid_config, resnet_config, vit_config
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig, PyramidEncoder
from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.encoders.vit import PHOTO, ViT, ViTConfig
from mmre_jax.fusion.gated_fusion import GatedFusion
from mmre_jax.fusion.positions import sine_positions
from mmre_jax.fusion.query_transformer import masked_mean
from mmre_jax.fusion.selective_attention import SelectiveAttention
from mmre_jax.heads import queries
from mmre_jax.heads.queries import QueriesConfig, check_queries, queries_config, read_triples, triple_objective
from mmre_jax.systems.system import ModuleSystem, Pictures, Reading, Sight

VisionConfig: TypeAlias = ViTConfig | ResNetConfig | PyramidConfig


@dataclasses.dataclass(frozen=True)
class QEOTConfig:
    """Sizes and ablations.

    vision: None for the text-only configuration: queries read the text, and boxes are guesses.
    triples: what reads the fused states (heads/queries.py).
    select: False is "w/o select": the modalities never meet before the heads, and there is nothing to gate.
    gate: False is "w/o gated": what was selected is added whole.
    memory: what the transformer encoder reads: the fused 'image' (the paper), or 'both', the fused text before it. A record without a
      picture leaves the queries nothing to read but its text.
    encoder_positions: whether the cells' positions are added to what enters the transformer encoder, too, as DETR does. The paper adds
      them once, in the image's queries and keys (eq. 3), and hands the encoder H_out^Img as it is: "w/o select" they are then nowhere.
    """

    text: BertConfig
    vision: VisionConfig | None
    triples: QueriesConfig
    select: bool = True
    gate: bool = True
    memory: Literal["image", "both"] = "image"
    encoder_positions: bool = False


class QEOT(nn.Module):
    """The network: (text, pictures, present) -> the outputs of a TripleHead."""

    config: QEOTConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        text: Mapping[str, jax.Array],
        pictures: Pictures,
        present: Mapping[str, jax.Array],
        *,
        train: bool,
    ) -> dict[str, jax.Array]:
        """Computes eq. 1-6.

        Args:
          text: ids int32 [B, L], mask bool [B, L].
          pictures: the photo, float32 [B, 1, S, S, 3], normalised, or the features of `sight`.  present: bool [B, 1].

        Returns:
          See heads/triples.py; N is `decoder_layers` under deep supervision, else 1.
        """
        config, words = self.config, text["mask"]
        h_text = reading(config.text, self.dtype)(text, None, train=train)
        if config.vision is None:
            means, sequence = [masked_mean(h_text, words)], [(h_text, words)]
        else:
            h_image, positions, cells = self._see(config.vision, pictures, present, train)
            if config.select:
                h_text, h_image = self._fuse(h_text, h_image, positions, words, cells)
            means = [masked_mean(h_text, words), masked_mean(h_image, cells)]
            sequence = [(h_text, words)] if config.memory == "both" else []
            placed = h_image + positions.astype(h_image.dtype)[None] if config.encoder_positions else h_image
            sequence.append((placed, cells))
        return read_triples(config.triples, sequence, (h_text, words), means, self.dtype, train=train)

    def _see(
        self, vision: VisionConfig, pictures: Pictures, present: Mapping[str, jax.Array], train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """H^Img [B, P, D], the image encoder's cells row by row, Pos^Img float32 [P, D] (eq. 1), and which cells are, bool [B, P]. They are
        those of a ViT's or ResNet's last layer, or of one level of a detector's feature pyramid."""
        width, states = self.config.text.width, sight(vision, self.dtype)(pictures, present, train=train)["cells"]
        side = math.isqrt(states.shape[1])
        image = nn.Dense(width, dtype=self.dtype, name="project")(states)
        return image, jnp.asarray(sine_positions(side, side, width)), jnp.broadcast_to(present[PHOTO], image.shape[:2])

    def _fuse(
        self, text: jax.Array, image: jax.Array, positions: jax.Array, words: jax.Array, cells: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """H_out^Text [B, L, D] and H_out^Img [B, P, D] (eq. 2-4); the text of a record without a picture as it is."""
        found = SelectiveAttention(name="select")(text, image, positions, words, cells)
        if not self.config.gate:
            return text + found[0], image + found[1]
        return (
            GatedFusion(self.dtype, name="gate_text")(text, found[0], cells.any(axis=1)),
            GatedFusion(self.dtype, name="gate_image")(image, found[1], words.any(axis=1)),
        )


def sight(vision: VisionConfig, dtype: DTypeLike) -> Sight:
    """The image encoder's cells row by row, "cells" [B, P, C]."""

    def see(pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool) -> dict[str, jax.Array]:
        if isinstance(vision, ViTConfig):
            return {"cells": encode_patches(ViT(vision, dtype=dtype, name="vision"), pixels, present, train=train)[-1][:, 1:]}
        pyramid = isinstance(vision, PyramidConfig)
        encoder = (PyramidEncoder if pyramid else ResNet)(vision, dtype=dtype, name="vision")
        cells = encode_maps(encoder, pixels[PHOTO], present[PHOTO], lambda maps: maps[0 if pyramid else -1], train=train)[:, 0]
        return {"cells": cells.reshape(len(cells), -1, cells.shape[-1])}

    return Sight(see)


def reading(config: BertConfig, dtype: DTypeLike) -> Reading:
    """The text encoder's last states of all tokens, [B, L, D]."""

    def read(text: Mapping[str, jax.Array], at: jax.Array | None, *, train: bool) -> jax.Array:
        return Bert(config, dtype=dtype, name="text")(text["ids"], text["mask"], train=train, at=at)[-1]

    return Reading(read)


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, data, text, vision, optim.
      vocab_size: rows of the word table.
      labels: relations, without the empty one.

    Raises:
      ValueError: for settings that contradict each other or that do not exist.
    """
    check_queries(config, "QEOT")
    system = config.system
    plan = () if system.modalities == "text" else photo_and_objects(config.vision, "none")
    net = QEOTConfig(
        text=bert_config(config.text, vocab_size),
        vision=_vision(config.vision, plan, "vision" in config.optim.frozen),
        triples=queries_config(system, len(labels)),
        select=system.select,
        gate=system.gate,
        memory=system.memory,
        encoder_positions=system.encoder_positions,
    )
    eye = None if net.vision is None else sight(net.vision, dtype)
    seen = {"sight": eye, "reading": reading(net.text, dtype)}
    return ModuleSystem(QEOT(net, dtype), triple_objective(system), plan, norms_follow(net.vision), **seen)


def _vision(vision: ConfigDict, plan: PicturePlan, frozen: bool) -> VisionConfig | None:
    if not plan:
        return None
    if vision.kind == "vit":
        return vit_config(vision, plan, vision.layers)
    return pyramid_config(vision, frozen=frozen) if vision.kind == "rcnn" else resnet_config(vision, frozen=frozen)


SETTINGS: Section = {
    "flavour": choice("paper", ("paper",), "no code was released"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "select": flag(True, "selective attention, and with it the gate"),
    "gate": flag(True, "of what is selected a gate lets through; else it is added as it is"),
    "memory": choice("image", ("image", "both"), "what the queries read; both: the fused text, too"),
    "encoder_positions": flag(
        False, "the cells' positions at the encoder's input, too, not only in selective attention's queries and keys (eq. 3)", former=True
    ),
    **queries.SETTINGS,
}
