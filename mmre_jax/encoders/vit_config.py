"""The configuration of a vision transformer, and how it is read from transformers' config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from mmre_jax.cudnn import Implementation
from mmre_jax.encoders.blocks import check_activation

PHOTO = "photo"  # the sequence whose position table also holds CLS's place


@dataclasses.dataclass(frozen=True)
class ImageSequence:
    """Pictures read as one sequence of patches: `count` of them, square, `side` pixels a side."""

    name: str
    count: int
    side: int


@dataclasses.dataclass(frozen=True)
class Style:
    """What sets the dialects apart: activation, LayerNorm eps, a bias in the patch embedding, LayerNorm before the layers."""

    activation: str
    eps: float
    patch_bias: bool
    pre_norm: bool


STYLES = {"vit": Style("gelu", 1e-12, patch_bias=True, pre_norm=False), "clip": Style("quick_gelu", 1e-5, patch_bias=False, pre_norm=True)}

# A nested vision_config stores only what differs from these values of transformers' CLIPVisionConfig.
_CLIP_VALUES: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
}
_VIT_KEYS = set(_CLIP_VALUES) - {"attention_dropout"} | {"hidden_dropout_prob", "attention_probs_dropout_prob", "qkv_bias"}


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Sizes of a vision transformer; the defaults are ViT-B/32's.

    Attributes:
      sequences: what is read, in order. The one named 'photo' must count 1; its position table has a row for CLS, which
        gets no position where there is no photo.
      patch: side of a patch in pixels.
      width: D.
      layers: number of layers; may be fewer than a checkpoint's.
      heads: attention heads a layer.
      mlp: width inside the feed-forward blocks.
      dialect: 'vit' or 'clip', see `Style`.
      activation: of the feed-forward blocks; None: the dialect's.
      eps: of the layer normalisations; None: the dialect's.
      qkv_bias: whether query, key and value have biases.
      final_norm: whether the last layer's output is normalised.
      dropout: rate after the embeddings and after both halves of each layer.
      attention_dropout: rate on the attention weights.
      attention: `implementation` of `mmre_jax.attention.attention`.
      position_init: 'normal', or 'sine' for a 2-D sine table at scale 1, for learning from scratch.
      init_std: standard deviation of initial tables and kernels, 0 for kernels by fan-in.
    """

    sequences: tuple[ImageSequence, ...] = (ImageSequence(PHOTO, 1, 224),)
    patch: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    dialect: Literal["vit", "clip"] = "vit"
    activation: str | None = None
    eps: float | None = None
    qkv_bias: bool = True
    final_norm: bool = True
    dropout: float = 0.0
    attention_dropout: float = 0.0
    attention: Implementation = "xla"
    position_init: Literal["normal", "sine"] = "normal"
    init_std: float = 0.02

    def __post_init__(self) -> None:
        if self.dialect not in STYLES:
            raise ValueError(f"unknown dialect {self.dialect!r}; known are {', '.join(STYLES)}")
        if self.position_init not in ("normal", "sine"):
            raise ValueError(f"unknown position_init {self.position_init!r}; known are normal, sine")
        if self.width % self.heads:
            raise ValueError(f"the ViT's width {self.width} does not divide into {self.heads} heads")
        names = [sequence.name for sequence in self.sequences]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a ViT reads at least one sequence, each under a name of its own, found {names}")
        for sequence in self.sequences:
            if sequence.side < self.patch or sequence.count < 1:
                raise ValueError(f"{sequence} holds no patch of {self.patch} pixels")
            if sequence.name == PHOTO and sequence.count != 1:
                raise ValueError(f"there is one {PHOTO} to a record, found {sequence}")
        check_activation(self.style.activation)

    @property
    def style(self) -> Style:
        """The dialect, with `activation` and `eps` replaced where they are set."""
        own = {"activation": self.activation, "eps": self.eps}
        return dataclasses.replace(STYLES[self.dialect], **{name: value for name, value in own.items() if value is not None})

    def grid(self, sequence: ImageSequence) -> int:
        """Patches along one side of a picture."""
        return sequence.side // self.patch

    def patches(self, sequence: ImageSequence) -> int:
        """Patches of all pictures of a sequence."""
        return sequence.count * self.grid(sequence) ** 2

    @property
    def length(self) -> int:
        """P: CLS and all patches."""
        return 1 + sum(map(self.patches, self.sequences))

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any]) -> ViTConfig:
        """The configuration, with the photo as its only sequence, that a transformers config.json, read as a dict, describes.

        Model types: 'vit', 'clip_vision_model', and 'clip', of which the vision tower is taken. CLIP's comes without a
        final norm, as `CLIPVisionModel` returns its states. For other sequences or fewer layers use `dataclasses.replace`.

        Raises:
          ValueError: another model type, pictures that are not square or not RGB, or a missing key; it is named.
        """
        found = config.get("model_type")
        if found not in ("vit", "clip_vision_model", "clip"):
            raise ValueError(f"this is the configuration of a {found!r} model, expected 'vit', 'clip_vision_model' or 'clip'")
        if found == "vit":
            missing = sorted(_VIT_KEYS - set(config))
            if missing:
                raise ValueError(f"the ViT configuration lacks {', '.join(missing)}")
            own = {
                "qkv_bias": config["qkv_bias"],
                "dropout": config["hidden_dropout_prob"],
                "attention_dropout": config["attention_probs_dropout_prob"],
            }
            dialect, values = "vit", config
        else:
            vision = config.get("vision_config", {}) if found == "clip" else config
            dialect, values = "clip", {**_CLIP_VALUES, **vision}
            own = {"attention_dropout": values["attention_dropout"], "final_norm": False}
        if values["num_channels"] != 3 or not isinstance(values["image_size"], int) or not isinstance(values["patch_size"], int):
            raise ValueError(
                f"only square RGB pictures and patches are supported, found image_size {values['image_size']}, "
                f"patch_size {values['patch_size']}, num_channels {values['num_channels']}"
            )
        return cls(
            sequences=(ImageSequence(PHOTO, 1, values["image_size"]),),
            patch=values["patch_size"],
            width=values["hidden_size"],
            layers=values["num_hidden_layers"],
            heads=values["num_attention_heads"],
            mlp=values["intermediate_size"],
            dialect=dialect,
            activation=values["hidden_act"],
            eps=values["layer_norm_eps"],
            init_std=values["initializer_range"],
            **own,
        )

    def to_transformers(self, side: int) -> dict[str, Any]:
        """The inverse of `from_transformers`, for an encoder of one picture of `side` pixels a side.

        Raises:
          ValueError: for a CLIP without biases in its attention, which transformers does not have.
        """
        style = self.style
        values = {
            "hidden_size": self.width,
            "intermediate_size": self.mlp,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_channels": 3,
            "image_size": side,
            "patch_size": self.patch,
            "hidden_act": style.activation,
            "layer_norm_eps": style.eps,
            "initializer_range": self.init_std,
        }
        if self.dialect == "clip":
            if not self.qkv_bias:
                raise ValueError("transformers' CLIP has biases in its attention, here there are none")
            return {"model_type": "clip_vision_model", "attention_dropout": self.attention_dropout, **values}
        rates = {"hidden_dropout_prob": self.dropout, "attention_probs_dropout_prob": self.attention_dropout}
        return {"model_type": "vit", "qkv_bias": self.qkv_bias, **rates, **values}
