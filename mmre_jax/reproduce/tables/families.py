"""The systems of the tables, each with its file of configs/ and its variant at every scale."""

from __future__ import annotations

from mmre_jax.reproduce.table import Family, Place

_BERT_CLIP = {"text.weights": Place("bert"), "vision.weights": Place("clip")}
_BERT_RESNET = {"text.weights": Place("bert"), "vision.weights": Place("resnet50")}
_ROBERTA_RESNEST = {"text.weights": Place("roberta"), "vision.weights": Place("resnest50")}
_GPT2_VGG = {"text.weights": Place("gpt2"), "vision.weights": Place("vgg16")}
_MINILM = {"text.weights": Place("minilm")}
WHOSE = {
    "bert": "BERT-base (bert-base-uncased), a directory of transformers",
    "clip": "CLIP ViT-B/32 (openai/clip-vit-base-patch32), a directory of transformers",
    "mtb": "a BERT that was trained by matching the blanks, a directory of transformers",
    "roberta": "RoBERTa-base, a directory of transformers",
    "gpt2": "GPT-2, a directory of transformers",
    "resnet50": "ResNet-50 (microsoft/resnet-50), a directory of transformers",
    "resnest50": "ResNeSt-50 (timm's resnest50d), safetensors or .pth",
    "vgg16": "VGG16 (torchvision), safetensors or .pth",
    "minilm": "a small BERT such as all-MiniLM-L6-v2, a directory of transformers",
}  # what --place=NAME=FOLDER names, beside data sets by data.name

# ---- relations: MNRE, at small scale the embedded data set
HVFORMER = Family("hvformer", {"small": "quickstart", "minilm": "minilm", "paper": "mnre"}, {"minilm": _MINILM, "paper": _BERT_CLIP})
HVFORMER_LEVELS = Family("hvformer", {"small": "quickstart_levels", "paper": "mnre_levels"}, {"paper": _BERT_CLIP})
IFAFORMER = Family("ifaformer", {"small": "quickstart", "minilm": "minilm_mnre", "paper": "mnre"}, {"minilm": _MINILM, "paper": _BERT_CLIP})
MKGFORMER = Family("mkgformer", {"small": "quickstart", "minilm": "minilm_mnre", "paper": "mnre"}, {"minilm": _MINILM, "paper": _BERT_CLIP})
RSRNET = Family("rsrnet", {"small": "quickstart", "minilm": "minilm_mnre", "paper": "mnre"}, {"minilm": _MINILM, "paper": _ROBERTA_RESNEST})
HVPNET = Family(
    "rsrnet",
    {"small": "quickstart", "minilm": "minilm_mnre", "paper": "hvpnet_mnre"},
    {"small": {"system.gate": "leaky_relu"}, "minilm": {**_MINILM, "system.gate": "leaky_relu"}, "paper": _BERT_RESNET},
)
DGF_PT = Family("dgf_pt", {"small": "quickstart", "minilm": "minilm", "paper": "mnre"}, {"minilm": _MINILM, "paper": _GPT2_VGG})
# Baselines that read words alone, and one stream over words and regions.
BERT = Family("text_baselines", {"small": "quickstart_bert", "paper": "bert_mnre"}, {"paper": {"text.weights": Place("bert")}})
MTB = Family("text_baselines", {"small": "quickstart_mtb", "paper": "mtb_mnre"}, {"paper": {"text.weights": Place("mtb")}})
PCNN = Family("text_baselines", {"small": "quickstart_pcnn", "paper": "pcnn_mnre"})
CNN = Family("text_baselines", {"small": "quickstart_cnn", "paper": "cnn_mnre"})
VISUALBERT = Family("visualbert", {"small": "quickstart", "paper": "mnre"}, {"paper": {"text.weights": Place("bert")}})
