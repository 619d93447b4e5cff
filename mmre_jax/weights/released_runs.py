"""A run of a released arithmetic that was trained here, as a release of its sizes: which one, and what its file holds beside the run's own.

`load_state_dict` wants every tensor that the authors' model declares, also those that its forward pass never reads and that a run here
does not have. Nothing that is computed depends on them. They are filled in so that they say nothing: numbers that are constants as they
are (places 0, 1, 2 and so on), norms with scales of 1 and biases of 0, counters and everything else 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.encoders.vit_config import STYLES
from mmre_jax.systems import released as flavours
from mmre_jax.systems.hvformer import default_levels
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.weights import hvformer, mkgformer, released, rsrnet
from mmre_jax.weights.rules import WeightError

IMAGENET = 1000  # classes of the unread classifier of HVPNeT's and RSRNeT's image encoders
Shapes = dict[str, tuple[int, ...]]

# Of a convolutional encoder, what no tensor's shape shows: torchvision's.
_STRIDES = {"vision.stem_stride": 2, "vision.stem_pool": True, "vision.stride_first": False, "vision.norm_eps": 1e-5}


def kind_of(config: ConfigDict) -> str:
    """The kind, one of released.KINDS, that a run's configuration is of.

    Raises:
      WeightError: for an arithmetic that nobody released, and for settings that no release has; it names them.
    """
    name, task = config.system.name, config.task.name
    if not flavours.is_asked_for(config):
        found = f"system.name={name} with system.flavour={config.system.flavour}"
        raise WeightError(f"{found} is no arithmetic that was released: the authors' keys fit runs of system.flavour=reference")
    known = {kind: released.KNOWN[kind] for kind in released.KINDS}
    kinds = [kind for kind, each in known.items() if (each.system, each.task) == (name, task)]
    if not kinds:
        raise WeightError(f"of system.name={name} with task.name={task} no checkpoint was released; there are {', '.join(known)}")
    pictures = config.system.modalities != "text"
    if not pictures and name != "rsrnet":
        raise WeightError(f"{kinds[0]} has no release without pictures (system.modalities=text); HVPNeT and RSRNeT have")
    misfits = {kind: _misfits(config, _expected(known[kind], pictures)) for kind in kinds}
    fitting = [kind for kind, wrong in misfits.items() if not wrong]
    if not fitting:
        listed = "; ".join(f"{kind} has {', '.join(wrong)}" for kind, wrong in misfits.items())
        raise WeightError(f"this run's settings are those of no release: {listed}")
    return fitting[0]


def _expected(kind: released.Kind, pictures: bool) -> dict[str, Any]:
    """The settings that a release has and that no tensor shows."""
    expected = {**kind.fixed, "text.activation": "gelu"}
    if not pictures:
        return {name: value for name, value in expected.items() if name.startswith("text.")}
    expected["vision.crops"] = released.CROPS
    return expected | (_STRIDES if kind.system == "rsrnet" else {"vision.dialect": "clip"})


def _misfits(config: ConfigDict, expected: Mapping[str, Any]) -> list[str]:
    flat = {name: config[section][key] for name in expected for section, _, key in [name.partition(".")]}
    wrong = [f"{name}={value}, here {flat[name]}" for name, value in expected.items() if flat[name] != value]
    if config.system.modalities == "text":
        return wrong
    if config.data.objects == "none":
        wrong.append("object crops, here data.objects=none")
    layers = {"text": config.text.layers, "vision": config.vision.layers}
    if config.system.name == "hvformer" and tuple(config.system.levels) not in ((), default_levels(layers["vision"])):
        wrong.append(f"experts for the levels {default_levels(layers['vision'])}, here system.levels={tuple(config.system.levels)}")
    if config.system.name == "hvformer" and config.text.width != config.vision.width:
        wrong.append(f"one width for both streams, here text.width={config.text.width} and vision.width={config.vision.width}")
    if config.system.name == "hvformer" and config.system.heads != config.text.heads:
        wrong.append(f"as many heads between the streams as in them, here system.heads={config.system.heads}")
    if config.vision.kind == "vit":
        style = STYLES["clip"]
        own = {"activation": config.vision.activation or style.activation, "eps": config.vision.eps or style.eps}
        wrong += [f"vision.{name}={getattr(style, name)}, here {found}" for name, found in own.items() if found != getattr(style, name)]
    third = max(1, layers["text"] // 3)
    if config.system.name == "mkgformer" and config.system.fused not in (0, third):
        wrong.append(f"streams that meet in the last third of the layers, here system.fused={config.system.fused} of {layers['text']}")
    return wrong


def never_read(kind: str, config: ConfigDict, system: ModuleSystem, written: Iterable[str]) -> dict[str, np.ndarray]:
    """The tensors of a release that its forward pass never reads, filled in.

    Args:
      kind: of `kind_of`.
      config: of the run.
      system: of the run.
      written: names of the tensors that the run has.

    Returns:
      {name: tensor}, of the dtypes that the authors' files have.
    """
    net: Any = system.net.config
    if kind.startswith(("hvpnet", "rsrnet")):
        shapes = _of_prefixes(net, written)
    else:
        shapes = _of_streams(net, config)
        shapes |= {"hvformer": _of_hvformer, "ifaformer": _of_ifaformer, "mkgformer": _of_mkgformer}[kind.partition("_")[0]](net)
    return {name: _filled(name, shape) for name, shape in shapes.items()}


def _filled(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith("position_ids"):
        return np.arange(shape[1])[None]
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    return np.full(shape, 1.0 if "norm" in name and name.endswith("weight") else 0.0, np.float32)


def _dense(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _of_prefixes(net: Any, written: Iterable[str]) -> Shapes:
    width, vision = net.text.width, net.vision
    shapes = {"bert.embeddings.position_ids": (1, net.text.positions), **_dense("bert.pooler.dense", width, width)}
    if isinstance(vision, ResNetConfig):
        means = [name for name in written if name.endswith("running_mean")]
        shapes |= {name.replace("running_mean", "num_batches_tracked"): () for name in means}
        shapes |= _dense(f"{rsrnet.IMAGE}fc", vision.channels[-1], IMAGENET)
    return shapes


def _of_streams(net: Any, config: ConfigDict) -> Shapes:
    embeddings, vision = "model.vision_embeddings", net.vision
    photo = (config.vision.side // vision.patch) ** 2 + 1
    grounded, detected = map(vision.patches, vision.sequences)
    return {
        "model.text_embeddings.position_ids": (1, net.text.positions),
        f"{embeddings}.position_ids": (1, photo),
        f"{embeddings}.aux_position_ids": (1, grounded),
        f"{embeddings}.rcnn_position_ids": (1, detected),
        f"{embeddings}.position_embedding.weight": (photo, vision.width),
        **_norm("model.vision_post_layernorm", vision.width),
    }


def _of_hvformer(net: Any) -> Shapes:
    shapes, width = {}, net.text.width
    for n in range(net.vision.layers + 1):
        layer = f"{hvformer.CROSS}.{n}"
        shapes |= _dense(f"{layer}.self_attn.vision_and_text_k_proj", 2 * width, width)
        if n not in net.levels:
            for name in ("text_q_proj", "vision_k_proj", "vision_v_proj", "out_proj"):
                shapes |= _dense(f"{layer}.self_attn.{name}", width, width)
            shapes |= _norm(f"{layer}.layer_norm1", width)
    return shapes


def _of_ifaformer(net: Any) -> Shapes:
    width, vision, layer = net.text.width, net.vision, f"model.encoder.vision_layers.{net.vision.layers - 1}"
    shapes = _dense("model.text_pooler.dense", width, width) | _norm(f"{layer}.layer_norm2", vision.width)
    for name in ("q_proj", "v_proj", "out_proj"):
        shapes |= _dense(f"{layer}.self_attn.{name}", vision.width, vision.width)
    return shapes | _dense(f"{layer}.mlp.fc1", vision.width, vision.mlp) | _dense(f"{layer}.mlp.fc2", vision.mlp, vision.width)


def _of_mkgformer(net: Any) -> Shapes:
    width, shapes = net.text.width, _dense("model.text_pooler.dense", net.text.width, net.text.width)
    for n in range(net.first):
        shapes |= _dense(mkgformer.FUSION.format(n=n), width, net.text.mlp)
    return shapes
