"""Pictures that a whole batch lacks are not encoded in prediction: whether an encoder runs is decided on the device, by what is present.

Only where nothing reads what an encoder makes of an absent picture, as where its places are masked: zeros stand there. In training all is
encoded: of a branch the backward pass keeps copies, the weights among them, and a batch that has pictures would pay for one that has none.

Shape letters: B batch, K pictures, P patches, S side in pixels, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.encoders.blocks import as_it_is
from mmre_jax.encoders.vit import ViT, patch_mask

Run = Callable[..., Any]  # of a module and arrays
PARTS = slice(0, 1), slice(1, None)  # of a record's pictures: the photo, the crops


def encode_maps(encoder: nn.Module, pictures: jax.Array, present: jax.Array, read: Run, *, train: bool) -> Any:
    """What is read of the feature maps that a convolutional encoder makes of pictures, each by itself.

    In prediction photos and crops are encoded apart, so that either may be left out.

    Args:
      encoder: [N, S, S, 3] -> feature maps.
      pictures: [B, K, S, S, 3], the photo first.
      present: bool [B, K].
      read: the encoder's result -> a tree of arrays [N, ...].

    Returns:
      The tree, of arrays [B, K, ...]. What it holds of an absent picture nothing may depend on: in prediction zeros where no record has a
      photo, and where none has a crop.
    """

    def encode(encoder: nn.Module, some: jax.Array) -> Any:
        found = read(encoder(some.reshape(-1, *some.shape[2:]), train=train))
        return jax.tree.map(lambda x: x.reshape(*some.shape[:2], *x.shape[1:]), found)

    if pictures.shape[1] == 1 or as_it_is(encoder, train):
        return run_needed(encoder, present.any(), encode, pictures, train=train)
    parts = [run_needed(encoder, present[:, part].any(), encode, pictures[:, part], train=train) for part in PARTS]
    return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)


def encode_patches(
    encoder: ViT, pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array], *, train: bool, at: jax.Array | None = None
) -> tuple[jax.Array, ...]:
    """`encoder(pixels, patch_mask(encoder.config, present), train=train, at=at)`, in prediction zeros at once where no
    record has a picture."""

    def encode(encoder: ViT, pixels: Mapping[str, jax.Array], mask: jax.Array) -> tuple[jax.Array, ...]:
        return encoder(pixels, mask, train=train, at=at)

    mask = patch_mask(encoder.config, present)
    return run_needed(encoder, mask.any(), encode, pixels, mask, train=train)


def run_needed(encoder: nn.Module, needed: jax.Array, run: Run, *operands: Any, train: bool) -> Any:
    """run(encoder, *operands) if `needed`, bool [], else zeros of the same shapes.

    In training, and where the encoder's variables are made or what it computes is looked at ("intermediates" is mutable), it runs always.

    Args:
      encoder: bound, as submodules are.
      needed: may differ from device to device, so that the run may not communicate.
    """
    if as_it_is(encoder, train):
        return run(encoder, *operands)
    module, variables = encoder.unbind()

    @jax.jit  # so that it is traced once for both branches
    def pure(variables: Any, *operands: Any) -> Any:
        return module.apply(variables, *operands, method=run)

    def zeros(*arguments: Any) -> Any:
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(pure, *arguments))

    return jax.lax.cond(needed, pure, zeros, variables, *operands)
