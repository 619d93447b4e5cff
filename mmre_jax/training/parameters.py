"""How many parameters a run has, how many of them train, and which they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from mmre_jax.training.optim import scales
from mmre_jax.training.state import TrainState


def count(state: TrainState, optim: ConfigDict) -> dict[str, Any]:
    """What stands in metrics.json of the parameters of a run.

    Args:
      optim: section of the configuration; parameters whose learning rate is multiplied by 0 do not train.

    Returns:
      all, trained, share (trained of all), statistics (numbers in the other variables, batch statistics), and parts {part: {all, trained}}.
    """
    factors = scales(state.params, dict(optim.multipliers), optim.frozen)
    trained = {
        part: jax.tree.map(lambda leaf, factor: leaf.size * (factor != 0), tree, factors[part]) for part, tree in state.params.items()
    }
    parts = {
        part: {"all": _size(tree), "trained": sum(jax.tree.leaves(trained.get(part, {})))}
        for part, tree in sorted({**state.params, **state.frozen}.items())
    }
    total, learning = (sum(part[name] for part in parts.values()) for name in ("all", "trained"))
    return {"all": total, "trained": learning, "share": learning / total, "statistics": _size(state.stats), "parts": parts}


def told(counts: Mapping[str, Any]) -> str:
    """The counts in words, the largest parts first."""
    parts = sorted(counts["parts"].items(), key=lambda item: -item[1]["all"])
    said = "; ".join(f"{part} {_of(found['trained'], found['all'])}" for part, found in parts)
    return f"{counts['all']:,} parameters, {counts['trained']:,} of them train ({counts['share']:.1%}): {said}"


def checksum(variables: Mapping[str, Any], said: str) -> str:
    """Names variables by their paths and bytes, with what else is `said` of them."""
    total = hashlib.blake2b(said.encode(), digest_size=16)
    for where, leaf in sorted(traverse_util.flatten_dict(variables, sep="/").items()):
        total.update(where.encode())
        total.update(np.ascontiguousarray(leaf).tobytes())
    return total.hexdigest()


def _of(trained: int, total: int) -> str:
    return f"{total:,}" if trained == total else f"{total:,}, frozen" if not trained else f"{total:,}, {trained:,} train"


def _size(tree: Any) -> int:
    return sum(int(leaf.size) for leaf in jax.tree.leaves(tree))
