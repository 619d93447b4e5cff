"""QEOT: a query-based entity-object transformer (Multimodal Entity-Object Relational Triple Extraction, 2024).

Text and picture are encoded apart and collect from each other what they select (fusion/selective_attention.py), as much of it as a gate
lets through (fusion/gated_fusion.py). A transformer encoder reads the fused image, learnt queries read the encoder, and each query says
one triple: span, relation, box (heads/triples.py).
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
from mmre_jax.declare import Section, choice, flag, must_divide, number, whole
from mmre_jax.encoders.absent import encode_maps, encode_patches
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, photo_and_objects, pyramid_config, resnet_config, vit_config
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig, PyramidEncoder
from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.encoders.vit import PHOTO, ViT, ViTConfig
from mmre_jax.fusion.gated_fusion import GatedFusion
from mmre_jax.fusion.positions import sine_positions
from mmre_jax.fusion.query_transformer import Decoder, Encoder, Slots, TransformerSizes, masked_mean
from mmre_jax.fusion.selective_attention import SelectiveAttention
from mmre_jax.heads.triples import TripleHead, TripleObjective, TripleWeights
from mmre_jax.matching import MATCHERS
from mmre_jax.systems.system import ModuleSystem, Pictures, Reading, Sight

VisionConfig: TypeAlias = ViTConfig | ResNetConfig | PyramidConfig


@dataclasses.dataclass(frozen=True)
class QEOTConfig:
    """Sizes and ablations.

    vision: None for the text-only configuration: queries read the text, and boxes are guesses.
    relations: R, without the empty one.
    queries: Q, the most triples a record can get.
    select: False is "w/o select": the modalities never meet before the heads, and there is nothing to gate.
    gate: False is "w/o gated": what was selected is added whole.
    queries_by: 'slots' is "w/o query": the means of the fused text and of the encoded sequence feed Q fixed outputs, without a decoder.
    memory: what the transformer encoder reads: the fused 'image' (the paper), or 'both', the fused text before it. A record without a
      picture leaves the queries nothing to read but its text.
    deep_supervision: whether every decoder layer's queries go through the heads and have a loss.
    entity_head: 'dot' or 'mlp', see TripleHead.
    encoder_positions: whether the cells' positions are added to what enters the transformer encoder, too, as DETR does. The paper adds
      them once, in the image's queries and keys (eq. 3), and hands the encoder H_out^Img as it is: "w/o select" they are then nowhere.
    """

    text: BertConfig
    vision: VisionConfig | None
    relations: int
    queries: int = 5
    encoder_layers: int = 6
    decoder_layers: int = 6
    sizes: TransformerSizes = TransformerSizes()
    select: bool = True
    gate: bool = True
    queries_by: Literal["decoder", "slots"] = "decoder"
    memory: Literal["image", "both"] = "image"
    deep_supervision: bool = False
    entity_head: Literal["dot", "mlp"] = "dot"
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
        memory, mask = (jnp.concatenate(parts, axis=1) for parts in zip(*sequence, strict=True))
        memory = Encoder(config.encoder_layers, config.sizes, self.dtype, name="encoder")(memory, mask, train=train)
        queries = self._query(memory, mask, means[0], train)
        head = TripleHead(config.relations, config.entity_head, self.dtype, name="head")
        return head(queries, h_text, words, jnp.concatenate(means, axis=-1))

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

    def _query(self, memory: jax.Array, mask: jax.Array, pooled: jax.Array, train: bool) -> jax.Array:
        """H^q of every layer that has a loss, [N, B, Q, D]."""
        config = self.config
        if config.queries_by == "slots":
            both = jnp.concatenate([pooled, masked_mean(memory, mask)], axis=-1)
            return Slots(config.queries, config.text.width, self.dtype, name="slots")(both)
        decoder = Decoder(config.queries, config.decoder_layers, config.sizes, self.dtype, name="decoder")
        states = decoder(memory, mask, train=train)
        return states if config.deep_supervision else states[-1:]


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
    _check(config)
    system = config.system
    plan = () if system.modalities == "text" else photo_and_objects(config.vision, "none")
    net = QEOTConfig(
        text=bert_config(config.text, vocab_size),
        vision=_vision(config.vision, plan, "vision" in config.optim.frozen),
        relations=len(labels),
        queries=system.queries,
        encoder_layers=system.encoder_layers,
        decoder_layers=system.decoder_layers,
        sizes=TransformerSizes(system.heads, system.mlp, system.dropout),
        select=system.select,
        gate=system.gate,
        queries_by=system.queries_by,
        memory=system.memory,
        deep_supervision=system.deep_supervision,
        entity_head=system.entity_head,
        encoder_positions=system.encoder_positions,
    )
    objective = TripleObjective(TripleWeights(**system.weights.to_dict()), system.empty_weight, system.matcher)
    convolutional = net.vision.backbone if isinstance(net.vision, PyramidConfig) else net.vision
    batch_norm = isinstance(convolutional, ResNetConfig) and convolutional.follows
    eye = None if net.vision is None else sight(net.vision, dtype)
    return ModuleSystem(QEOT(net, dtype), objective, plan, batch_norm, sight=eye, reading=reading(net.text, dtype))


def _vision(vision: ConfigDict, plan: PicturePlan, frozen: bool) -> VisionConfig | None:
    if not plan:
        return None
    if vision.kind == "vit":
        return vit_config(vision, plan, vision.layers)
    return pyramid_config(vision, frozen=frozen) if vision.kind == "rcnn" else resnet_config(vision, frozen=frozen)


SETTINGS: Section = {
    "flavour": choice("paper", ("paper",), "no code was released"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "queries": whole(5, "[1, inf)", "the most triples a record can get"),
    "encoder_layers": whole(6, "[0, inf)", "of the transformer behind the fusion"),
    "decoder_layers": whole(6, "[0, inf)", "of the queries; at least 1 where they are made by the decoder"),
    "heads": whole(8, "[1, inf)", "of these layers"),
    "mlp": whole(2048, "[1, inf)", "width inside these layers' feed-forward blocks"),
    "dropout": number(0.1, "[0, 1)", "in these layers"),
    "select": flag(True, "selective attention, and with it the gate"),
    "gate": flag(True, "of what is selected a gate lets through; else it is added as it is"),
    "queries_by": choice("decoder", ("decoder", "slots"), "slots: queries from the pooled states, without a decoder"),
    "memory": choice("image", ("image", "both"), "what the queries read; both: the fused text, too"),
    "deep_supervision": flag(False, "a loss after every decoder layer"),
    "entity_head": choice("dot", ("dot", "mlp"), "how a query scores the tokens of its span"),
    "encoder_positions": flag(
        False, "the cells' positions at the encoder's input, too, not only in selective attention's queries and keys (eq. 3)", former=True
    ),
    "matcher": choice("scipy", MATCHERS, "of queries and triples: scipy (on the host), optax (on the device)"),
    "empty_weight": number(0.1, "(0, inf)", "of queries without a triple, in the relation loss"),
    "weights": {  # of the joint loss
        "entity": number(1.0, "[0, inf)", "weight of the spans in the joint loss"),
        "relation": number(2.0, "[0, inf)", "of the relations"),
        "l1": number(3.0, "[0, inf)", "of the boxes' coordinates, there and in the matching"),
        "giou": number(3.5, "[0, inf)", "of the boxes' overlap, likewise"),
    },
}


def _check(config: ConfigDict) -> None:
    system = config.system
    if config.task.name != "triples":
        raise ValueError(f"QEOT extracts triples: set task.name=triples, found {config.task.name!r}")
    must_divide("system.heads", system.heads, "text.width", config.text.width)
    if system.modalities == "both" and config.text.width % 4:
        raise ValueError(f"the image's 2-D sine positions need a text.width divisible by 4, found {config.text.width}")
    if system.queries_by == "decoder" and system.decoder_layers < 1:
        raise ValueError("system.decoder_layers=0, but system.queries_by=decoder needs at least 1 layer; slots does without")
    if config.data.objects != "none":
        raise ValueError(f"QEOT looks at the photo alone: set data.objects=none, found {config.data.objects!r}")
    if config.vision.resize != "squash":
        raise ValueError(f"boxes are parts of the whole photo, which vision.resize=squash alone keeps, found {config.vision.resize!r}")
