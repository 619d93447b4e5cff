"""The systems of the tables, each with its file of configs/ and its variant at every scale."""

from __future__ import annotations

from typing import Any

from mmre_jax.reproduce.table import Family, Place

WHOSE = {
    "bert": "BERT-base (bert-base-uncased), a directory of transformers",
    "clip": "CLIP ViT-B/32 (openai/clip-vit-base-patch32), a directory of transformers",
    "fasterrcnn": "torchvision's fasterrcnn_resnet50_fpn, .pth or safetensors, or a run of configs/detector.py",
    "glove": "word vectors of 50 numbers, a file in GloVe's text format",
    "glove100": "word vectors of 100 numbers, likewise",
    "gpt": "GPT-1 (openai-gpt), a directory of transformers",
    "gpt2": "GPT-2, a directory of transformers",
    "maskrcnn": "torchvision's maskrcnn_resnet50_fpn, .pth or safetensors",
    "minilm": "a small BERT such as all-MiniLM-L6-v2, a directory of transformers",
    "mtb": "a BERT that was trained by matching the blanks, a directory of transformers",
    "resnest50": "ResNeSt-50, safetensors or .pth",
    "resnet101": "ResNet-101 (microsoft/resnet-101), a directory of transformers",
    "resnet50": "ResNet-50 (microsoft/resnet-50), a directory of transformers",
    "roberta": "RoBERTa-base, a directory of transformers",
    "vgg16": "VGG16 (torchvision), safetensors or .pth",
    "xlmr": "XLM-R-base, a directory of transformers",
}  # what --place=NAME=FOLDER names, beside data sets by data.name
_MINILM = {"text.weights": Place("minilm")}
_BERT = {"text.weights": Place("bert")}
_BERT_CLIP = {**_BERT, "vision.weights": Place("clip")}
_BERT_RESNET = {**_BERT, "vision.weights": Place("resnet50")}
_ROBERTA_RESNEST = {"text.weights": Place("roberta"), "vision.weights": Place("resnest50")}
_XLMR_RESNEST = {"text.weights": Place("xlmr"), "vision.weights": Place("resnest50")}
_BERT_RCNN = {**_BERT, "vision.weights": Place("fasterrcnn")}
_LEAKY = {"system.gate": "leaky_relu"}  # HVPNeT's gates
_GATES_ALONE = "HVPNeT has the small encoders that RSRNeT has here: their gates alone tell the two apart."
_NO_BLANKS = "MTB is read as it is, from the markers of the entities, but its BERT was not trained by matching the blanks."
_VECTORS = {"text.vectors": Place("glove"), "text.width": 0}
_VECTORS_100 = {"text.vectors": Place("glove100"), "text.width": 0}


def _three(
    file: str, small: str, minilm: str, paper: str, weights: dict[str, Any], changes: dict[str, Any] | None = None, lacks: str = ""
) -> Family:
    """A family that is there at all scales. changes, lacks: of small and minilm."""
    own, variants = changes or {}, {"small": small, "minilm": minilm, "paper": paper}
    return Family(file, variants, {"small": own, "minilm": {**_MINILM, **own}, "paper": {**weights}}, lacks)


# ---- relations: MNRE, at small scale the embedded data set
HVFORMER = _three("hvformer", "quickstart", "minilm", "mnre", _BERT_CLIP)
HVFORMER_LEVELS = Family("hvformer", {"small": "quickstart_levels", "paper": "mnre_levels"}, {"paper": _BERT_CLIP})
IFAFORMER = _three("ifaformer", "quickstart", "minilm_mnre", "mnre", _BERT_CLIP)
MKGFORMER = _three("mkgformer", "quickstart", "minilm_mnre", "mnre", _BERT_CLIP)
RSRNET = _three("rsrnet", "quickstart", "minilm_mnre", "mnre", _ROBERTA_RESNEST)
HVPNET = _three("rsrnet", "quickstart", "minilm_mnre", "hvpnet_mnre", _BERT_RESNET, _LEAKY, _GATES_ALONE)
DGF_PT = _three("dgf_pt", "quickstart", "minilm", "mnre", {"text.weights": Place("gpt2"), "vision.weights": Place("vgg16")})
VISUALBERT = _three("visualbert", "quickstart", "minilm_mnre", "mnre", _BERT_RESNET)
BERT = _three("text_baselines", "quickstart_bert", "minilm_bert_mnre", "bert_mnre", _BERT)
MTB = _three("text_baselines", "quickstart_mtb", "minilm_mtb_mnre", "mtb_mnre", {"text.weights": Place("mtb")}, lacks=_NO_BLANKS)
# Their vectors are random where no file is given: at scale minilm, and in the embedded data set.
PCNN = Family("text_baselines", {"small": "quickstart_pcnn", "minilm": "pcnn_mnre", "paper": "pcnn_mnre"}, {"paper": _VECTORS})
CNN = Family("text_baselines", {"small": "quickstart_cnn", "minilm": "cnn_mnre", "paper": "cnn_mnre"}, {"paper": _VECTORS})


# ---- entities: Twitter-2015 and Twitter-2017, at small scale the embedded data set for both
def _taggers(
    file: str,
    paper: str,
    weights: dict[str, Any],
    *,
    small: str = "quickstart_entities",
    minilm: str = "minilm_",
    changes: Any = None,
    lacks: str = "",
) -> dict[str, Family]:
    """{data set: the family}. paper, minilm: what stands in front of the data set's name in the variants; minilm: the same as
    `paper` where it needs no weights.  changes, lacks: of small and minilm."""
    found = {}
    for data in ("twitter2015", "twitter2017"):
        variants = {"small": small, "minilm": f"{minilm}{data}", "paper": f"{paper}{data}"}
        own = changes or {}
        scales = {"small": own, "minilm": {**(_MINILM if minilm != paper else {}), **own}, "paper": weights}
        found[data] = Family(file, variants, scales, lacks)
    return found


RSRNET_TAGGER = _taggers("rsrnet", "", _XLMR_RESNEST)
HVPNET_TAGGER = _taggers("rsrnet", "hvpnet_", _BERT_RESNET, changes=_LEAKY, lacks=_GATES_ALONE)
IFAFORMER_TAGGER = _taggers("ifaformer", "", _BERT_CLIP)
VISUALBERT_TAGGER = _taggers("visualbert", "", _BERT_RESNET)
BERT_CRF = _taggers("text_baselines", "bert_crf_", _BERT, small="quickstart_bert_crf", minilm="minilm_bert_crf_")
# Vectors are random where no file is given.
BILSTM_CRF = _taggers("text_baselines", "bilstm_crf_", _VECTORS, small="quickstart_bilstm_crf", minilm="bilstm_crf_")
CNN_BILSTM_CRF = _taggers("text_baselines", "cnn_bilstm_crf_", _VECTORS_100, small="quickstart_cnn_bilstm_crf", minilm="cnn_bilstm_crf_")


# ---- triples: MORE, at scale minilm GMNER, whose relation is the entity's type, at small scale the embedded data set
def _adapted(fusion: str, weights: dict[str, Any]) -> Family:
    """A former system whose fused states feed QEOT's heads."""
    return _three("adapted", f"{fusion}_quickstart", f"{fusion}_gmner", f"{fusion}_more", weights)


QEOT = _three("qeot", "quickstart_rcnn", "gmner", "more", _BERT_RCNN)
QEOT_RESNET = Family("qeot", {"small": "quickstart", "paper": "more"}, {"paper": {**_BERT_RESNET, "vision.kind": "resnet"}})
ADAPTED_IFAFORMER = _adapted("ifaformer", _BERT_CLIP)
ADAPTED_HVPNET = _adapted("hvpnet", _BERT_RESNET)
ADAPTED_VISUALBERT = _adapted("visualbert", _BERT_RESNET)
