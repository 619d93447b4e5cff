"""Attention out of what a network sows: of an encoder to itself, and of words to the picture, whichever system it is.

All but `Sight` and `sights` is traced by JAX, as part of a `watching.Pick`. Shapes: B batch, H heads, L tokens, P places of the visual
sequence, N layers, W rows of words that are looked at.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from mmre_jax.analysis.watching import Arrays
from mmre_jax.data.loader import Batch


@dataclasses.dataclass(frozen=True)
class Sight:
    """One place in a network where words attend to the picture.

    name: the module path of its weights.  label: for a figure.
    level: the hidden state of a vision transformer that is looked at, 0 being the embedded patches; None where it is none of these.
    prefix: whether the picture's places stand before the words' own keys.
    behind: how many places of the picture stand behind the words in one stream, whose attention to itself this is; 0: it is none.
    """

    name: str
    label: str
    level: int | None
    prefix: bool = False
    behind: int = 0


def sights(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Sight, ...]:
    """Where words attend to the picture, in order; empty for a system in which they do not.

    HVFormer: at its levels. IFAformer, RSRNeT, HVPNeT: at each layer of the text encoder, where places of the picture stand as a prefix
    before the words' own keys. VisualBERT: at each layer, too, where they stand behind the words. MKGformer: in the fusion of its last
    layers. QEOT: in its selective attention.

    Args:
      shapes: {module path: shape}, of `watching.sown_shapes`.
    """
    found, regions = [], shapes.get("regions/embedded", (0, 0))[-2]
    for name, shape in shapes.items():
        if match := re.fullmatch(r"tva_(\d+)/attention/attention", name):
            found.append(Sight(name, f"level {match[1]}", int(match[1])))
        elif (match := re.fullmatch(r"text/layer_(\d+)/attention/attention", name)) and shape[-1] > shape[-2]:
            # The prefix is made of the vision stream's state in front of the same layer.
            found.append(Sight(name, f"layer {int(match[1]) + 1}", int(match[1]), prefix=True))
        elif match and regions:
            found.append(Sight(name, f"layer {int(match[1]) + 1}", int(match[1]), behind=regions))
        elif match := re.fullmatch(r"fusion_(\d+)/attention", name):
            found.append(Sight(name, f"layer {int(match[1]) + 1}", int(match[1]) + 1))
        elif name == "select/text_to_image":
            found.append(Sight(name, "selective", None))
    return tuple(sorted(found, key=lambda sight: -1 if sight.level is None else sight.level))


def layers(shapes: Mapping[str, tuple[int, ...]], encoder: str) -> tuple[str, ...]:
    """The module paths of the self-attention of a transformer called 'text' or 'vision', in the order of its layers."""
    found = (re.fullmatch(rf"{encoder}/layer_(\d+)/attention/attention", name) for name in shapes)
    return tuple(match[0] for match in sorted(filter(None, found), key=lambda match: int(match[1])))


def states(shapes: Mapping[str, tuple[int, ...]], encoder: str) -> tuple[str, ...]:
    """The module paths of the hidden states of a transformer called 'text' or 'vision': the embedded sequence, then each layer's output."""
    found = (re.fullmatch(rf"{encoder}/hidden/(\d+)", name) for name in shapes)
    return tuple(match[0] for match in sorted(filter(None, found), key=lambda match: int(match[1])))


def to_itself(arrays: Arrays, names: tuple[str, ...]) -> jax.Array:
    """Self-attention [B, N, H, P, P] of some layers; without what stands before its own keys as a prefix, where rows sum to less than 1."""
    return jnp.stack([arrays[name][..., -arrays[name].shape[-2] :] for name in names], axis=1)


def to_picture(arrays: Arrays, sight: Sight) -> jax.Array:
    """Attention of words to the places of the picture, [B, H, L, P]; where those are a prefix or in one stream with the words, rows sum to
    less than 1."""
    weights = arrays[sight.name]
    if sight.behind:
        return weights[..., : -sight.behind, -sight.behind :]
    return weights[..., : weights.shape[-1] - weights.shape[-2]] if sight.prefix else weights


def row_names(batch: Batch) -> tuple[str, ...]:
    """What the W rows of `word_rows` are: of a relation the opening markers of head and tail, else all words."""
    return ("<s>", "<o>") if "markers" in batch["text"] else ("all words",)


def word_rows(weights: jax.Array, batch: Batch) -> jax.Array:
    """Of weights [B, H, L, P] the rows of the two markers, [B, 2, H, P]; without markers the mean of all tokens, [B, 1, H, P]."""
    text = batch["text"]
    if "markers" in text:
        return jnp.take_along_axis(weights, text["markers"][:, None, :, None], axis=2).swapaxes(1, 2)
    words = text["mask"].astype(weights.dtype)
    return jnp.einsum("bl,bhlp->bhp", words / jnp.maximum(words.sum(axis=1, keepdims=True), 1.0), weights)[:, None]


def attended(weights: jax.Array) -> jax.Array:
    """Which places are attended to at all, bool [B, P], of weights [B, ..., L, P]: what is masked gets a weight of 0 from every row of
    every head, and nothing else does. So it holds for a network that masks absent pictures and for one that attends to them."""
    return (weights > 0).any(axis=tuple(range(1, weights.ndim - 1)))
