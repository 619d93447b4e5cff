"""How large the runs of the small scale are: so that every table and figure is done in two hours on two cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# {FILE:VARIANT: settings}. One padded length, since each is compiled; a row's own changes come behind these.
SMALL: Mapping[str, Mapping[str, Any]] = {
    "configs/hvformer.py:quickstart": {"data.counts": (4096, 256, 512), "data.buckets": (32,), "train.epochs": 4},
    "configs/hvformer.py:quickstart_levels": {"data.counts": (2048, 128, 256), "data.buckets": (32,), "train.epochs": 2},
    "configs/ifaformer.py:quickstart": {"data.counts": (4096, 256, 512), "data.buckets": (32,), "train.epochs": 4},
    "configs/mkgformer.py:quickstart": {"data.counts": (4096, 256, 512), "data.buckets": (32,), "train.epochs": 4},
    "configs/rsrnet.py:quickstart": {"data.counts": (4096, 256, 512), "data.buckets": (32,), "train.epochs": 3},
    "configs/dgf_pt.py:quickstart": {"data.counts": (4096, 256, 512), "data.buckets": (32,), "train.epochs": 2},
}


def of(config: str, scale: str) -> Mapping[str, Any]:
    """The settings of a configuration at a scale that are neither its own nor a row's."""
    return SMALL.get(config, {}) if scale == "small" else {}
