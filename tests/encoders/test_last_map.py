"""The last map of image encoders of every kind: its cells lie as the picture's parts do."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.last_map import last_map
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.encoders.vgg import VggConfig
from mmre_jax.encoders.vit import PHOTO, ImageSequence, ViTConfig

VIT = {"sequences": (ImageSequence(PHOTO, 1, 32),), "patch": 8, "width": 8, "layers": 0, "heads": 2, "mlp": 8, "final_norm": False}
CONFIGS = {  # with the side of the map and its channels
    "vgg": (VggConfig(((4,), (6,))), 8, 6),
    "resnet": (ResNetConfig(depths=(1,), stem=8, bottleneck=False), 8, 8),
    "vit": (ViTConfig(**VIT), 4, 8),
}


class Reader(nn.Module):
    config: object

    @nn.compact
    def __call__(self, photo, seen):
        return last_map(self.config, photo, seen, jnp.float32, "vision", train=False)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_corner_of_the_picture_is_a_corner_of_the_map(kind):
    config, side, channels = CONFIGS[kind]
    rng = np.random.default_rng(0)
    photo, seen = rng.normal(size=(1, 1, 32, 32, 3)).astype(np.float32), np.array([True])
    shapes = jax.eval_shape(Reader(config).init, jax.random.key(0), photo, seen)
    variables = jax.tree.map(lambda leaf: np.abs(rng.normal(size=leaf.shape)).astype(np.float32) + np.float32(0.1), shapes)
    assert set(variables["params"]) == {"vision"}
    read = jax.jit(lambda x: Reader(config).apply(variables, x, seen))
    plain, moved = read(photo), photo.copy()
    assert plain.shape == (1, side, side, channels)
    moved[..., 28:, :4, :] += 3  # below, on the left
    changed = np.abs(read(moved) - plain).max(axis=(0, 3)) > 1e-6
    assert changed[-1, 0] and not changed[0].any() and not changed[:, -1].any()
