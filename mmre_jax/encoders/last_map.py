"""An image encoder of any kind as the map of its last layer: a VGG, a ResNet or ResNeSt, a ViT.

Shape letters: B batch, S side of a picture in pixels, h and w sides of the map, C its channels.
"""

from __future__ import annotations

import jax
from jax.typing import DTypeLike

from mmre_jax.encoders.absent import encode_maps, encode_patches
from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.encoders.vgg import Vgg, VggConfig
from mmre_jax.encoders.vit import PHOTO, ViT, ViTConfig

VisionConfig = ViTConfig | ResNetConfig | VggConfig


def last_map(config: VisionConfig, photo: jax.Array, seen: jax.Array, dtype: DTypeLike, name: str, *, train: bool) -> jax.Array:
    """The last feature map of photos, of a ViT its patches where they lie; to be called inside a compact method.

    Args:
      photo: float [B, 1, S, S, 3], normalised.
      seen: bool [B], whether there is one; nothing may depend on the map of one that is not.
      name: of the encoder as a submodule.

    Returns:
      [B, h, w, C].
    """
    if isinstance(config, VggConfig):
        return encode_maps(Vgg(config, dtype=dtype, name=name), photo, seen[:, None], lambda found: found[0], train=train)[:, 0]
    if isinstance(config, ResNetConfig):
        return encode_maps(ResNet(config, dtype=dtype, name=name), photo, seen[:, None], lambda maps: maps[-1], train=train)[:, 0]
    patches = encode_patches(ViT(config, dtype=dtype, name=name), {PHOTO: photo}, {PHOTO: seen[:, None]}, train=train)
    grid = config.grid(config.sequences[0])
    return patches[-1][:, 1:].reshape(len(photo), grid, grid, -1)
