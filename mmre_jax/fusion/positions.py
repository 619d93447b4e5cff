"""Positions of an image's cells as DETR writes them (Carion et al. 2020): sines of the place relative to the picture's size.

Unlike the table that a ViT starts from (encoders/vit.py), these mean the same place in the picture whatever the grid.
"""

from __future__ import annotations

import numpy as np


def sine_positions(rows: int, columns: int, width: int) -> np.ndarray:
    """Sines and cosines of the normalised place of every cell, fixed.

    A place is the cell's number, counted from 1, over the number of rows or columns, times 2 pi. Half of the width tells the row, half
    the column: sine and cosine of place / 10000^(4 i / width) side by side, i < width / 4.

    Returns:
      float32 [rows * columns, width], row-major, values in [-1, 1].

    Raises:
      ValueError: a width that does not divide by 4.
    """
    if width % 4:
        raise ValueError(f"2-D sine positions need a width divisible by 4, found {width}")
    rates = 10000.0 ** (-np.arange(width // 4) / (width / 4))

    def line(count: int) -> np.ndarray:
        waves = 2 * np.pi * np.arange(1, count + 1)[:, None] / count * rates
        return np.stack([np.sin(waves), np.cos(waves)], axis=2).reshape(count, width // 2)

    down = np.broadcast_to(line(rows)[:, None], (rows, columns, width // 2))
    across = np.broadcast_to(line(columns)[None], (rows, columns, width // 2))
    return np.concatenate([down, across], axis=2).reshape(rows * columns, width).astype(np.float32)
