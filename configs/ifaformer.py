"""IFAformer: text and vision transformers that share keys and values, for relations and entities, and on the embedded data set.

    python -m launch.train --config=configs/ifaformer.py:quickstart --workdir=runs/ifaformer

Variants:
  quickstart, quickstart_entities    small encoders from random weights on `scenes`.
  mnre                               the paper's: BERT-base and CLIP ViT-B/32, photo and crops. Give --config.data.root,
                                     --config.text.weights and --config.vision.weights (transformers directories).
  twitter2015, twitter2017           entities, with the settings of the authors' code.
  minilm_mnre                        MNRE on a CPU: a 6-layer MiniLM, and a vision transformer of its depth and width from random weights.
                                     Give --config.data.root and --config.text.weights.
  reference                          what the released code computes, for converted checkpoints (python -m launch.convert).

Ablations (any variant): --config.data.objects=none ("vanilla"), --config.system.text_attention=False ("w/o text attention"),
--config.system.modalities=text, --config.data.shuffle_pictures=train or test (table 1).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("quickstart", "quickstart_entities", "mnre", "twitter2015", "twitter2017", "minilm_mnre", "reference")


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base()
    config.system = ConfigDict(
        {
            "name": "ifaformer",
            "flavour": "paper",  # paper | reference
            "modalities": "both",  # both | text
            "text_attention": True,  # False: the vision stream attends to itself alone
            "head_dropout": 0.1,  # entities: before the linear layer
            "constrain": True,  # entities: rule out what BIO forbids
        }
    )
    config.train.epochs = 12
    if variant in ("quickstart", "quickstart_entities"):
        _quickstart(config)
        common.scenes_task(config, "entities" if variant.endswith("entities") else "relation")
    elif variant == "reference":
        # One padded length, the released code's: its vision stream attends to padding, and its first layer reshapes by the length.
        config.data.update({"name": "mnre", "objects": "grounded", "buckets": (80,)})
        config.system.update({"flavour": "reference", "constrain": False})
        config.vision.resize = "cover_floor"  # CLIP's own preprocessing
    elif variant == "minilm_mnre":
        _minilm(config)
    else:
        config.data.name = variant
        if variant != "mnre":
            _twitter(config)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    config.text.update(common.small_text())
    config.vision.update(common.small_vit())
    config.optim.lr = 1e-3
    config.train.update({"epochs": 5, "eval_batch": 128})


def _minilm(config: ConfigDict) -> None:
    common.minilm(config, "mnre")
    config.vision.update({"dialect": "vit", "width": 384, "layers": 6, "heads": 12, "mlp": 768, "init_std": 0.0})
    config.vision.update({"side": 128, "crop_side": 64, "positions": "sine"})


def _twitter(config: ConfigDict) -> None:
    config.task.name = "entities"
    config.data.objects = "grounded"
    config.text.max_tokens = 40
    config.data.buckets = (24, 32, 40)
    config.train.epochs = 30
    config.optim.lr = 5e-5
    config.optim.multipliers = ConfigDict({"vision": 3e-5 / 5e-5, "head": 5e-2 / 5e-5})
