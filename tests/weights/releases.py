"""Released state dicts with random values, of all but HVFormer: every key and shape, at any size, and the systems they fit."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import numpy as np

from configs import ifaformer, mkgformer, rsrnet
from mmre_jax import systems
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.weights import released
from mmre_jax.weights.pretrained import resolve

Shapes = dict[str, tuple[int, ...]]
CROPS, CELLS = 3, 4


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of a release; the defaults are small. With pictures of 160 pixels the last stage's maps are 5 x 5: odd, as the released 7 x 7."""

    width: int = 32
    mlp: int = 40
    layers: int = 2
    heads: int = 2
    relations: int = 5
    tags: int = 13
    positions: int = 48
    words: int = 30
    hidden: int = 20
    depths: tuple[int, ...] = (1, 2, 1, 1)
    stem: int = 16
    side: int = 160
    patch: int = 4
    photo: int = 50  # rows of the unread table of the full image
    tokens: int = 9


SMALL = Sizes()
FULL = Sizes(768, 3072, 12, 12, 23, 13, 512, 30526, 800, (3, 4, 6, 3), 64, 224, 32, 50, 30)
WORDS = {"hvpnet_re": 30526, "hvpnet_ner": 30522, "rsrnet_re": 50267, "rsrnet_ner": 250002, "ifaformer_re": 30526, "ifaformer_ner": 30522}
WORDS |= {"mkgformer_re": 30526}
CONFIGS = {"hvpnet": rsrnet, "rsrnet": rsrnet, "ifaformer": ifaformer, "mkgformer": mkgformer}
KINDS = tuple(WORDS)


def full(kind: str) -> Sizes:
    """As released."""
    return dataclasses.replace(FULL, words=WORDS[kind], positions=514 if kind.startswith("rsrnet") else 512)


def layer_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm_shapes(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def batch_norm_shapes(name: str, width: int) -> Shapes:
    statistics = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,), f"{name}.num_batches_tracked": ()}
    return {**norm_shapes(name, width), **statistics}


def text_shapes(embeddings: str, layers: str, pooler: str, s: Sizes, types: int) -> Shapes:
    d, shapes = s.width, {}
    shapes |= {f"{embeddings}.position_ids": (1, s.positions), f"{embeddings}.word_embeddings.weight": (s.words, d)}
    shapes |= {f"{embeddings}.position_embeddings.weight": (s.positions, d), f"{embeddings}.token_type_embeddings.weight": (types, d)}
    shapes |= norm_shapes(f"{embeddings}.LayerNorm", d) | layer_shapes(f"{pooler}.dense", d, d)
    for n in range(s.layers):
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= layer_shapes(f"{layers}.{n}.attention.{name}", d, d)
        shapes |= norm_shapes(f"{layers}.{n}.attention.output.LayerNorm", d) | norm_shapes(f"{layers}.{n}.output.LayerNorm", d)
        shapes |= layer_shapes(f"{layers}.{n}.intermediate.dense", d, s.mlp) | layer_shapes(f"{layers}.{n}.output.dense", s.mlp, d)
    return shapes


def clip_shapes(s: Sizes) -> Shapes:
    d, v = s.width, "model.vision_embeddings"
    shapes = {
        f"{v}.class_embedding": (d,),
        f"{v}.position_ids": (1, s.photo),
        f"{v}.aux_position_ids": (1, 48),
        f"{v}.rcnn_position_ids": (1, 12),
        f"{v}.patch_embedding.weight": (d, 3, s.patch, s.patch),
        f"{v}.position_embedding.weight": (s.photo, d),
        f"{v}.aux_position_embedding.weight": (48, d),
        f"{v}.rcnn_position_embedding.weight": (12, d),
    }
    shapes |= norm_shapes("model.vision_pre_layrnorm", d) | norm_shapes("model.vision_post_layernorm", d)
    for n in range(s.layers):
        layer = f"model.encoder.vision_layers.{n}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= layer_shapes(f"{layer}.self_attn.{name}", d, d)
        shapes |= norm_shapes(f"{layer}.layer_norm1", d) | norm_shapes(f"{layer}.layer_norm2", d)
        shapes |= layer_shapes(f"{layer}.mlp.fc1", d, s.mlp) | layer_shapes(f"{layer}.mlp.fc2", s.mlp, d)
    return shapes


def image_shapes(s: Sizes, split: bool) -> Shapes:
    """A ResNet's, or with `split` a ResNeSt's."""
    p, stem = "image_model.resnet", s.stem
    if split:
        half = stem // 2
        shapes = {
            f"{p}.conv1.0.weight": (half, 3, 3, 3),
            f"{p}.conv1.3.weight": (half, half, 3, 3),
            f"{p}.conv1.6.weight": (stem, half, 3, 3),
        }
        shapes |= batch_norm_shapes(f"{p}.conv1.1", half) | batch_norm_shapes(f"{p}.conv1.4", half)
    else:
        shapes = {f"{p}.conv1.weight": (stem, 3, 7, 7)}
    shapes |= batch_norm_shapes(f"{p}.bn1", stem)
    before = stem
    for stage, depth in enumerate(s.depths):
        width = stem * 2**stage
        for n in range(depth):
            block = f"{p}.layer{stage + 1}.{n}"
            shapes |= {f"{block}.conv1.weight": (width, before, 1, 1), f"{block}.conv3.weight": (4 * width, width, 1, 1)}
            shapes |= batch_norm_shapes(f"{block}.bn1", width) | batch_norm_shapes(f"{block}.bn3", 4 * width)
            shapes |= split_shapes(f"{block}.conv2", width) if split else plain_shapes(block, width)
            if n == 0:
                conv, norm = ("downsample.1", "downsample.2") if split else ("downsample.0", "downsample.1")
                shapes |= {f"{block}.{conv}.weight": (4 * width, before, 1, 1)} | batch_norm_shapes(f"{block}.{norm}", 4 * width)
            before = 4 * width
    return shapes | layer_shapes(f"{p}.fc", before, 1000)


def plain_shapes(block: str, width: int) -> Shapes:
    return {f"{block}.conv2.weight": (width, width, 3, 3)} | batch_norm_shapes(f"{block}.bn2", width)


def split_shapes(name: str, width: int) -> Shapes:
    inner = max(32, width // 2)
    shapes = {f"{name}.conv.weight": (2 * width, width // 2, 3, 3)}
    shapes |= {f"{name}.fc1.weight": (inner, width, 1, 1), f"{name}.fc1.bias": (inner,)}
    shapes |= {f"{name}.fc2.weight": (2 * width, inner, 1, 1), f"{name}.fc2.bias": (2 * width,)}
    return shapes | batch_norm_shapes(f"{name}.bn0", 2 * width) | batch_norm_shapes(f"{name}.bn1", inner)


def head_shapes(kind: str, s: Sizes) -> Shapes:
    if kind.endswith("_re"):
        return layer_shapes("classifier", 2 * s.width, s.relations)
    crf = {"crf.transitions": (s.tags, s.tags), "crf.start_transitions": (s.tags,), "crf.end_transitions": (s.tags,)}
    return layer_shapes("fc", s.width, s.tags) | crf


def shapes_of(kind: str, s: Sizes) -> Shapes:
    """Every tensor of a release of these sizes."""
    if kind.startswith(("ifaformer", "mkgformer")):
        text = text_shapes("model.text_embeddings", "model.encoder.text_layer", "model.text_pooler", s, types=2)
        for n in range(s.layers if kind.startswith("mkgformer") else 0):
            text |= layer_shapes(f"model.encoder.text_layer.{n}.intermediate.fusion_dense", s.width, s.mlp)
        return text | clip_shapes(s) | head_shapes(kind, s)
    split = kind.startswith("rsrnet")
    text = text_shapes("bert.embeddings", "bert.encoder.layer", "bert.pooler", s, types=1 if split else 2)
    channels = 4 * s.stem * sum(2**stage for stage in range(4))
    shapes = text | image_shapes(s, split) | head_shapes(kind, s)
    shapes |= layer_shapes("encoder_conv.0", channels, s.hidden) | layer_shapes("encoder_conv.2", s.hidden, 4 * 2 * s.width)
    for n in range(s.layers):
        shapes |= layer_shapes(f"gates.{n}", CELLS * 2 * s.width, 4)
    return shapes


def random_release(kind: str, s: Sizes, seed: int = 0) -> dict[str, np.ndarray]:
    """Values that keep the scale of what goes through them, statistics and norms away from 0 and 1."""
    random, tensors = np.random.default_rng(seed), {}
    for name, shape in shapes_of(kind, s).items():
        if name.endswith("position_ids"):
            tensors[name] = np.arange(shape[1])[None]
        elif name.endswith("num_batches_tracked"):
            tensors[name] = np.array(7)
        else:
            tensors[name] = value(name, random.standard_normal(shape, dtype=np.float32))
    return tensors


def value(name: str, noise: np.ndarray) -> np.ndarray:
    if name.endswith("running_var"):
        return 0.5 + np.abs(noise)
    if noise.ndim == 1 and name.endswith("weight"):  # of a norm
        return 0.8 + np.float32(0.3) * noise
    if noise.ndim == 4:
        return noise * np.float32((2.0 / np.prod(noise.shape[1:])) ** 0.5)
    if noise.ndim == 2 and not re.search("embedding|crf", name):
        gain = 4.0 if "gates" in name else 1.2
        return noise * np.float32(gain / noise.shape[1] ** 0.5)
    if name == "crf.transitions":  # staying costs, so that paths change tags
        return noise - 3 * np.eye(len(noise), dtype=np.float32)
    return noise * np.float32(0.3)


def system_for(kind: str, tensors: dict[str, np.ndarray], s: Sizes, norm: str = "frozen") -> ModuleSystem:
    """The system that a release fits, by the sizes that its tensors show. norm: of a convolutional image encoder."""
    configs = CONFIGS[kind.partition("_")[0]]
    config = configs.get_config("reference").copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict(released.sizes(kind, tensors, heads=s.heads))
        if configs is rsrnet:
            config.vision.update({"side": s.side, "crop_side": s.side, "norm": norm})
    labels = tuple(map(str, range(released.classes(kind, tensors))))
    system = systems.build(resolve(config), vocab_size=released.vocab_rows(kind, tensors), labels=labels)
    assert isinstance(system, ModuleSystem)
    return system


def batch_for(kind: str, system: ModuleSystem, s: Sizes, seed: int = 1) -> dict[str, Any]:
    """Two records: one with all its pictures, a shorter one, padded, whose last crop of the first and first of the last kind is absent."""
    random, length = np.random.default_rng(seed), s.tokens
    mask = np.arange(length)[None] < np.array([[length], [length - 3]])
    pad = 1 if kind.startswith("rsrnet") else 0
    present = {slot.name: np.ones((2, slot.count), bool) for slot in system.plan}
    present[system.plan[-1].name][1, 0] = False
    if len(system.plan) > 1 and system.plan[0].count > 1:
        present[system.plan[0].name][1, -1] = False
    return {
        "text": {
            "ids": np.where(mask, random.integers(2, s.words, (2, length)), pad).astype(np.int32),
            "mask": mask,
            "markers": np.array([[0, 4], [2, 5]], np.int32),
        },
        "pictures": {p.name: random.integers(0, 256, (2, p.count, p.side, p.side, 3)).astype(np.uint8) for p in system.plan},
        "present": present,
        "label": np.array([1, 2], np.int32),
        "tags": random.integers(0, s.tags, (2, length)).astype(np.int32),
        "scored": mask,
        "valid": np.ones(2, bool),
        "index": np.arange(2, dtype=np.int32),
    }


def empty_variables(kind: str, system: ModuleSystem, s: Sizes) -> Any:
    """Shapes and dtypes of the system's variables."""
    return jax.eval_shape(system.init, jax.random.key(0), batch_for(kind, system, s))
