"""HVFormer's released checkpoints: the authors' state dict <-> the parameters of the reference flavour."""

from __future__ import annotations

from mmre_jax.systems.released.hvformer import ReleasedHVFormerConfig
from mmre_jax.weights import two_streams
from mmre_jax.weights.rules import Rule, WeightError, dense_rules, norm_rules

CROSS = "model.encoder.vision2text_layer_agg.cross_modal_att_layer"
_MIXTURE = "model.encoder.vision2text_layer_agg.moe_layer_wise_agg"


def hvformer_rules(config: ReleasedHVFormerConfig) -> tuple[Rule, ...]:
    """The table of the released state dict, for the parameters of a `ReleasedHVFormer(config)`.

    Raises:
      WeightError: for a configuration that the authors released no checkpoints of.
    """
    if config.vision.dialect != "clip":
        raise WeightError("released checkpoints fit the reference flavour with its CLIP image encoder alone")
    attention = {
        f"{CROSS}.{{n}}.self_attn.text_q_proj": "tva_{n}/attention/query",
        f"{CROSS}.{{n}}.self_attn.vision_k_proj": "tva_{n}/attention/key",
        f"{CROSS}.{{n}}.self_attn.vision_v_proj": "tva_{n}/attention/value",
        f"{CROSS}.{{n}}.self_attn.out_proj": "tva_{n}/attention/out",
    }
    return (
        *two_streams.stream_rules(config.vision),
        *dense_rules(attention),
        *norm_rules({f"{CROSS}.{{n}}.layer_norm1": "tva_{n}/norm"}),
        Rule(f"{_MIXTURE}.experts1", "mome/experts_in"),  # stored as [experts, in, out]
        Rule(f"{_MIXTURE}.experts2", "mome/experts_out"),
        *dense_rules({f"{_MIXTURE}.expert_router": "mome/router", "re_classifier.classifier": "head/classifier"}),
    )


def unread(config: ReleasedHVFormerConfig) -> dict[str, str]:
    """{pattern: reason} for the tensors of a release that its forward pass never reads."""
    return {
        **two_streams.UNREAD,
        "model.vision_post_layernorm.*": "the levels are taken before it",
        f"{CROSS}.*.self_attn.vision_and_text_k_proj.*": "declared, never called",
        **{f"{CROSS}.{n}.*": f"no expert looks at level {n}" for n in range(config.vision.layers + 1) if n not in config.levels},
    }
