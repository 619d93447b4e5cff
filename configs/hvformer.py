"""HVFormer on MNRE and on the embedded data set.

    python -m launch.train --config=configs/hvformer.py:quickstart --workdir=runs/quickstart

Variants:
  quickstart  small encoders from random weights on `scenes`: test micro-F1 0.98 in under 2 minutes on 2 CPU cores.
  mnre        the paper's sizes (BERT-base, CLIP ViT-B/32, levels 0, 6, 12) and settings. Give --config.data.root, --config.text.weights
              and --config.vision.weights (transformers directories).
  minilm      all of MNRE on a CPU: a 6-layer MiniLM as text encoder, a small image encoder from random weights. Test micro-F1 0.64,
              almost all pictures missing, in less than an hour on 2 cores (RESULTS.md).
  reference   what the released code computes, for converted checkpoints: 61 visual tokens of grounded and detected crops.

Ablations (any variant): --config.system.modalities=text, --config.system.levels=(12,) ("w/o HVF" and figure 4),
--config.system.gather=cls ("w/o TVA"), --config.system.mixture=concat ("w/o MoME").
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("quickstart", "mnre", "minilm", "reference")


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base()
    config.system = ConfigDict(
        {
            "name": "hvformer",
            "flavour": "paper",  # paper | reference
            "modalities": "both",  # both | text
            "levels": (),  # of the image encoder, ascending; () is first, middle, last
            "heads": 12,  # of the attention from text to image
            "gather": "tva",  # tva | cls
            "mixture": "experts",  # experts | concat
        }
    )
    {"quickstart": _quickstart, "mnre": _mnre, "minilm": _minilm, "reference": _reference}[variant](config)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    config.text.update(common.small_text())
    config.vision.update(common.small_vit())
    config.system.heads = 4
    config.optim.lr = 1e-3
    config.train.update({"epochs": 5, "eval_batch": 128})
    common.scenes_task(config, "relation")


def _mnre(config: ConfigDict) -> None:
    config.data.name = "mnre"


def _minilm(config: ConfigDict) -> None:
    common.minilm(config, "mnre")
    config.vision.update(
        {
            "dialect": "vit",
            "width": 128,
            "layers": 2,
            "heads": 4,
            "mlp": 512,
            "init_std": 0.0,
            "side": 128,
            "crop_side": 64,
            "positions": "sine",
        }
    )


def _reference(config: ConfigDict) -> None:
    config.data.name = "mnre"
    config.data.objects = "grounded"
    config.system.flavour = "reference"
    config.vision.resize = "cover_ceil"  # CLIP's own preprocessing, of the version that was pinned
    config.optim.frozen = ("vision",)  # the released code detaches the image encoder's states
