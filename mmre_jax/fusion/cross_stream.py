"""Two streams that attend to each other's keys and values at every layer (IFAformer, AAAI 2023, eq. 1-2)."""

from __future__ import annotations

import jax

from mmre_jax.encoders.bert import Bert
from mmre_jax.encoders.vit import ViT

RELEASED_BIAS = 1.0  # the released code adds its mask of ones to the scores of the visual keys, where it meant 0


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
) -> jax.Array:
    """Runs both stacks; at layer l each stream attends to [keys of the other; its own], both made of the states before layer l.

    Args:
      bert, vit: unapplied encoders of equally many layers, heads and head width, parts of the calling module.
      text: embedded text [B, L, D].  vision: embedded patches [B, P, V].
      text_mask: bool [B, L].  patch_mask: bool [B, P], None for all.
      text_attention: False is "w/o text attention": the vision stream attends to itself alone.

    Returns:
      the last text states [B, L, D]. The vision stream's last layer gives only its keys and values: nothing reads its output.
    """
    layers = bert.config.layers
    for n in range(layers):
        of_text, of_vision = bert.keys_values(n, text), vit.keys_values(n, vision)
        text = bert.run_layer(n, text, text_mask, train=train, prefix=of_vision, prefix_mask=patch_mask)
        if n == layers - 1:
            break
        prefix, prefix_mask = (of_text, text_mask) if text_attention else (None, None)
        vision = vit.run_layer(n, vision, patch_mask, train=train, prefix=prefix, prefix_mask=prefix_mask)
    return text


def exchange_released(bert: Bert, vit: ViT, text: jax.Array, vision: jax.Array, text_mask: jax.Array, *, train: bool) -> jax.Array:
    """What the released code computes instead of eq. 2; arguments and result as in `exchange`.

    The vision stream is one layer behind in what it sees of the text, padding included; the text stream takes the visual keys for
    values, too, and adds 1 to their scores; at layer 0 both see the other's embedded states, reshaped into heads without a transpose.
    The vision stream's last layer gives only its keys: nothing reads its values, queries or output.
    """
    layers, heads = bert.config.layers, bert.config.heads
    of_text, keys = (_raw_heads(text, heads),) * 2, _raw_heads(vision, heads)
    for n in range(layers):
        if n > 0:
            keys = vit.keys(n, vision)
        if n < layers - 1:
            behind, of_text = of_text, bert.keys_values(n, text)
            vision = vit.run_layer(n, vision, None, train=train, prefix=behind)
        text = bert.run_layer(n, text, text_mask, train=train, prefix=(keys, keys), prefix_bias=RELEASED_BIAS)
    return text


def _raw_heads(x: jax.Array, heads: int) -> jax.Array:
    """The memory of [B, n, D] read as [B, H, n, d], in this library's order of axes: [B, n, H, d]."""
    batch, count, width = x.shape
    return x.reshape(batch, heads, count, width // heads).swapaxes(1, 2)
