"""The figures that can be drawn of a checkpoint (`mmre_jax.analyse`, `launch.analyse`): one entry each."""

from __future__ import annotations

from mmre_jax.analysis.figures import attention, experts, patches, tracked
from mmre_jax.analysis.figures.entry import CROSS, EXPERTS, LEVELS, TEXT, VISION, Entry

FIGURES: dict[str, Entry] = {
    "cross_attention": Entry(
        "what the two entities' markers attend to in the picture, by level: mean over heads and records",
        "HVFormer fig. 5a",
        ("hvformer", "ifaformer", "rsrnet", "qeot"),
        (CROSS,),
        attention.cross,
    ),
    "cross_attention_heads": Entry(
        "the same by head",
        "HVFormer fig. 13",
        ("hvformer", "ifaformer", "rsrnet", "qeot"),
        (CROSS,),
        attention.cross_by_head,
    ),
    "kurtosis": Entry(
        "how concentrated that attention is, by level (eq. 19), summed over heads",
        "HVFormer fig. 5b",
        ("hvformer", "ifaformer", "rsrnet", "qeot"),
        (CROSS,),
        attention.kurtosis_by_level,
    ),
    "self_attention": Entry(
        "the vision transformer's attention to itself by layer and head, mean over records",
        "HVFormer fig. 11",
        ("hvformer", "ifaformer"),
        (VISION,),
        attention.vision_by_head,
    ),
    "heads": Entry(
        "three heads of it: the one that spreads most, the one most on [CLS], the one that does both",
        "HVFormer fig. 12",
        ("hvformer", "ifaformer"),
        (VISION,),
        attention.three_heads,
    ),
    "text_attention": Entry(
        "the text encoder's attention to itself by layer and head, of single records (--records)",
        "",
        ("hvformer", "ifaformer", "rsrnet", "qeot"),
        (TEXT,),
        attention.text_by_head,
    ),
    "patch_tracking": Entry(
        "hierarchical tracking maps from patches to patches by level, H_V (eq. 13-17), mean over records",
        "HVFormer fig. 6",
        ("hvformer", "ifaformer"),
        (VISION,),
        tracked.patches,
    ),
    "token_tracking": Entry(
        "hierarchical tracking maps from patches to the markers by level and head, H_C (eq. 18), mean over records",
        "HVFormer fig. 7a, b",
        ("hvformer", "ifaformer"),
        (LEVELS, VISION),
        tracked.tokens,
    ),
    "divergence": Entry(
        "how far the heads of those maps are from their mean, by level (eq. 20)",
        "HVFormer fig. 7c",
        ("hvformer", "ifaformer"),
        (LEVELS, VISION),
        tracked.divergence,
    ),
    "tracking_photo": Entry(
        "attention and tracking maps of the two markers over the pictures of single records (--records)",
        "",
        ("hvformer", "ifaformer"),
        (LEVELS, VISION),
        tracked.over_photo,
    ),
    "embedding": Entry(
        "patches of all levels in a plane by t-SNE, of a few records (--records)",
        "HVFormer fig. 8",
        ("hvformer", "ifaformer"),
        (VISION,),
        patches.embedding,
    ),
    "experts": Entry(
        "weights of the experts over training, from the run's log, and their distribution at the checkpoint",
        "HVFormer fig. 9",
        ("hvformer",),
        (EXPERTS,),
        experts.over_training,
    ),
    "experts_relations": Entry(
        "weights of the experts by relation",
        "HVFormer fig. 10",
        ("hvformer",),
        (EXPERTS,),
        experts.by_relation,
    ),
}
