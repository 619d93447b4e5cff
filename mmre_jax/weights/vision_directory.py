"""An image encoder and how its pictures are made as a directory of transformers: the inverse of reading one.

What is no part of a system's encoder is not written, and transformers says that it starts it fresh: a ViT's pooler and last norm, CLIP's
norm of the pooled state. So a ViT's states are the model's `hidden_states`; its `last_hidden_state` went through that norm.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from mmre_jax.data.pictures import Slot
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig
from mmre_jax.encoders.resnet import EPS, ResNetConfig
from mmre_jax.encoders.vgg import VggConfig
from mmre_jax.encoders.vit_config import PHOTO, ImageSequence, ViTConfig
from mmre_jax.weights.resnet import resnet_rules
from mmre_jax.weights.rules import WeightError, write
from mmre_jax.weights.vit import keys_alone, vit_rules

ARCHITECTURES = {"vit": "ViTModel", "clip_vision_model": "CLIPVisionModel", "resnet": "ResNetModel"}
VisionConfig = ViTConfig | ResNetConfig | PyramidConfig | VggConfig
Described = tuple[dict[str, Any], dict[str, np.ndarray], tuple[str, ...]]  # config.json, tensors, notes

_BICUBIC, _BILINEAR = 3, 2  # as Pillow numbers them


def write_vision_directory(directory: str | Path, config: VisionConfig, variables: Mapping[str, Any], slot: Slot) -> tuple[str, ...]:
    """Writes config.json, model.safetensors and preprocessor_config.json, which AutoModel and AutoImageProcessor load.

    Of a ViT that reads several sequences of patches, the directory reads one picture: the photo, or of one that reads crops alone the
    first crop of the first kind. Its states are those of the encoder with all other patches masked. A last layer of which a system has
    but keys or values is left out. Of a pyramid the backbone is written.

    Args:
      directory: that is there, and empty.
      config: of the encoder.
      variables: {"params": ..., "batch_stats": ...} of that encoder.
      slot: of the pictures that it reads first.

    Returns:
      What of the encoder is not in the directory, a sentence each.

    Raises:
      WeightError: for an encoder that transformers does not have.
    """
    try:
        if isinstance(config, VggConfig):
            raise ValueError("transformers has no VGG")
        described, tensors, notes = _vit(config, variables["params"]) if isinstance(config, ViTConfig) else _resnet(config, variables)
    except ValueError as error:
        raise WeightError(f"this image encoder cannot be written as a directory of transformers: {error}") from error
    about = {"architectures": [ARCHITECTURES[described["model_type"]]], "dtype": "float32", **described}
    for name, value in (("config.json", about), ("preprocessor_config.json", processor(slot))):
        (Path(directory) / name).write_text(json.dumps(value, indent=2) + "\n", "utf-8")
    tensors = {name: np.ascontiguousarray(x).reshape(x.shape) for name, x in tensors.items()}
    save_file(tensors, Path(directory) / "model.safetensors", {"format": "pt"})
    return notes


def processor(slot: Slot) -> dict[str, Any]:
    """The preprocessor_config.json that makes of a picture what the slot does; where the margin beside the centre is odd it may take the
    pixel beside."""
    common = {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "rescale_factor": 1 / 255,
        "image_mean": list(slot.mean),
        "image_std": list(slot.std),
        "resample": _BILINEAR if slot.resize == "crop_bilinear" else _BICUBIC,
    }
    square = {"height": slot.side, "width": slot.side}
    if slot.resize == "squash":
        return {"image_processor_type": "ViTImageProcessor", "size": square, **common}
    shorter = round(slot.side * 256 / 224) if slot.resize.startswith("crop") else slot.side
    return {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": shorter},
        "do_center_crop": True,
        "crop_size": square,
        **common,
    }


def _vit(config: ViTConfig, params: Mapping[str, Any]) -> Described:
    notes = []
    rules = vit_rules(config, "vision_model." if config.dialect == "clip" else "")
    layers = sum(name.startswith("layer_") for name in params)
    if layers and keys_alone(rules, layers - 1, params):
        layers -= 1
        notes.append(f"its last layer, {layers}, is left out: the system has no more of it than keys and values")
    photo = next((sequence for sequence in config.sequences if sequence.name == PHOTO), None)
    read = photo or config.sequences[0]
    embeddings = dict(params["embeddings"])
    table = np.asarray(embeddings[f"position_{read.name}"])
    if photo is None:  # CLS has no place
        table = np.concatenate([np.zeros_like(table[:1]), table[: config.grid(read) ** 2]])
        notes.append(
            f"it looks at crops alone: the directory reads one picture as the first {read.name} crop, of {read.side} pixels a side"
        )
    elif others := [sequence.name for sequence in config.sequences if sequence.name != PHOTO]:
        notes.append(f"the directory reads the photo; the places of {' and '.join(others)} crops are left out")
    tables = {name for name in embeddings if name.startswith("position_")}
    kept = {name: value for name, value in embeddings.items() if name not in tables} | {f"position_{PHOTO}": table}
    whole = {name: value for name, value in params.items() if not name.startswith("layer_") or int(name.removeprefix("layer_")) < layers}
    alone = dataclasses.replace(config, sequences=(ImageSequence(PHOTO, 1, read.side),), layers=layers)
    return alone.to_transformers(read.side), write(rules, {**whole, "embeddings": kept}), tuple(notes)


def _resnet(config: ResNetConfig | PyramidConfig, variables: Mapping[str, Any]) -> Described:
    notes: tuple[str, ...] = ()
    if isinstance(config, PyramidConfig):
        config, variables = config.backbone, {name: tree["backbone"] for name, tree in variables.items()}
        notes = ("the detector's ResNet is written, without the pyramid over it",)
    described = config.to_transformers()
    tensors = write(resnet_rules(config, "transformers"), variables)
    for name in [name for name in tensors if name.endswith("running_var")]:
        tensors[name] = tensors[name] + np.float32(config.eps - EPS)  # so that PyTorch's eps makes ours of it
        tensors[name.replace("running_var", "num_batches_tracked")] = np.array(0)
    return described, tensors, notes
