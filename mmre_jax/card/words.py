"""What a card says of every system and task, and how what comes from data is written in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

PAPERS = {
    "bilstm_crf": "BiLSTM-CRF: *Bidirectional LSTM-CRF Models for Sequence Tagging* (2015), or, where it reads letters, CNN-BiLSTM-CRF: "
    "*End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF* (ACL 2016)",
    "hvformer": "HVFormer: *Multimodal Relation Extraction via a Mixture of Hierarchical Visual Context Learners* (WWW 2024)",
    "ifaformer": "IFAformer: *On Analyzing the Role of Image for Visual-Enhanced Relation Extraction* (AAAI 2023, student abstract)",
    "mkgformer": "MKGformer: *Hybrid Transformer with Multi-level Fusion for Multimodal Knowledge Graph Completion* (SIGIR 2022)",
    "rsrnet": "RSRNeT: *A novel multi-modal network framework for named entity recognition and relation extraction* (PeerJ Computer "
    "Science 2024), which is HVPNeT (NAACL Findings 2022) with other encoders and gates",
    "dgf_pt": "DGF-PT: *Dual-Gated Fusion with Prefix-Tuning for Multi-Modal Relation Extraction* (Findings of ACL 2023)",
    "pcnn": "PCNN: *Distant Supervision for Relation Extraction via Piecewise Convolutional Neural Networks* (EMNLP 2015), or the CNN "
    "before it (COLING 2014)",
    "qeot": "QEOT: *Multimodal Relational Triple Extraction with Query-based Entity Object Transformer* (2024)",
    "visualbert": "VisualBERT: *A Simple and Performant Baseline for Vision and Language* (2019), for relations and entities",
    "adapted": "IFAformer, HVPNeT or VisualBERT (`system.fusion`), adapted to extract triples as in table 1 of QEOT: *Multimodal "
    "Relational Triple Extraction with Query-based Entity Object Transformer* (2024)",
    "faster_rcnn": "Faster R-CNN (NeurIPS 2015) with a feature pyramid (CVPR 2017), trained as torchvision trains it",
}
FINDS = {
    "relation": "It is given a text, a picture and two entities in the text, and says which relation holds between them.",
    "entities": "It is given a text and a picture, and finds the entities that the text names, with their types.",
    "triples": "It is given a text and a picture, and finds triples: an entity in the text, a relation, an object in the picture.",
    "objects": "It is given a picture, and finds the objects in it, by their boxes.",
}
TAGS = {
    "relation": "relation-extraction",
    "entities": "named-entity-recognition",
    "triples": "triple-extraction",
    "objects": "object-detection",
}
PIPELINES = {"entities": "token-classification", "objects": "object-detection"}  # the Hub has no pipeline for the others
OBJECTS = {
    "grounded": "object crops that were found with text queries",
    "detected": "object crops of a detector that saw the picture alone",
    "none": "the photo alone, without object crops",
}
CALLS = {
    "relation": 'text="Ada meets Grace in Oslo", image="photo.jpg", head="Ada", tail="Grace"',
    "entities": 'text="Ada meets Grace in Oslo", image="photo.jpg"',
    "triples": 'text="Ada meets Grace in Oslo", image="photo.jpg"',
    "objects": 'image="photo.jpg"',
}
OWN = ("jsonl", "prepared")  # data sets that are a user's own, and say nothing by their names


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells from data."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(text(cell) for cell in line) + " |" for line in lines)


def text(value: str) -> str:
    """A text from data as Markdown shows it: no markup, no line of its own."""
    value = " ".join(value.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return "".join(f"\\{c}" if c in "*`[]_" else c for c in value)


def code(value: str) -> str:
    """A text from data between backticks."""
    return " ".join(value.split()).replace("`", "'")
