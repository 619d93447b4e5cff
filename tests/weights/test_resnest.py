"""ResNeSt's table: timm's keys, both directions, and where they lie in a released state dict."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.resnest import load_resnest, resnest_rules
from mmre_jax.weights.resnet import describe, load_resnet
from mmre_jax.weights.rules import read, write

SMALL = ResNetConfig(depths=(1, 2), stem=8, stem_kernel=3, split=True)


def shapes(config: ResNetConfig) -> Any:
    pixels = np.zeros((1, 16, 16, 3), np.float32)
    return jax.eval_shape(lambda: ResNet(config).init(jax.random.key(0), pixels, train=False))


def filled(config: ResNetConfig, seed: int = 0) -> Any:
    """Variables in which every number is another one."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), shapes(config))


def assert_equal(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_there_and_back_gives_the_same_numbers(norm: Any) -> None:
    config = dataclasses.replace(SMALL, norm=norm)
    variables = filled(config)
    tensors = write(resnest_rules(config), variables)
    assert len(tensors) == len(jax.tree.leaves(variables))
    assert_equal(read(resnest_rules(config), tensors, filled(config, 1), unread={}), variables)
    inside = {kind: {"vision": tree} for kind, tree in variables.items()}
    released = write(resnest_rules(config, "image_model.resnet.", "vision/"), inside)
    assert_equal({name.removeprefix("image_model.resnet."): tensor for name, tensor in released.items()}, tensors)


def test_keys_and_shapes_of_the_published_network() -> None:
    """ResNeSt-50 by hand: the sizes in its paper, in PyTorch's layouts."""
    config = ResNetConfig(stem_kernel=3, split=True)
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0.0), leaf.shape), shapes(config))
    found = {name: tensor.shape for name, tensor in write(resnest_rules(config), zeros).items()}
    # Less the classifier's 2048 x 1000 + 1000, the published network of 27,483,240 parameters.
    assert sum(int(np.prod(shape)) for name, shape in found.items() if "running" not in name) == 27_483_240 - 2_049_000
    expected = {
        "conv1.0.weight": (32, 3, 3, 3),
        "conv1.6.weight": (64, 32, 3, 3),
        "bn1.running_var": (64,),
        "layer1.0.conv2.conv.weight": (128, 32, 3, 3),
        "layer1.0.conv2.fc1.weight": (32, 64, 1, 1),
        "layer1.0.downsample.1.weight": (256, 64, 1, 1),
        "layer4.2.conv2.fc2.bias": (1024,),
        "layer4.2.bn3.weight": (2048,),
    }
    assert {name: found[name] for name in expected} == expected


def test_a_state_dict_describes_and_fills_itself(tmp_path: Path) -> None:
    variables = filled(SMALL)
    tensors = write(resnest_rules(SMALL), variables)
    extra = {"fc.weight": np.zeros((5, 64), np.float32), "fc.bias": np.zeros(5, np.float32), "bn1.num_batches_tracked": np.array(3)}
    save_file(tensors | extra, tmp_path / "model.safetensors")
    assert describe(tmp_path) == SMALL
    assert_equal(load_resnest(tmp_path, SMALL, filled(SMALL, 1)), variables)
    lower = dataclasses.replace(SMALL, depths=(1,))
    found = load_resnest(tmp_path, lower, filled(lower, 1))
    assert_equal(found["params"]["stage_0"], variables["params"]["stage_0"])


def test_a_resnet_is_no_resnest(tmp_path: Path) -> None:
    save_file(write(resnest_rules(SMALL), filled(SMALL)), tmp_path / "model.safetensors")
    other = ResNetConfig(depths=(1, 2), stem=8, stem_kernel=3)
    with pytest.raises(WeightError, match="split is True in the checkpoint, False in the model"):
        load_resnet(tmp_path, other, filled(other))
    with pytest.raises(WeightError, match="vision.norm is 'frozen', 'batch' or 'global'"):
        resnest_rules(dataclasses.replace(SMALL, norm="group", groups=4))
