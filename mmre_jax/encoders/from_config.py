"""Encoder sizes and picture plans from a configuration's sections `text`, `vision` and `data`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mmre_jax.data.pictures import PicturePlan, Slot
from mmre_jax.declare import must_divide
from mmre_jax.encoders.bert_config import KINDS as BERT_KINDS
from mmre_jax.encoders.bert_config import BertConfig
from mmre_jax.encoders.gpt import KINDS as GPT_KINDS
from mmre_jax.encoders.gpt import GptConfig
from mmre_jax.encoders.language import LanguageConfig
from mmre_jax.encoders.last_map import VisionConfig
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.encoders.vgg import VggConfig
from mmre_jax.encoders.vit import PHOTO, ImageSequence, ViTConfig
from mmre_jax.encoders.word_vectors import KIND as VECTORS

Colour = tuple[float, float, float]

KINDS = ("vit", "resnet", "resnest", "rcnn", "vgg")  # of image encoders
BOTH_WAYS = tuple(dict.fromkeys(BERT_KINDS.values()))  # kinds of text encoders that look both ways
CAUSAL = tuple(dict.fromkeys(GPT_KINDS.values()))  # and of language models, which look back
TEXT_MODELS = (*BERT_KINDS, *GPT_KINDS)  # transformers' names of all of them
TEXT_KINDS = (*BOTH_WAYS, *CAUSAL, VECTORS)

# (mean, std) per channel that published weights expect: those of each ViT dialect, and the convolutional encoders'.
COLOURS: dict[str, tuple[Colour, Colour]] = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "vit": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def text_config(text: ConfigDict, vocab_size: int) -> LanguageConfig:
    """Kind and sizes of a transformer that reads text; see `bert_config`, `gpt_config`."""
    return (gpt_config if text.kind in CAUSAL else bert_config)(text, vocab_size)


def described_text(found: Mapping[str, Any]) -> LanguageConfig:
    """The text encoder that a transformers config.json, read as a dict, describes.

    Raises:
      ValueError: as of the two classes, and for another model type, naming all that there are.
    """
    model = found.get("model_type")
    if model not in TEXT_MODELS:
        raise ValueError(f"this is the configuration of a {model!r} model, expected model_type {', '.join(map(repr, TEXT_MODELS))}")
    return (GptConfig if model in GPT_KINDS else BertConfig).from_transformers(found)


def gpt_config(text: ConfigDict, vocab_size: int) -> GptConfig:
    """Kind and sizes of a causal language model whose word table has `vocab_size` rows, the added tokens included.

    Raises:
      ValueError: for a configuration of another kind of text encoder, or of sizes that do not fit one another.
    """
    if text.kind not in CAUSAL:
        raise ValueError(f"this system's text encoder is a causal language model: text.kind={' or '.join(CAUSAL)}, {_found(text)}")
    must_divide("text.heads", text.heads, "text.width", text.width)
    _check_attention(text)
    return GptConfig(
        kind=text.kind,
        vocab_size=vocab_size,
        width=text.width,
        layers=text.layers,
        heads=text.heads,
        mlp=text.mlp,
        positions=text.positions,
        eps=text.eps,
        activation=text.activation,
        dropout=text.dropout,
        attention_dropout=text.attention_dropout,
        attention=text.attention,
        attention_dropout_at=text.attention_dropout_at,
        init_std=text.init_std,
    )


def _check_attention(text: ConfigDict) -> None:
    """Raises ValueError where cuDNN's attention is asked for and training could never take it."""
    if text.attention == "cudnn" and text.attention_dropout and text.attention_dropout_at == "weights":
        raise ValueError(
            f"text.attention=cudnn shows no weights that text.attention_dropout={text.attention_dropout} could drop: set it to 0, or "
            "text.attention_dropout_at=values"
        )


def _found(text: ConfigDict) -> str:
    return f"found {text.kind!r}" + (f", which is what text.weights={text.weights} holds" if text.weights else "")


def bert_config(text: ConfigDict, vocab_size: int) -> BertConfig:
    """Kind and sizes of a text encoder that looks both ways, whose word table has `vocab_size` rows, the added tokens included.

    Raises:
      ValueError: for a configuration of another kind of text encoder, or of sizes that do not fit one another.
    """
    if text.kind not in BOTH_WAYS:
        raise ValueError(f"this system's text encoder looks both ways: text.kind={' or '.join(BOTH_WAYS)}, {_found(text)}")
    must_divide("text.heads", text.heads, "text.width", text.width)
    _check_attention(text)
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
        attention=text.attention,
        attention_dropout_at=text.attention_dropout_at,
        init_std=text.init_std,
        kind=text.kind,
        pad_id=text.pad_id,
    )


def vit_config(vision: ConfigDict, plan: PicturePlan, layers: int) -> ViTConfig:
    """Sizes of a ViT that reads the plan's slots, built up to `layers` and without a final norm.

    Raises:
      ValueError: for a configuration of another kind of image encoder, or of sizes that do not fit one another.
    """
    if vision.kind != "vit":
        raise ValueError(f"the image encoder is a ViT here: vision.kind=vit, found {vision.kind!r}")
    must_divide("vision.heads", vision.heads, "vision.width", vision.width)
    for slot in plan:
        side = "vision.side" if slot.name == PHOTO else "vision.crop_side" if slot.side == vision.crop_side else "half of vision.crop_side"
        must_divide("vision.patch", vision.patch, side, slot.side)
    if vision.positions == "sine" and vision.width % 4:
        raise ValueError(f"vision.positions=sine needs a vision.width divisible by 4, found {vision.width}")
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
        attention=vision.attention,
        init_std=vision.init_std,
        position_init=vision.positions,
        final_norm=False,
    )


def resnet_config(vision: ConfigDict, stages: int | None = None, *, frozen: bool = False) -> ResNetConfig:
    """Sizes of a ResNet, a detector's included, or ResNeSt of which the first `stages` are built; None: all.

    Args:
      frozen: whether the image encoder is not trained: then the statistics of vision.norm=batch are not, either.

    Raises:
      ValueError: for a configuration of another kind of image encoder, of fewer stages, or of sizes that do not fit one another.
    """
    if vision.kind not in ("resnet", "resnest", "rcnn"):
        raise ValueError(f"the image encoder is convolutional here: vision.kind=resnet, resnest or rcnn, found {vision.kind!r}")
    depths, split = tuple(vision.depths), vision.kind == "resnest"
    if stages is not None and not 1 <= stages <= len(depths):
        raise ValueError(f"{stages} stages of the image encoder are asked for, vision.depths={depths} has {len(depths)}")
    if vision.norm == "group":
        must_divide("vision.groups", vision.groups, "half of vision.stem" if split else "vision.stem", vision.stem // (1 + split))
    return ResNetConfig(
        depths=depths[:stages],
        stem=vision.stem,
        stem_kernel=vision.stem_kernel or (3 if split else 7),
        stem_stride=vision.stem_stride,
        stem_pool=vision.stem_pool,
        bottleneck=vision.bottleneck,
        stride_first=vision.stride_first,
        split=split,
        norm=vision.norm,
        groups=vision.groups,
        eps=vision.norm_eps,
        still=frozen,
    )


def pyramid_config(vision: ConfigDict, *, frozen: bool = False) -> PyramidConfig:
    """Sizes of a detector's ResNet and feature pyramid, of which vision.level is read.

    Args:
      frozen: see `resnet_config`.

    Raises:
      ValueError: for a configuration of another kind of image encoder, a level that there is not, or sizes that do not fit one another.
    """
    if vision.kind != "rcnn":
        raise ValueError(f"the image encoder is a detector's here: vision.kind=rcnn, found {vision.kind!r}")
    backbone, coarsest = resnet_config(vision, frozen=frozen), len(vision.depths)
    if vision.level > coarsest:
        raise ValueError(
            f"vision.level={vision.level}: a pyramid over the {coarsest} stages of vision.depths={tuple(vision.depths)} has the levels 0 "
            f"to {coarsest}, the coarsest"
        )
    if vision.side % backbone.stride:
        raise ValueError(f"vision.side={vision.side} is not a multiple of {backbone.stride}, the stride of the pyramid's last stage")
    if vision.pyramid_norm and vision.norm == "group":
        must_divide("vision.groups", vision.groups, "vision.pyramid_width", vision.pyramid_width)
    return PyramidConfig(backbone, vision.pyramid_width, vision.pyramid_norm, vision.level)


def norms_follow(vision: object) -> bool:
    """Whether statistics of an image encoder's norms follow the training batches.

    Args:
      vision: its sizes; of a detector's pyramid those of its backbone are looked at. None: there is no image encoder.
    """
    backbone = vision.backbone if isinstance(vision, PyramidConfig) else vision
    return isinstance(backbone, ResNetConfig) and backbone.follows


def vgg_config(vision: ConfigDict) -> VggConfig:
    """Sizes of a VGG's convolutions: stage i has vision.depths[i] of them, vision.stem * 2^i wide and at most eight times vision.stem.

    Raises:
      ValueError: for a configuration of another kind of image encoder.
    """
    if vision.kind != "vgg":
        raise ValueError(f"the image encoder is a VGG here: vision.kind=vgg, found {vision.kind!r}")
    return VggConfig(tuple((vision.stem * min(2**i, 8),) * depth for i, depth in enumerate(vision.depths)))


def last_map_config(vision: ConfigDict, plan: PicturePlan, *, frozen: bool = False) -> VisionConfig:
    """Sizes of an image encoder of any kind whose last map is read; arguments and errors as of the kind's own function above."""
    if vision.kind == "vgg":
        return vgg_config(vision)
    return vit_config(vision, plan, vision.layers) if vision.kind == "vit" else resnet_config(vision, frozen=frozen)


def photo_and_objects(vision: ConfigDict, objects: str) -> PicturePlan:
    """The photo, and `vision.crops` object crops where `objects` names a protocol that has them."""
    plan = (_slot(vision, PHOTO, 1, vision.side, "photo"),)
    return plan if objects == "none" else (*plan, _slot(vision, objects, vision.crops, vision.crop_side, objects))


def check_one_side(config: ConfigDict) -> None:
    """Raises ValueError where photo and crops, which go through one convolutional encoder together, have different sides."""
    if config.data.objects != "none" and config.vision.crop_side != config.vision.side:
        raise ValueError(f"photo and crops go through one encoder: vision.crop_side={config.vision.crop_side} is not {config.vision.side}")


def released_crops(vision: ConfigDict) -> PicturePlan:
    """What IFAformer, MKGformer and HVFormer look at as released: grounded crops at 128 px, detected crops at 64 px, no photo.

    `vision.crop_side` is the side of the grounded crops; the detected ones have half of it.
    """
    return (
        _slot(vision, "grounded", vision.crops, vision.crop_side, "grounded"),
        _slot(vision, "detected", vision.crops, vision.crop_side // 2, "detected"),
    )


def _slot(vision: ConfigDict, name: str, count: int, side: int, source: str) -> Slot:
    mean, std = COLOURS[vision.dialect if vision.kind == "vit" else "imagenet"]
    return Slot(name=name, count=count, side=side, source=source, resize=vision.resize, mean=mean, std=std)
