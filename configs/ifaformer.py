"""IFAformer: text and vision transformers that share keys and values, for relations and entities, and on the embedded data set.

    python -m launch.train --config=configs/ifaformer.py:quickstart --workdir=runs/ifaformer

Variants:
  quickstart, quickstart_entities    small encoders from random weights on `scenes`.
  mnre                               BERT-base and CLIP ViT-B/32, photo and crops. Give --config.data.root, --config.text.weights and
                                     --config.vision.weights (transformers directories).
  twitter2015, twitter2017           entities, likewise.
  minilm_mnre, minilm_twitter2015, minilm_twitter2017    the same data on a CPU: a 6-layer MiniLM, and a vision transformer of its depth and
                                     width from random weights; entities with the photo alone. Give --config.data.root and
                                     --config.text.weights.
  reference                          what the released code computes, for converted checkpoints (python -m launch.convert).

Whose numbers: the paper (a two-page abstract) states what is looked at, the photo and the crops of both visual grounding and object
detection (under --config.data.objects=grounded; 'detected' has the latter alone), and no settings. All settings of mnre, twitter2015
and twitter2017 are the release's (DeepKE, example/re/multimodal and example/ner/multimodal): 6 % warm-up, batch 32, no clipping; relations
1e-5, 12 epochs, 80 tokens; entities 5e-5, the image encoder 3e-5, CRF and its linear layer 5e-2, 30 epochs, 40 tokens; grounded crops at
128 pixels, detected ones beside them at 64. Ours: no weight decay on biases and norms, and every number of quickstart* and minilm_*.

Ablations (any variant): --config.data.objects=none ("vanilla"), --config.system.text_attention=False ("w/o text attention"),
--config.system.modalities=text, --config.data.shuffle_pictures=train or test (table 1).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

PUBLISHED = ("mnre", "twitter2015", "twitter2017")
VARIANTS = ("quickstart", "quickstart_entities", *PUBLISHED, *(f"minilm_{name}" for name in PUBLISHED), "reference")


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base("ifaformer")
    config.train.epochs = 12
    if variant in ("quickstart", "quickstart_entities"):
        _quickstart(config)
        common.scenes_task(config, "entities" if variant.endswith("entities") else "relation")
    elif variant == "reference":
        # One padded length, the released code's: its vision stream attends to padding, and its first layer reshapes by the length.
        config.data.update({"name": "mnre", "objects": "grounded", "buckets": (80,)})
        config.system.update({"flavour": "reference", "constrain": False})
        config.optim.clip = 0.0
        config.train.precision = "highest"  # as the released code on a CPU; PyTorch multiplies in float32 unless asked
        config.vision.resize = "cover_floor"  # CLIP's own preprocessing
    elif variant.startswith("minilm_"):
        _minilm(config, variant.removeprefix("minilm_"))
    else:
        config.optim.clip = 0.0  # the release clips nothing
        config.data.name = variant
        if variant != "mnre":
            _twitter(config)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    config.text.update(common.small_text())
    config.vision.update(common.small_vit())
    config.optim.lr = 1e-3
    config.train.update({"epochs": 5, "eval_batch": 128})


def _minilm(config: ConfigDict, data: str) -> None:
    common.minilm(config, data)
    config.vision.update({"dialect": "vit", "width": 384, "layers": 6, "heads": 12, "mlp": 768, "init_std": 0.0})
    config.vision.update({"side": 128, "crop_side": 64, "positions": "sine"})


def _twitter(config: ConfigDict) -> None:
    config.task.name = "entities"
    config.data.objects = "grounded"
    config.text.max_tokens = 40
    config.train.epochs = 30
    config.optim.lr = 5e-5
    config.optim.multipliers = ConfigDict({"vision": 3e-5 / 5e-5, "head": 5e-2 / 5e-5})
