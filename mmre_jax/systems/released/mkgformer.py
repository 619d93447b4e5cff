"""MKGformer (Hybrid Transformer with Multi-level Fusion for Multimodal Knowledge Graph Completion, SIGIR 2022), for relations.

A text and a vision transformer run side by side and meet in their last layers: there the vision stream attends to the text's keys and
values, one layer behind (prefix-guided interaction), and the text's feed-forward blocks take in what each token finds among the patches
(correlation-aware fusion). The text stream predicts. The arithmetic is that of the released code.

Shape letters: B batch, L tokens, P patches, D width.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.attention import attention, kernel_init
from mmre_jax.declare import Section, choice, whole
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, photo_and_objects, released_crops, vit_config
from mmre_jax.encoders.vit import ViT, ViTConfig, patch_mask
from mmre_jax.heads.choice import apply_head, places_read
from mmre_jax.heads.relation import RelationObjective
from mmre_jax.systems.system import ModuleSystem, Pictures, Sight


@dataclasses.dataclass(frozen=True)
class MKGformerConfig:
    """Sizes.

    vision: None for the text-only configuration.
    fused: last layers in which the streams meet; fewer than there are, for the first of them takes what the text's layer before it made.
    flavour: 'masked', or 'reference', what the released code computes: the vision stream attends to the text's padding, and absent
      pictures are zeros that are attended to.
    """

    text: BertConfig
    vision: ViTConfig | None
    relations: int
    fused: int = 4
    flavour: Literal["masked", "reference"] = "masked"

    def __post_init__(self) -> None:
        if self.vision is None:
            return
        text, vision = ((c.layers, c.heads, c.width) for c in (self.text, self.vision))
        if text != vision:
            names = "layers, heads and widths"
            raise ValueError(f"the streams share keys, and tokens are compared with patches: {names} must agree, found {text}, {vision}")
        if not 1 <= self.fused < self.text.layers:
            found = f"found {self.fused} of {self.text.layers}"
            raise ValueError(f"the streams meet in some of their last layers (system.fused), at least one and not all of them, {found}")

    @property
    def first(self) -> int:
        """The first layer in which the streams meet."""
        return self.text.layers - self.fused


class CorrelationAwareFusion(nn.Module):
    """softmax(C V^T) V, one head without scale, and Dense(hidden) as submodule `dense`: what each token finds among the patches.

    Where "intermediates" is mutable the weights are sown there as "attention", fp32 [B, 1, L, P].

    Attributes:
      hidden: width inside the text's feed-forward blocks.
      init_std: standard deviation of the initial kernel, 0 for one by fan-in.
    """

    hidden: int
    init_std: float
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, context: jax.Array, patches: jax.Array, mask: jax.Array | None) -> jax.Array:
        """C context [B, L, D], V patches [B, P, D], mask bool [B, P] or None for all -> [B, L, hidden].

        A token with no patch to see finds 0, so that the bias of `dense` is all it gets.
        """
        sow = self.is_mutable_collection("intermediates") and not self.is_initializing()
        unscaled = context * math.sqrt(context.shape[-1])  # `attention` divides by it
        q, v = unscaled[:, :, None], patches[:, :, None]
        found = attention(q, v, v, mask=None if mask is None else mask[:, None, None], return_weights=sow)
        if sow:
            found, weights = found
            self.sow("intermediates", "attention", weights)
        return nn.Dense(self.hidden, dtype=self.dtype, kernel_init=kernel_init(self.init_std), name="dense")(found[:, :, 0])


class MKGformer(nn.Module):
    """The network: (text, pictures, present) -> relation logits [B, R]."""

    config: MKGformerConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool
    ) -> jax.Array:
        """Runs both streams and the head on the text's markers.

        Args:
          text: ids int32 [B, L], mask bool [B, L], markers int32 [B, 2] (positions of the two opening markers).
          pictures: per slot float32 [B, K, S, S, 3], normalised, or the features of `sight`.  present: per slot bool [B, K].

        Returns:
          logits float32 [B, R].
        """
        config = self.config
        bert, at = Bert(config.text, dtype=self.dtype, name="text"), places_read(self, "relation", text)
        if config.vision is None:
            states = bert(text["ids"], text["mask"], train=train, at=at)[-1]
        else:
            reference = config.flavour == "reference"
            seen = None if reference else patch_mask(config.vision, present)
            vit = ViT(config.vision, dtype=self.dtype, name="vision")
            below = sight(config, self.dtype, vit)(pictures, present, train=train)["patches"]
            embedded = bert.embed(text["ids"], text["mask"], train=train), below
            states = self._run(bert, vit, *embedded, text["mask"], None if reference else text["mask"], seen, train, at)
        return apply_head("relation", config.relations, states, text, at=at, dtype=self.dtype, train=train)

    def _run(
        self,
        bert: Bert,
        vit: ViT,
        text: jax.Array,
        vision: jax.Array,
        text_mask: jax.Array,
        prefix_mask: jax.Array | None,
        seen: jax.Array | None,
        train: bool,
        at: jax.Array | None,
    ) -> jax.Array:
        """text [B, L, D], vision [B, P, D] as the layers below `first` leave it, text_mask and prefix_mask (what of the text the patches
        see) bool [B, L], seen bool [B, P], at int [B, K] or None for everywhere -> the last text states there, [B, K or L, D]."""
        config, made = self.config, None
        for n in range(config.text.layers):
            fuse = None
            if n >= config.first:
                vision = vit.run_layer(n, vision, seen, train=train, prefix=made, prefix_mask=prefix_mask)
                fusion = CorrelationAwareFusion(config.text.mlp, config.text.init_std, self.dtype, name=f"fusion_{n}")
                fuse = functools.partial(fusion, patches=vision, mask=seen)
            made = bert.keys_values(n, text)
            last = n == config.text.layers - 1
            text = bert.run_layer(n, text, text_mask, train=train, made=made, fuse=fuse, at=at if last else None)
        return text


def sight(config: MKGformerConfig, dtype: jnp.dtype, vit: ViT | None = None) -> Sight:
    """The patches as the layers in which the streams do not meet leave them, "patches" [B, P, D].

    Args:
      vit: the image encoder, where it is made already.
    """

    def see(pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool) -> dict[str, jax.Array]:
        encoder = ViT(config.vision, dtype=dtype, name="vision") if vit is None else vit
        seen = None if config.flavour == "reference" else patch_mask(config.vision, present)
        patches = encoder.embed(pixels, seen, train=train)
        for n in range(config.first):
            patches = encoder.run_layer(n, patches, seen, train=train)
        return {"patches": patches}

    return Sight(see)


SETTINGS: Section = {
    "flavour": choice("masked", ("masked", "reference"), "masked: padding and absent pictures are; reference: as the released code"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "fused": whole(0, "[0, inf)", "last layers in which the streams meet, not all; 0: a third of them, 4 of 12 as released, at least 1"),
}


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, data, text, vision, optim.
      vocab_size: rows of the word table.
      labels: relations, the empty one included.

    Raises:
      ValueError: for settings that contradict each other or that no flavour has.
    """
    if config.task.name != "relation":
        raise ValueError(f"system 'mkgformer' has the task relation, found task.name={config.task.name!r}")
    system, text = config.system, bert_config(config.text, vocab_size)
    if system.modalities == "text":
        return ModuleSystem(MKGformer(MKGformerConfig(text, None, len(labels)), dtype), RelationObjective(), ())
    if config.vision.kind != "vit":
        raise ValueError(f"the vision stream is a transformer: vision.kind={config.vision.kind!r} has no keys and values")
    reference = system.flavour == "reference"
    if reference and config.data.objects != "grounded":
        raise ValueError("the reference flavour looks at grounded and detected crops: set data.objects=grounded")
    plan = released_crops(config.vision) if reference else photo_and_objects(config.vision, config.data.objects)
    vision = vit_config(config.vision, plan, config.vision.layers)
    fused = system.fused or max(1, text.layers // 3)
    net = MKGformerConfig(text, vision, len(labels), fused, system.flavour)
    return ModuleSystem(MKGformer(net, dtype), RelationObjective(), plan, sight=sight(net, dtype))
