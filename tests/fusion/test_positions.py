"""Sine positions against DETR's own construction, written with PyTorch, and what they are to tell apart."""

import math

import numpy as np
import pytest
import torch

from mmre_jax.fusion.positions import sine_positions


def by_torch(rows: int, columns: int, width: int) -> np.ndarray:
    """DETR's PositionEmbeddingSine with normalize=True on a picture without padding."""
    there = torch.ones(1, rows, columns)
    y, x = there.cumsum(1), there.cumsum(2)
    y, x = (place / (place[:, -1:, :] if axis == 1 else place[:, :, -1:]) * 2 * math.pi for axis, place in ((1, y), (2, x)))
    numbers = torch.arange(width // 2, dtype=torch.float32)
    rates = 10000 ** (2 * torch.div(numbers, 2, rounding_mode="floor") / (width // 2))
    waves = [place[..., None] / rates for place in (y, x)]
    parts = [torch.stack([wave[..., 0::2].sin(), wave[..., 1::2].cos()], dim=4).flatten(3) for wave in waves]
    return torch.cat(parts, dim=3)[0].reshape(rows * columns, width).numpy()


@pytest.mark.parametrize(("rows", "columns", "width"), [(8, 8, 64), (3, 5, 8), (1, 1, 4)])
def test_positions_are_detrs(rows: int, columns: int, width: int) -> None:
    found = sine_positions(rows, columns, width)
    assert found.dtype == np.float32 and found.shape == (rows * columns, width)
    np.testing.assert_allclose(found, by_torch(rows, columns, width), atol=1e-5)


def test_every_cell_differs() -> None:
    found = sine_positions(7, 7, 16)
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1)
    assert apart[~np.eye(49, dtype=bool)].min() > 0.1


def test_the_same_place_has_the_same_position_on_any_grid() -> None:
    coarse, fine = sine_positions(4, 4, 16).reshape(4, 4, 16), sine_positions(8, 8, 16).reshape(8, 8, 16)
    np.testing.assert_allclose(coarse, fine[1::2, 1::2], atol=1e-6)


def test_a_width_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 4, found 6"):
        sine_positions(2, 2, 6)
