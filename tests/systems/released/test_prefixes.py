"""What the released prefixes compute: gates, positions. (Against the releases: test_released_parity.py.)"""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "fusion"))
from test_visual_prefix import HEADS, PICTURES, WIDTH, apply

from mmre_jax.systems.released.prefixes import ReleasedPrefix


def four_stages() -> list[np.ndarray]:
    return [np.random.default_rng(n).normal(size=(4, 4, 4, 4)).astype(np.float32) for n in range(4)]


def make(gate: str = "selu") -> tuple[ReleasedPrefix, Any]:
    module = ReleasedPrefix(2, WIDTH, HEADS, gate=gate, hidden=7)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), four_stages(), PICTURES))
    values = np.random.default_rng(2)
    return module, jax.tree.map(lambda p: values.normal(0, 0.7, p.shape).astype(np.float32), shapes)


def test_a_picture_reaches_its_own_record_alone() -> None:
    module, variables = make()
    before, changed = apply(module, variables, four_stages()), four_stages()
    for x in changed:
        x[3] += 1  # the second picture of the second record; positions are read across heads, so that all of that record's may change
    for both, both_too in zip(before, apply(module, variables, changed), strict=True):
        for a, b in zip(both, both_too, strict=True):
            np.testing.assert_array_equal(a[0], b[0])
            assert not np.allclose(a[1], b[1])


def test_gates_of_crops_are_leaky_whatever_the_photos_are() -> None:
    (module, variables), (leaky, _) = make(), make("leaky_relu")
    a, b = (np.stack(apply(m, variables, four_stages())[0]) for m in (module, leaky))  # [2, B, 8, H, d]
    memory = [x.swapaxes(2, 3).reshape(2, 2, 8, WIDTH) for x in (a, b)]  # as the released code lays it out
    np.testing.assert_allclose(memory[0][:, :, 4:], memory[1][:, :, 4:], atol=1e-6)
    assert not np.allclose(memory[0][:, :, :4], memory[1][:, :, :4], atol=1e-3)


def test_positions_are_blocks_of_channels() -> None:
    """A position is a quarter of the channels over all cells, not one cell of all channels."""
    module, variables = make()
    params = variables["params"]
    before = apply(module, variables, four_stages())
    changed = four_stages()
    for x in changed:
        x[:, :2, :2] += 1  # the first cell of every stage: in every block, so that every position changes
    after = apply(module, variables, changed)
    assert all((a[0] != b[0]).any(axis=(2, 3)).all() for a, b in zip(before, after, strict=True))
    assert params["project_in"]["kernel"].shape == (4 * 4, 7)  # stages x channels: as many as a quarter of them over four cells
    assert params["project_out"]["kernel"].shape == (7, 4 * 2 * WIDTH)
    assert params["gate_0"]["kernel"].shape == (4 * 2 * WIDTH, 4)
