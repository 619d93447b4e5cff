"""Sections that every system's configuration has, with their defaults. A system's file fills in what is its own."""

from __future__ import annotations

from typing import Any

import ml_collections
from ml_collections import ConfigDict


def base() -> ConfigDict:
    """The sections system, task, data, text, vision, optim, train, parallel."""
    config = ml_collections.ConfigDict()
    config.system = ConfigDict()
    config.task = ConfigDict({"name": "relation"})
    config.data = data()
    config.text = text()
    config.vision = vision()
    config.optim = optim()
    config.train = train()
    config.parallel = ConfigDict({"devices": 0})  # local devices to use; 0: all
    return config


def data() -> ConfigDict:
    """Where records come from and how they become batches."""
    return ConfigDict(
        {
            "name": "scenes",  # scenes | mnre | mnre_v1 | twitter2015 | twitter2017 | gmner | more | jsonl | prepared
            "root": "",  # folder of the published layout, of {split}.jsonl files, or written by launch.prepare
            "objects": "detected",  # none | detected | grounded (leaks MNRE's labels; the only ones of twitter): crops beside the photo
            "none_label": "None",  # jsonl, and triples of any set: the label that says that no relation holds
            "view": "",  # of triples: mentions (entities) | regions (triples) | pairs (relation): a pipeline's parts (configs/pipeline.py)
            "scene": "relations",  # scenes: relations | grounded (task relation) | entities | triples
            "counts": (16384, 512, 1024),  # scenes: records of train, val, test
            "published": False,  # more: facts 'none' are triples with that relation, as in the published figures
            "merge_val": False,  # more: train on the validation split too, as MORTE does; val then selects on what was trained on
            "require_images": False,  # a missing or unreadable picture stops the run before training
            "buckets": (32, 48, 80),  # padded lengths; each is compiled once
            "window": 1,  # batches within which a shuffled epoch is sorted by length
            "shuffle_pictures": "none",  # none | train | test | both: show these records with other records' pictures
            "image_share": 1.0,  # of the pictures; the others are masked in all splits
            "train_share": 1.0,  # of the training examples, drawn by train.seed from each class
            "blank_words": False,  # the image-only control
            "workers": 0,  # processes that prepare records; 0: threads of this one
            "threads": 2,
        }
    )


def text() -> ConfigDict:
    """The text encoder. With `weights` (a transformers directory) zeros mean: as the weights have it."""
    return ConfigDict(
        {
            "weights": "",
            "kind": "bert",  # bert | roberta (also XLM-R); follows the weights
            "pad_id": 1,  # roberta: id of padding, behind which positions start; follows the weights
            "tokenizer": "bpe",  # without weights, trained on the training split: bpe | word
            "vocab_size": 2000,  # of that tokenizer
            "max_tokens": 80,
            "width": 768,
            "layers": 12,
            "heads": 12,
            "mlp": 3072,
            "positions": 512,
            "types": 2,
            "eps": 1e-12,
            "activation": "gelu",
            "dropout": 0.1,
            "attention_dropout": 0.1,
            "init_std": 0.02,  # of tables and kernels without weights; 0: kernels by fan-in, which learns faster from scratch
        }
    )


def vision() -> ConfigDict:
    """The image encoder and the pictures it sees. With `weights` zeros mean: as the weights have it."""
    return ConfigDict(
        {
            "weights": "",
            "kind": "vit",  # vit | resnet | resnest
            "dialect": "clip",  # vit: vit | clip
            "width": 768,
            "layers": 12,
            "heads": 12,
            "mlp": 3072,
            "patch": 32,
            "depths": (3, 4, 6, 3),  # resnet, resnest: blocks of each stage; () with weights: as they have it
            "stem": 64,  # channels of the stem; the blocks of stage i are stem * 2^i wide
            "stem_kernel": 0,  # 0: the kind's, 7 (resnest: 3)
            "stem_stride": 2,
            "stem_pool": True,
            "bottleneck": True,  # False: blocks of two 3x3 convolutions
            "stride_first": False,  # the stride on a bottleneck's first convolution, not on its 3x3
            "norm": "frozen",  # frozen (for pretrained weights) | batch | group
            "groups": 32,  # of norm=group
            "eps": 0.0,  # 0: the dialect's
            "activation": "",  # '': the dialect's
            "side": 224,  # of the photo, pixels
            "crop_side": 128,
            "crops": 3,  # object crops a record, where data.objects is not none
            "resize": "squash",  # squash | crop | cover; as released: crop_bilinear | cover_floor | cover_ceil (mmre_jax/data/pictures.py)
            "dropout": 0.0,
            "init_std": 0.02,
            "positions": "normal",  # normal | sine: how the position tables start
        }
    )


def optim() -> ConfigDict:
    """AdamW with warm-up and linear decay."""
    return ConfigDict(
        {
            "lr": 1e-5,
            "schedule": "linear",  # linear | constant
            "warmup": 0.06,  # share of all steps
            "weight_decay": 1e-2,  # none on biases and norms
            "clip": 1.0,  # global gradient norm; 0: none
            "b1": 0.9,
            "b2": 0.999,
            "eps": 1e-8,
            "accumulate": 1,  # parts a batch is worked through in
            "frozen": (),  # parts of the system that are not trained, such as ('vision',)
            "multipliers": ConfigDict({}, type_safe=False),  # learning-rate factor per part, such as {'head': 10.0}
        }
    )


def train() -> ConfigDict:
    """The run."""
    return ConfigDict(
        {
            "batch": 32,  # global
            "eval_batch": 64,  # global
            "epochs": 20,
            "seed": 0,
            "seeds": (),  # one run a seed, with mean and deviation, when not empty
            "init_from": "",  # a checkpoint whose parameters a new run starts from
            "dtype": "float32",  # float32 | bfloat16: of computation; parameters stay float32
            "log_every": 50,  # steps
            "save_every": 0,  # steps between checkpoints beside those at each epoch's end; 0: none
            "max_steps": 0,  # stop early, as if interrupted, with a checkpoint; 0: never
            "compilation_cache": "~/.cache/mmre_jax/xla",  # '' for none
        }
    )


def scenes_task(config: ConfigDict, task: str) -> None:
    """The embedded data set, at the size of a quickstart, for 'relation', 'entities' or 'triples'."""
    config.task.name = task
    scene = "relations" if task == "relation" else task
    config.data.update({"name": "scenes", "scene": scene, "objects": "none", "buckets": (16, 32), "counts": (12288, 512, 1024)})


def small_text() -> dict[str, Any]:
    """Section text: a BERT of two layers, its words those of the embedded data set."""
    sizes = {"width": 64, "layers": 2, "heads": 4, "mlp": 256, "positions": 32, "max_tokens": 32, "init_std": 0.0}
    return {**sizes, "tokenizer": "word", "vocab_size": 80, "dropout": 0.0, "attention_dropout": 0.0}


def small_vit() -> dict[str, Any]:
    """Section vision: a transformer of two layers over 16 patches of 16 pixels."""
    return {"dialect": "vit", "width": 64, "layers": 2, "heads": 4, "mlp": 256, "patch": 16, "side": 64, "init_std": 0.0}


def small_resnet() -> dict[str, Any]:
    """Section vision: a ResNet of two stages with group normalisation, which learns from random weights: 64 pixels become 8 x 8 cells."""
    blocks = {"depths": (1, 1), "stem": 32, "stem_kernel": 3, "bottleneck": False, "norm": "group", "groups": 8}
    return {"kind": "resnet", **blocks, "side": 64, "crop_side": 64, "resize": "squash"}


def minilm(config: ConfigDict, data: str) -> None:
    """A published data set on a CPU: the text encoder as --config.text.weights has it (a 6-layer MiniLM), lengths in its pieces."""
    config.text.update({"kind": "bert", "width": 0, "layers": 0, "heads": 0, "mlp": 0, "positions": 0, "attention_dropout": 0.0})
    config.data.update({"name": data, "window": 16, "buckets": (24, 32, 40, 56, 80)})
    config.optim.lr = 1e-4
    config.train.update({"batch": 32, "epochs": 4, "log_every": 100})


def choose(variant: str, variants: tuple[str, ...]) -> None:
    """Refuses an unknown variant.

    Raises:
      ValueError: listing the valid ones.
    """
    if variant not in variants:
        raise ValueError(f"unknown variant {variant!r}: choose one of {', '.join(variants)}")
