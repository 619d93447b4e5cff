"""RSRNeT and HVPNeT: visual prefixes, for relations (MNRE) and entities (Twitter-2015, Twitter-2017), and on the embedded data set.

    python -m launch.train --config=configs/rsrnet.py:quickstart --workdir=runs/rsrnet

Variants:
  quickstart, quickstart_entities    small encoders from random weights on `scenes`.
  mnre, twitter2015, twitter2017     RSRNeT as its paper has it: RoBERTa-base (entities: XLM-R-base) and ResNeSt-50, photo and 3 crops.
                                     Give --config.data.root, --config.text.weights and --config.vision.weights.
  released_mnre, released_twitter2015, released_twitter2017    RSRNeT trained as its released code trains it.
  hvpnet_mnre, hvpnet_twitter2015, hvpnet_twitter2017    HVPNeT as released: BERT-base and ResNet-50, leaky ReLU gates.
  minilm_mnre, minilm_twitter2015, minilm_twitter2017    the same data on a CPU: a 6-layer MiniLM, a small image encoder from random
                                     weights. Give --config.data.root and --config.text.weights.
  reference  what the released code computes, for converted checkpoints (python -m launch.convert).

Whose numbers:
  mnre, twitter2015, twitter2017   the paper's ("Experimental setup"): AdamW, weight decay 0.01, warm-up over 10 % of the steps and linear
      decay, batch 16, 3 crops; relations 1e-5, 15 epochs, read from [CLS] (above eq. 15); entities 3e-5, of its range 1e-5 to 3e-5, for
      all parts alike, 30 epochs. The release's: 80 tokens, for Twitter-2017 128.
  released_*   the release's (run_re_task.sh, run_twitter15.sh, run_twitter17.sh): 3e-5, batch 16, image encoder not trained; relations
      6 % warm-up, read from the markers; entities 1 %, 30 epochs, CRF and its linear layer at 5e-2. The paper's: 15 epochs of relations.
  hvpnet_*     HVPNeT's release, as above, but 15 epochs of relations, and entities with batch 8 and 128 tokens. (It makes the group of
      parameters that is to learn at 5e-2, and leaves it out of its optimiser; here it learns.)
  Neither papers nor releases clip gradients. No weight decay on biases is the paper's, none on norms ours (the releases decay all), as
  is every number of quickstart* and minilm_*.

Ablations (any variant): --config.system.modalities=text, --config.system.stages=plain, --config.system.stages=1t3,
--config.vision.kind=resnet ("woRSt"), another --config.text.weights ("woRoB", "woXlm"), --config.data.train_share=0.1 (low-resource).

--config.data.features=cache: what the image encoder makes of each picture is computed once and kept (61 kB in fp32), in the variants that
do not train it: released_*, hvpnet_*, reference.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common

PUBLISHED = ("mnre", "twitter2015", "twitter2017")
VARIANTS = (
    "quickstart",
    "quickstart_entities",
    *PUBLISHED,
    *(f"released_{name}" for name in PUBLISHED),
    *(f"hvpnet_{name}" for name in PUBLISHED),
    *(f"minilm_{name}" for name in PUBLISHED),
    "reference",
)


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    config = common.base("rsrnet")
    config.vision.update({"kind": "resnest", "crop_side": 224, "resize": "crop"})
    if variant in ("quickstart", "quickstart_entities"):
        _quickstart(config)
        common.scenes_task(config, "entities" if variant.endswith("entities") else "relation")
    elif variant == "reference":
        _reference(config)
    else:
        kind, _, data = variant.rpartition("_")
        _data(config, data)
        if kind == "minilm":
            _minilm(config, data)
        else:
            config.optim.clip = 0.0  # no paper and no release clips
            {"": _paper, "released": _released, "hvpnet": _hvpnet}[kind](config)
    return config.lock()


def _quickstart(config: ConfigDict) -> None:
    config.text.update(common.small_text())
    config.vision.update(common.small_resnet())
    config.optim.lr = 1e-3
    config.train.update({"epochs": 4, "eval_batch": 128})


def _data(config: ConfigDict, data: str) -> None:
    config.data.name = data
    if data == "mnre":
        return
    config.task.name = "entities"
    config.data.objects = "grounded"
    if data == "twitter2017":
        config.text.max_tokens = 128


def _paper(config: ConfigDict) -> None:
    config.text.update({"kind": "roberta", "positions": 514, "types": 1, "eps": 1e-5})
    config.optim.warmup = 0.1
    if config.task.name == "relation":
        config.system.pool = "cls"
        config.train.update({"batch": 16, "epochs": 15})
    else:
        config.optim.lr = 3e-5
        config.train.update({"batch": 16, "epochs": 30})


def _released(config: ConfigDict) -> None:
    _paper(config)
    config.system.pool = "markers"
    config.optim.update({"lr": 3e-5, "warmup": 0.06, "frozen": ("vision",)})
    if config.task.name == "entities":
        config.optim.warmup = 0.01
        config.optim.multipliers = ConfigDict({"head": 5e-2 / 3e-5})


def _hvpnet(config: ConfigDict) -> None:
    _released(config)
    config.text.update({"kind": "bert", "positions": 512, "types": 2, "eps": 1e-12})
    config.vision.kind = "resnet"
    config.system.gate = "leaky_relu"
    if config.task.name == "entities":
        config.train.batch = 8
        config.text.max_tokens = 128


def _minilm(config: ConfigDict, data: str) -> None:
    common.minilm(config, data)
    config.vision.update({**common.small_resnet(), "side": 128, "crop_side": 128})
    config.optim.warmup = 0.06


def _reference(config: ConfigDict) -> None:
    config.data.update({"name": "mnre", "objects": "grounded"})
    config.text.update({"kind": "roberta", "positions": 514, "types": 1, "eps": 1e-5})
    config.system.update({"flavour": "reference", "constrain": False})
    config.vision.resize = "crop_bilinear"  # torchvision's preprocessing
    config.train.precision = "highest"  # as the released code on a CPU; PyTorch multiplies in float32 unless asked
    config.optim.update({"frozen": ("vision",), "clip": 0.0})  # as released: in no group of the optimiser, and nothing is clipped
