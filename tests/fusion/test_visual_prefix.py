"""Visual prefixes against the paper's equations by hand, and which picture, stage and gate reaches which layer."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.fusion.visual_prefix import PrefixConfig, VisualPrefix, mix, pool

WIDTH, HEADS, PICTURES = 6, 2, 2
CHANNELS = (3, 5, 4)
random = np.random.default_rng(0)
# two records of two pictures; stages of 8, 5 and 2 cells a side
MAPS = [random.normal(size=(4, side, side, c)).astype(np.float32) for side, c in zip((8, 5, 2), CHANNELS, strict=True)]


def make(stages: Any = "gates", layers: int = 3, **other: Any) -> tuple[VisualPrefix, Any]:
    module = VisualPrefix(PrefixConfig(layers, WIDTH, HEADS, stages, **other))
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), MAPS, PICTURES))
    values = np.random.default_rng(1)
    return module, jax.tree.map(lambda p: values.normal(0, 0.7, p.shape).astype(np.float32), shapes)


def apply(module: VisualPrefix, variables: Any, maps: Any = MAPS) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.asarray(keys), np.asarray(values)) for keys, values in module.apply(variables, maps, PICTURES)]


def test_pooling_by_hand() -> None:
    x = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
    np.testing.assert_array_equal(pool(x)[0, ..., 0], [[3, 5], [13, 15]])  # windows of 2; the last row and column are left out
    np.testing.assert_array_equal(pool(x[:, :2, :2])[0, ..., 0], [[0, 1], [5, 6]])
    np.testing.assert_array_equal(pool(x[:, :4, :4])[0, ..., 0], [[3, 5], [13, 15]])


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 4, 2, 3)])
def test_maps_that_do_not_pool_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="square and at least 2 x 2"):
        pool(np.zeros(shape, np.float32))


def test_mixing_by_hand() -> None:
    features = np.array([[[[1.0, 2.0]], [[3.0, 5.0]]]], np.float32)  # one picture, two stages, one cell
    np.testing.assert_allclose(mix(jnp.array([[0.25, 0.75]]), features), [[[2.5, 4.25]]])


def activation(name: str, x: np.ndarray) -> np.ndarray:
    if name == "leaky_relu":
        return np.where(x > 0, x, 0.01 * x)
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1))


@pytest.mark.parametrize("gate", ["selu", "leaky_relu"])
def test_gates_by_hand(gate: str) -> None:
    module, variables = make(gate=gate)
    p = jax.tree.map(np.float64, variables["params"])
    found = apply(module, variables)
    sown = module.apply(variables, MAPS, PICTURES, mutable=["intermediates"])[1]["intermediates"]["gates"][0]
    for picture in range(4):
        cells = []
        for n, x in enumerate(MAPS):  # eq. 4-5
            window = x.shape[1] // 2
            corners = [
                x[picture, i * window : (i + 1) * window, j * window : (j + 1) * window].mean((0, 1)) for i in (0, 1) for j in (0, 1)
            ]
            cells.append(np.stack(corners) @ p[f"project_{n}"]["kernel"] + p[f"project_{n}"]["bias"])
        mean = sum(v.mean(0) for v in cells) / len(cells)
        for layer in range(3):
            scores = activation(gate, mean @ p[f"gate_{layer}"]["kernel"] + p[f"gate_{layer}"]["bias"])  # eq. 6
            weights = np.exp(scores) / np.exp(scores).sum()  # eq. 7
            np.testing.assert_allclose(sown[picture // PICTURES, picture % PICTURES, layer], weights, atol=1e-5)
            gated = sum(weight * v for weight, v in zip(weights, cells, strict=True))  # eq. 8
            both = gated @ p[f"keys_values_{layer}"]["kernel"] + p[f"keys_values_{layer}"]["bias"]  # eq. 11
            record, first = picture // PICTURES, picture % PICTURES * 4  # eq. 9
            for part, expected in zip(found[layer], (both[:, :WIDTH], both[:, WIDTH:]), strict=True):
                assert part.shape == (2, 8, HEADS, WIDTH // HEADS)
                np.testing.assert_allclose(part[record, first : first + 4].reshape(4, WIDTH), expected, atol=1e-5)


def reaches(module: VisualPrefix, variables: Any, stage: int) -> list[bool]:
    """For each layer whether its prefix depends on a stage."""
    before = apply(module, variables)
    other = [x + 1 if n == stage else x for n, x in enumerate(MAPS)]
    return [not np.allclose(a[0], b[0]) for a, b in zip(before, apply(module, variables, other), strict=True)]


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("gates", [[True] * 6] * 3),
        ("1t3", [[True] * 2 + [False] * 4, [False] * 2 + [True] * 2 + [False] * 2, [False] * 4 + [True] * 2]),
        ("plain", [[False] * 6, [False] * 6, [True] * 6]),
    ],
)
def test_which_stage_reaches_which_layer(stages: str, expected: list[list[bool]]) -> None:
    module, variables = make(stages, layers=6)
    assert [reaches(module, variables, stage) for stage in range(3)] == expected
    assert any(name.startswith("gate_") for name in variables["params"]) == (stages == "gates")


def test_a_picture_reaches_its_own_record_alone() -> None:
    module, variables = make()
    before, changed = apply(module, variables), [x.copy() for x in MAPS]
    for x in changed:
        x[3] += 1  # the second picture of the second record
    for (keys, values), (keys_too, values_too) in zip(before, apply(module, variables, changed), strict=True):
        for a, b in ((keys, keys_too), (values, values_too)):
            np.testing.assert_array_equal(a[0], b[0])
            assert not np.allclose(a[1], b[1])
            np.testing.assert_array_equal(a[1, :4], b[1, :4])
            assert (a[1, 4:] != b[1, 4:]).any(axis=(1, 2)).all()
