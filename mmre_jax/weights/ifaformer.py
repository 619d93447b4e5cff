"""IFAformer's released checkpoints: the authors' state dict <-> the parameters of the reference flavour."""

from __future__ import annotations

from mmre_jax.systems.released.ifaformer import ReleasedIFAformerConfig
from mmre_jax.weights import two_streams
from mmre_jax.weights.rsrnet import head_rules
from mmre_jax.weights.rules import Rule, WeightError

# What of the last vision layer the text stream does not ask for: all but the keys and the norm before them.
_LAST = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.out_proj", "layer_norm2", "mlp")


def ifaformer_rules(config: ReleasedIFAformerConfig) -> tuple[Rule, ...]:
    """The table of the released state dict, for the parameters of a `ReleasedIFAformer(config)`.

    Raises:
      WeightError: for a configuration that the authors released no checkpoints of.
    """
    if config.vision.dialect != "clip":
        raise WeightError("released checkpoints fit the reference flavour with its CLIP image encoder alone")
    return (*two_streams.stream_rules(config.vision), *head_rules(config.task))


def unread(config: ReleasedIFAformerConfig) -> dict[str, str]:
    """{pattern: reason} for the tensors of a release that its forward pass never reads."""
    last = [f"model.encoder.vision_layers.{config.vision.layers - 1}.{name}.*" for name in _LAST]
    return {
        **two_streams.UNREAD,
        "model.text_pooler.*": "the heads look at the tokens' states, not at the pooled one",
        "model.vision_post_layernorm.*": "the text stream takes keys from before it",
        **dict.fromkeys(last, "nothing reads what the vision stream's last layer makes of its keys"),
    }
