"""DGF-PT: prefixes, three stages, dual gate and generative decoder, for relations on MNRE and on the embedded data set.

    python -m launch.train --config=configs/dgf_pt.py:quickstart --workdir=runs/dgf_pt
    python -m launch.gates --checkpoint=runs/dgf_pt

Variants:
  quickstart  a GPT-2 of two layers and a small ResNet from random weights on `scenes`, objects at the boxes of the things in the picture.
  mnre        the paper's: GPT-2 and VGG16, both frozen. Give --config.data.root, --config.text.weights and --config.vision.weights, and
              captions, if there are any, by --config.data.captions.
  minilm      all of MNRE on a CPU: a 6-layer MiniLM as the language model, tuned, and a small image encoder from random weights. Give
              --config.data.root and --config.text.weights.
  gpt2_small  the same with a GPT-2 of four layers from random weights and a byte-level BPE of the training split. Give --config.data.root.

Whose numbers in mnre: the paper's (table 3, section 5.3) are AdamW at 2e-4, batch 100, 20 epochs, dropout 0.6, 128 tokens, 10 objects, a
width of 768, lambda_d, lambda_s and lambda_c 2, 2 and 3, delta 0.4. Its batch of 100 goes on 1, 2, 4, 5 or 10 devices; on 8, 16 or 32 give
--config.train.batch=96. Ours: the image's 7 x 7 blocks, the margin 0.2, weight 1 of the types, 6 % warm-up, no clipping, captions of 32
tokens, that the image encoder is frozen (the paper says it of the language model), and every number of the other variants.

Ablations (any variant):
  table 1  --config.text.weights of a BERT, a GPT-1 or a GPT-2 (without weights --config.text.kind=bert, gpt or gpt2)
  table 2  w/o all prefixes        --config.system.prefix.objects=0 --config.system.prefix.entities=0
           w/o E-P                 --config.system.prefix.entities=0
           w/o O-P                 --config.system.prefix.objects=0
           w/o dual-gated fusion   --config.system.dual_gate=False
           w/o joint objective     --config.system.joint=False
           all prefixes in S2      --config.system.prefix.objects=2 --config.system.prefix.entities=2
           all prefixes in S3      --config.system.prefix.objects=3 --config.system.prefix.entities=3
           E-P in S2               --config.system.prefix.entities=2
           E-P in S3               --config.system.prefix.entities=3
           O-P in S2               --config.system.prefix.objects=2
           O-P in S3               --config.system.prefix.objects=3
           E-P in S2 & O-P in S3   --config.system.prefix.entities=2 --config.system.prefix.objects=3
           E-P in S3 & O-P in S2   --config.system.prefix.entities=3 --config.system.prefix.objects=2
  table 4  --config.system.order=objects-text-image, image-objects-text, image-text-objects, text-objects-image or text-image-objects
  fig. 3   --config.data.image_share=0.2 and so on (python -m launch.sweep --vary=data.image_share=0,0.2,0.4,0.6,0.8,1)
  fig. 4   python -m launch.evaluate prints the scores by how often training had a relation
  also     --config.data.objects=none, --config.system.caption_tokens=0, --config.system.modalities=text, --config.optim.frozen="()"
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("quickstart", "mnre", "minilm", "gpt2_small")


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base("dgf_pt")
    {"quickstart": _quickstart, "mnre": _mnre, "minilm": _minilm, "gpt2_small": _gpt2_small}[variant](config)
    return config.lock()


def _gpt2(config: ConfigDict) -> None:
    config.text.update({"kind": "gpt2", "eps": 1e-5, "activation": "gelu_new"})


def _quickstart(config: ConfigDict) -> None:
    common.scenes_task(config, "relation")
    config.data.objects = "detected"
    config.system.update({"objects": 4, "cells": 4, "caption_tokens": 0, "dropout": 0.1})
    config.text.update({**common.small_text(), "positions": 80})
    _gpt2(config)
    config.vision.update(common.small_resnet())
    config.optim.lr = 1e-3
    config.train.update({"epochs": 2, "eval_batch": 128})


def _mnre(config: ConfigDict) -> None:
    config.data.name = "mnre"
    config.text.update({"max_tokens": 128, "positions": 1024})
    _gpt2(config)
    config.vision.update({"kind": "vgg", "depths": (2, 2, 3, 3, 3)})
    config.optim.update({"lr": 2e-4, "clip": 0.0, "frozen": ("text", "vision")})
    config.train.update({"batch": 100, "epochs": 20})


def _minilm(config: ConfigDict) -> None:
    common.minilm(config, "mnre")
    _small(config)
    config.train.epochs = 3


def _gpt2_small(config: ConfigDict) -> None:
    common.minilm(config, "mnre")
    _small(config)
    config.text.update({"tokenizer": "byte_bpe", "vocab_size": 8000, "positions": 160, "init_std": 0.0})
    config.text.update({"width": 192, "layers": 4, "heads": 6, "mlp": 768, "attention_dropout": 0.1})
    _gpt2(config)
    config.optim.lr = 5e-4
    config.train.epochs = 8


def _small(config: ConfigDict) -> None:
    """What a CPU can do beside a small language model: few objects and blocks, a photo of 128 pixels."""
    config.system.update({"objects": 3, "cells": 2, "caption_tokens": 0, "dropout": 0.1})
    config.vision.update({**common.small_resnet(), "depths": (1, 1, 1), "side": 128})
