"""What a batch lacks is not computed in prediction: pixels that are not a number would show it. In training, and where it is looked at, all
of it is."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from mmre_jax.encoders.absent import encode_maps, encode_patches
from mmre_jax.encoders.vit import PHOTO, ImageSequence, ViT, ViTConfig, patch_mask

B, K, S = 2, 3, 2
PICTURES = np.random.default_rng(0).normal(size=(B, K, S, S, 3)).astype(np.float32)
SHOWN = {
    "nothing": (np.zeros((B, K), bool), ()),
    "a photo": (np.array([[True, False, False], [False] * 3]), (0,)),
    "a crop": (np.array([[False, True, False], [False] * 3]), (1, 2)),
    "both": (np.array([[True, False, True], [False] * 3]), (0, 1, 2)),
}


class Encoder(nn.Module):
    """A map of one layer."""

    @nn.compact
    def __call__(self, pixels: jax.Array, *, train: bool) -> tuple[jax.Array, None]:
        found = nn.Dense(4, name="dense")(pixels)
        self.sow("intermediates", "map", found)
        return found, None


class Net(nn.Module):
    @nn.compact
    def __call__(self, pictures: Any, present: Any, train: bool = False) -> jax.Array:
        return encode_maps(Encoder(name="vision"), pictures, present, lambda maps: maps[0], train=train)


NET = Net()
VARIABLES = NET.init(jax.random.key(0), PICTURES, SHOWN["both"][0])
ALL = np.asarray(NET.apply(VARIABLES, PICTURES, SHOWN["both"][0], train=True))


@pytest.mark.parametrize("shown", SHOWN)
def test_of_what_the_batch_lacks_nothing_is_computed(shown: str) -> None:
    present, encoded = SHOWN[shown]
    read = np.isin(np.arange(K), encoded)[None, :, None, None, None]
    found = jax.jit(NET.apply)(VARIABLES, np.where(read, PICTURES, np.nan), present)
    np.testing.assert_allclose(found, np.where(read, ALL, 0.0), atol=1e-6)


def test_training_and_what_is_looked_at_see_every_picture() -> None:
    nothing, _ = SHOWN["nothing"]
    np.testing.assert_array_equal(NET.apply(VARIABLES, PICTURES, nothing, train=True), ALL)
    _, state = NET.apply(VARIABLES, PICTURES, nothing, mutable=["intermediates"])
    np.testing.assert_allclose(state["intermediates"]["vision"]["map"][0].reshape(ALL.shape), ALL, atol=1e-6)


def test_a_transformer_runs_where_any_record_has_a_picture() -> None:
    config = ViTConfig(width=8, layers=1, heads=2, mlp=8, patch=2, sequences=(ImageSequence(PHOTO, 1, S), ImageSequence("crops", 2, S)))

    class Patches(nn.Module):
        @nn.compact
        def __call__(self, pixels: Any, present: Any) -> tuple[jax.Array, ...]:
            return encode_patches(ViT(config, name="vision"), pixels, present, train=False)

    pixels = {PHOTO: PICTURES[:, :1], "crops": PICTURES[:, 1:]}
    of = {name: {PHOTO: present[:, :1], "crops": present[:, 1:]} for name, (present, _) in SHOWN.items()}
    variables = Patches().init(jax.random.key(0), pixels, of["both"])
    run = jax.jit(Patches().apply)
    own = {"params": variables["params"]["vision"]}
    for name in ("a crop", "both"):
        plain = ViT(config).apply(own, pixels, patch_mask(config, of[name]), train=False)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), run(variables, pixels, of[name]), plain)
    broken = jax.tree.map(lambda x: np.full_like(x, np.nan), pixels)
    assert all(not np.any(x) for x in run(variables, broken, of["nothing"]))
