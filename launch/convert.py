"""Converts the authors' released checkpoints, and converts them back; writes text encoders for transformers.

    python -m launch.convert released.pth runs/released --tokenizer=BERT_DIR --labels=DATA/ours_rel2id.json --root=DATA
    python -m launch.evaluate --checkpoint=runs/released --split=test
    python -m launch.convert runs/released back.safetensors --back
    python -m launch.convert runs/mine my_text_encoder --text

The first takes a state dict of HVPNeT, RSRNeT, IFAformer, MKGformer or HVFormer: safetensors, or with PyTorch installed what torch.save
wrote, whatever it is called, also inside a trainer's dictionary, and under the names that DataParallel or torch.compile make. It writes
a checkpoint in the reference flavour, for `mmre_jax.load`, launch.evaluate and launch.extract.
Every tensor is read, or is named in TARGET/released.json with the reason why the released code never reads it, and kept beside it: the
third command writes them all, bit for bit, in their own precision. Sizes are read from the tensors; what does not fit is an error that
lists it.

--text takes any run: its text encoder, tuned or not, becomes a directory that transformers' AutoModel and AutoTokenizer load, the tokens
that mark a pair among its tokens, and that text.weights takes.

--tokenizer is a directory of transformers: bert-base-uncased; for RSRNeT roberta-base (relations) or xlm-roberta-base (entities).
--labels is a JSON object {label: id} or list (*.json), or a text file of one label a line. For entities it may be left out if there are
13 tags, which are then the released code's. HVPNeT and RSRNeT trained without pictures become checkpoints of system.modalities=text.
"""

from __future__ import annotations

from absl import flags

from configs import hvformer, ifaformer, mkgformer, rsrnet
from launch import console
from mmre_jax import convert
from mmre_jax.data import datasets
from mmre_jax.weights import released
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.state_dicts import open_release, read_labels

CONFIGS = {"hvpnet": rsrnet, "rsrnet": rsrnet, "ifaformer": ifaformer, "mkgformer": mkgformer, "hvformer": hvformer}

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
_BACK = flags.DEFINE_bool("back", False, "Convert a converted checkpoint back into the authors' state dict.")
_TEXT = flags.DEFINE_bool("text", False, "Write a run's text encoder, with its tokenizer, as a directory of transformers.")


def main(source: str, target: str) -> None:
    """Converts and says what was read."""
    logger = console.setup()
    if _BACK.value and _TEXT.value:
        raise WeightError("give --back for the authors' state dict or --text for a directory of transformers, not both")
    if _TEXT.value:
        convert.save_text(source, target)
        return
    if _BACK.value:
        convert.export(source, target)
        return
    if _TOKENIZER.value is None:
        raise WeightError(
            "give --tokenizer=DIR, the tokenizer's directory: bert-base-uncased, or RSRNeT's roberta-base or xlm-roberta-base"
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
    console.run(main, ["the state dict (with --back and --text, the directory of the run)", "what to make of it"], cached=True)
