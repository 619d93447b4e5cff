"""From the states of a text and a picture to triples (QEOT, section 3.3 and eq. 5-6): a transformer encoder, queries or fixed slots that
read it, and the heads. Of QEOT, and of the other systems whose fused states feed QEOT's heads (systems/adapted.py).

Shapes: B batch, L tokens, P places of the sequence that is read, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from mmre_jax.declare import Section, choice, flag, must_divide, number, whole
from mmre_jax.fusion.query_transformer import Decoder, Encoder, Slots, TransformerSizes, masked_mean
from mmre_jax.heads.triples import TripleHead, TripleObjective, TripleWeights
from mmre_jax.matching import MATCHERS

Places = tuple[jax.Array, jax.Array]  # states [B, P, D], and bool [B, P], which of them there are


@dataclasses.dataclass(frozen=True)
class QueriesConfig:
    """Sizes and ablations.

    relations: R, without the empty one.
    queries: Q, the most triples a record can get.
    queries_by: 'slots' is "w/o query": the means of the text and of the encoded sequence feed Q fixed outputs, without a decoder.
    deep_supervision: whether every decoder layer's queries go through the heads and have a loss.
    entity_head: 'dot' or 'mlp', see TripleHead.
    """

    relations: int
    queries: int = 5
    encoder_layers: int = 6
    decoder_layers: int = 6
    sizes: TransformerSizes = TransformerSizes()
    queries_by: Literal["decoder", "slots"] = "decoder"
    deep_supervision: bool = False
    entity_head: Literal["dot", "mlp"] = "dot"


def read_triples(
    config: QueriesConfig, sequence: Sequence[Places], text: Places, means: Sequence[jax.Array], dtype: DTypeLike, *, train: bool
) -> dict[str, jax.Array]:
    """The outputs of a TripleHead; N is `decoder_layers` under deep supervision, else 1.

    To be called inside a compact method: it makes the submodules `encoder`, `decoder` or `slots`, and `head` there.

    Args:
      sequence: what the encoder reads, one after the other.
      text: H_out^Text, in which spans are found.
      means: [B, D] each, the text's first; together H^cross.
    """
    memory, mask = (jnp.concatenate(parts, axis=1) for parts in zip(*sequence, strict=True))
    memory = Encoder(config.encoder_layers, config.sizes, dtype, name="encoder")(memory, mask, train=train)
    if config.queries_by == "slots":
        both = jnp.concatenate([means[0], masked_mean(memory, mask)], axis=-1)
        queries = Slots(config.queries, memory.shape[-1], dtype, name="slots")(both)
    else:
        queries = Decoder(config.queries, config.decoder_layers, config.sizes, dtype, name="decoder")(memory, mask, train=train)
        queries = queries if config.deep_supervision else queries[-1:]
    return TripleHead(config.relations, config.entity_head, dtype, name="head")(queries, *text, jnp.concatenate(means, axis=-1))


SETTINGS: Section = {
    "queries": whole(5, "[1, inf)", "the most triples a record can get"),
    "encoder_layers": whole(6, "[0, inf)", "of the transformer behind the fusion"),
    "decoder_layers": whole(6, "[0, inf)", "of the queries; at least 1 where they are made by the decoder"),
    "heads": whole(8, "[1, inf)", "of these layers"),
    "mlp": whole(2048, "[1, inf)", "width inside these layers' feed-forward blocks"),
    "dropout": number(0.1, "[0, 1)", "in these layers"),
    "queries_by": choice("decoder", ("decoder", "slots"), "slots: queries from the pooled states, without a decoder"),
    "deep_supervision": flag(False, "a loss after every decoder layer"),
    "entity_head": choice("dot", ("dot", "mlp"), "how a query scores the tokens of its span"),
    "matcher": choice("scipy", MATCHERS, "of queries and triples: scipy (on the host), optax (on the device)"),
    "empty_weight": number(0.1, "(0, inf)", "of queries without a triple, in the relation loss"),
    "weights": {  # of the joint loss
        "entity": number(1.0, "[0, inf)", "weight of the spans in the joint loss"),
        "relation": number(2.0, "[0, inf)", "of the relations"),
        "l1": number(3.0, "[0, inf)", "of the boxes' coordinates, there and in the matching"),
        "giou": number(3.5, "[0, inf)", "of the boxes' overlap, likewise"),
    },
}


def queries_config(system: ConfigDict, relations: int) -> QueriesConfig:
    """The sizes that a section `system` with SETTINGS has.

    Args:
      relations: how many there are, without the empty one.
    """
    return QueriesConfig(
        relations=relations,
        queries=system.queries,
        encoder_layers=system.encoder_layers,
        decoder_layers=system.decoder_layers,
        sizes=TransformerSizes(system.heads, system.mlp, system.dropout),
        queries_by=system.queries_by,
        deep_supervision=system.deep_supervision,
        entity_head=system.entity_head,
    )


def triple_objective(system: ConfigDict) -> TripleObjective:
    """The joint loss that a section `system` with SETTINGS asks for."""
    return TripleObjective(TripleWeights(**system.weights.to_dict()), system.empty_weight, system.matcher)


def check_queries(config: ConfigDict, name: str) -> None:
    """Raises ValueError for settings that contradict each other.

    Args:
      name: what the system is called in messages.
    """
    system = config.system
    if config.task.name != "triples":
        raise ValueError(f"{name} extracts triples: set task.name=triples, found {config.task.name!r}")
    must_divide("system.heads", system.heads, "text.width", config.text.width)
    if system.modalities == "both" and config.text.width % 4:
        raise ValueError(f"the image's 2-D sine positions need a text.width divisible by 4, found {config.text.width}")
    if system.queries_by == "decoder" and system.decoder_layers < 1:
        raise ValueError("system.decoder_layers=0, but system.queries_by=decoder needs at least 1 layer; slots does without")
    if config.data.objects != "none":
        raise ValueError(f"{name} looks at the photo alone: set data.objects=none, found {config.data.objects!r}")
    if config.vision.resize != "squash":
        raise ValueError(f"boxes are parts of the whole photo, which vision.resize=squash alone keeps, found {config.vision.resize!r}")
