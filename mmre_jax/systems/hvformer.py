"""HVFormer: a mixture of hierarchical visual context learners (Multimodal Relation Extraction via a Mixture of ..., WWW 2024).

Text and image are encoded apart; for each chosen level of the image encoder, text tokens attend to its patches (fusion/mome.py, TVA),
one expert a level fuses what they found, and a router mixes the experts per token, a text-only one among them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.declare import Section, choice, must_divide, whole, wholes
from mmre_jax.encoders.absent import encode_patches
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, photo_and_objects, vit_config
from mmre_jax.encoders.vit import ViT, ViTConfig, patch_mask
from mmre_jax.fusion.mome import MixtureOfExperts, TextGuidedAttention, marked_weights
from mmre_jax.heads.choice import apply_head, places_read
from mmre_jax.heads.relation import RelationObjective
from mmre_jax.systems.system import ModuleSystem, Pictures, Reading, Sight


@dataclasses.dataclass(frozen=True)
class HVFormerConfig:
    """Sizes and ablations.

    vision: None for the text-only configuration.
    levels: hidden states of the image encoder that get an expert; 0 is the embedded patches. One level alone is figure 4, the last
      alone is "w/o HVF".
    gather: 'tva', or 'cls' for "w/o TVA": the [CLS] patch of each level for every token.
    mixture: 'experts', or 'concat' for "w/o MoME".
    """

    text: BertConfig
    vision: ViTConfig | None
    relations: int
    levels: tuple[int, ...]
    heads: int = 12
    gather: Literal["tva", "cls"] = "tva"
    mixture: Literal["experts", "concat"] = "experts"

    def __post_init__(self) -> None:
        if self.vision is None:
            return
        if not self.levels or sorted(set(self.levels)) != list(self.levels):
            raise ValueError(f"system.levels must be ascending and not empty, found {self.levels}")
        if self.levels[0] < 0 or self.levels[-1] != self.vision.layers:
            raise ValueError(f"the image encoder is built up to the highest level: levels {self.levels}, {self.vision.layers} layers")


class HVFormer(nn.Module):
    """The network: (text, pictures, present) -> relation logits."""

    config: HVFormerConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        text: Mapping[str, jax.Array],
        pictures: Pictures,
        present: Mapping[str, jax.Array],
        *,
        train: bool,
    ) -> jax.Array:
        """Computes eq. 2-11.

        Args:
          text: ids int32 [B, L], mask bool [B, L], markers int32 [B, 2] (positions of the two opening markers).
          pictures: per slot float32 [B, K, S, S, 3], normalised, or the features of `sight`.  present: per slot bool [B, K].

        Returns:
          logits float32 [B, R].
        """
        config, at = self.config, places_read(self, "relation", text)
        states = reading(config.text, self.dtype)(text, at, train=train)
        if config.vision is not None:
            classes = config.gather == "cls" and not self.is_mutable_collection("intermediates")
            found = sight(config.vision, config.levels, self.dtype, classes=classes)(pictures, present, train=train)
            states = self._fuse(states, [found[f"level_{level}"] for level in config.levels], patch_mask(config.vision, present))
        return apply_head("relation", config.relations, states, text, at=at, dtype=self.dtype, train=train)

    def _fuse(self, text: jax.Array, levels: list[jax.Array], mask: jax.Array) -> jax.Array:
        """text [B, L, D], or where it is read alone [B, 2, D]; levels N x [B, P, V], mask [B, P] -> as the text."""
        config, width = self.config, text.shape[-1]
        if config.gather == "tva":
            visual = [
                TextGuidedAttention(width, config.heads, dtype=self.dtype, name=f"tva_{name}")(text, level, mask)
                for name, level in zip(config.levels, levels, strict=True)
            ]
        else:
            visual = [self._class_patch(f"cls_{name}", level, text, mask) for name, level in zip(config.levels, levels, strict=True)]
        return MixtureOfExperts(config.mixture, dtype=self.dtype, name="mome")(text, visual)

    def _class_patch(self, name: str, level: jax.Array, text: jax.Array, mask: jax.Array) -> jax.Array:
        """The [CLS] patch [B, V] of a level for every token of text [B, L or 2, D]: as the text; zero where there is no picture."""
        patch = jnp.where(mask[:, :1], level[:, 0], jnp.zeros_like(level[:, 0]))
        if patch.shape[-1] != text.shape[-1]:
            patch = nn.Dense(text.shape[-1], dtype=self.dtype, name=name)(patch)
        return jnp.broadcast_to(patch[:, None], text.shape)


def sight(vision: ViTConfig, levels: tuple[int, ...], dtype: jnp.dtype, *, masked: bool = True, classes: bool = False) -> Sight:
    """The chosen levels of the image encoder, level_N [B, P, V].

    Args:
      masked: whether absent pictures are.
      classes: whether [CLS] alone is read, which the last level then has alone, [B, 1, V].
    """

    def see(pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool) -> dict[str, jax.Array]:
        at = jnp.zeros((len(next(iter(pixels.values()))), 1), jnp.int32) if classes else None
        vit = ViT(vision, dtype=dtype, name="vision")
        hidden = encode_patches(vit, pixels, present, train=train, at=at) if masked else vit(pixels, None, train=train, at=at)
        return {f"level_{level}": hidden[level] for level in levels}

    return Sight(see)


def reading(config: BertConfig, dtype: jnp.dtype) -> Reading:
    """The text encoder's last states at the two opening markers, [B, 2, D]."""

    def read(text: Mapping[str, jax.Array], at: jax.Array | None, *, train: bool) -> jax.Array:
        return Bert(config, dtype=dtype, name="text")(text["ids"], text["mask"], train=train, at=at)[-1]

    return Reading(read, places=lambda text: text["markers"])


SETTINGS: Section = {
    "flavour": choice("paper", ("paper", "reference"), "reference: what the released code computes"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "levels": wholes((), "[0, inf)", "of the image encoder; () is first, middle, last", order="ascending", empty=True),
    "heads": whole(12, "[1, inf)", "of the attention from text to image; divide text.width"),
    "gather": choice("tva", ("tva", "cls"), "what of a level a token gets: by text-guided attention, or its [CLS] patch"),
    "mixture": choice("experts", ("experts", "concat"), "how levels come together"),
}


def default_levels(layers: int) -> tuple[int, ...]:
    """First, middle and last level of an encoder of that many layers: (0, 6, 12) for 12."""
    return tuple(sorted({0, layers // 2, layers}))


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, data, text, vision, optim.
      vocab_size: rows of the word table.
      labels: relations, the empty one included.

    Raises:
      ValueError: for settings that contradict each other.
    """
    check(config)
    system, text = config.system, bert_config(config.text, vocab_size)
    if system.modalities == "text":
        net = HVFormerConfig(text=text, vision=None, relations=len(labels), levels=())
        return ModuleSystem(HVFormer(net, dtype), RelationObjective(), (), reading=reading(text, dtype))
    levels, plan = levels_of(config), photo_and_objects(config.vision, config.data.objects)
    net = HVFormerConfig(
        text=text,
        vision=vit_config(config.vision, plan, levels[-1]),
        relations=len(labels),
        levels=levels,
        heads=system.heads,
        gather=system.gather,
        mixture=system.mixture,
    )
    tell = functools.partial(marked_weights, levels=levels) if system.mixture == "experts" else None
    eye = sight(net.vision, levels, dtype, classes=system.gather == "cls")
    return ModuleSystem(HVFormer(net, dtype), RelationObjective(), plan, tell=tell, sight=eye, reading=reading(text, dtype))


def levels_of(config: ConfigDict) -> tuple[int, ...]:
    """The levels that get an expert. Raises ValueError for one that the image encoder does not have."""
    levels = tuple(config.system.levels) or default_levels(config.vision.layers)
    if levels[-1] > config.vision.layers:
        raise ValueError(f"system.levels={levels} go beyond the image encoder's vision.layers={config.vision.layers}")
    return levels


def check(config: ConfigDict) -> None:
    """Raises ValueError for settings that contradict each other, in whatever flavour."""
    if config.task.name != "relation":
        raise ValueError(f"system 'hvformer' has the task relation, found task.name={config.task.name!r}")
    if config.system.modalities == "both" and config.vision.kind != "vit":
        raise ValueError(f"the experts look at a transformer's levels: vision.kind={config.vision.kind!r} has none")
    if config.system.modalities == "both":
        must_divide("system.heads", config.system.heads, "text.width", config.text.width)
