"""IFAformer (On Analyzing the Role of Image for Visual-Enhanced Relation Extraction, AAAI 2023): a text and a vision transformer that
share keys and values at every layer (fusion/cross_stream.py); the text stream predicts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.data.pictures import PicturePlan
from mmre_jax.declare import Section, choice, flag, number
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, photo_and_objects, released_crops, vit_config
from mmre_jax.encoders.vit import ViT, ViTConfig, patch_mask
from mmre_jax.fusion.cross_stream import exchange, must_agree
from mmre_jax.heads.choice import apply_head, check_task, objective, places_read
from mmre_jax.systems.system import ModuleSystem


@dataclasses.dataclass(frozen=True)
class IFAformerConfig:
    """Sizes and ablations.

    vision: None for the text-only configuration.
    task, classes: 'relation' or 'entities', and its relations or tags.
    head_dropout: before the entity head.
    text_attention: False is "w/o text attention" in the vision stream.
    """

    text: BertConfig
    vision: ViTConfig | None
    task: str
    classes: int
    head_dropout: float = 0.1
    text_attention: bool = True

    def __post_init__(self) -> None:
        if self.vision is not None:
            must_agree(self.text, self.vision)


class IFAformer(nn.Module):
    """The network: (text, pixels, present) -> relation logits [B, R], or the outputs of an `EntityHead`."""

    config: IFAformerConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Mapping[str, jax.Array], pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool
    ) -> jax.Array | dict[str, jax.Array]:
        """Computes eq. 1-2 and the head.

        Args:
          text: ids int32 [B, L], mask bool [B, L], for relations markers int32 [B, 2].
          pixels: per slot float32 [B, K, S, S, 3], normalised.  present: per slot bool [B, K].
        """
        config = self.config
        bert, at = Bert(config.text, dtype=self.dtype, name="text"), places_read(self, config.task, text)
        if config.vision is None:
            states = bert(text["ids"], text["mask"], train=train, at=at)[-1]
        else:
            vit = ViT(config.vision, dtype=self.dtype, name="vision")
            embedded = bert.embed(text["ids"], text["mask"], train=train)
            mask = patch_mask(config.vision, present)
            patches = vit.embed(pixels, mask, train=train)
            how = {"text_attention": config.text_attention, "train": train, "at": at}
            states = exchange(bert, vit, embedded, patches, text["mask"], mask, **how)
        how = {"at": at, "dropout": config.head_dropout, "dtype": self.dtype, "train": train}
        return apply_head(config.task, config.classes, states, text, **how)


SETTINGS: Section = {
    "flavour": choice("paper", ("paper", "reference"), "reference: what the released code computes"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "text_attention": flag(True, "the vision stream attends to the text, too; else to itself alone"),
    "head_dropout": number(0.1, "[0, 1)", "entities: before the linear layer"),
    "constrain": flag(True, "entities: rule out what BIO forbids"),
}


def _plan(config: ConfigDict) -> PicturePlan:
    """The photo and the crops of the protocol. Under 'grounded' those are the crops of both visual grounding and object detection, as the
    paper has it, at the sides that they were released with."""
    found = photo_and_objects(config.vision, config.data.objects)
    return (found[0], *released_crops(config.vision)) if config.data.objects == "grounded" else found


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, data, text, vision, optim.
      vocab_size: rows of the word table.
      labels: relations, or tags.

    Raises:
      ValueError: for settings that contradict each other.
    """
    check(config)
    system, text = config.system, bert_config(config.text, vocab_size)
    head = {"task": config.task.name, "classes": len(labels), "head_dropout": system.head_dropout}
    aim = objective(config.task.name, labels, system.constrain)
    if system.modalities == "text":
        return ModuleSystem(IFAformer(IFAformerConfig(text, None, **head), dtype), aim, ())
    plan = _plan(config)
    vision = vit_config(config.vision, plan, config.vision.layers)
    net = IFAformerConfig(text, vision, **head, text_attention=system.text_attention)
    return ModuleSystem(IFAformer(net, dtype), aim, plan)


def check(config: ConfigDict) -> None:
    """Raises ValueError for settings that contradict each other, in whatever flavour."""
    check_task(config.task.name, "ifaformer")
    if config.system.modalities == "both" and config.vision.kind != "vit":
        raise ValueError(f"the vision stream is a transformer: vision.kind={config.vision.kind!r} has no keys and values")
