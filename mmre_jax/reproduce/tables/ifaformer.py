"""IFAformer: "On Analyzing the Role of Image for Visual-Enhanced Relation Extraction" (AAAI 2023, student abstract)."""

from __future__ import annotations

from mmre_jax.reproduce.table import Entry, not_run, row
from mmre_jax.reproduce.tables import reasons
from mmre_jax.reproduce.tables.columns import APRF
from mmre_jax.reproduce.tables.families import BERT, IFAFORMER, MTB, PCNN

_PROTOCOL = (
    "MNRE, BERT-base and CLIP ViT-B/32; 'visual objects' are crops that visual grounding and object detection found "
    "(data.objects=grounded, which tells the label), 'vanilla' is the photo alone. One run each, as far as it says."
)
_VANILLA = {"data.objects": "none"}
_OBJECTS = {"data.objects": "detected"}  # where there are no grounded ones
_GROUNDED = {"data.objects": "grounded"}
STANDARD, TRAIN, TEST = "Baseline (standard)", "Shuffle (train)", "Shuffle (test)"

ENTRIES = (
    Entry("ifaformer.figure2", "the architecture"),
    Entry(
        "ifaformer.figure1",
        "alignment of objects and words",
        "weights of MEGA's graph alignment for one post of MNRE",
        APRF,
        "F1",
        (row(APRF, "IFAformer", (), IFAFORMER, small=_OBJECTS, minilm=_OBJECTS, paper=_GROUNDED),),
        figures=("alignment",),
        notes=("The paper draws MEGA's weights; here they are those of IFAformer's own attention.",),
    ),
    Entry(
        "ifaformer.table1",
        "what becomes of the scores where pictures are shuffled",
        _PROTOCOL,
        APRF,
        "F1",
        (
            row(APRF, "MTB", (75.34, 63.28, 65.16, 64.20), MTB, group=STANDARD),
            not_run(APRF, "MEGA", (76.15, 64.51, 68.44, 66.41), reasons.MEGA, group=STANDARD),
            row(
                APRF,
                "IFAformer",
                (92.38, 82.59, 80.78, 81.67),
                IFAFORMER,
                small=_OBJECTS,
                minilm=_OBJECTS,
                paper=_GROUNDED,
                group=STANDARD,
            ),
            row(APRF, "MTB", (None, 63.28, 65.16, 64.20), MTB, group=TRAIN),
            not_run(APRF, "MEGA", (None, 65.35, 64.53, 64.94), reasons.MEGA, group=TRAIN),
            row(
                APRF,
                "IFAformer",
                (74.23, 60.84, 67.97, 64.21),
                IFAFORMER,
                {"data.shuffle_pictures": "train"},
                small=_OBJECTS,
                minilm=_OBJECTS,
                paper=_GROUNDED,
                group=TRAIN,
            ),
            row(APRF, "MTB", (75.34, 63.28, 65.16, 64.20), MTB, group=TEST),
            not_run(APRF, "MEGA", (75.40, 63.30, 66.56, 64.89), reasons.MEGA, group=TEST),
            row(
                APRF,
                "IFAformer",
                (47.71, 29.82, 29.22, 29.52),
                IFAFORMER,
                small=_OBJECTS,
                minilm=_OBJECTS,
                paper=_GROUNDED,
                how="shuffled",
                group=TEST,
            ),
        ),
        reference="Baseline (standard): IFAformer",
        notes=(
            "MTB reads no picture: shuffled or not, its run is the same.",
            "Of MTB and MEGA the accuracies under shuffled training pictures are not legible in our text of the paper.",
        ),
    ),
    Entry(
        "ifaformer.table2",
        "IFAformer beside former systems, with and without crops and text attention",
        _PROTOCOL,
        APRF,
        "F1",
        (
            row(APRF, "PCNN*", (73.36, 69.14, 43.75, 53.59), PCNN),
            row(APRF, "BERT*", (71.13, 58.51, 60.16, 59.32), BERT),
            row(APRF, "MTB*", (75.34, 63.28, 65.16, 64.20), MTB),
            not_run(APRF, "BERT+SG+Att.", (74.59, 60.97, 66.56, 63.64), reasons.BERT_SG),
            not_run(APRF, "ViLBERT", (74.89, 64.50, 61.86, 63.61), reasons.VILBERT),
            not_run(APRF, "MEGA", (76.15, 64.51, 68.44, 66.41), reasons.MEGA),
            row(APRF, "Vanilla IFAformer", (87.75, 69.90, 68.11, 68.99), IFAFORMER, _VANILLA),
            row(APRF, "w/o Text Attn.", (76.21, 66.95, 61.72, 64.23), IFAFORMER, {**_VANILLA, "system.text_attention": False}),
            row(APRF, "w/ Visual Objects", (92.38, 82.59, 80.78, 81.67), IFAFORMER, small=_OBJECTS, minilm=_OBJECTS, paper=_GROUNDED),
        ),
        reference="Vanilla IFAformer",
        notes=("ViLBERT's F1 of 63.61 is not that of its P and R, which is 63.15.",),
    ),
)
