"""DGF-PT: dual-gated fusion with prefix-tuning for multi-modal relation extraction (Findings of ACL 2023).

A language model reads two prefixes, the objects, the image and the text in three stages (section 4.1), two gates let what helps of the
picture into the text (fusion/dual_gate.py), the model goes on and says types and relation (heads/generative.py), and a joint objective
trains all of it (heads/joint.py).

Decided here, where the paper leaves it open:
- The image's M blocks are the cells of a grid over the image encoder's last map, each through one dense layer. An object is the mean of
  RoIAlign over its box on that map, through another; the boxes are the record's best by score, and without any none are attended to.
- Words are the language model's own embeddings, without the dense layer of section 4.1.1 behind them, which a pretrained model could not
  read. The entities stand between markers, as in all systems here. The vectors of markers, and of special tokens that a tokenizer lacks,
  are trained with the prefixes: the rows that are added for them to a frozen model's table would stay at random.
- <objects> are two slots, for each entity the mean of the objects weighted by the cosine to the entity's embedding; <e1, e2> are the
  means of the entities' embeddings.
- h_t[e] is the mean of an entity's states (or, as a setting, the state at its opening marker), the pooled text the mean of all of them.
- The caption is read by the same language model, apart from the stages; h_i2t is the mean of its states.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmre_jax.data.lengths import buckets_of
from mmre_jax.declare import Section, SettingError, choice, flag, names, number, text, whole, wholes
from mmre_jax.encoders.from_config import last_map_config, norms_follow, photo_and_objects, text_config
from mmre_jax.encoders.language import LanguageConfig, LanguageModel, language_model, read_stage, read_stages
from mmre_jax.encoders.last_map import VisionConfig, last_map
from mmre_jax.encoders.rcnn.roi_align import roi_mean
from mmre_jax.encoders.stages import Cache
from mmre_jax.encoders.vgg import adaptive_mean
from mmre_jax.encoders.vit import PHOTO
from mmre_jax.fusion.dual_gate import GATES, DualGate, add_caption
from mmre_jax.fusion.prefixes import SLOT, Prefix, PrefixConfig, entity_means, objects_of
from mmre_jax.fusion.query_transformer import masked_mean
from mmre_jax.heads.generative import STEPS, GenerativeDecoder, RelationClassifier
from mmre_jax.heads.joint import JointObjective, JointWeights
from mmre_jax.systems.system import ModuleSystem, Pictures, Sight

INPUTS = ("objects", "image", "text")
ORDERS = tuple("-".join(order) for order in itertools.permutations(INPUTS))  # the paper's first (its table 4)

Places = tuple[jax.Array, jax.Array]  # [B, n, D], and bool [B, n], which of them hold something


@dataclasses.dataclass(frozen=True)
class DgfPtConfig:
    """Sizes and ablations.

    vision: None for the text-only configuration.
    relations, types: R and T.
    added: rows behind the tokenizer's in the word table, of markers and special tokens.
    objects: K, the most objects a record is read with; 0: none are read.
    side: of the photo, pixels.
    cells: a side of the grid of the image's M blocks.
    order: in which the stages read their inputs (table 4).
    dual_gate: False is "w/o dual-gated fusion": the picture reaches the text in the stages alone.
    captions: whether there are captions to be read.
    delta: of eq. 8.
    entity_states: of what h_t[e] is the mean: the entity's 'pieces', or its opening 'markers' alone.
    dropout: before the classifier.
    """

    text: LanguageConfig
    vision: VisionConfig | None
    relations: int
    types: int
    added: int = 0
    prefix: PrefixConfig = PrefixConfig()
    objects: int = 10
    side: int = 224
    cells: int = 7
    order: str = ORDERS[0]
    dual_gate: bool = True
    captions: bool = False
    delta: float = 0.4
    entity_states: Literal["pieces", "markers"] = "pieces"
    dropout: float = 0.6


class DgfPt(nn.Module):
    """The network: (given, pictures, present) -> what a JointObjective takes."""

    config: DgfPtConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, given: Mapping[str, Any], pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool
    ) -> dict[str, jax.Array | None]:
        """Computes eq. 1-9 and the distributions of eq. 10 and 13.

        Args:
          given: ids int32 [B, L], mask bool [B, L], markers int32 [B, 2]; entities bool [B, 2, L], the pieces of each; with objects a
            dictionary of boxes float32 [B, K, 4], normalised xyxy, and mask bool [B, K]; with captions one of ids int32 [B, C] and
            mask bool [B, C].
          pictures: the photo, float32 [B, 1, S, S, 3], normalised, or the features of `sight`.  present: bool [B, 1].

        Returns:
          logits and unfused, float32 [B, R], of the fused text and of the text before fusion; text and fused, both pooled, [B, D];
          types float32 [B, 2, T] or None; gates float32 [B, 3], see GATES.
        """
        config, mask = self.config, given["mask"]
        model = language_model(config.text, self.dtype, "text")
        rows = self._rows(model)
        seen = present[PHOTO][:, 0] if config.vision is not None else jnp.zeros(len(mask), bool)
        inputs = {"text": (rows(given["ids"]), mask)}
        if config.vision is not None:
            cells = sight(config.vision, self.dtype)(pictures, present, train=train)["cells"]
            inputs |= self._see(cells, seen, given.get("objects"))
        states, cache = self._stages(model, inputs, given["entities"], train)
        h_t = fused = states["text"]
        gates = jnp.zeros((len(mask), len(GATES)), jnp.float32)
        if config.dual_gate and config.vision is not None:
            objects = (states["objects"], inputs["objects"][1]) if "objects" in inputs else ()
            fused, gates = DualGate(self.dtype, name="gate")(h_t, mask, states["image"], seen, *objects)
        if config.captions:
            there = given["caption"]["mask"]
            said, _ = read_stage(model, rows(given["caption"]["ids"]), there, None, train=train)
            fused = add_caption(fused, masked_mean(said, there), there.any(axis=1), config.delta)
        relation, types = GenerativeDecoder(model, config.types, self.dtype, name="decoder")(cache, train=train)
        texts = [jnp.concatenate([masked_mean(x, mask), self._entities(x, given)], axis=-1) for x in (fused, h_t)]
        head = RelationClassifier(config.relations, config.dropout, self.dtype, name="head")
        logits, unfused = head(relation, jnp.stack(texts), train=train)
        pooled = {"text": masked_mean(h_t, mask), "fused": masked_mean(fused, mask)}
        return {"logits": logits, "unfused": unfused, **pooled, "types": types, "gates": gates}

    def _rows(self, model: LanguageModel) -> Callable[[jax.Array], jax.Array]:
        """ids int [B, L] -> embeddings [B, L, D]: the table's rows, with what added tokens learnt beside them."""
        count, added, width = self.config.text.vocab_size, self.config.added, self.config.text.width
        offset = self.param("added", nn.initializers.zeros, (added, width))

        def rows(ids: jax.Array) -> jax.Array:
            which = jax.nn.one_hot(ids - (count - added), added, dtype=offset.dtype)  # 0 for all other pieces
            return (model.words(ids) + which @ offset).astype(self.dtype)

        return rows

    def _see(self, cells: jax.Array, seen: jax.Array, objects: Mapping[str, jax.Array] | None) -> dict[str, Places]:
        """I [B, M, D] and O [B, K, D] of the image encoder's last map [B, h, w, C], and which of them there are."""
        width = self.config.text.width
        blocks = adaptive_mean(cells.astype(jnp.float32), self.config.cells).astype(cells.dtype)
        image = nn.Dense(width, dtype=self.dtype, name="image")(blocks.reshape(len(cells), -1, cells.shape[-1]))
        found = {"image": (image, jnp.broadcast_to(seen[:, None], image.shape[:2]))}
        if objects is not None:
            side = self.config.side
            regions = roi_mean(cells, objects["boxes"] * side, side / cells.shape[1])
            found["objects"] = nn.Dense(width, dtype=self.dtype, name="objects")(regions), objects["mask"] & seen[:, None]
        return found

    def _stages(
        self, model: LanguageModel, inputs: Mapping[str, Places], entities: jax.Array, train: bool
    ) -> tuple[dict[str, jax.Array], Cache]:
        """h_o, h_i and h_t, each [B, n, D], as far as there are inputs, and what the stages left for the decoder (eq. 1-3)."""
        stages: dict[str, Places] = {}
        for stage, name in enumerate(self.config.order.split("-"), start=1):
            parts = [self._prefix(which, model, inputs, entities) for which in self.config.prefix.at(stage)]
            if name in inputs:
                parts.append(inputs[name])
            if parts:
                words, mask = (jnp.concatenate(both, axis=1) for both in zip(*parts, strict=True))
                stages[name] = words, mask
        states, cache = read_stages(model, tuple(stages.values()), train=train)
        found = dict(zip(stages, states, strict=True))
        return {name: found[name][:, -own.shape[1] :] for name, (own, _) in inputs.items()}, cache

    def _prefix(self, which: str, model: LanguageModel, inputs: Mapping[str, Places], entities: jax.Array) -> Places:
        """P_o or P_e."""
        slots = entity_means(inputs["text"][0], entities)  # T[e1], T[e2]
        there = entities.any(axis=-1)
        if which == "objects" and "objects" in inputs:
            objects, mask = inputs["objects"]
            slots, there = objects_of(slots, objects, mask), jnp.broadcast_to(mask.any(axis=1, keepdims=True), there.shape)
        elif which == "objects":
            slots, there = jnp.zeros_like(slots), jnp.zeros_like(there)
        prefix = Prefix(self.config.prefix.before, self.config.prefix.behind, name=f"prefix_{which}")
        return prefix(model.words, slots, there)

    def _entities(self, states: jax.Array, given: Mapping[str, Any]) -> jax.Array:
        """h_t[e1] and h_t[e2] side by side, [B, 2 D]."""
        if self.config.entity_states == "markers":
            found = jnp.take_along_axis(states, given["markers"][:, :, None], axis=1)
        else:
            found = entity_means(states, given["entities"])
        return found.reshape(len(states), -1)


def sight(vision: VisionConfig, dtype: jnp.dtype) -> Sight:
    """The image encoder's last map, "cells" [B, h, w, C]."""

    def see(pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool) -> dict[str, jax.Array]:
        return {"cells": last_map(vision, pixels[PHOTO], present[PHOTO][:, 0], dtype, "vision", train=train)}

    return Sight(see)


SETTINGS: Section = {
    "flavour": choice("paper", ("paper",), "no code was released"),
    "modalities": choice("both", ("both", "text"), "text: without image encoder"),
    "objects": whole(10, "[1, inf)", "the most objects a record is read with, where data.objects is not none: the best by score"),
    "cells": whole(7, "[1, inf)", "a side of the grid of the image's blocks"),
    "order": choice(ORDERS[0], ORDERS, "in which the stages read their inputs"),
    "prefix": {
        "objects": whole(1, "[0, 3]", "the stage that the object-oriented prefix opens; 0: without it"),
        "entities": whole(1, "[0, 3]", "the stage that the entity-oriented prefix opens; 0: without it"),
        "words": text(f"Consider {SLOT}, predict relation.", f"of both prefixes; {SLOT} stands for what is to be considered"),
        "before": wholes((), "[0, inf)", "ids of the pieces before the slots; (): as the tokenizer has them", empty=True),
        "behind": wholes((), "[0, inf)", "ids of the pieces behind the slots; (): as the tokenizer has them", empty=True),
    },
    "dual_gate": flag(True, "the gates of eq. 4-7; else the picture reaches the text in the stages alone"),
    "caption_tokens": whole(32, "[0, inf)", "longest caption, specials included; 0: none is read, as where training has none"),
    "delta": number(0.4, "[0, inf)", "of eq. 8: how much of the caption goes into the text"),
    "added": whole(0, "[0, inf)", "rows behind the tokenizer's in the word table; 0: as the tokenizer has them"),
    "types": names((), "entity types that the decoder can say; (): as the relations' names and the training records have them"),
    "entity_states": choice(
        "pieces", ("pieces", "markers"), "what an entity's state is read from: the mean of its pieces, its opening marker"
    ),
    "dropout": number(0.6, "[0, 1)", "before the classifier"),
    "joint": flag(True, "the joint objective; else its consistency and identification are left out"),
    "margin": number(0.2, "[0, 2]", "of the cosines in eq. 12"),
    "weights": {  # of the joint objective
        "consistency": number(2.0, "[0, inf)", "lambda_d of eq. 14"),
        "identification": number(2.0, "[0, inf)", "lambda_s"),
        "relation": number(3.0, "[0, inf)", "lambda_c"),
        "types": number(1.0, "[0, inf)", "of the types that the decoder says"),
    },
}


def build(config: ConfigDict, *, vocab_size: int, labels: Sequence[str], dtype: jnp.dtype) -> ModuleSystem:
    """The system of a resolved configuration.

    Args:
      config: sections system, task, data, text, vision.
      vocab_size: rows of the word table, the added ones among them.
      labels: relations.

    Raises:
      ValueError: for settings that contradict each other.
    """
    system, sees = config.system, config.system.modalities == "both"
    _check(config)
    plan = photo_and_objects(config.vision, "none") if sees else ()
    prefix = system.prefix
    net = DgfPtConfig(
        text=text_config(config.text, vocab_size),
        vision=last_map_config(config.vision, plan, frozen="vision" in config.optim.frozen) if sees else None,
        relations=len(labels),
        types=len(system.types),
        added=system.added,
        prefix=PrefixConfig(prefix.objects, prefix.entities, tuple(prefix.before), tuple(prefix.behind)),
        objects=system.objects if sees and config.data.objects != "none" else 0,
        side=config.vision.side,
        cells=system.cells,
        order=system.order,
        dual_gate=system.dual_gate,
        captions=sees and system.caption_tokens > 0,
        delta=system.delta,
        entity_states=system.entity_states,
        dropout=system.dropout,
    )
    _check_length(config, net)
    objective = JointObjective(JointWeights(**system.weights.to_dict()), system.margin, system.joint)
    given = ("entities", *(("objects",) if net.objects else ()), *(("caption",) if net.captions else ()))
    eye = None if net.vision is None else sight(net.vision, dtype)
    return ModuleSystem(DgfPt(net, dtype), objective, plan, norms_follow(net.vision), given, sight=eye)


def _check(config: ConfigDict) -> None:
    system = config.system
    if config.task.name != "relation":
        raise ValueError(f"system 'dgf_pt' has the task relation, found task.name={config.task.name!r}")
    if 0 < system.caption_tokens < 3:
        raise SettingError(f"system.caption_tokens={system.caption_tokens} leaves no room for a piece beside two special ones")
    if system.modalities == "both" and config.data.objects != "none" and config.vision.resize != "squash":
        raise ValueError(f"boxes are parts of the whole photo, which vision.resize=squash alone keeps, found {config.vision.resize!r}")


def _check_length(config: ConfigDict, net: DgfPtConfig) -> None:
    """Raises SettingError where the longest sequence that is read, or the longest caption, exceeds the language model's positions."""
    longest = net.text.max_length
    if net.captions and config.system.caption_tokens > longest:
        raise SettingError(f"system.caption_tokens={config.system.caption_tokens} exceeds the language model's {longest} positions")
    prefixes = sum(net.prefix.length for stage in (net.prefix.objects, net.prefix.entities) if stage)
    image = net.cells**2 if net.vision is not None else 0
    parts = {"prefixes": prefixes, "objects": net.objects, "image": image, "text": buckets_of(config)[-1], "decoder": STEPS}
    if (total := sum(parts.values())) > longest:
        said = ", ".join(f"{count} of {name}" for name, count in parts.items() if count)
        raise SettingError(f"the stages read up to {total} places ({said}), the language model has {longest} positions")
