"""Every setting of a configuration: default, range and meaning, declared here once. `python -m launch.settings` prints them.

The sections that all configurations have stand below. Section `system` is declared beside each system (mmre_jax/systems), what section
`task` has beyond its name beside the task. Configurations take their defaults from here, `check` what they may hold, and checkpoints that
are older than a setting what was computed before there was it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmre_jax import declare, systems
from mmre_jax.attention import DROPPED
from mmre_jax.cudnn import IMPLEMENTATIONS
from mmre_jax.data.dataset import OBJECTS, TASKS
from mmre_jax.data.datasets import DATASETS
from mmre_jax.data.pictures import MISSING, RESIZES
from mmre_jax.data.sampling import SHUFFLES
from mmre_jax.data.scenes.compose import TASKS as SCENES
from mmre_jax.data.text import LEAST
from mmre_jax.data.views import TASK_OF
from mmre_jax.declare import Section, SettingError, choice, factors, flag, names, number, text, whole, wholes
from mmre_jax.encoders.blocks import ACTIVATIONS
from mmre_jax.encoders.convolution import NORMS
from mmre_jax.encoders.from_config import KINDS, TEXT_KINDS
from mmre_jax.encoders.vit_config import STYLES
from mmre_jax.tasks import objects, triples

PRECISIONS = ("default", "high", "highest")
REMATS = ("none", "dots")
PRNGS = ("threefry2x32", "rbg", "unsafe_rbg")  # JAX's implementations of random keys
SEED = "[0, 4294967295]"  # jax.random.key takes the lowest 32 bits of a number

DATA: Section = {  # where records come from and how they become batches
    "name": text("scenes", f"the data set: {', '.join(DATASETS)}"),
    "root": text("", "folder of the published layout, of {split}.jsonl files, or of launch.prepare; mnre, jsonl: also in a bucket"),
    "objects": choice("detected", OBJECTS, "object crops beside the photo; grounded ones leak MNRE's labels and are twitter's only ones"),
    "none_label": text("None", "jsonl, and triples of any set: the label that says that no relation holds"),
    "captions": text("", "JSON file {picture: caption}, names relative to the data set's folder; '': the records' own captions, if any"),
    "view": choice("", ("", *TASK_OF), "of triples: mentions (entities), regions (triples), pairs (relation), a pipeline's parts"),
    "scene": choice("relations", SCENES, "scenes: relations or grounded (task relation), entities, triples, objects"),
    "counts": wholes((16384, 512, 1024), "[1, inf)", "scenes: records of train, val, test", length=3),
    "published": flag(False, "more: facts 'none' are triples with that relation, as in the published figures"),
    "merge_val": flag(False, "more: train on the validation split too, as MORTE does; val then selects on what was trained on"),
    "require_images": flag(False, "a missing or unreadable picture stops the run before training"),
    "missing": choice("masked", MISSING, "what a listed crop without a file is; blank: a black picture, to show how a protocol leaks"),
    "verdicts": text("~/.cache/mmre_jax/pictures", "folder where it is remembered which pictures can be read; '': each start looks"),
    "buckets": wholes(
        (),
        "[1, inf)",
        "padded lengths in tokens, each of which is compiled once; (): chosen from the training split's lengths when a run begins",
        order="ascending",
        empty=True,
        former=(32, 48, 80),
    ),
    "window": whole(0, "[0, inf)", "batches within which a shuffled epoch is sorted by length; 0: chosen likewise", former=1),
    "shuffle_pictures": choice("none", SHUFFLES, "splits whose records are shown with other records' pictures"),
    "image_share": number(1.0, "[0, 1]", "of the pictures; the others are masked in all splits"),
    "train_share": number(1.0, "(0, 1]", "of the training examples, drawn by train.seed from each class"),
    "blank_words": flag(False, "the image-only control"),
    "features": choice(
        "none", ("none", "cache"), "cache: what encoders named in optim.frozen make of pictures and words is computed once and kept on disk"
    ),
    "features_folder": text("", "where features are kept; '': features/ beside prepared data, else ~/.cache/mmre_jax/features"),
    "workers": whole(-1, "[-1, inf)", "processes that make batches; 0: threads; -1: one a core for files (threads on up to 4)"),
    "threads": whole(2, "[1, inf)", "threads that make batches where there are no workers"),
    "resident": choice("host", ("host", "device"), "device: a training split that was prepared as arrays lies in each device's memory"),
    "draft": flag(False, "decode JPEGs no larger than needed: faster, and pixels differ (by 0.7 grey levels at a half of MNRE's)"),
}

TEXT: Section = {  # the text encoder; 0 with text.weights: as the weights have it
    "weights": text("", "directory of transformers; '': random weights"),
    "kind": choice(
        "bert", TEXT_KINDS, "roberta is XLM-R, too; gpt2 and gpt (GPT-1) are causal; follows the weights; vectors: of words, each by itself"
    ),
    "vectors": text("", "kind vectors: file of word vectors in GloVe's or word2vec's text format; '': random vectors"),
    "pad_id": whole(1, "[0, inf)", "roberta: id of padding, behind which positions start; follows the weights"),
    "tokenizer": choice(
        "bpe", tuple(LEAST), "without weights, of the training split; byte_bpe keeps capitals, as GPT-2's; whole: words as they are"
    ),
    "vocab_size": whole(2000, "[1, inf)", "entries of that tokenizer"),
    "max_tokens": whole(80, "[3, inf)", "longest sequence, specials included; what is beyond is cut off"),
    "width": whole(768, "[0, inf)", "of the states; divides by the heads"),
    "layers": whole(12, "[0, inf)", "fewer than the weights have: the lowest ones"),
    "heads": whole(12, "[0, inf)", "of attention"),
    "mlp": whole(3072, "[0, inf)", "width inside the feed-forward blocks"),
    "positions": whole(512, "[0, inf)", "rows of the position table"),
    "types": whole(2, "[0, inf)", "rows of the token type table; follows the weights"),
    "eps": number(1e-12, "[0, inf)", "of the layer normalisations; follows the weights"),
    "activation": choice("gelu", ACTIVATIONS, "of the feed-forward blocks; follows the weights"),
    "dropout": number(0.1, "[0, 1)", "after the embeddings and both halves of each layer"),
    "word_dropout": number(0.0, "[0, 1)", "kind vectors: share of the words that training reads as the unknown one, which is learnt so"),
    "attention_dropout": number(0.1, "[0, 1)", "of attention weights"),
    "attention_dropout_at": choice("weights", DROPPED, "weights: each alone; values: a key of a head, for all queries at once"),
    "attention": choice(
        "auto", IMPLEMENTATIONS, "cudnn: flash attention on a GPU, in bfloat16, no weight dropped; auto: that where it can be", former="xla"
    ),
    "init_std": number(0.02, "[0, inf)", "of tables and kernels without weights; 0: by fan-in, which learns faster from scratch"),
}

VISION: Section = {  # the image encoder and the pictures it sees; 0 with vision.weights: as the weights have it
    "weights": text(
        "", "directory of transformers, of a ResNeSt, of torchvision's tensors of a VGG; rcnn: a detector, or a ResNet; '': random"
    ),
    "kind": choice("vit", KINDS, "of image encoder; rcnn: a Faster or Mask R-CNN's ResNet and feature pyramid"),
    "dialect": choice("clip", STYLES, "of a vit; follows the weights"),
    "width": whole(768, "[0, inf)", "vit: of the states; divides by the heads"),
    "layers": whole(12, "[0, inf)", "vit: fewer than the weights have: the lowest ones"),
    "heads": whole(12, "[0, inf)", "vit: of attention"),
    "mlp": whole(3072, "[0, inf)", "vit: width inside the feed-forward blocks"),
    "patch": whole(32, "[0, inf)", "vit: side of a patch, pixels; divides the sides of all pictures"),
    "depths": wholes(
        (3, 4, 6, 3), "[1, inf)", "convolutional: blocks of each stage; vgg: convolutions; () with weights: as they have it", empty=True
    ),
    "stem": whole(64, "[0, inf)", "convolutional: channels of the stem; stage i is stem * 2^i wide, of a vgg at most eight stems"),
    "stem_kernel": whole(0, "[0, inf)", "resnet, resnest, rcnn: odd; 0: the kind's, 7 (resnest: 3)"),
    "stem_stride": whole(2, "[1, 2]", "resnet, resnest, rcnn: of the stem's (first) convolution; follows the weights"),
    "stem_pool": flag(True, "resnet, resnest, rcnn: the stem ends in a pooling of stride 2; follows the weights"),
    "bottleneck": flag(True, "resnet, rcnn: bottlenecks instead of blocks of two 3x3 convolutions; follows the weights"),
    "stride_first": flag(False, "resnet, rcnn: the stride on a bottleneck's first convolution, not on its 3x3; follows the weights"),
    "norm": choice("frozen", NORMS, "resnet, resnest, rcnn: frozen is for pretrained weights; batch is each device's, global all devices'"),
    "groups": whole(32, "[1, inf)", "of vision.norm=group; divides the channels; follows a run's weights"),
    "norm_eps": number(1e-5, "[0, inf)", "resnet, resnest, rcnn: added to the norms' variances; follows the weights"),
    "level": whole(2, "[0, inf)", "rcnn: level of the pyramid that QEOT reads: 0 the finest, one a stage, as many as stages the coarsest"),
    "pyramid_width": whole(256, "[0, inf)", "rcnn: channels of the pyramid"),
    "pyramid_norm": flag(False, "rcnn: the pyramid's convolutions have norms, as torchvision's version 2; follows the weights"),
    "eps": number(0.0, "[0, inf)", "vit: of the layer normalisations; 0: the dialect's"),
    "activation": choice("", ("", *ACTIVATIONS), "vit: of the feed-forward blocks; '': the dialect's"),
    "side": whole(224, "[0, inf)", "of the photo, pixels"),
    "crop_side": whole(
        128,
        "[1, inf)",
        "of an object crop, pixels; IFAformer's and the released code's detected crops have half of it beside grounded ones",
    ),
    "crops": whole(3, "[1, inf)", "object crops a record, where data.objects is not none"),
    "resize": choice("squash", RESIZES, "how a picture becomes a square: Slot in mmre_jax/data/pictures.py; the last three as released"),
    "dropout": number(0.0, "[0, 1)", "vit: after the embeddings and both halves of each layer"),
    "attention": choice("auto", IMPLEMENTATIONS, "vit: as text.attention", former="xla"),
    "init_std": number(0.02, "[0, inf)", "vit: of tables and kernels without weights; 0: by fan-in"),
    "positions": choice("normal", ("normal", "sine"), "vit: how the position tables start"),
}

OPTIM: Section = {  # AdamW with warm-up
    "lr": number(1e-5, "[0, inf)", "the highest learning rate"),
    "schedule": choice("linear", ("linear", "constant"), "behind the warm-up: linear to 0, or constant"),
    "warmup": number(0.06, "[0, 1]", "share of all steps, in which the learning rate rises from 0"),
    "weight_decay": number(1e-2, "[0, inf)", "none on biases and norms"),
    "clip": number(1.0, "[0, inf)", "largest global norm of the gradient; 0: any"),
    "b1": number(0.9, "[0, 1)", "decay of the gradient's mean"),
    "b2": number(0.999, "[0, 1)", "decay of the gradient's square"),
    "eps": number(1e-8, "(0, inf)", "added to the root of the gradient's square"),
    "accumulate": whole(1, "[1, inf)", "parts a batch is worked through in"),
    "frozen": names((), "parts of the system that are not trained, such as ('vision',)"),
    "multipliers": factors({}, "[0, inf)", "learning-rate factor of a part, such as {'head': 10.0}"),
}

TRAIN: Section = {  # the run
    "batch": whole(32, "[1, inf)", "records a step, over all devices"),
    "eval_batch": whole(64, "[1, inf)", "records a step of evaluation, over all devices"),
    "epochs": whole(20, "[1, inf)", "over the training split"),
    "seed": whole(0, SEED, "of parameters, dropout, order and draws"),
    "seeds": wholes((), SEED, "one run a seed, with mean and deviation, where not empty", order="different", empty=True),
    "init_from": text("", "a run (its workdir, or a step's folder) whose parameters a new run starts from; labels are matched by name"),
    "init_parts": names((), "the parts to take from it, such as ('text', 'head'); (): all that fit, the others start fresh"),
    "dtype": choice("float32", systems.DTYPES, "of computation; parameters stay float32"),
    "precision": choice("default", PRECISIONS, "of products on GPU and TPU: TF32 or bf16 by default, float32 with highest"),
    "prng": choice("threefry2x32", PRNGS, "makes dropout's draws; rbg: the chip's own generator, other draws, for TPUs (jax.random)"),
    "remat": choice("none", REMATS, "what the backward pass computes again to save memory: nothing, or (dots) all but products"),
    "log_every": whole(50, "[1, inf)", "steps between lines of the log"),
    "save_every": whole(0, "[0, inf)", "steps between checkpoints beside those at each epoch's end; 0: none"),
    "max_steps": whole(0, "[0, inf)", "stop early, as if interrupted, with a checkpoint; 0: never"),
    "compilation_cache": text("~/.cache/mmre_jax/xla", "folder of compiled programs; '': none"),
}

MESH: Section = {  # the devices of parallel.mapping=mesh
    "data": whole(0, "[0, inf)", "groups of devices that hold all parameters between them; 0: as many as there are devices for"),
    "fsdp": whole(1, "[1, inf)", "devices of such a group, over which parameters and optimiser state are split"),
}

PARALLEL: Section = {  # the devices
    "devices": whole(0, "[0, inf)", "devices of each process to use; 0: all"),
    "mapping": choice("pmap", ("pmap", "mesh"), "pmap: all parameters on every device; mesh: split over parallel.mesh"),
    "mesh": MESH,
}

COMMON: Mapping[str, Section] = {"data": DATA, "text": TEXT, "vision": VISION, "optim": OPTIM, "train": TRAIN, "parallel": PARALLEL}
TASK: Mapping[str, Section] = {"objects": objects.SETTINGS, "triples": triples.SETTINGS}  # what section `task` holds beside the name

_OF_TASKS = {name for section in TASK.values() for name in section}


def task(name: str) -> Section:
    """The declaration of section `task` for a task's name."""
    return {"name": choice(name, TASKS, "what is to be found"), **TASK.get(name, {})}


def sections(config: Any) -> dict[str, Section]:
    """The declarations of a configuration's sections, in their order: those of all, and those of its system and its task.

    Of a system that declares no settings (`systems.SETTINGS`) the name alone is known.
    """
    system, chosen = (config[section].get("name", "") if section in config else "" for section in ("system", "task"))
    return {
        "system": systems.declared(system),
        "task": task(chosen),
        **COMMON,
    }


def check(config: Any) -> None:
    """Refuses a configuration in which a setting is missing, unknown or out of its range; sections that nobody declares are left alone.

    What two settings have to do with each other is said by the code that needs it, when a system is built (training/checks.py, rehearse).

    Raises:
      SettingError: naming every such setting, its value and what it can be.
    """
    if not hasattr(config, "items"):
        raise SettingError(f"a configuration has the sections system, task, {', '.join(COMMON)}, found {type(config).__name__}")
    lines = []
    for name, section in sections(config).items():
        if name == "task" and (line := _other_task(config, section)):
            lines.append(line)
            continue
        missing = [f"section {name} is missing"]
        lines += declare.problems(name, _spoken_of(name, config[name], section), section) if name in config else missing
    if lines:
        raise SettingError(declare.all_of(lines))


def _other_task(config: Any, section: Section) -> str:
    """What to say where settings of a task are missing because the system does not have that task; '' elsewhere.

    Any configuration may score the predictions of other programs: the task alone is no mistake.

    Args:
      section: the task's declaration.
    """
    if not hasattr(config.get("task"), "get") or not section.keys() - config.task.keys():
        return ""
    system, task = (config[name].get("name", "") if name in config else "" for name in ("system", "task"))
    known = systems.TASKS.get(system) if isinstance(system, str) else None
    if known is None or task in known:
        return ""
    others = [name for name, tasks in systems.TASKS.items() if task in tasks]
    there = f"; for {task} there is {' or '.join(others)}" if others else ""
    return f"task.name={task!r}: system {system!r} has the task {' or '.join(known)}{there}"


def _spoken_of(name: str, values: Any, section: Section) -> Any:
    """The values of a section that its declaration speaks of."""
    if name == "system" and values.get("name") not in systems.SETTINGS:
        return {key: value for key, value in values.items() if key == "name"}  # the others are the system's own
    if name == "task":  # a configuration that is scored for another task than it was made for keeps that one's settings
        return {key: value for key, value in values.items() if key in section or key not in _OF_TASKS}
    return values


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's configuration, with what was computed before there was a setting for each that it lacks."""
    return {**config, **{name: declare.complete(config.get(name, {}), section) for name, section in sections(config).items()}}


@dataclasses.dataclass(frozen=True)
class Row:
    """A setting as it is listed: name as flags have it, meaning, range, default, and the value in a configuration, if there is one."""

    name: str
    meaning: str
    range: str
    default: Any
    value: Any

    @property
    def differs(self) -> bool:
        """Whether the value is another one than the default."""
        return bool(self.value != self.default)


def rows(name: str, section: Section, values: Any = None) -> list[Row]:
    """The settings of a section as rows; without values, with the defaults.

    Args:
      name: of the section, as flags name it.
      values: of the section in a configuration that has been checked.
    """
    found: list[Row] = []
    values = declare.defaults(section) if values is None else values
    for key, setting in section.items():
        where = f"{name}.{key}"
        if isinstance(setting, Mapping):
            found += rows(where, setting, values[key])
        else:
            found.append(Row(where, setting.meaning, setting.range, setting.default, declare.plain(values[key])))
    return found
