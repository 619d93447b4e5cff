"""RSRNeT (PeerJ Computer Science 2024) and HVPNeT (NAACL Findings 2022): visual prefixes for every layer of a text encoder.

The stages of a convolutional image encoder (or the levels of a detector's feature pyramid over them), for the full image and for object
crops, are pooled to 2 x 2 cells, mixed by a gate for each text layer, and stand before that layer's own keys and values
(fusion/visual_prefix.py). The two systems are one, configured:
RSRNeT has a RoBERTa (entities: XLM-R), a ResNeSt-50 and SELU gates; HVPNeT a BERT, a ResNet-50 and leaky ReLU gates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.attention import KeysValues
from mmre_jax.declare import Section, choice, flag, number
from mmre_jax.encoders.absent import encode_maps
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, check_one_side, photo_and_objects, pyramid_config, resnet_config
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig, PyramidEncoder
from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.fusion.visual_prefix import CELLS, GATES, PrefixConfig, VisualPrefix, pool
from mmre_jax.heads.choice import POOLS, apply_head, check_task, objective, places_read
from mmre_jax.systems.system import ModuleSystem, Pictures, Sight, side_by_side


@dataclasses.dataclass(frozen=True)
class RSRNeTConfig:
    """Sizes.

    vision, prefix: None for the text-only configuration.
    pictures: names of the picture slots, the photo's first.
    task, classes: 'relation' or 'entities', and its relations or tags.
    head_dropout: before the entity head.
    pool: what a relation is read from: 'markers' (HVPNeT, and both as released) or 'cls' (RSRNeT's paper).
    """

    text: BertConfig
    vision: ResNetConfig | PyramidConfig | None
    prefix: PrefixConfig | None
    pictures: tuple[str, ...]
    task: str
    classes: int
    head_dropout: float = 0.1
    pool: str = "markers"


class RSRNeT(nn.Module):
    """The network: (text, pictures, present) -> relation logits [B, R], or the outputs of an `EntityHead`."""

    config: RSRNeTConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool
    ) -> jax.Array | dict[str, jax.Array]:
        """Computes eq. 1-13.

        Args:
          text: ids int32 [B, L], mask bool [B, L], for relations markers int32 [B, 2].
          pictures: per slot float32 [B, K, S, S, 3], normalised, all slots of one size, or the features of `sight`.
          present: per slot bool [B, K].
        """
        config = self.config
        prefixes, mask = (None, None) if config.vision is None else self._see(config.vision, pictures, present, train)
        bert, at = Bert(config.text, dtype=self.dtype, name="text"), places_read(self, config.task, text, config.pool)
        states = bert(text["ids"], text["mask"], train=train, prefixes=prefixes, prefix_mask=mask, at=at)[-1]
        how = {"at": at, "dropout": config.head_dropout, "dtype": self.dtype, "train": train, "pool": config.pool}
        return apply_head(config.task, config.classes, states, text, **how)

    def _see(
        self, vision: ResNetConfig | PyramidConfig, pictures: Pictures, present: Mapping[str, jax.Array], train: bool
    ) -> tuple[tuple[KeysValues, ...], jax.Array]:
        """The prefix of each text layer, and which of its positions may be attended to, bool [B, X]."""
        maps, count = stage_maps(sight(vision, self.config.pictures, self.dtype)(pictures, present, train=train))
        prefixes = VisualPrefix(self.config.prefix, dtype=self.dtype, name="prefix")(maps, count)
        there = side_by_side(present, self.config.pictures)
        return prefixes, jnp.repeat(there, CELLS, axis=1)


def sight(vision: ResNetConfig | PyramidConfig, names: tuple[str, ...], dtype: jnp.dtype, *, masked: bool = True) -> Sight:
    """The image encoder's stages, pooled: stage_N [B, K, 2, 2, C].

    Args:
      names: of the picture slots, the photo's first.
      masked: whether absent pictures are; else they are encoded, too.
    """

    def see(pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool) -> dict[str, jax.Array]:
        pictures, there = side_by_side(pixels, names), side_by_side(present, names)  # [B, K, S, S, 3], [B, K]
        there = there if masked else jnp.ones_like(there)
        if isinstance(vision, PyramidConfig):
            encoder, count = PyramidEncoder(vision, dtype=dtype, name="vision"), vision.stages
        else:
            encoder, count = ResNet(vision, dtype=dtype, name="vision"), None

        def stages(maps: Sequence[jax.Array]) -> dict[str, jax.Array]:
            return {f"stage_{n}": pool(found) for n, found in enumerate(maps[:count])}

        return encode_maps(encoder, pictures, there, stages, train=train)

    return Sight(see, apart=True)


def stage_maps(found: Mapping[str, jax.Array]) -> tuple[list[jax.Array], int]:
    """The features of `sight` as a prefix takes them, for each stage [B * K, 2, 2, C], whose pooling is the map itself; and K."""
    maps = [found[f"stage_{n}"] for n in range(len(found))]
    return [x.reshape(-1, *x.shape[2:]) for x in maps], maps[0].shape[1]


SETTINGS: Section = {
    "flavour": choice("paper", ("paper", "reference"), "reference: what the released code computes"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "stages": choice("gates", ("gates", "1t3", "plain"), "how stages become a layer's prefix: mixed by a gate, equal shares, the last"),
    "gate": choice("selu", GATES, "activation of the gates: selu (RSRNeT), leaky_relu (HVPNeT)"),
    "head_dropout": number(0.1, "[0, 1)", "entities: before the linear layer"),
    "constrain": flag(True, "entities: rule out what BIO forbids"),
    "pool": choice("markers", POOLS, "relations: what they are read from, the states of both entity markers or of [CLS]"),
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
    check(config)
    system = config.system
    text = bert_config(config.text, vocab_size)
    head = {"task": config.task.name, "classes": len(labels), "head_dropout": system.head_dropout, "pool": system.pool}
    aim = objective(config.task.name, labels, system.constrain)
    if system.modalities == "text":
        return ModuleSystem(RSRNeT(RSRNeTConfig(text, None, None, (), **head), dtype), aim, ())
    plan = photo_and_objects(config.vision, config.data.objects)
    stages = stages_of(config)
    prefix = PrefixConfig(text.layers, text.width, text.heads, system.stages, system.gate)
    vision = vision_of(config, stages, system.stages)
    net = RSRNeTConfig(text, vision, prefix, tuple(slot.name for slot in plan), **head)
    return ModuleSystem(RSRNeT(net, dtype), aim, plan, stages.follows, sight=sight(vision, net.pictures, dtype))


def vision_of(config: ConfigDict, stages: ResNetConfig, mixed: str) -> ResNetConfig | PyramidConfig:
    """The image encoder whose stages a prefix is made of: those stages, or a detector's pyramid over them.

    Args:
      mixed: how they become a layer's prefix, see `PrefixConfig.stages`.
    """
    if config.vision.kind != "rcnn":
        return stages
    level = len(stages.depths) - 1 if mixed == "plain" else None  # all levels but the coarsest, which is none of a stage
    return dataclasses.replace(pyramid_config(config.vision, frozen=stages.still), level=level)


def stages_of(config: ConfigDict) -> ResNetConfig:
    """The image encoder's stages. Raises ValueError for pictures that leave them too little."""
    stages = resnet_config(config.vision, frozen="vision" in config.optim.frozen)
    if config.vision.side <= stages.stride:
        raise ValueError(f"vision.side={config.vision.side} leaves the last of {len(stages.depths)} stages fewer than 2 x 2 cells")
    return stages


def check(config: ConfigDict) -> None:
    """Raises ValueError for settings that contradict each other, in whatever flavour."""
    check_task(config.task.name, "rsrnet")
    system = config.system
    if system.pool == "cls" and config.task.name != "relation":
        raise ValueError("system.pool=cls reads a relation from [CLS]; entities are read at every token: set system.pool=markers")
    if system.modalities == "text":
        return
    check_kind(config)
    if system.stages == "1t3" and config.text.layers % len(config.vision.depths):
        raise ValueError(
            f"1t3 gives {len(config.vision.depths)} stages equal shares of the text layers: {config.text.layers} do not divide"
        )
    check_one_side(config)


def check_kind(config: ConfigDict) -> None:
    """Raises ValueError for an image encoder that has no stages."""
    if config.vision.kind not in ("resnet", "resnest", "rcnn"):
        raise ValueError(f"visual prefixes are made of a convolutional encoder's stages: vision.kind={config.vision.kind!r} has none")
