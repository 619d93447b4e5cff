"""What the released state dicts of the systems built on BERT and CLIP's vision tower (HVFormer, IFAformer, MKGformer) have in common."""

from __future__ import annotations

from mmre_jax.encoders.vit import ViTConfig
from mmre_jax.weights.bert import bert_rules
from mmre_jax.weights.rules import Rule, as_part
from mmre_jax.weights.vit import vit_rules

# How the releases rename transformers' modules: {start of a name there: start of it here}.
_TEXT_NAMES = {"embeddings.": "model.text_embeddings.", "encoder.layer.": "model.encoder.text_layer."}
_VISION_NAMES = {
    "embeddings.": "model.vision_embeddings.",
    "encoder.layers.": "model.encoder.vision_layers.",
    "pre_layrnorm.": "model.vision_pre_layrnorm.",
    "post_layernorm.": "model.vision_post_layernorm.",
}

UNREAD = {
    "model.text_embeddings.position_ids": "a constant",
    "model.vision_embeddings.*position_ids": "a constant",
    "model.vision_embeddings.position_embedding.weight": "the full image is not looked at",
}


def stream_rules(vision: ViTConfig) -> tuple[Rule, ...]:
    """The table for the parameters of the parts `text` and `vision`."""
    return (
        *as_part(bert_rules(), "text", _TEXT_NAMES),
        *as_part(vit_rules(vision), "vision", _VISION_NAMES),
        Rule("model.vision_embeddings.aux_position_embedding.weight", "vision/embeddings/position_grounded"),
        Rule("model.vision_embeddings.rcnn_position_embedding.weight", "vision/embeddings/position_detected"),
    )
