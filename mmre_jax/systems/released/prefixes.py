"""HVPNeT and RSRNeT as released: visual prefixes of one projection of all stages, whose channels and cells were reshaped without regard to
what they are; gates shared by photo and crops, the crops' always with leaky ReLU; absent crops are zeros that are attended to.

The two releases are one, configured, as in systems/rsrnet.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from mmre_jax.attention import KeysValues
from mmre_jax.declare import Section, whole
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.from_config import bert_config, photo_and_objects
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.fusion.visual_prefix import CELLS, GATES, by_picture, mix, pool
from mmre_jax.heads.choice import apply_head, objective, places_read
from mmre_jax.systems import rsrnet
from mmre_jax.systems.released.raw_view import raw_view
from mmre_jax.systems.system import ModuleSystem, Pictures


@dataclasses.dataclass(frozen=True)
class ReleasedRSRNeTConfig:
    """Sizes.

    gate: of the photo, a key of GATES.
    hidden: width inside the projection of the stages.
    pictures: names of the picture slots, the photo's first.
    task, classes: 'relation' or 'entities', and its relations or tags.
    head_dropout: before the entity head.
    """

    text: BertConfig
    vision: ResNetConfig
    gate: str
    hidden: int
    pictures: tuple[str, ...]
    task: str
    classes: int
    head_dropout: float = 0.1


class ReleasedPrefix(nn.Module):
    """Stage outputs of all pictures -> a pair of keys and values for each text layer.

    layers, width, heads: of the text encoder.  gate, hidden: as of `ReleasedRSRNeTConfig`. Gates are sown as `VisualPrefix` sows them.
    """

    layers: int
    width: int
    heads: int
    gate: str = "selu"
    hidden: int = 800
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], pictures: int) -> tuple[KeysValues, ...]:
        """Arguments and result as of `VisualPrefix`; a position is a block of channels, not a cell."""
        stages, count = len(maps), len(maps[0])
        blocks = jnp.concatenate([pool(x) for x in maps], axis=-1).transpose(0, 3, 1, 2).reshape(count, CELLS, -1)
        hidden = jnp.tanh(self._dense(self.hidden, "project_in")(blocks))
        features = self._dense(stages * 2 * self.width, "project_out")(hidden)  # [B * K, 4, S * 2 D]
        features = features.reshape(count, CELLS, stages, 2 * self.width).swapaxes(1, 2)
        mean = features.mean(axis=1).reshape(count, -1)
        photo = jnp.arange(count) % pictures == 0
        layers, gates = [], []
        for n in range(self.layers):
            scores = self._dense(stages, f"gate_{n}")(mean).astype(jnp.float32)
            active = jnp.where(photo[:, None], GATES[self.gate](scores), nn.leaky_relu(scores))
            gates.append(nn.softmax(active))
            both = mix(gates[-1], features).reshape(-1, pictures * CELLS, 2 * self.width)
            keys, values = jnp.split(both, 2, axis=-1)
            layers.append((raw_view(keys, self.heads), raw_view(values, self.heads)))
        if not self.is_initializing():
            self.sow("intermediates", "gates", by_picture(gates, pictures))
        return tuple(layers)

    def _dense(self, width: int, name: str) -> nn.Dense:
        return nn.Dense(width, dtype=self.dtype, name=name)


class ReleasedRSRNeT(nn.Module):
    """The network: (text, pictures, present) -> relation logits [B, R], or the outputs of an `EntityHead`."""

    config: ReleasedRSRNeTConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, text: Mapping[str, jax.Array], pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool
    ) -> jax.Array | dict[str, jax.Array]:
        """Arguments and result as of `RSRNeT`; what is present is not asked for."""
        config, sizes = self.config, self.config.text
        eye = rsrnet.sight(config.vision, config.pictures, self.dtype, masked=False)
        maps, count = rsrnet.stage_maps(eye(pictures, present, train=train))
        prefix = ReleasedPrefix(
            sizes.layers, sizes.width, sizes.heads, config.gate, config.hidden, dtype=self.dtype, name="prefix"
        )
        bert, at = Bert(sizes, dtype=self.dtype, name="text"), places_read(self, config.task, text)
        states = bert(text["ids"], text["mask"], train=train, prefixes=prefix(maps, count), at=at)[-1]
        how = {"at": at, "dropout": config.head_dropout, "dtype": self.dtype, "train": train}
        return apply_head(config.task, config.classes, states, text, **how)


SETTINGS: Section = {"hidden": whole(800, "[1, inf)", "reference: width inside the projection of the stages")}


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration; arguments as of the paper's. Without pictures it is the paper's, read at the markers.

    Raises:
      ValueError: for settings that contradict each other or that the releases do not have.
    """
    system = config.system
    rsrnet.check(config)
    if system.pool != "markers":
        raise ValueError("system.pool=cls: the released code reads relations at the markers: set system.pool=markers")
    if system.modalities == "text":
        return rsrnet.build(config, vocab_size=vocab_size, labels=labels, dtype=dtype)
    if system.stages != "gates" or len(config.vision.depths) != 4:
        raise ValueError("the reference flavour has gates over the four stages of its image encoder")
    if config.vision.kind == "rcnn":
        raise ValueError("the released code has a ResNet or a ResNeSt: set vision.kind, found 'rcnn'")
    if "vision" not in config.optim.frozen:
        raise ValueError("the released code never trains the image encoder: name vision in optim.frozen")
    plan, text = photo_and_objects(config.vision, config.data.objects), bert_config(config.text, vocab_size)
    if text.kind == "roberta":  # counts positions behind the prefix, as transformers does
        text = dataclasses.replace(text, position_offset=CELLS * sum(slot.count for slot in plan))
    net = ReleasedRSRNeTConfig(
        text=text,
        vision=rsrnet.stages_of(config),
        gate=system.gate,
        hidden=system.hidden,
        pictures=tuple(slot.name for slot in plan),
        task=config.task.name,
        classes=len(labels),
        head_dropout=system.head_dropout,
    )
    aim, eye = objective(config.task.name, labels, system.constrain), rsrnet.sight(net.vision, net.pictures, dtype, masked=False)
    return ModuleSystem(ReleasedRSRNeT(net, dtype), aim, plan, sight=eye)
