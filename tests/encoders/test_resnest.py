"""ResNeSt against a second implementation in PyTorch, written on timm's keys, and against timm itself."""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1]))
import torchvision_here

from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.weights.resnest import resnest_rules
from mmre_jax.weights.resnet import describe_tensors, resnet_unread
from mmre_jax.weights.rules import read, write

pytestmark = pytest.mark.thorough

SMALL = ResNetConfig(depths=(1, 2, 1, 1), stem=8, stem_kernel=3, split=True)
SIDES = (64, 45)  # an odd one: every stage then meets an odd edge


def pixels(side: int, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((batch, side, side, 3)).astype(np.float32)


def filled(config: ResNetConfig, seed: int = 1) -> Any:
    """Random variables: kernels that keep the scale of what goes through them, norms away from 0 and 1, variances above 0."""
    shapes = jax.eval_shape(lambda: ResNet(config).init(jax.random.key(0), pixels(32), train=False))
    random = np.random.default_rng(seed)

    def fill(path: Any, leaf: Any) -> np.ndarray:
        values = random.standard_normal(leaf.shape).astype(np.float32)
        name = path[-1].key
        if name == "kernel":
            return values * np.float32((2.0 / np.prod(leaf.shape[:3])) ** 0.5)
        return np.float32(0.2) * values if name in ("mean", "bias") else np.float32(0.7) + np.float32(0.3) * np.abs(values)

    return jax.tree_util.tree_map_with_path(fill, shapes)


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def encode(config: ResNetConfig, variables: Any, x: Any, dtype: Any = jnp.float32) -> Any:
    return ResNet(config, dtype).apply(variables, x, train=False)


def in_pytorch(state: Mapping[str, Any], x: Any, depths: tuple[int, ...]) -> list[Any]:
    """The maps [N, C, h, w] of a ResNeSt with these tensors, read off figure 2 of its paper and timm's description of 'resnest50d'."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    def norm(x: Any, name: str) -> Any:
        held = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *held, training=False, eps=1e-5)

    def attend(x: Any, name: str) -> Any:
        halves = functional.relu(norm(functional.conv2d(x, state[f"{name}.conv.weight"], padding=1, groups=2), f"{name}.bn0")).chunk(2, 1)
        pooled = (halves[0] + halves[1]).mean((2, 3), keepdim=True)
        hidden = functional.conv2d(pooled, state[f"{name}.fc1.weight"], state[f"{name}.fc1.bias"])
        scores = functional.conv2d(functional.relu(norm(hidden, f"{name}.bn1")), state[f"{name}.fc2.weight"], state[f"{name}.fc2.bias"])
        weights = torch.stack(scores.chunk(2, 1)).softmax(0)
        return weights[0] * halves[0] + weights[1] * halves[1]

    def block(x: Any, name: str, stride: int) -> Any:
        y = functional.relu(norm(functional.conv2d(x, state[f"{name}.conv1.weight"]), f"{name}.bn1"))
        y = attend(y, f"{name}.conv2")
        if stride == 2:
            y = functional.avg_pool2d(y, 3, 2, padding=1)
        y = norm(functional.conv2d(y, state[f"{name}.conv3.weight"]), f"{name}.bn3")
        if f"{name}.downsample.1.weight" in state:
            x = functional.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)
            x = norm(functional.conv2d(x, state[f"{name}.downsample.1.weight"]), f"{name}.downsample.2")
        return functional.relu(y + x)

    x = functional.relu(norm(functional.conv2d(x, state["conv1.0.weight"], stride=2, padding=1), "conv1.1"))
    x = functional.relu(norm(functional.conv2d(x, state["conv1.3.weight"], padding=1), "conv1.4"))
    x = functional.relu(norm(functional.conv2d(x, state["conv1.6.weight"], padding=1), "bn1"))
    x, maps = functional.max_pool2d(x, 3, 2, padding=1), []
    for stage, depth in enumerate(depths):
        for n in range(depth):
            x = block(x, f"layer{stage + 1}.{n}", 2 if n == 0 and stage > 0 else 1)
        maps.append(x)
    return maps


def assert_close(ours: Any, theirs: Any) -> None:
    """Within 1e-4 of PyTorch's maps, where those are of the order of 1."""
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        expected = other.detach().numpy().transpose(0, 2, 3, 1)
        assert one.shape == expected.shape
        assert 0.05 < np.abs(expected).mean() < 20
        assert np.abs(one - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_every_stage_equals_pytorch(norm: Any) -> None:
    torch = pytest.importorskip("torch")
    config = ResNetConfig(depths=SMALL.depths, stem=SMALL.stem, stem_kernel=3, split=True, norm=norm)
    variables = filled(config)
    state = {name: torch.tensor(tensor) for name, tensor in write(resnest_rules(config), variables).items()}
    for side in SIDES:
        with torch.no_grad():
            theirs = in_pytorch(state, torch.tensor(pixels(side).transpose(0, 3, 1, 2)), config.depths)
        assert_close(encode(config, variables, pixels(side)), theirs)


def test_gradients_equal_pytorch_tensor_by_tensor() -> None:
    torch = pytest.importorskip("torch")
    config = ResNetConfig(depths=(1, 1), stem=8, stem_kernel=3, split=True, norm="batch")
    variables, x = filled(config), pixels(21)
    state = {name: torch.tensor(tensor, requires_grad=True) for name, tensor in write(resnest_rules(config), variables).items()}
    maps = in_pytorch({n: t.detach() if "running" in n else t for n, t in state.items()}, torch.tensor(x.transpose(0, 3, 1, 2)), (1, 1))
    sum(y.cos().mean() for y in maps).backward()

    def loss(params: Any) -> jax.Array:
        return sum(jnp.mean(jnp.cos(y)) for y in ResNet(config).apply({**variables, "params": params}, x, train=False))

    found = jax.jit(jax.grad(loss))(variables["params"])
    ours = write(resnest_rules(config), {"params": found, "batch_stats": variables["batch_stats"]})
    compared = {name: tensor.grad.numpy() for name, tensor in state.items() if "running" not in name}
    for name, theirs in compared.items():
        assert np.abs(ours[name] - theirs).max() <= 1e-4 * np.abs(theirs).max(), name
        assert np.abs(theirs).max() > 0, name


def test_every_stage_equals_timm() -> None:
    torch = pytest.importorskip("torch")
    timm = torchvision_here.load("timm")
    torch.manual_seed(0)
    model = timm.create_model("resnest14d", num_classes=3).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2.0)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config = describe_tensors(tensors)
    assert config == ResNetConfig(depths=(1, 1, 1, 1), stem_kernel=3, split=True)
    variables = read(resnest_rules(config), tensors, filled(config), unread=resnet_unread(config, 4))
    for side in SIDES:
        there = torch.tensor(pixels(side).transpose(0, 3, 1, 2))
        with torch.no_grad():
            theirs = model.forward_intermediates(there, indices=[1, 2, 3, 4], intermediates_only=True)
        assert_close(encode(config, variables, pixels(side)), theirs)
        assert_close([y.numpy().transpose(0, 2, 3, 1) for y in theirs], in_pytorch(model.state_dict(), there, (1, 1, 1, 1)))


def test_half_precision_stays_near() -> None:
    variables = filled(SMALL)
    for half, full in zip(encode(SMALL, variables, pixels(32), jnp.bfloat16), encode(SMALL, variables, pixels(32)), strict=True):
        assert half.dtype == jnp.bfloat16
        assert np.abs(half.astype(np.float32) - full).max() <= 0.05 * np.abs(full).max()


def test_blocks_with_other_convolutions_are_refused() -> None:
    for fields in ({"bottleneck": False}, {"stride_first": True}, {"stem_kernel": 7}, {"stem": 6}):
        with pytest.raises(ValueError, match="a ResNeSt has"):
            ResNetConfig(**{"split": True, "stem_kernel": 3, **fields})
