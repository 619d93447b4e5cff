"""MKGformer's released checkpoints for relations: the authors' state dict <-> the parameters of the reference flavour."""

from __future__ import annotations

from mmre_jax.systems.released.mkgformer import MKGformerConfig
from mmre_jax.weights import two_streams
from mmre_jax.weights.rsrnet import head_rules
from mmre_jax.weights.rules import Rule, WeightError, dense_rules

FUSION = "model.encoder.text_layer.{n}.intermediate.fusion_dense"


def mkgformer_rules(config: MKGformerConfig) -> tuple[Rule, ...]:
    """The table of the released state dict, for the parameters of an `MKGformer(config)` of the reference flavour.

    Raises:
      WeightError: for a configuration that the authors released no checkpoints of.
    """
    if config.vision is None or config.flavour != "reference" or config.vision.dialect != "clip":
        raise WeightError("released checkpoints fit the reference flavour with its CLIP image encoder alone")
    return (*two_streams.stream_rules(config.vision), *dense_rules({FUSION: "fusion_{n}/dense"}), *head_rules("relation"))


def unread(config: MKGformerConfig) -> dict[str, str]:
    """{pattern: reason} for the tensors of a release that its forward pass never reads."""
    apart = [f"{FUSION.format(n=n)}.*" for n in range(config.first)]
    return {
        **two_streams.UNREAD,
        "model.text_pooler.*": "the head looks at the tokens' states, not at the pooled one",
        "model.vision_post_layernorm.*": "the text stream takes the patches' states from before it",
        **dict.fromkeys(apart, f"the streams meet from layer {config.first} on"),
    }
