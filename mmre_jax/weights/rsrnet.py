"""HVPNeT's and RSRNeT's released checkpoints: the authors' state dict <-> the variables of the reference flavour."""

from __future__ import annotations

from mmre_jax.systems.released.prefixes import ReleasedRSRNeTConfig
from mmre_jax.systems.rsrnet import RSRNeTConfig
from mmre_jax.weights.bert import bert_rules
from mmre_jax.weights.resnest import resnest_rules
from mmre_jax.weights.resnet import resnet_rules, resnet_unread
from mmre_jax.weights.rules import Rule, WeightError, as_part, dense_rules

IMAGE = "image_model.resnet."


def rsrnet_rules(config: ReleasedRSRNeTConfig | RSRNeTConfig) -> tuple[Rule, ...]:
    """The table of the released state dict, for the variables of a `ReleasedRSRNeT(config)`, or of an `RSRNeT(config)` without pictures.

    Raises:
      WeightError: for a configuration that the authors released no checkpoints of.
    """
    text = (*as_part(bert_rules("bert."), "text"), *head_rules(config.task))
    if config.vision is None:
        return as_part(text, "params")
    if isinstance(config, RSRNeTConfig):
        raise WeightError("released checkpoints fit the reference flavour with its image encoder alone")
    vision = resnest_rules if config.vision.split else resnet_rules
    dense = {
        "encoder_conv.0": "prefix/project_in",
        "encoder_conv.2": "prefix/project_out",
        "gates.{n}": "prefix/gate_{n}",
    }
    return (*as_part((*text, *dense_rules(dense)), "params"), *vision(config.vision, prefix=IMAGE, part="vision/"))


def unread(config: ReleasedRSRNeTConfig | RSRNeTConfig) -> dict[str, str]:
    """{pattern: reason} for the tensors of a release that its forward pass never reads."""
    vision = resnet_unread(config.vision, len(config.vision.depths), prefix=IMAGE) if isinstance(config, ReleasedRSRNeTConfig) else {}
    return {
        "bert.embeddings.position_ids": "a constant",
        "bert.pooler.*": "the heads look at the tokens' states, not at the pooled one",
        **vision,
    }


def head_rules(task: str) -> tuple[Rule, ...]:
    """The table of the part `head` for 'relation' or 'entities', in the names of HVPNeT, RSRNeT, IFAformer and MKGformer."""
    if task == "relation":
        return dense_rules({"classifier": "head/classifier"})
    return (
        *dense_rules({"fc": "head/classifier"}),
        Rule("crf.transitions", "head/transitions"),  # from the first axis to the second in both
        Rule("crf.start_transitions", "head/start"),
        Rule("crf.end_transitions", "head/end"),
    )
