"""HVFormer on MNRE and on the embedded data set.

    python -m launch.train --config=configs/hvformer.py:quickstart --workdir=runs/quickstart

Variants:
  quickstart  small encoders from random weights on `scenes`: test micro-F1 0.98 in under 2 minutes on 2 CPU cores.
  quickstart_levels  a narrower image encoder of 12 layers, an expert for each of its levels 0-12, and crops of objects: what figures 5-8
              and 13 of the paper are drawn of (python -m launch.analyse).
  mnre        the paper's sizes (BERT-base, CLIP ViT-B/32, levels 0, 6, 12) and settings. Give --config.data.root, --config.text.weights
              and --config.vision.weights (transformers directories).
  mnre_levels  the same with an expert for each level 0-12, for those figures.
  minilm      all of MNRE on a CPU: a 6-layer MiniLM as text encoder, a small image encoder from random weights. Test micro-F1 0.64,
              almost all pictures missing, in less than an hour on 2 cores (RESULTS.md).
  reference   what the released code computes, for converted checkpoints: 61 visual tokens of grounded and detected crops.

Whose numbers in mnre: the paper's (appendix A.1) are AdamW at 1e-5, 20 epochs, M = 12 heads, levels 0, 6 and 12; batch 32, 6 % warm-up
and 80 tokens are the release's (run_mre.sh), and so is the side of grounded crops, 128 pixels. Neither clips gradients. Ours: no weight
decay on biases and norms, and every number of quickstart and minilm.

Ablations (text-only of any variant, the others of any but `reference`): --config.system.modalities=text,
--config.system.levels=(12,) ("w/o HVF" and figure 4), --config.system.gather=cls ("w/o TVA"), --config.system.mixture=concat
("w/o MoME").

--config.data.features=cache: the image encoder's levels are computed once and kept (MNRE's photos and crops: 8.6 GB in fp32). `reference`
does not train that encoder; the other variants need --config.optim.frozen="('vision',)", too. With 'text' among them, and text.dropout and
text.attention_dropout 0, so are the words' states at the markers (6 kB a record).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("quickstart", "quickstart_levels", "mnre", "mnre_levels", "minilm", "reference")


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base("hvformer")
    make = {
        "quickstart": _quickstart,
        "quickstart_levels": _quickstart_levels,
        "mnre": _mnre,
        "mnre_levels": _mnre_levels,
        "minilm": _minilm,
        "reference": _reference,
    }
    make[variant](config)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    config.text.update(common.small_text())
    config.vision.update(common.small_vit())
    config.system.heads = 4
    config.optim.lr = 1e-3
    config.train.update({"epochs": 5, "eval_batch": 128})
    common.scenes_task(config, "relation")


def _quickstart_levels(config: ConfigDict) -> None:
    _quickstart(config)
    config.text.update({"width": 32, "mlp": 128})
    config.vision.update({"layers": 12, "width": 32, "mlp": 64, "crop_side": 32, "crops": 2})
    config.system.levels = tuple(range(13))
    config.data.objects = "detected"
    config.train.epochs = 3


def _mnre(config: ConfigDict) -> None:
    config.data.name = "mnre"
    config.optim.clip = 0.0  # neither the paper nor the release clips


def _mnre_levels(config: ConfigDict) -> None:
    _mnre(config)
    config.system.levels = tuple(range(13))


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
    config.train.precision = "highest"  # as the released code on a CPU; PyTorch multiplies in float32 unless asked
    config.vision.resize = "cover_ceil"  # CLIP's own preprocessing, of the version that was pinned
    config.optim.update({"frozen": ("vision",), "clip": 0.0})  # the released code detaches the image encoder's states, and clips nothing
