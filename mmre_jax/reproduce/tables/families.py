"""The systems of the tables, each with its file of configs/ and its variant at every scale."""

from __future__ import annotations

from typing import Any

from mmre_jax.reproduce.table import Family, Place

WHOSE = {
    "bert": "BERT-base (bert-base-uncased), a directory of transformers",
    "clip": "CLIP ViT-B/32 (openai/clip-vit-base-patch32), a directory of transformers",
    "glove": "word vectors of 50 numbers, a file in GloVe's text format",
    "gpt2": "GPT-2, a directory of transformers",
    "minilm": "a small BERT such as all-MiniLM-L6-v2, a directory of transformers",
    "mtb": "a BERT that was trained by matching the blanks, a directory of transformers",
    "rcnn": "Faster R-CNN with a ResNet-50 and its pyramid (torchvision's fasterrcnn_resnet50_fpn), .pth or safetensors",
    "resnest50": "ResNeSt-50, safetensors or .pth",
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
_BERT_RCNN = {**_BERT, "vision.weights": Place("rcnn")}
_LEAKY = {"system.gate": "leaky_relu"}  # HVPNeT's gates: at the smaller scales all that tells it from RSRNeT, whose encoders it has there
_VECTORS = {"text.vectors": Place("glove"), "text.width": 0}


def _three(file: str, small: str, minilm: str, paper: str, weights: dict[str, Any], changes: dict[str, Any] | None = None) -> Family:
    """A family that is there at all scales. changes: of small and minilm."""
    own = changes or {}
    return Family(
        file, {"small": small, "minilm": minilm, "paper": paper}, {"small": own, "minilm": {**_MINILM, **own}, "paper": {**weights}}
    )


# ---- relations: MNRE, at small scale the embedded data set
HVFORMER = _three("hvformer", "quickstart", "minilm", "mnre", _BERT_CLIP)
HVFORMER_LEVELS = Family("hvformer", {"small": "quickstart_levels", "paper": "mnre_levels"}, {"paper": _BERT_CLIP})
IFAFORMER = _three("ifaformer", "quickstart", "minilm_mnre", "mnre", _BERT_CLIP)
MKGFORMER = _three("mkgformer", "quickstart", "minilm_mnre", "mnre", _BERT_CLIP)
RSRNET = _three("rsrnet", "quickstart", "minilm_mnre", "mnre", _ROBERTA_RESNEST)
HVPNET = _three("rsrnet", "quickstart", "minilm_mnre", "hvpnet_mnre", _BERT_RESNET, _LEAKY)
DGF_PT = _three("dgf_pt", "quickstart", "minilm", "mnre", {"text.weights": Place("gpt2"), "vision.weights": Place("vgg16")})
VISUALBERT = _three("visualbert", "quickstart", "minilm_mnre", "mnre", _BERT_RESNET)
BERT = _three("text_baselines", "quickstart_bert", "minilm_bert_mnre", "bert_mnre", _BERT)
MTB = _three("text_baselines", "quickstart_mtb", "minilm_mtb_mnre", "mtb_mnre", {"text.weights": Place("mtb")})
# Their vectors are random where no file is given: at scale minilm, and in the embedded data set.
PCNN = Family("text_baselines", {"small": "quickstart_pcnn", "minilm": "pcnn_mnre", "paper": "pcnn_mnre"}, {"paper": _VECTORS})
CNN = Family("text_baselines", {"small": "quickstart_cnn", "minilm": "cnn_mnre", "paper": "cnn_mnre"}, {"paper": _VECTORS})


# ---- entities: Twitter-2015 and Twitter-2017, at small scale the embedded data set for both
def _twitter(
    file: str, variant: str, weights: dict[str, Any], small: str = "quickstart_entities", minilm: str = "minilm_{}"
) -> tuple[Family, Family]:
    """A tagger on Twitter-2015 and on Twitter-2017.

    variant, minilm: with {} where the data set's name stands; minilm: '' where there is none, the same where it needs no weights.
    """
    found = []
    for data in ("twitter2015", "twitter2017"):
        variants = {"small": small, **({"minilm": minilm.format(data)} if minilm else {}), "paper": variant.format(data)}
        found.append(Family(file, variants, {"minilm": _MINILM if minilm != variant else {}, "paper": weights}))
    return found[0], found[1]


RSRNET_2015, RSRNET_2017 = _twitter("rsrnet", "{}", _XLMR_RESNEST)
IFAFORMER_2015, IFAFORMER_2017 = _twitter("ifaformer", "{}", _BERT_CLIP, minilm="")
VISUALBERT_2015, VISUALBERT_2017 = _twitter("visualbert", "{}", _BERT_RESNET)
BILSTM_2015, BILSTM_2017 = _twitter("text_baselines", "bilstm_crf_{}", _VECTORS, "quickstart_bilstm_crf", "bilstm_crf_{}")
CNN_BILSTM_2015, CNN_BILSTM_2017 = _twitter(
    "text_baselines", "cnn_bilstm_crf_{}", _VECTORS, "quickstart_cnn_bilstm_crf", "cnn_bilstm_crf_{}"
)
BERT_CRF_2015, BERT_CRF_2017 = _twitter("text_baselines", "bert_crf_{}", _BERT, "quickstart_bert_crf", "minilm_bert_crf_{}")


def _hvpnet(data: str) -> Family:
    return _three("rsrnet", "quickstart_entities", f"minilm_{data}", f"hvpnet_{data}", _BERT_RESNET, _LEAKY)


HVPNET_2015, HVPNET_2017 = _hvpnet("twitter2015"), _hvpnet("twitter2017")


# ---- triples: MORE, at scale minilm GMNER, at small scale the embedded data set
def _adapted(fusion: str, weights: dict[str, Any]) -> Family:
    """A former system whose fused states feed QEOT's heads."""
    return _three("adapted", f"{fusion}_quickstart", f"{fusion}_gmner", f"{fusion}_more", weights)


QEOT = _three("qeot", "quickstart", "gmner", "more", _BERT_RCNN)
QEOT_RCNN = Family("qeot", {"small": "quickstart_rcnn", "paper": "more"}, {"paper": {**_BERT_RCNN}})
IFAFORMER_TRIPLES = _adapted("ifaformer", _BERT_CLIP)
HVPNET_TRIPLES = _adapted("hvpnet", _BERT_RESNET)
VISUALBERT_TRIPLES = _adapted("visualbert", _BERT_RESNET)
