"""Faster R-CNN, the detector whose boxes the other systems look at.

    python -m launch.train --config=configs/detector.py:quickstart --workdir=runs/detector

Variants:
  quickstart  a small one from random weights on the objects of `scenes`.
  jsonl       torchvision's ResNet-50-FPN, version 1, on JSON lines whose regions with the source "gold" have a box and a label. Give
              --config.data.root, and for a start from COCO --config.vision.weights: torchvision's fasterrcnn_resnet50_fpn as .pth or
              safetensors. The two layers that know classes start fresh.

Whose numbers in jsonl: sizes, thresholds and what is drawn are torchvision's, but for the proposals that are drawn from: it trains with
2000 (--config.system.before_nms=2000 --config.system.after_nms=2000) and looks with 1000, which is what both have here. Its published
weights were trained with SGD at pictures of 800 to 1333 pixels a side; AdamW at 1e-4, 12 epochs and squares of 640 pixels are ours.

Version 2 of torchvision's: --config.system.proposal_convolutions=2 --config.system.head_convolutions=4 --config.vision.pyramid_norm=True.

The scores are COCO's AP, AP50 and AP75, by pycocotools: pip install 'mmre_jax[detector]'.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("quickstart", "jsonl")


def get_config(variant: str = "jsonl") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base("faster_rcnn", "objects")
    config.data.objects = "none"
    config.vision.kind = "rcnn"
    {"quickstart": _quickstart, "jsonl": _jsonl}[variant](config)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    common.scenes_task(config, "objects")
    config.data.counts = (4096, 256, 1024)
    config.vision.update(common.small_rcnn())
    # Anchors as large as the things, 15 to 26 of 64 pixels; few regions, for there are few things.
    config.system.update({"anchors": (8, 16, 24), "hidden": 128, "canonical": 48.0, "before_nms": 64, "after_nms": 48, "detections": 16})
    config.system.sampling.update({"anchors": 64, "proposals": 32})
    config.task.max_targets = 8
    config.optim.lr = 1e-3
    config.train.update({"epochs": 3, "eval_batch": 128})


def _jsonl(config: ConfigDict) -> None:
    config.data.name = "jsonl"
    config.vision.side = 640
    config.optim.update({"lr": 1e-4, "clip": 10.0})
    config.train.update({"batch": 8, "epochs": 12})
