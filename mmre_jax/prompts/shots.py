"""Examples with their answers that are shown before the question, drawn from training."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from mmre_jax.records import Record
from mmre_jax.tasks.task import Task

DRAWS = ("balanced", "uniform")


def draw(task: Task, train: Sequence[Record], asked: Sequence[Record], count: int, how: str, seed: int) -> list[Record]:
    """`count` training examples, none of which has the words of an example that is asked about: its answer might be theirs.

    balanced: strata (Task.stratum: of relations the label) in an order drawn by the seed, one example of each in turn.
    uniform: each example is as likely as any other.

    Raises:
      ValueError: where so many are not left.
    """
    words = {_words(record) for record in asked}
    left = [record for record in train if _words(record) not in words]
    if len(left) < count:
        raise ValueError(
            f"{count} examples are to be drawn, and {len(left)} of {len(train)} training examples have other words than the split"
        )
    order = np.random.default_rng((seed, 17)).permutation(len(left)).tolist()
    if how == "uniform":
        return [left[i] for i in order[:count]]
    strata: dict[str, list[Record]] = defaultdict(list)
    for i in order:
        strata[task.stratum(left[i])].append(left[i])
    names = sorted(strata)
    turns = [strata[names[i]] for i in np.random.default_rng((seed, 19)).permutation(len(names))]
    return [record for turn in itertools.zip_longest(*turns) for record in turn if record is not None][:count]


def _words(record: Record) -> str:
    """What a text says: its letters and digits, in one case. Posts that differ in punctuation alone are the same."""
    return "".join(letter for word in record.words for letter in word.casefold() if letter.isalnum())
