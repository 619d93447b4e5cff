"""VGG against torchvision's module in PyTorch: feature map, second dense layer, gradients; its cells by hand."""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import torchvision_here

from mmre_jax.encoders.vgg import Vgg, VggConfig, adaptive_mean
from mmre_jax.weights.rules import WeightError, read, write
from mmre_jax.weights.vgg import describe_vgg, load_vgg, vgg_rules, vgg_unread

SMALL = VggConfig(stages=((4, 5), (6,), (7, 8, 9)), hidden=10)


def pixels(side: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, side, side, 3)).astype(np.float32)


def filled(config: VggConfig) -> Any:
    shapes = jax.eval_shape(lambda: Vgg(config).init(jax.random.key(0), pixels(64), train=False))["params"]
    random = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: random.normal(0, 0.2, leaf.shape).astype(np.float32), shapes)


def torchvision_vgg(config: VggConfig, classes: int = 3) -> Any:
    vgg = torchvision_here.part("models.vgg")
    import torch

    torch.manual_seed(0)
    model = vgg.VGG(vgg.make_layers([each for widths in config.stages for each in (*widths, "M")]), num_classes=classes)
    if config.hidden != 4096:
        sizes = [config.channels * 49, config.hidden, config.hidden, classes]
        for place, inputs, outputs in zip((0, 3, 6), sizes, sizes[1:], strict=False):
            model.classifier[place] = torch.nn.Linear(inputs, outputs)
    return model.eval()


@pytest.mark.parametrize("side", [56, 75, 120])
def test_map_dense_layer_and_gradients_equal_torchvision(side: int) -> None:
    """At 7 x 7 cells, where the map is smaller than that, and where its sides do not divide into them."""
    model = torchvision_vgg(SMALL)
    import torch

    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert describe_vgg(tensors) == SMALL
    params = read(vgg_rules(SMALL), tensors, filled(SMALL), unread=vgg_unread(SMALL))
    x = torch.tensor(pixels(side).transpose(0, 3, 1, 2))
    theirs = model.features(x)
    dense = model.classifier[:6](model.avgpool(theirs).flatten(1))
    (theirs.cos().sum() + dense.cos().sum()).backward()

    def loss(params: Any) -> Any:
        found = Vgg(SMALL).apply({"params": params}, pixels(side), train=False)
        return sum(jnp.cos(value).sum() for value in found), found

    gradients, (features, fc7) = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert np.abs(features - theirs.detach().numpy().transpose(0, 2, 3, 1)).max() <= 1e-4
    assert np.abs(fc7 - dense.detach().numpy()).max() <= 1e-4
    expected = {name: parameter.grad.numpy() for name, parameter in model.named_parameters() if parameter.grad is not None}
    for name, found in write(vgg_rules(SMALL), gradients).items():
        assert np.abs(found - expected[name]).max() <= 1e-4 * max(1.0, np.abs(expected[name]).max()), name


@pytest.mark.slow
def test_vgg16_equals_torchvision_at_its_size() -> None:
    config = VggConfig(hidden=4096)
    model = torchvision_vgg(config)
    import torch

    with torch.no_grad():
        x = torch.tensor(pixels(224).transpose(0, 3, 1, 2))
        theirs = model.features(x)
        dense = model.classifier[:6](model.avgpool(theirs).flatten(1))
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert describe_vgg(tensors) == config
    params = read(vgg_rules(config), tensors, filled(config), unread=vgg_unread(config))
    features, fc7 = jax.jit(lambda p: Vgg(config).apply({"params": p}, pixels(224), train=False))(params)
    assert features.shape == (2, 7, 7, 512) and fc7.shape == (2, 4096)
    assert np.abs(features - theirs.numpy().transpose(0, 2, 3, 1)).max() <= 1e-4 * max(1.0, float(theirs.abs().max()))
    assert np.abs(fc7 - dense.numpy()).max() <= 1e-4 * max(1.0, float(dense.abs().max()))


def test_without_dense_layers_there_are_none() -> None:
    config = VggConfig(stages=SMALL.stages)
    params = filled(SMALL)
    bare = {name: part for name, part in params.items() if not name.startswith("fc")}
    assert set(filled(config)) == set(bare)
    features, nothing = Vgg(config).apply({"params": bare}, pixels(64), train=False)
    assert nothing is None and features.shape == (2, 8, 8, 9)
    np.testing.assert_array_equal(features, Vgg(SMALL).apply({"params": params}, pixels(64), train=False)[0])


def test_a_state_dict_is_read_and_written_back_exactly(tmp_path: Any) -> None:
    tensors = write(vgg_rules(SMALL), filled(SMALL))
    assert tensors["classifier.0.weight"].shape == (10, 9 * 49) and describe_vgg(tensors) == SMALL
    save(tmp_path, tensors | {"classifier.6.weight": np.zeros((3, 10), np.float32)})
    jax.tree.map(np.testing.assert_array_equal, load_vgg(tmp_path, SMALL, filled(SMALL)), filled(SMALL))
    save(tmp_path, tensors | {"features.1.running_mean": np.zeros(4, np.float32)})
    with pytest.raises(WeightError, match="a VGG with batch normalisation"):
        load_vgg(tmp_path, SMALL, filled(SMALL))
    with pytest.raises(WeightError, match="no convolutions features.0.weight"):
        describe_vgg({"layer1.weight": np.zeros(3)})


def save(folder: Any, tensors: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, folder / "model.safetensors")


def test_cells_by_hand() -> None:
    values = np.arange(3.0, dtype=np.float32)
    x = np.broadcast_to(values[None, :, None, None], (1, 3, 3, 1))
    np.testing.assert_allclose(adaptive_mean(x, 2)[0, :, 0, 0], [0.5, 1.5])  # [0, 1.5) and [1.5, 3), widened to whole values
    np.testing.assert_allclose(adaptive_mean(x, 3), x)
    np.testing.assert_allclose(adaptive_mean(x, 6)[0, :, 0, 0], [0, 0, 1, 1, 2, 2])


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"S at least 8, found \[2, 7, 7, 3\]"):
        Vgg(SMALL).init(jax.random.key(0), pixels(7), train=False)
    with pytest.raises(ValueError, match="at least one stage"):
        VggConfig(stages=())
