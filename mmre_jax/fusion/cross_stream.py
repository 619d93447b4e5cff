"""Two streams that attend to each other's keys and values at every layer (IFAformer, AAAI 2023, eq. 1-2)."""

from __future__ import annotations

import jax

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.blocks import rows_at
from mmre_jax.encoders.vit import ViT, ViTConfig


def exchange(
    bert: Bert,
    vit: ViT,
    text: jax.Array,
    vision: jax.Array,
    text_mask: jax.Array,
    patch_mask: jax.Array | None,
    *,
    text_attention: bool,
    train: bool,
    at: jax.Array | None = None,
) -> jax.Array:
    """Runs both stacks; at layer l each stream attends to [keys of the other; its own], both made of the states before layer l.

    Args:
      bert, vit: unapplied encoders of equally many layers, heads and head width, parts of the calling module.
      text: embedded text [B, L, D].  vision: embedded patches [B, P, V].
      text_mask: bool [B, L].  patch_mask: bool [B, P], None for all.
      text_attention: False is "w/o text attention": the vision stream attends to itself alone.
      at: int [B, K], the places at which the last text states are read; they are computed there alone. None: everywhere.

    Returns:
      the last text states [B, L, D], or [B, K, D] with `at`. The vision stream's last layer gives only its keys and values: nothing reads
      its output.
    """
    how = {"text_attention": text_attention, "train": train, "at": at, "whole": False}
    return _exchange(bert, vit, text, vision, text_mask, patch_mask, **how)[0]


def exchange_whole(
    bert: Bert, vit: ViT, text: jax.Array, vision: jax.Array, text_mask: jax.Array, patch_mask: jax.Array | None, *, train: bool
) -> tuple[jax.Array, jax.Array]:
    """As `exchange`, for who reads both streams: the last text states [B, L, D], and the last patches [B, P, V], which attend to the text,
    too."""
    how = {"text_attention": True, "train": train, "at": None, "whole": True}
    return _exchange(bert, vit, text, vision, text_mask, patch_mask, **how)


def _exchange(
    bert: Bert,
    vit: ViT,
    text: jax.Array,
    vision: jax.Array,
    text_mask: jax.Array,
    patch_mask: jax.Array | None,
    *,
    text_attention: bool,
    train: bool,
    at: jax.Array | None,
    whole: bool,
) -> tuple[jax.Array, jax.Array]:
    """The last text states, and the vision stream's, if `whole`, else those in front of its last layer."""
    layers = bert.config.layers
    for n in range(layers):
        of_text, of_vision = bert.keys_values(n, text), vit.keys_values(n, vision)
        last = n == layers - 1
        where = {"prefix": of_vision, "prefix_mask": patch_mask, "made": of_text, "at": at if last else None}
        text = bert.run_layer(n, text, text_mask, train=train, **where)
        if last and not whole:
            break
        prefix, prefix_mask = (of_text, text_mask) if text_attention else (None, None)
        vision = vit.run_layer(n, vision, patch_mask, train=train, prefix=prefix, prefix_mask=prefix_mask, made=of_vision)
    return text if layers else rows_at(text, at), vision


def must_agree(text: BertConfig, vision: ViTConfig) -> None:
    """Raises ValueError for encoders that cannot share keys and values."""
    sizes = tuple((config.layers, config.heads, config.width // config.heads) for config in (text, vision))
    if sizes[0] != sizes[1]:
        names = "layers, heads and head widths"
        raise ValueError(f"the streams share keys and values: their {names} must agree, found text {sizes[0]}, vision {sizes[1]}")
