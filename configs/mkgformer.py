"""MKGformer: text and vision transformers that meet in their last layers, on MNRE and on the embedded data set.

    python -m launch.train --config=configs/mkgformer.py:quickstart --workdir=runs/mkgformer

Variants:
  quickstart   small encoders from random weights on `scenes`: test micro-F1 0.99 in about 4 minutes on 2 CPU cores (RESULTS.md).
  mnre         BERT-base and CLIP ViT-B/32, photo and crops. Give --config.data.root, --config.text.weights and
               --config.vision.weights (transformers directories).
  minilm_mnre  MNRE on a CPU: a 6-layer MiniLM, and a vision transformer of its depth and width from random weights. Give
               --config.data.root and --config.text.weights.
  reference    what the released code computes, for converted checkpoints (python -m launch.convert): 61 visual tokens of grounded and
               detected crops, no photo.

All but `reference` are of the flavour 'masked': the released arithmetic, with the text's padding and absent pictures seen by nothing, and
the classifier trained, which the released code leaves out of its optimiser.

Whose numbers in mnre: the release's (MRE/run_mre.sh): batch 32, 1e-5, 12 epochs, 6 % warm-up, 80 tokens, grounded crops at 128 pixels;
the streams meet in the last 4 of 12 layers. It clips nothing. Ours: no weight decay on biases and norms, and every number of quickstart
and minilm_mnre.

Ablations (any variant): --config.system.modalities=text, --config.system.fused=N (layers in which the streams meet).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("quickstart", "mnre", "minilm_mnre", "reference")


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base("mkgformer")
    config.train.epochs = 12
    {"quickstart": _quickstart, "mnre": _mnre, "minilm_mnre": _minilm, "reference": _reference}[variant](config)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    config.text.update(common.small_text())
    config.vision.update(common.small_vit())
    config.optim.lr = 1e-3
    config.train.update({"epochs": 5, "eval_batch": 128})
    common.scenes_task(config, "relation")


def _mnre(config: ConfigDict) -> None:
    config.data.name = "mnre"
    config.optim.clip = 0.0  # the release clips nothing


def _minilm(config: ConfigDict) -> None:
    common.minilm(config, "mnre")
    config.vision.update({"dialect": "vit", "width": 384, "layers": 6, "heads": 12, "mlp": 768, "init_std": 0.0})
    config.vision.update({"side": 128, "crop_side": 64, "positions": "sine"})


def _reference(config: ConfigDict) -> None:
    # One padded length, the released code's: its vision stream attends to padding.
    config.data.update({"name": "mnre", "objects": "grounded", "buckets": (80,)})
    config.system.flavour = "reference"
    config.optim.clip = 0.0
    config.train.precision = "highest"  # as the released code on a CPU; PyTorch multiplies in float32 unless asked
    config.vision.resize = "cover_floor"  # CLIP's own preprocessing
