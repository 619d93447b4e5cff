"""The parts of QEOT's baselines Pipeline-R50, -R101 and -RCNN: a tagger, a detector and a classifier of pairs, each trained on its own view
of the triples.

    python -m launch.pipeline --config=configs/qeot.py:quickstart --workdir=runs/pipeline            Pipeline-R50
    python -m launch.pipeline --config=configs/qeot.py:quickstart_rcnn --workdir=runs/pipeline_rcnn  Pipeline-RCNN

train and score them together. One part by itself:

    python -m launch.train --config=configs/pipeline.py:tagger_quickstart --workdir=runs/pipeline/tagger

Variants:
  tagger, detector, classifier                                    of QEOT's variant more: BERT-base, and Faster R-CNN's backbone. Give
                                                                  --config.data.root, --config.text.weights and --config.vision.weights.
  tagger_gmner, detector_gmner, classifier_gmner                  of its variant gmner. Give --config.data.root, --config.text.weights.
  tagger_quickstart, detector_quickstart, classifier_quickstart   of its quickstart.
  tagger_quickstart_rcnn, detector_quickstart_rcnn, classifier_quickstart_rcnn   of its quickstart_rcnn.

The detector is a Faster R-CNN with a feature pyramid in all three. The paper says of them (section 4.1.2) that they differ in the backbone
alone, and not what stands on it: -R50's and -R101's is a ResNet that has seen classes of pictures only (--config.vision.kind=resnet, depths
and weights of that size), whose pyramid starts fresh, and whose stages the classifier looks at; -RCNN's is a detector's
(--config.vision.kind=rcnn), with its pyramid, whose levels the classifier looks at.

What a region shows the classifier learns at once. Which of several names it belongs to, where the words say so by place, it can tell only
by finding the region in the photo: it had not learnt that after 2,300 steps of 32 pairs of `scenes`.
"""

from __future__ import annotations

import copy
from typing import Any

from ml_collections import ConfigDict

from configs import common, detector, qeot, rsrnet
from mmre_jax.training.locate import is_run

PARTS = ("tagger", "detector", "classifier")
VARIANTS = tuple(part + size for size in ("", "_gmner", "_quickstart", "_quickstart_rcnn") for part in PARTS)
LARGEST_ANCHOR = 0.64  # of the photo's side, as torchvision's 512 of 800 pixels


def get_config(variant: str = "detector") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    part, _, size = variant.partition("_")
    return components(qeot.get_config(size or "more"))[part]


def components(config: ConfigDict) -> dict[str, ConfigDict]:
    """{part: its locked configuration}, for the triples that a configuration of QEOT finds: on its data, with its encoders, optimiser and
    length of training.

    Raises:
      ValueError: for an image encoder that no detector stands on.
    """
    if config.vision.kind not in ("resnet", "rcnn"):
        raise ValueError(f"a pipeline's detector stands on a ResNet: vision.kind=resnet or rcnn, found {config.vision.kind!r}")
    return {"tagger": _tagger(config), "detector": _detector(config), "classifier": _classifier(config)}


def _tagger(config: ConfigDict) -> ConfigDict:
    """HVPNeT without pictures: a BERT and a conditional random field."""
    changes = {"task": {"name": "entities"}, "data": {"view": "mentions"}, "system": {"modalities": "text"}}
    return _changed(config, rsrnet.get_config("hvpnet_twitter2015").system, changes)


def _detector(config: ConfigDict) -> ConfigDict:
    """A Faster R-CNN of one class, over the ResNet; what it draws is as much as its own configuration has on these data. It starts from the
    weights that QEOT starts from; where they are a detector's run, from all parts of that which fit."""
    weights = config.vision.weights
    start = {"vision": {"weights": ""}, "train": {"init_from": weights}} if weights and is_run(weights) else {"vision": {}, "train": {}}
    levels = len(config.vision.depths or (3, 4, 6, 3)) + 1
    anchors = tuple(max(1, round(LARGEST_ANCHOR * config.vision.side / 2**n)) for n in reversed(range(levels)))
    rates = config.optim.multipliers.to_dict()
    own = detector.get_config("quickstart" if config.data.name == "scenes" else "jsonl")
    changes = {
        "task": {"name": "objects", "max_targets": 2 * config.task.max_targets},  # of all records that show a photo
        "data": {"view": "regions"},
        "text": common.section("text").to_dict(),  # no word is read
        "vision": {"kind": "rcnn", **({"level": 0} if config.vision.kind == "resnet" else {}), **start["vision"]},
        "train": start["train"],
        "system": {"anchors": anchors},
        "optim": {
            "frozen": ("backbone",) if "vision" in config.optim.frozen else (),
            "multipliers": {"backbone": rates["vision"]} if "vision" in rates else {},
        },
    }
    return _changed(config, own.system, changes)


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
    """A locked copy of a configuration with another section `system` and another task, and with changes in its sections."""
    found = ConfigDict({**copy.deepcopy(config.to_dict()), "system": copy.deepcopy(system.to_dict())})
    found.task = common.base(system.name, changes["task"]["name"]).task
    for section, values in changes.items():
        for name, value in values.items():  # whole: `update` would leave what a dictionary had before
            found[section][name] = value
    return found.lock()
