"""How large the runs of the small scale are: so that every table and figure is made in two hours on two cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Sentences of the embedded data set fit into one padded length, which is compiled once: 8 words, 4 markers and the tokenizer's 2 tokens.
_RELATIONS = {"data.counts": (4096, 256, 512), "data.buckets": (16,), "text.max_tokens": 16}
_TRIPLES = {"data.counts": (2048, 128, 256), "data.buckets": (24,), "text.max_tokens": 24}  # 15 words
_CROPS = {"vision.crop_side": 32}  # two by two patches
# {FILE:VARIANT, or FILE for all of its variants: settings}. A row's own changes come behind these.
SMALL: Mapping[str, Mapping[str, Any]] = {
    "configs/hvformer.py": {**_RELATIONS, **_CROPS, "train.epochs": 3},
    "configs/hvformer.py:quickstart_levels": {**_RELATIONS, "data.counts": (2048, 128, 256), "train.epochs": 2},
    "configs/ifaformer.py": {**_RELATIONS, **_CROPS, "train.epochs": 3},
    "configs/mkgformer.py": {**_RELATIONS, **_CROPS, "train.epochs": 3},
    "configs/rsrnet.py": {**_RELATIONS, "train.epochs": 2},
    "configs/dgf_pt.py": {**_RELATIONS, "data.counts": (3072, 256, 512), "train.epochs": 2},
    "configs/visualbert.py": {**_RELATIONS, "train.epochs": 2},
    "configs/text_baselines.py": {**_RELATIONS, "train.epochs": 4},
    "configs/qeot.py": {**_TRIPLES, "train.epochs": 3},
    "configs/adapted.py": {**_TRIPLES, "train.epochs": 3},
}


def of(config: str, scale: str) -> Mapping[str, Any]:
    """The settings of a configuration at a scale that are neither its own nor a row's.

    Args:
      config: FILE:VARIANT.
    """
    return SMALL.get(config, SMALL.get(config.partition(":")[0], {})) if scale == "small" else {}
