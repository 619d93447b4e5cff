"""IFAformer as released (DeepKE, example/re/multimodal and example/ner/multimodal): the streams exchange keys and values otherwise than
eq. 2 says; absent crops are zeros that are attended to, and the photo is not looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.blocks import rows_at
from mmre_jax.encoders.from_config import bert_config, released_crops, vit_config
from mmre_jax.encoders.vit import ViT, ViTConfig
from mmre_jax.fusion.cross_stream import must_agree
from mmre_jax.heads.choice import apply_head, objective, places_read
from mmre_jax.systems import ifaformer
from mmre_jax.systems.released.raw_view import raw_view
from mmre_jax.systems.system import ModuleSystem

BIAS = 1.0  # the released code adds its mask of ones to the scores of the visual keys, where it meant 0


@dataclasses.dataclass(frozen=True)
class ReleasedIFAformerConfig:
    """Sizes.

    task, classes: 'relation' or 'entities', and its relations or tags.
    head_dropout: before the entity head.
    """

    text: BertConfig
    vision: ViTConfig
    task: str
    classes: int
    head_dropout: float = 0.1

    def __post_init__(self) -> None:
        must_agree(self.text, self.vision)


class ReleasedIFAformer(nn.Module):
    """The network: (text, pixels, present) -> relation logits [B, R], or the outputs of an `EntityHead`."""

    config: ReleasedIFAformerConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Mapping[str, jax.Array], pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool
    ) -> jax.Array | dict[str, jax.Array]:
        """Arguments and result as of `IFAformer`; what is present is not asked for."""
        config = self.config
        bert, vit = Bert(config.text, dtype=self.dtype, name="text"), ViT(config.vision, dtype=self.dtype, name="vision")
        embedded, patches = bert.embed(text["ids"], text["mask"], train=train), vit.embed(pixels, None, train=train)
        at = places_read(self, config.task, text)
        states = exchange(bert, vit, embedded, patches, text["mask"], train=train, at=at)
        how = {"at": at, "dropout": config.head_dropout, "dtype": self.dtype, "train": train}
        return apply_head(config.task, config.classes, states, text, **how)


def exchange(
    bert: Bert, vit: ViT, text: jax.Array, vision: jax.Array, text_mask: jax.Array, *, train: bool, at: jax.Array | None = None
) -> jax.Array:
    """What the released code computes instead of eq. 2; arguments and result as of `cross_stream.exchange`.

    The vision stream is one layer behind in what it sees of the text, padding included; the text stream takes the visual keys for
    values, too, and adds 1 to their scores; at layer 0 both see the other's embedded states, reshaped into heads without a transpose.
    The vision stream's last layer gives only its keys: nothing reads its values, queries or output.
    """
    layers, heads = bert.config.layers, bert.config.heads
    of_text, keys = (raw_view(text, heads),) * 2, raw_view(vision, heads)
    for n in range(layers):
        behind, of_text = of_text, bert.keys_values(n, text)
        if n < layers - 1:
            of_vision = vit.keys_values(n, vision)
            keys = keys if n == 0 else of_vision[0]
            vision = vit.run_layer(n, vision, None, train=train, prefix=behind, made=of_vision)
        elif n > 0:
            keys = vit.keys(n, vision)
        where = {"prefix": (keys, keys), "prefix_bias": BIAS, "made": of_text, "at": at if n == layers - 1 else None}
        text = bert.run_layer(n, text, text_mask, train=train, **where)
    return text if layers else rows_at(text, at)


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration; arguments as of the paper's. Without pictures it is the paper's.

    Raises:
      ValueError: for settings that contradict each other or that the release does not have.
    """
    system = config.system
    if system.modalities == "text":
        return ifaformer.build(config, vocab_size=vocab_size, labels=labels, dtype=dtype)
    ifaformer.check(config)
    if config.data.objects != "grounded" or not system.text_attention:
        needed = "set data.objects=grounded and system.text_attention=True"
        raise ValueError(f"the reference flavour looks at grounded and detected crops and at the text: {needed}")
    plan = released_crops(config.vision)
    text, vision = bert_config(config.text, vocab_size), vit_config(config.vision, plan, config.vision.layers)
    net = ReleasedIFAformerConfig(text, vision, config.task.name, len(labels), system.head_dropout)
    return ModuleSystem(ReleasedIFAformer(net, dtype), objective(config.task.name, labels, system.constrain), plan)
