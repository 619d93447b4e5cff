"""What the systems' configurations share. Every setting, its default, range and meaning are declared in mmre_jax/settings.py and, section
`system`, in the system's file: `python -m launch.settings` prints them."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from mmre_jax import declare, settings


def base(system: str, task: str = "relation") -> ConfigDict:
    """The sections system, task, data, text, vision, optim, train, parallel with the defaults that mmre_jax declares.

    Args:
      system: a name of mmre_jax.systems.
      task: relation | entities | triples | objects.
    """
    names = {"system": {"name": system}, "task": {"name": task}}
    config = ConfigDict({name: declare.defaults(declared) | names.get(name, {}) for name, declared in settings.sections(names).items()})
    config.optim.multipliers = ConfigDict({}, type_safe=False)
    return config


def section(name: str) -> ConfigDict:
    """One of the sections that all systems have, with its defaults."""
    return ConfigDict(declare.defaults(settings.COMMON[name]))


def scenes_task(config: ConfigDict, task: str) -> None:
    """The embedded data set, at the size of a quickstart, for 'relation', 'entities', 'triples' or 'objects'."""
    config.task.name = task
    scene = "relations" if task == "relation" else task
    config.data.update({"name": "scenes", "scene": scene, "objects": "none", "counts": (12288, 512, 1024)})


def small_text() -> dict[str, Any]:
    """Section text: a BERT of two layers, its words those of the embedded data set."""
    sizes = {"width": 64, "layers": 2, "heads": 4, "mlp": 256, "positions": 32, "max_tokens": 32, "init_std": 0.0}
    return {**sizes, "tokenizer": "word", "vocab_size": 80, "dropout": 0.0, "attention_dropout": 0.0}


def word_vectors(width: int, tokenizer: str = "whole", words: int = 50_000) -> dict[str, Any]:
    """Section text: vectors of words, each by itself.

    Args:
      words: the most that are told apart.
    """
    return {"kind": "vectors", "width": width, "tokenizer": tokenizer, "vocab_size": words, "dropout": 0.0, "init_std": 0.0}


def small_vit() -> dict[str, Any]:
    """Section vision: a transformer of two layers over 16 patches of 16 pixels."""
    return {"dialect": "vit", "width": 64, "layers": 2, "heads": 4, "mlp": 256, "patch": 16, "side": 64, "init_std": 0.0}


def small_resnet() -> dict[str, Any]:
    """Section vision: a ResNet of two stages with group normalisation, which learns from random weights: 64 pixels become 8 x 8 cells. A
    pyramid over it, of a detector, has 64 channels."""
    blocks = {"depths": (1, 1), "stem": 32, "stem_kernel": 3, "bottleneck": False, "norm": "group", "groups": 8, "pyramid_width": 64}
    return {"kind": "resnet", **blocks, "side": 64, "crop_side": 64, "resize": "squash"}


def small_rcnn() -> dict[str, Any]:
    """Section vision: the same ResNet under a feature pyramid, whose level of the coarser stage is read, again 8 x 8 cells."""
    return {**small_resnet(), "kind": "rcnn", "level": 1}


def minilm(config: ConfigDict, data: str) -> None:
    """A published data set on a CPU: the text encoder as --config.text.weights has it (a 6-layer MiniLM). Of Twitter's the photo alone."""
    config.text.update({"kind": "bert", "width": 0, "layers": 0, "heads": 0, "mlp": 0, "positions": 0, "attention_dropout": 0.0})
    config.data.name = data
    config.optim.lr = 1e-4
    config.train.update({"batch": 32, "epochs": 4, "log_every": 100})
    if not data.startswith("twitter"):
        return
    config.task.name = "entities"
    config.data.objects = "none"  # the published crops of these data were found with the annotation's help
    config.optim.lr = 2e-4
    config.optim.multipliers = ConfigDict({"head": 10.0})
    if data == "twitter2017":
        config.text.max_tokens = 128


def choose(variant: str, variants: tuple[str, ...]) -> None:
    """Refuses an unknown variant.

    Raises:
      ValueError: listing the valid ones.
    """
    if variant not in variants:
        raise ValueError(f"unknown variant {variant!r}: choose one of {', '.join(variants)}")
