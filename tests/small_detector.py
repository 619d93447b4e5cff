"""A small detector of random weights as torchvision's state dict in a file, and pictures for it; what tests of detection begin with."""

from __future__ import annotations

import pathlib

import jax
import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn, RcnnConfig
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.weights.rcnn import rcnn_rules
from mmre_jax.weights.rules import write

CONFIG = RcnnConfig(backbone=ResNetConfig(depths=(1, 1), stem=4, eps=0.0), classes=4, width=6, anchors=(32.0, 64.0, 128.0), hidden=5)
SIDES = {"shorter": 32, "longer": 48}


def save(path: pathlib.Path, config: RcnnConfig = CONFIG) -> pathlib.Path:
    """Writes the state dict."""
    shapes = jax.eval_shape(FasterRcnn(config).init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.uint8), np.array([[32, 32]]))
    random = np.random.default_rng(0)
    fan_in = lambda leaf: max(float(np.prod(leaf.shape[:-1])), 4.0)  # noqa: E731
    variables = jax.tree.map(lambda leaf: (random.normal(size=leaf.shape) / fan_in(leaf) ** 0.5).astype(np.float32), shapes)
    for norm in jax.tree.leaves(variables["batch_stats"], is_leaf=lambda x: isinstance(x, dict) and "var" in x):
        norm["var"], norm["scale"] = np.abs(norm["var"]) + 0.5, np.abs(norm["scale"]) + 1
    save_file(write(rcnn_rules(config), variables), path)
    return path


def picture(path: pathlib.Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> pathlib.Path:
    """Writes a picture of noise, (width, height) pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path
