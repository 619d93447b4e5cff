"""The parts of Pipeline-R50, QEOT's baseline: a tagger, a detector and a classifier of pairs, each trained on its own view of the triples.

    python -m launch.pipeline --config=configs/qeot.py:quickstart --workdir=runs/pipeline

trains and scores them together. One part by itself:

    python -m launch.train --config=configs/pipeline.py:tagger_quickstart --workdir=runs/pipeline/tagger

Variants:
  tagger, detector, classifier                                    of QEOT's variant more: BERT-base and ResNet-50. Give
                                                                  --config.data.root, --config.text.weights and --config.vision.weights.
  tagger_gmner, detector_gmner, classifier_gmner                  of its variant gmner. Give --config.data.root, --config.text.weights.
  tagger_quickstart, detector_quickstart, classifier_quickstart   of its quickstart.

Pipeline-R101: --config.vision.depths=(3,4,23,3), with weights of that size.

What a region shows the classifier learns at once. Which of several names it belongs to, where the words say so by place, it can tell only
by finding the region in the photo: it had not learnt that after 2,300 steps of 32 pairs of `scenes`.
"""

from __future__ import annotations

import copy
from typing import Any

from ml_collections import ConfigDict

from configs import common, qeot, rsrnet

PARTS = ("tagger", "detector", "classifier")
VARIANTS = tuple(part + size for size in ("", "_gmner", "_quickstart") for part in PARTS)


def get_config(variant: str = "detector") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    part, _, size = variant.partition("_")
    return components(qeot.get_config(size or "more"))[part]


def components(config: ConfigDict) -> dict[str, ConfigDict]:
    """{part: its locked configuration}, for the triples that a configuration of QEOT finds: on its data, with its encoders, optimiser and
    length of training."""
    return {"tagger": _tagger(config), "detector": _detector(config), "classifier": _classifier(config)}


def _tagger(config: ConfigDict) -> ConfigDict:
    """HVPNeT without pictures: a BERT and a conditional random field."""
    changes = {"task": {"name": "entities"}, "data": {"view": "mentions"}, "system": {"modalities": "text"}}
    return _changed(config, rsrnet.get_config("hvpnet_twitter2015").system, changes)


def _detector(config: ConfigDict) -> ConfigDict:
    """QEOT over one constant word, from which nothing is selected: a DETR, as deep as QEOT, of at most DETR's width."""
    width = min(config.text.width or 256, 256)
    text = {"weights": "", "kind": "bert", "width": width, "layers": 1, "heads": config.system.heads, "mlp": width}
    changes = {
        "task": {"merge_iou": 0.7},  # all of one relation: this is what suppresses second boxes of an object
        "data": {"view": "regions", "buckets": (8,), "window": 1},
        "text": {**text, "tokenizer": "word", "vocab_size": 8, "positions": 8, "max_tokens": 8},
        "system": {
            "select": False,
            "encoder_positions": True,  # nothing else would tell it where a cell is
            "memory": "image",
            "deep_supervision": True,
            "queries": 2 * config.task.max_targets,
            "empty_weight": 0.4,  # QEOT's and DETR's 0.1 would have nearly all of so few queries say that they see something
        },
    }
    return _changed(config, config.system, changes)


def _classifier(config: ConfigDict) -> ConfigDict:
    """HVPNeT with the photo and the region as its visual prefix, and the markers of both head and tail around the mention."""
    changes = {
        "task": {"name": "relation"},
        "data": {"view": "pairs", "objects": "detected"},
        "vision": {"crops": 1, "crop_side": config.vision.side},
        "train": {"epochs": max(1, config.train.epochs // 4)},  # a record is several pairs, each of which is a step's example
    }
    return _changed(config, rsrnet.get_config("hvpnet_mnre").system, changes)


def _changed(config: ConfigDict, system: ConfigDict, changes: dict[str, dict[str, Any]]) -> ConfigDict:
    """A locked copy of a configuration with another section `system`, and with changes in its sections."""
    found = ConfigDict({**copy.deepcopy(config.to_dict()), "system": copy.deepcopy(system.to_dict())})
    if changes["task"].get("name", found.task.name) != found.task.name:
        found.task = ConfigDict()  # the settings of triples are no other task's
    for section, values in changes.items():
        found[section].update(values)
    return found.lock()
