"""Converts the authors' released checkpoints, and writes runs for others to open: encoders, whole models, the authors' keys.

    python -m launch.convert released.pth runs/released --tokenizer=BERT_DIR --labels=DATA/ours_rel2id.json --root=DATA
    python -m launch.evaluate --checkpoint=runs/released --split=test
    python -m launch.convert runs/mine encoders --to=transformers
    python -m launch.convert runs/mine mine.safetensors --to=safetensors
    python -m launch.convert mine.safetensors runs/again
    python -m launch.convert runs/released back.safetensors --to=released

The first takes a state dict of HVPNeT, RSRNeT, IFAformer, MKGformer or HVFormer: safetensors, or with PyTorch installed what torch.save
wrote, whatever it is called, also inside a trainer's dictionary, and under the names that DataParallel or torch.compile make. It writes
a checkpoint in the reference flavour, for `mmre_jax.load`, launch.evaluate and launch.extract.
Every tensor is read, or is named in TARGET/released.json with the reason why the released code never reads it, and kept beside it. Sizes
are read from the tensors; what does not fit is an error that lists it.

--tokenizer is a directory of transformers: bert-base-uncased; for RSRNeT roberta-base (relations) or xlm-roberta-base (entities).
--labels is a JSON object {label: id} or list (*.json), or a text file of one label a line. For entities it may be left out if there are
13 tags, which are then the released code's. HVPNeT and RSRNeT trained without pictures become checkpoints of system.modalities=text.

--to=transformers takes any run: its encoders, tuned or not, become directories that transformers opens. AutoModel and AutoTokenizer load
TARGET/text, in which the tokens that mark a pair are among its tokens; AutoModel and AutoImageProcessor load TARGET/vision. Both are what
text.weights and vision.weights take. transformers has no ResNeSt, no VGG and no group normalisation: such an encoder is not written, and
the log says so.

--to=safetensors takes any run, too: all of its model in one file, of which mmre_jax/convert/one_file.py says the names, with settings,
labels and tokenizer in its metadata. From that file the command without --to makes a checkpoint again.

--to=released writes the authors' keys. What was converted comes back bit for bit, in its own precision. A run of system.flavour=reference
that was trained here has no values for tensors that the released code never reads, but whose absence its load_state_dict refuses: they
become zeros, norms that change nothing, and constants as they are (mmre_jax/weights/released_runs.py), and the file's metadata name them.
"""

from __future__ import annotations

from absl import app, flags

from configs import hvformer, ifaformer, mkgformer, rsrnet
from launch import console
from mmre_jax import convert
from mmre_jax.data import datasets
from mmre_jax.weights import released
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.state_dicts import open_release, read_labels

CONFIGS = {"hvpnet": rsrnet, "rsrnet": rsrnet, "ifaformer": ifaformer, "mkgformer": mkgformer, "hvformer": hvformer}
TO = {"transformers": convert.save_encoders, "safetensors": convert.save_model, "released": convert.export}

_TO = flags.DEFINE_enum(
    "to", None, list(TO), "What to make of a run: directories of its encoders, one file of all of it, or the authors' keys."
)
_TOKENIZER = flags.DEFINE_string("tokenizer", None, "Directory of the tokenizer.")
_LABELS = flags.DEFINE_string("labels", None, "File of relations or tags.")
_KIND = flags.DEFINE_enum("kind", None, released.KINDS, "What the state dict is, where its names do not tell.")
_NONE = flags.DEFINE_string("none", "", "The relation that says that none holds; by default the one called None, in any case.")
_DATA = flags.DEFINE_enum(
    "data", None, list(datasets.DATASETS), "The data set to evaluate on. [default: mnre for relations, else twitter2015]"
)
_ROOT = flags.DEFINE_string("root", "", "The data set's folder.")
_MAX_TOKENS = flags.DEFINE_integer(
    "max_tokens",
    0,
    "Longest sequence; 0: as released, 80, and 40 for entities by IFAformer (RSRNeT and HVPNeT on Twitter-2017: give 128).",
    lower_bound=0,
)
_HEADS = flags.DEFINE_integer("heads", 0, "Attention heads, which no tensor shows; 0: of 64 numbers each.", lower_bound=0)
_OF_RELEASES = ("tokenizer", "labels", "kind", "none", "data", "root", "max_tokens", "heads")


def main(source: str, target: str) -> None:
    """Converts and says what was read."""
    logger = console.setup()
    if idle := [name for name in _OF_RELEASES if flags.FLAGS[name].present and (_TO.value is not None or convert.is_model(source))]:
        raise app.UsageError(f"--{idle[0]} is of the authors' checkpoints: it says nothing of {source}")
    if _TO.value is not None:
        TO[_TO.value](source, target)
        return
    if convert.is_model(source):
        job = convert.open_model(source, target)
        logger.info("%d labels: %s", len(job.task.labels), " ".join(job.task.labels))
        return
    if _TOKENIZER.value is None:
        raise WeightError(
            "give --tokenizer=DIR, the tokenizer's directory: bert-base-uncased, or RSRNeT's roberta-base or xlm-roberta-base; or --to, "
            "to write a run"
        )
    labels = read_labels(_LABELS.value) if _LABELS.value else ()
    release = open_release(source, _KIND.value or "")
    system, _, task = release.kind.partition("_")
    data = _DATA.value or ("mnre" if task == "re" else "twitter2015")
    config = console.changed(CONFIGS[system].get_config("reference"), {"data.name": data, "data.root": _ROOT.value})
    job = convert.convert(
        release,
        config,
        target,
        tokenizer=_TOKENIZER.value,
        labels=labels,
        none=_NONE.value,
        max_tokens=_MAX_TOKENS.value,
        heads=_HEADS.value,
    )
    logger.info("%d labels: %s", len(job.task.labels), " ".join(job.task.labels))


if __name__ == "__main__":
    console.run(main, ["the state dict (with --to, the directory of the run)", "what to make of it"], cached=True)
