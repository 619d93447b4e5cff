"""RSRNeT and HVPNeT: visual prefixes, for relations (MNRE) and entities (Twitter-2015, Twitter-2017), and on the embedded data set.

    python -m launch.train --config=configs/rsrnet.py:quickstart --workdir=runs/rsrnet

Variants:
  quickstart, quickstart_entities    small encoders from random weights on `scenes`.
  mnre, twitter2015, twitter2017     RSRNeT as published: RoBERTa-base (entities: XLM-R-base) and ResNeSt-50, photo and 3 crops. Give
                                     --config.data.root, --config.text.weights and --config.vision.weights.
  hvpnet_mnre, hvpnet_twitter2015, hvpnet_twitter2017    HVPNeT: BERT-base and ResNet-50, leaky ReLU gates.
  minilm_mnre, minilm_twitter2015, minilm_twitter2017    the same data on a CPU: a 6-layer MiniLM, a small image encoder from random
                                     weights. Give --config.data.root and --config.text.weights.
  reference  what the released code computes, for converted checkpoints (python -m launch.convert).

Ablations (any variant): --config.system.modalities=text, --config.system.stages=plain, --config.system.stages=1t3,
--config.vision.kind=resnet ("woRSt"), another --config.text.weights ("woRoB", "woXlm"), --config.data.train_share=0.1 (low-resource).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

PUBLISHED = ("mnre", "twitter2015", "twitter2017")
VARIANTS = (
    "quickstart",
    "quickstart_entities",
    *PUBLISHED,
    *(f"hvpnet_{name}" for name in PUBLISHED),
    *(f"minilm_{name}" for name in PUBLISHED),
    "reference",
)


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base()
    config.system = ConfigDict(
        {
            "name": "rsrnet",
            "flavour": "paper",  # paper | reference
            "modalities": "both",  # both | text
            "stages": "gates",  # gates | 1t3 | plain
            "gate": "selu",  # selu (RSRNeT) | leaky_relu (HVPNeT)
            "hidden": 800,  # reference: width inside the projection of the stages
            "head_dropout": 0.1,  # entities: before the linear layer
            "constrain": True,  # entities: rule out what BIO forbids
        }
    )
    config.vision.update({"kind": "resnest", "crop_side": 224, "resize": "crop"})
    if variant in ("quickstart", "quickstart_entities"):
        _quickstart(config)
        common.scenes_task(config, "entities" if variant.endswith("entities") else "relation")
    elif variant == "reference":
        _reference(config)
    else:
        kind, _, data = variant.rpartition("_")
        _published(config, data)
        if kind == "hvpnet":
            _hvpnet(config)
        elif kind == "minilm":
            _minilm(config, data)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    config.text.update(common.small_text())
    config.vision.update(common.small_resnet())
    config.optim.lr = 1e-3
    config.train.update({"epochs": 4, "eval_batch": 128})


def _published(config: ConfigDict, data: str) -> None:
    config.data.name = data
    config.train.batch = 16
    config.text.update({"kind": "roberta", "positions": 514, "types": 1, "eps": 1e-5})
    if data == "mnre":
        config.train.epochs = 15
        config.optim.warmup = 0.1
        return
    config.task.name = "entities"
    config.data.objects = "grounded"
    config.train.epochs = 30
    config.optim.update({"lr": 3e-5, "warmup": 0.01})
    config.optim.multipliers = ConfigDict({"head": 5e-2 / 3e-5})  # as released: the head learns at 5e-2
    if data == "twitter2017":
        config.text.max_tokens = 128
        config.data.buckets = (32, 48, 80, 128)


def _hvpnet(config: ConfigDict) -> None:
    config.text.update({"kind": "bert", "positions": 512, "types": 2, "eps": 1e-12})
    config.vision.kind = "resnet"
    config.system.gate = "leaky_relu"


def _minilm(config: ConfigDict, data: str) -> None:
    common.minilm(config, data)
    config.vision.update({**common.small_resnet(), "side": 128, "crop_side": 128})
    config.optim.warmup = 0.06
    if data == "mnre":
        return
    config.data.objects = "none"
    config.optim.lr = 2e-4
    config.optim.multipliers = ConfigDict({"head": 10.0})
    if data == "twitter2017":
        config.data.buckets = (*config.data.buckets, 128)


def _reference(config: ConfigDict) -> None:
    config.data.update({"name": "mnre", "objects": "grounded"})
    config.text.update({"kind": "roberta", "positions": 514, "types": 1, "eps": 1e-5})
    config.system.update({"flavour": "reference", "constrain": False})
    config.vision.resize = "crop_bilinear"  # torchvision's preprocessing
    config.optim.frozen = ("vision",)  # as released: in no group of the optimiser
