"""HVFormer as its authors released it: as in the paper, but the image encoder's states are detached, absent crops are
zeros that are attended to, the photo is not looked at, and the experts have no biases.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.encoders.bert import BertConfig
from mmre_jax.encoders.from_config import bert_config, released_crops, vit_config
from mmre_jax.encoders.vit import ViTConfig
from mmre_jax.fusion.mome import MixtureOfExperts, TextGuidedAttention, marked_weights
from mmre_jax.heads.choice import apply_head, places_read
from mmre_jax.heads.relation import RelationObjective
from mmre_jax.systems import hvformer
from mmre_jax.systems.system import ModuleSystem, Pictures


@dataclasses.dataclass(frozen=True)
class ReleasedHVFormerConfig:
    """Sizes. levels: ascending, the hidden states of the image encoder that get an expert; 0 is the embedded patches."""

    text: BertConfig
    vision: ViTConfig
    relations: int
    levels: tuple[int, ...]
    heads: int = 12


class ReleasedHVFormer(nn.Module):
    """The network: (text, pictures, present) -> relation logits."""

    config: ReleasedHVFormerConfig
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
        """Arguments and result as of `HVFormer`; what is present is not asked for."""
        config, at = self.config, places_read(self, "relation", text)
        states = hvformer.reading(config.text, self.dtype)(text, at, train=train)
        found = hvformer.sight(config.vision, config.levels, self.dtype, masked=False)(pictures, present, train=train)
        visual = [
            TextGuidedAttention(config.text.width, config.heads, dtype=self.dtype, name=f"tva_{level}")(
                states, jax.lax.stop_gradient(found[f"level_{level}"]), None
            )
            for level in config.levels
        ]
        states = MixtureOfExperts(biases=False, dtype=self.dtype, name="mome")(states, visual)
        return apply_head("relation", config.relations, states, text, at=at, dtype=self.dtype, train=train)


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration; arguments as of the paper's. Without pictures it is the paper's.

    Raises:
      ValueError: for settings that contradict each other or that the release does not have.
    """
    system = config.system
    if system.modalities == "text":
        return hvformer.build(config, vocab_size=vocab_size, labels=labels, dtype=dtype)
    hvformer.check(config)
    if "vision" not in config.optim.frozen:
        raise ValueError("the reference flavour detaches the image encoder's states: name it in optim.frozen")
    if config.data.objects != "grounded":
        raise ValueError("the reference flavour looks at grounded and detected crops: set data.objects=grounded")
    if (system.gather, system.mixture) != ("tva", "experts"):
        needed = "set system.gather=tva and system.mixture=experts"
        raise ValueError(f"the reference flavour has text-guided attention and a mixture of experts: {needed}")
    plan, levels = released_crops(config.vision), hvformer.levels_of(config)
    text, vision = bert_config(config.text, vocab_size), vit_config(config.vision, plan, levels[-1])
    net = ReleasedHVFormerConfig(text, vision, len(labels), levels, system.heads)
    tell = functools.partial(marked_weights, levels=levels)
    eye = hvformer.sight(vision, levels, dtype, masked=False)
    read = hvformer.reading(text, dtype)
    return ModuleSystem(ReleasedHVFormer(net, dtype), RelationObjective(), plan, tell=tell, sight=eye, reading=read)
