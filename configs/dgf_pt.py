"""DGF-PT: prefixes, stages, dual gate and generative decoder, for relations, on MNRE and on the embedded data set.

python -m launch.train --config=configs/dgf_pt.py:quickstart --workdir=runs/dgf_pt
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("quickstart", "mnre", "minilm", "gpt2_small")


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base("dgf_pt")
    {"quickstart": _quickstart, "mnre": _mnre, "minilm": _minilm, "gpt2_small": _gpt2_small}[variant](config)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    common.scenes_task(config, "relation")
    config.data.objects = "detected"
    config.system.update({"objects": 4, "cells": 4, "caption_tokens": 0, "dropout": 0.1})
    config.text.update({**common.small_text(), "kind": "gpt2", "positions": 96, "eps": 1e-5, "activation": "gelu_new"})
    config.vision.update(common.small_resnet())
    config.optim.lr = 1e-3
    config.train.update({"epochs": 2, "eval_batch": 128})


def _mnre(config: ConfigDict) -> None:
    config.data.name = "mnre"
    config.data.buckets = (48, 80, 128)
    config.text.update({"kind": "gpt2", "max_tokens": 128, "positions": 1024, "eps": 1e-5, "activation": "gelu_new"})
    config.vision.update({"kind": "vgg", "depths": (2, 2, 3, 3, 3)})
    config.optim.update({"lr": 2e-4, "frozen": ("text", "vision"), "clip": 0.0})
    config.train.update({"batch": 100, "epochs": 20})


def _minilm(config: ConfigDict) -> None:
    common.minilm(config, "mnre")
    _small(config)


def _gpt2_small(config: ConfigDict) -> None:
    common.minilm(config, "mnre")
    _small(config)
    config.text.update({"kind": "gpt2", "width": 192, "layers": 4, "heads": 6, "mlp": 768, "positions": 256, "init_std": 0.0})
    config.text.update({"eps": 1e-5, "activation": "gelu_new", "vocab_size": 8000})
    config.optim.lr = 3e-4


def _small(config: ConfigDict) -> None:
    """What a CPU can do beside a small language model."""
    config.system.update({"objects": 4, "cells": 3, "caption_tokens": 0, "dropout": 0.1})
    config.vision.update({**common.small_resnet(), "depths": (1, 1, 1), "side": 128})
