"""Encoder sizes and picture plans from a configuration's sections `text`, `vision` and `data`."""

from __future__ import annotations

from ml_collections import ConfigDict

from mmre_jax.data.pictures import PicturePlan, Slot
from mmre_jax.encoders.bert import BertConfig
from mmre_jax.encoders.vit import PHOTO, ImageSequence, ViTConfig

Colour = tuple[float, float, float]

# (mean, std) per channel that the published weights of each dialect expect.
COLOURS: dict[str, tuple[Colour, Colour]] = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "vit": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def bert_config(text: ConfigDict, vocab_size: int) -> BertConfig:
    """Sizes of a text encoder whose word table has `vocab_size` rows, the added markers included."""
    return BertConfig(
        vocab_size=vocab_size,
        width=text.width,
        layers=text.layers,
        heads=text.heads,
        mlp=text.mlp,
        positions=text.positions,
        types=text.types,
        eps=text.eps,
        activation=text.activation,
        dropout=text.dropout,
        attention_dropout=text.attention_dropout,
        init_std=text.init_std,
    )


def vit_config(vision: ConfigDict, plan: PicturePlan, layers: int) -> ViTConfig:
    """Sizes of an image encoder that reads the plan's slots, built up to `layers` and without a final norm."""
    return ViTConfig(
        sequences=tuple(ImageSequence(slot.name, slot.count, slot.side) for slot in plan),
        patch=vision.patch,
        width=vision.width,
        layers=layers,
        heads=vision.heads,
        mlp=vision.mlp,
        dialect=vision.dialect,
        activation=vision.activation or None,
        eps=vision.eps or None,
        dropout=vision.dropout,
        init_std=vision.init_std,
        position_init=vision.positions,
        final_norm=False,
    )


def photo_and_objects(vision: ConfigDict, objects: str) -> PicturePlan:
    """The photo, and `vision.crops` object crops where `objects` names a protocol that has them.

    Raises:
      ValueError: for an unknown protocol.
    """
    if objects not in ("none", "detected", "grounded"):
        raise ValueError(f"data.objects is none, detected or grounded, found {objects!r}")
    plan = (_slot(vision, PHOTO, 1, vision.side, "photo"),)
    return plan if objects == "none" else (*plan, _slot(vision, objects, vision.crops, vision.crop_side, objects))


def released_crops(vision: ConfigDict) -> PicturePlan:
    """What IFAformer, MKGformer and HVFormer look at as released: grounded crops at 128 px, detected crops at 64 px, no photo.

    `vision.crop_side` is the side of the grounded crops; the detected ones have half of it.
    """
    return (
        _slot(vision, "grounded", vision.crops, vision.crop_side, "grounded"),
        _slot(vision, "detected", vision.crops, vision.crop_side // 2, "detected"),
    )


def _slot(vision: ConfigDict, name: str, count: int, side: int, source: str) -> Slot:
    mean, std = COLOURS[vision.dialect]
    return Slot(name=name, count=count, side=side, source=source, resize=vision.resize, mean=mean, std=std)
