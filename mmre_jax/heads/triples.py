"""Triples by set prediction: every query's entity span, relation and box (QEOT, eq. 5-6), and the joint loss on matched queries (eq. 7-9).

Shapes: N decoder layers with a loss, the last one being the prediction; B batch, Q queries, T targets, L tokens, R relations, D width.
Outputs: "start" and "end" float32 [N, B, Q, L], logits of a span's first and last token; "relation" float32 [N, B, Q, R + 1], logits, the
empty relation last; "box" float32 [N, B, Q, 4], (cx, cy, w, h) in [0, 1].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mmre_jax.boxes import pairwise_giou, to_corners
from mmre_jax.losses import cross_entropy, global_sum
from mmre_jax.matching import match

Outputs = Mapping[str, jax.Array]
Metrics = dict[str, tuple[jax.Array, jax.Array]]
PADDING = -1e9  # logit of a token that is padding: its probability is exactly 0, unless there is no token at all
PARTS = ("entity", "l1", "giou")  # losses of a query and the target it is matched with


class TripleHead(nn.Module):
    """Span, relation and box of every query, with what eq. 5-6 as printed cannot do put right.

    Boxes: three layers and a sigmoid (as printed a ReLU before it makes every number at least 1/2). Relations: H_cross is projected to D
    before it is added. Spans: a linear map of H_q + H_text splits in two, and the query's half, equal for all tokens, cancels under the
    softmax over tokens; so start and end are

    entity: 'dot', dot products of the projected query with projected tokens, over sqrt(D), or 'mlp', Linear-ReLU-Linear on H_q + H_text.
    """

    relations: int
    entity: Literal["dot", "mlp"] = "dot"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, queries: jax.Array, text: jax.Array, mask: jax.Array, pooled: jax.Array) -> dict[str, jax.Array]:
        """Reads the queries.

        Args:
          queries: H^q [N, B, Q, D].
          text: H_out^Text [B, L, D].  mask: bool [B, L], False on padding.
          pooled: H^cross [B, 2 D], the means of H_out^Text and H_out^Img.

        Returns:
          The module's outputs, see above.
        """
        spans = self._by_dot(queries, text) if self.entity == "dot" else self._by_mlp(queries, text)
        start, end = jnp.where(mask[None, None, :, None], spans.astype(jnp.float32), PADDING)
        both = queries + nn.Dense(queries.shape[-1], dtype=self.dtype, name="cross")(pooled)[None, :, None]
        relation = nn.Dense(self.relations + 1, dtype=self.dtype, name="relation")(both)
        return {"start": start, "end": end, "relation": relation.astype(jnp.float32), "box": self._boxes(queries)}

    def _by_dot(self, queries: jax.Array, text: jax.Array) -> jax.Array:
        """-> [2, N, B, Q, L]."""
        width = text.shape[-1]
        # No bias on the tokens: it would add the same to all of them.
        tokens = nn.Dense(2 * width, use_bias=False, dtype=self.dtype, name="span_token")(text).reshape(*text.shape[:2], 2, width)
        asked = nn.Dense(2 * width, dtype=self.dtype, name="span_query")(queries).reshape(*queries.shape[:3], 2, width)
        return jnp.einsum("nbqcd,blcd->cnbql", asked, tokens, preferred_element_type=jnp.float32) * width**-0.5

    def _by_mlp(self, queries: jax.Array, text: jax.Array) -> jax.Array:
        """-> [2, N, B, Q, L]."""
        both = queries[:, :, :, None] + text[None, :, None]
        hidden = jax.nn.relu(nn.Dense(text.shape[-1], dtype=self.dtype, name="span_in")(both))
        return jnp.moveaxis(nn.Dense(2, use_bias=False, dtype=self.dtype, name="span_out")(hidden), -1, 0)

    def _boxes(self, queries: jax.Array) -> jax.Array:
        x = queries
        for n in range(2):
            x = jax.nn.relu(nn.Dense(queries.shape[-1], dtype=self.dtype, name=f"box_{n}")(x))
        return jax.nn.sigmoid(nn.Dense(4, dtype=self.dtype, name="box_2")(x).astype(jnp.float32))


@dataclasses.dataclass(frozen=True)
class TripleWeights:
    """The lambdas of eq. 9, with the paper's values."""

    entity: float = 1.0
    relation: float = 2.0
    l1: float = 3.0
    giou: float = 3.5


@dataclasses.dataclass(frozen=True)
class TripleObjective:
    """The joint loss of eq. 9 on the matching of eq. 7-8, summed over the N layers, each matched for itself, in one call for all.

    Per matched pair: entity, -log(p_start p_end) at the gold span; l1, the distance of the boxes' four numbers (cx, cy, w, h); giou,
    1 - generalised IoU; each over the number of gold triples in the global batch. Per query: cross-entropy of its relation, which is the
    empty one where it is not matched, as a weighted mean over the global batch's queries.

    empty_weight: weight of queries without a target in that mean.
    matcher: 'scipy' or 'optax', see mmre_jax/matching.py.
    """

    weights: TripleWeights = TripleWeights()
    empty_weight: float = 0.1
    matcher: str = "scipy"

    def loss(self, outputs: Outputs, batch: Mapping[str, Any], axis: str | None) -> tuple[jax.Array, Metrics]:
        """This shard's share of the joint loss, and metrics as local (sum, count).

        Args:
          outputs: of a TripleHead.
          batch: "valid" bool [B] and "targets": start, end, relation int32 [B, T], box float32 [B, T, 4] (cx, cy, w, h), valid bool
            [B, T]. What stands in an invalid target, or in any target of an invalid record, is never looked at.
          axis: mapped axis over which shares add up.

        Returns:
          The share, and "loss"; of the last layer "entity", "l1", "giou" per gold triple and "relation", as they enter the loss, before
          their weights; "unmatched", the part of the gold triples that no query was left for (T > Q).
        """
        return self.matched_loss(outputs, batch, self.assign(outputs, batch), axis)

    def assign(self, outputs: Outputs, batch: Mapping[str, Any]) -> jax.Array:
        """Eq. 7-8: the query of every target, int32 [N, B, T], -1 for none.

        The cost is -p_e - p_r + lambda_l1 l1 + lambda_giou giou, p_e = p_start p_end at the gold span and p_r the probability of the gold
        relation: as printed, the lambdas weigh the boxes alone.
        """
        targets = _targets(batch)
        pairs = _pairs(outputs, targets)
        cost = self.weights.l1 * pairs["l1"] + self.weights.giou * pairs["giou"] - jnp.exp(-pairs["entity"]) - jnp.exp(-pairs["relation"])
        layers, size, queries, count = cost.shape
        valid = jnp.broadcast_to(targets["valid"][None], (layers, size, count))
        flat = jax.lax.stop_gradient(cost).reshape(layers * size, queries, count)
        return match(flat, valid.reshape(layers * size, count), self.matcher).reshape(layers, size, count)

    def matched_loss(self, outputs: Outputs, batch: Mapping[str, Any], query: jax.Array, axis: str | None) -> tuple[jax.Array, Metrics]:
        """As `loss`, with each target's query given: int32 [N, B, T], -1 for none."""
        targets = _targets(batch)
        gold, records = targets["valid"].sum(dtype=jnp.float32), batch["valid"].sum(dtype=jnp.float32)
        sums = _matched(_pairs(outputs, targets), query)
        relation, weight = _relations(outputs["relation"], targets, query, batch["valid"], self.empty_weight)
        whole_gold, whole_weight = (jnp.maximum(global_sum(x, axis), 1e-6) for x in (gold, weight[-1]))
        share = self.weights.relation * relation.sum() / whole_weight
        for part in PARTS:
            share = share + getattr(self.weights, part) * sums[part].sum() / whole_gold
        unmatched = gold - (query[-1] >= 0).sum(dtype=jnp.float32)
        metrics = {part: (sums[part][-1], gold) for part in PARTS}
        metrics |= {"relation": (relation[-1], weight[-1]), "unmatched": (unmatched, gold)}
        return share, {"loss": (share * global_sum(records, axis), records), **metrics}

    def predict(self, outputs: Outputs, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """The last layer's start and end probabilities [B, Q, L], relation probabilities [B, Q, R + 1], and boxes [B, Q, 4], (x_min,
        y_min, x_max, y_max), which may reach out of the picture."""
        last = {name: x[-1] for name, x in outputs.items()}
        probabilities = {name: jax.nn.softmax(last[name], axis=-1) for name in ("start", "end", "relation")}
        return {**probabilities, "box": to_corners(last["box"])}


def _targets(batch: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The targets, those of invalid records invalid, too; an invalid one holds harmless values, whatever stood there."""
    given = batch["targets"]
    valid = given["valid"] & batch["valid"][:, None]
    ids = {name: jnp.where(valid, given[name], 0) for name in ("start", "end", "relation")}
    return {**ids, "box": jnp.where(valid[..., None], given["box"], 0.5), "valid": valid}


def _pairs(outputs: Outputs, targets: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Every query beside every target of its record: entity, relation, l1 and giou losses, float32 [N, B, Q, T] each."""

    def at_gold(logits: jax.Array, gold: jax.Array) -> jax.Array:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), gold[None, :, None, :], axis=-1)

    entity = at_gold(outputs["start"], targets["start"]) + at_gold(outputs["end"], targets["end"])
    found, gold = outputs["box"], targets["box"][None]
    return {
        "entity": entity,
        "relation": at_gold(outputs["relation"], targets["relation"]),
        "l1": jnp.abs(found[:, :, :, None] - gold[:, :, None]).sum(axis=-1),
        "giou": 1 - pairwise_giou(to_corners(found), to_corners(gold)),
    }


def _matched(pairs: Mapping[str, jax.Array], query: jax.Array) -> dict[str, jax.Array]:
    """PARTS summed over matched pairs, float32 [N] each."""
    chosen = jnp.maximum(query, 0)[:, :, None]
    picked = {part: jnp.take_along_axis(pairs[part], chosen, axis=2)[:, :, 0] for part in PARTS}
    return {part: jnp.where(query >= 0, x, 0.0).sum(axis=(1, 2)) for part, x in picked.items()}


def _relations(
    logits: jax.Array, targets: Mapping[str, jax.Array], query: jax.Array, valid: jax.Array, empty_weight: float
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropies of all queries' relations, weighted, and the weights, summed: float32 [N] each."""
    queries, empty = logits.shape[2], logits.shape[3] - 1
    taken = query[:, :, None] == jnp.arange(queries, dtype=query.dtype)[None, None, :, None]  # [N, B, Q, T]; never for -1
    labels = jnp.where(taken.any(axis=-1), jnp.where(taken, targets["relation"][None, :, None], 0).sum(axis=-1), empty)
    weights = jnp.where(labels == empty, empty_weight, 1.0) * valid.astype(jnp.float32)[None, :, None]
    return (cross_entropy(logits, labels) * weights).sum(axis=(1, 2)), weights.sum(axis=(1, 2))
