"""A language model of any kind as a reader of stages: GPT-2, GPT-1, BERT or RoBERTa.

Shape letters: B batch, L places of a stage, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.encoders.stages import Cache

LanguageConfig = BertConfig | GptConfig
LanguageModel = Bert | Gpt


def language_model(config: LanguageConfig, dtype: DTypeLike, name: str) -> LanguageModel:
    """The model of a configuration, as a submodule of that name; to be called inside a compact method."""
    return Gpt(config, dtype=dtype, name=name) if isinstance(config, GptConfig) else Bert(config, dtype=dtype, name=name)


def read_stage(model: LanguageModel, words: jax.Array, mask: jax.Array, cache: Cache | None, *, train: bool) -> tuple[jax.Array, Cache]:
    """The last layer's states [B, L, D] of a stage, and the cache for the next one.

    A GPT's place attends to the stages before and to its own up to itself, a BERT's to the stages before and all of its own: what the
    stages compute together is one pass under that mask.

    Args:
      words: [B, L, D], of the model's `words` or of any other make.
      mask: bool [B, L], False on places that hold nothing; nothing attends to them, and their states are meaningless.
      cache: of the stages before.

    Raises:
      ValueError: more places than the position table has rows for.
    """
    read = model if isinstance(model, Gpt) else model.stage
    states, cache = read(words, mask, train=train, cache=cache)
    return states[-1], cache


def read_stages(model: LanguageModel, stages: Sequence[tuple[jax.Array, jax.Array]], *, train: bool) -> tuple[list[jax.Array], Cache]:
    """The states of several stages, (words, mask) each as of `read_stage`, and the cache for the next one: the same as one stage after the
    other, in one pass."""
    words, mask = (jnp.concatenate(both, axis=1) for both in zip(*stages, strict=True))
    lengths = [own.shape[1] for _, own in stages]
    if isinstance(model, Gpt):
        states, cache = model(words, mask, train=train)
    else:
        states, cache = model.stage(words, mask, train=train, lengths=lengths)
    return jnp.split(states[-1], np.cumsum(lengths)[:-1], axis=1), cache
