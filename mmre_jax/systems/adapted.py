"""IFAformer*, HVPNeT* and VisualBERT*: what QEOT's table 1 compares with, systems for relations of given pairs, adapted to extract triples.

QEOT's paper says of them that they were "adapted ... as end-to-end models with entity extraction and object detection" (section 4.1.2),
and no more. Here each computes its fused states as its own paper has it, of the photo and without markers, and these feed QEOT's heads
under QEOT's joint loss (heads/queries.py). What is read is the text's states and, behind them, those of the image:

- IFAformer*: the last states of both streams; the vision stream's patches, without [CLS].
- HVPNeT*: it has no sequence of image states. Its text's states were conditioned by the visual prefix; beside them stand the prefix's own
  cells, 2 x 2 of the photo, as the last text layer has them for values: what its words could take from the picture.
- VisualBERT*: the one stream, its words and its regions, which are the cells of the photo.

What carries the triples: as the paper has it, Q fixed slots (`queries_by` slots in configs/adapted.py), each a linear map of the pooled
states, without the query-based transformer, for that is QEOT's own part; of models without it the paper says that they "cannot handle
multi-task learning and multiple outputs" (section 4.2), and its ablation "w/o query" is the same. `queries_by` decoder and
`encoder_layers` put it behind the fused states.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.declare import Section, choice, flag, whole
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, norms_follow, photo_and_objects, vit_config
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.encoders.vit import PHOTO, ViT, ViTConfig, patch_mask
from mmre_jax.fusion.cross_stream import exchange_whole, must_agree
from mmre_jax.fusion.positions import sine_positions
from mmre_jax.fusion.query_transformer import masked_mean
from mmre_jax.fusion.visual_prefix import CELLS, PrefixConfig, VisualPrefix
from mmre_jax.heads import queries
from mmre_jax.heads.queries import Places, QueriesConfig, check_queries, queries_config, read_triples, triple_objective
from mmre_jax.systems import rsrnet, visualbert
from mmre_jax.systems.system import ModuleSystem, Pictures, Sight

SLOTS = (PHOTO,)
FUSIONS = ("ifaformer", "hvpnet", "visualbert")


@dataclasses.dataclass(frozen=True)
class AdaptedConfig:
    """Sizes.

    fusion: whose.
    vision: None for the text-only configuration, which is the same of all three.
    triples: what reads the fused states.
    cells: visualbert: a side of the grid of regions.
    encoder_positions: whether the positions of the image's cells are added to their states, see `QEOTConfig`.
    """

    fusion: Literal["ifaformer", "hvpnet", "visualbert"]
    text: BertConfig
    vision: ViTConfig | ResNetConfig | PyramidConfig | None
    triples: QueriesConfig
    cells: int = 7
    encoder_positions: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.vision, ViTConfig):
            must_agree(self.text, self.vision)

    def sight(self, dtype: jnp.dtype) -> Sight | None:
        """What is computed of the photo alone; None where nothing is."""
        if self.vision is None or isinstance(self.vision, ViTConfig):
            return None
        if self.fusion == "hvpnet":
            return rsrnet.sight(self.vision, SLOTS, dtype)
        return visualbert.sight(self.vision, SLOTS, self.cells, dtype)


class Adapted(nn.Module):
    """The network: (text, pictures, present) -> the outputs of a TripleHead."""

    config: AdaptedConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool
    ) -> dict[str, jax.Array]:
        """Computes fused states and triples.

        Args:
          text: ids int32 [B, L], mask bool [B, L].
          pictures: the photo, float32 [B, 1, S, S, 3], normalised, or the features of `sight`.  present: bool [B, 1].
        """
        config, words = self.config, text["mask"]
        if config.vision is None:
            states = Bert(config.text, dtype=self.dtype, name="text")(text["ids"], words, train=train)[-1]
            return self._read([(states, words)], train)
        fuse = {"ifaformer": self._two_streams, "hvpnet": self._prefixed, "visualbert": self._single_stream}[config.fusion]
        states, (cells, there) = fuse(text, pictures, present, train)
        return self._read([(states, words), (cells, there)], train)

    def _read(self, places: list[Places], train: bool) -> dict[str, jax.Array]:
        means = [masked_mean(*each) for each in places]
        sequence = list(places)
        if self.config.encoder_positions and len(places) > 1:
            cells, there = places[1]
            side = math.isqrt(cells.shape[1])
            sequence[1] = cells + jnp.asarray(sine_positions(side, side, cells.shape[-1])).astype(cells.dtype)[None], there
        return read_triples(self.config.triples, sequence, places[0], means, self.dtype, train=train)

    def _two_streams(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], train: bool
    ) -> tuple[jax.Array, Places]:
        """IFAformer's."""
        vision = self.config.vision
        assert isinstance(vision, ViTConfig)
        bert, vit = Bert(self.config.text, dtype=self.dtype, name="text"), ViT(vision, dtype=self.dtype, name="vision")
        embedded, mask = bert.embed(text["ids"], text["mask"], train=train), patch_mask(vision, present)
        states, patches = exchange_whole(bert, vit, embedded, vit.embed(pictures, mask, train=train), text["mask"], mask, train=train)
        return states, (patches[:, 1:], mask[:, 1:])

    def _prefixed(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], train: bool
    ) -> tuple[jax.Array, Places]:
        """HVPNeT's."""
        sizes, see = self.config.text, self.config.sight(self.dtype)
        assert see is not None
        prefix = PrefixConfig(sizes.layers, sizes.width, sizes.heads, gate="leaky_relu")
        prefixes = VisualPrefix(prefix, dtype=self.dtype, name="prefix")(*rsrnet.stage_maps(see(pictures, present, train=train)))
        there = jnp.repeat(present[PHOTO], CELLS, axis=1)
        bert, how = Bert(sizes, dtype=self.dtype, name="text"), {"prefixes": prefixes, "prefix_mask": there}
        states = bert(text["ids"], text["mask"], train=train, **how)[-1]
        values = prefixes[-1][1]
        return states, (values.reshape(*values.shape[:2], sizes.width), there)

    def _single_stream(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], train: bool
    ) -> tuple[jax.Array, Places]:
        """VisualBERT's."""
        see = self.config.sight(self.dtype)
        states, regions, there = visualbert.stream(self.config.text, see, SLOTS, self.dtype, text, pictures, present, train=train)
        assert regions is not None and there is not None
        return states, (regions, there)


SETTINGS: Section = {
    "flavour": choice("paper", ("paper",), "no code was released"),
    "fusion": choice("visualbert", FUSIONS, "whose fused states QEOT's heads read"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "cells": whole(7, "[1, inf)", "visualbert: a side of the grid of the photo's regions"),
    "encoder_positions": flag(False, "the cells' positions are added to what the queries (or slots) read of them"),
    **queries.SETTINGS,
}


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, data, text, vision, optim.
      vocab_size: rows of the word table.
      labels: relations, without the empty one.

    Raises:
      ValueError: for settings that contradict each other.
    """
    system = config.system
    check_queries(config, f"system 'adapted' (system.fusion={system.fusion})")
    plan = () if system.modalities == "text" else photo_and_objects(config.vision, "none")
    vision: ViTConfig | ResNetConfig | PyramidConfig | None = None
    if plan and system.fusion == "ifaformer":
        vision = vit_config(config.vision, plan, config.vision.layers)
    elif plan and system.fusion == "hvpnet":
        rsrnet.check_kind(config)
        vision = rsrnet.vision_of(config, rsrnet.stages_of(config), "gates")
    elif plan:
        vision = visualbert.vision_of(config)
    text = bert_config(config.text, vocab_size)
    net = AdaptedConfig(system.fusion, text, vision, queries_config(system, len(labels)), system.cells, system.encoder_positions)
    return ModuleSystem(Adapted(net, dtype), triple_objective(system), plan, norms_follow(vision), sight=net.sight(dtype))
