"""ResNet against transformers' and torchvision's modules in PyTorch, and what the three norms promise."""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

sys.path.append(str(Path(__file__).parents[1]))
import torchvision_here

from mmre_jax.encoders.convolution import Norm
from mmre_jax.encoders.resnest import SplitBottleneck
from mmre_jax.encoders.resnet import Basic, Bottleneck, ResNet, ResNetConfig
from mmre_jax.weights.resnet import describe, describe_tensors, load_resnet, resnet_rules, resnet_unread
from mmre_jax.weights.rules import read

SMALL = ResNetConfig(depths=(1, 1, 1), stem=32, stem_kernel=3, stem_pool=False)
VARIANTS = {
    "bottleneck": {"layer_type": "bottleneck", "hidden_sizes": [32, 64, 128]},
    "stride_first": {"layer_type": "bottleneck", "hidden_sizes": [32, 64, 128], "downsample_in_bottleneck": True},
    "basic": {"layer_type": "basic", "hidden_sizes": [8, 16, 32]},
}


def pixels(side: int = 45, batch: int = 2) -> np.ndarray:
    """An odd side: every stage then meets an odd edge, where other paddings would show."""
    return np.random.default_rng(0).standard_normal((batch, side, side, 3)).astype(np.float32)


def shapes(config: ResNetConfig, side: int = 32) -> Any:
    return jax.eval_shape(lambda: ResNet(config).init(jax.random.key(0), pixels(side), train=False))


def filled(config: ResNetConfig, seed: int = 1) -> Any:
    """Variables in which every number is another one and variances are above zero."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: (0.1 + np.abs(random.normal(0.0, 0.2, leaf.shape))).astype(leaf.dtype), shapes(config))


@functools.partial(jax.jit, static_argnames=("config", "dtype", "train"))
def encode(config: ResNetConfig, variables: Any, x: Any, dtype: Any = jnp.float32, train: bool = False) -> Any:
    """(feature maps, new batch statistics)."""
    return ResNet(config, dtype).apply(variables, x, train=train, mutable=["batch_stats"])


def as_torch(x: np.ndarray) -> Any:
    return pytest.importorskip("torch").tensor(x.transpose(0, 3, 1, 2))


def assert_close(ours: Any, theirs: Any) -> None:
    """Within 1e-4 of PyTorch's maps, where those are of the order of 1."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        expected = other.detach().numpy().transpose(0, 2, 3, 1)
        assert one.shape == expected.shape
        assert 0.05 < np.abs(expected).mean() < 20
        assert np.abs(one - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


def unsettle(model: Any) -> Any:
    """Norms away from 0 and 1, statistics and parameters, where a mix-up would not show."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2.0)
    return model.eval()


@pytest.fixture(scope="module", params=VARIANTS)
def parity(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same random model in both frameworks: all maps, and the gradients of one loss over all of them."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    model = unsettle(transformers.ResNetModel(transformers.ResNetConfig(embedding_size=8, depths=[2, 1, 2], **VARIANTS[request.param])))
    model.save_pretrained(folder / "weights")
    maps = model(as_torch(pixels()), output_hidden_states=True).hidden_states[1:]
    sum(x.cos().mean() for x in maps).backward()
    with torch.no_grad():  # the gradients travel in the weights' format, so that the rules map them too
        gradients = transformers.ResNetModel(model.config)
        for name, parameter in model.named_parameters():
            dict(gradients.named_parameters())[name].copy_(parameter.grad)
        gradients.save_pretrained(folder / "gradients")
    return {"folder": folder, "model": model, "maps": maps}


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_every_stage_equals_transformers(parity: dict[str, Any], norm: Any) -> None:
    config = dataclasses.replace(describe(parity["folder"] / "weights"), norm=norm)
    assert (config.depths, config.stem) == ((2, 1, 2), 8)
    variables = load_resnet(parity["folder"] / "weights", config, filled(config))
    maps, _ = encode(config, variables, pixels())
    assert_close(maps, parity["maps"])
    assert tuple(x.shape[-1] for x in maps) == config.channels


def test_gradients_equal_pytorch_tensor_by_tensor(parity: dict[str, Any]) -> None:
    config = dataclasses.replace(describe(parity["folder"] / "weights"), norm="batch")
    variables, expected = (load_resnet(parity["folder"] / name, config, filled(config)) for name in ("weights", "gradients"))

    def loss(params: Any) -> jax.Array:
        maps = ResNet(config).apply({**variables, "params": params}, pixels(), train=False)
        return sum(jnp.mean(jnp.cos(x)) for x in maps)

    found = jax.jit(jax.grad(loss))(variables["params"])
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / jnp.abs(b).max()), found, expected["params"])
    assert max(jax.tree.leaves(differences)) <= 1e-4, differences
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(expected["params"]))


def test_training_normalises_by_the_batch_and_moves_the_statistics(parity: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    config = dataclasses.replace(describe(parity["folder"] / "weights"), norm="batch")
    variables = load_resnet(parity["folder"] / "weights", config, filled(config))
    maps, updates = encode(config, variables, pixels(), train=True)
    model = type(parity["model"]).from_pretrained(parity["folder"] / "weights").train()
    with torch.no_grad():
        result = model(as_torch(pixels()), output_hidden_states=True)
    assert_close(maps, result.hidden_states[1:])
    norm, before = model.embedder.embedder.normalization, parity["model"].embedder.embedder.normalization
    found = updates["batch_stats"]["stem_0"]["norm"]
    np.testing.assert_allclose(found["mean"], norm.running_mean, atol=1e-5)
    values = 2 * 23 * 23
    unbiased = (found["var"] - 0.9 * before.running_var.numpy()) * values / (values - 1) + 0.9 * before.running_var.numpy()
    np.testing.assert_allclose(unbiased, norm.running_var, atol=1e-5)


def test_every_stage_equals_torchvision() -> None:
    torch = pytest.importorskip("torch")
    models = torchvision_here.load().models.resnet
    torch.manual_seed(0)
    model = unsettle(models.ResNet(models.Bottleneck, [1, 2, 1, 1], num_classes=3))
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config = describe_tensors(tensors)
    assert config == ResNetConfig(depths=(1, 2, 1, 1))
    variables = read(resnet_rules(config), tensors, filled(config), unread=resnet_unread(config, 4))
    maps, _ = encode(config, variables, pixels(70))
    with torch.no_grad():
        x = model.maxpool(model.relu(model.bn1(model.conv1(as_torch(pixels(70))))))
        theirs = []
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            x = stage(x)
            theirs.append(x)
    assert_close(maps, theirs)


def test_fewer_stages_have_no_other_parameters_and_the_same_maps() -> None:
    variables = filled(SMALL)
    lower = dataclasses.replace(SMALL, depths=SMALL.depths[:2])
    assert set(shapes(lower)["params"]) == {"stem_0", "stage_0", "stage_1"}
    kept = {kind: {name: part for name, part in tree.items() if name != "stage_2"} for kind, tree in variables.items()}
    for one, other in zip(encode(lower, kept, pixels(32))[0], encode(SMALL, variables, pixels(32))[0], strict=False):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_small_net_sees_eight_by_eight_cells_in_64_pixels() -> None:
    for config, channels in ((SMALL, (128, 256, 512)), (dataclasses.replace(SMALL, bottleneck=False), (32, 64, 128))):
        maps = jax.eval_shape(lambda v, c=config: ResNet(c).apply(v, pixels(64), train=False), shapes(config))
        assert [x.shape for x in maps] == [(2, side, side, c) for side, c in zip((32, 16, 8), channels, strict=True)]
        assert config.channels == channels


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
def test_where_a_norm_keeps_its_numbers(norm: Any) -> None:
    config = dataclasses.replace(SMALL, norm=norm)
    found = {kind: {path[-1] for path in traverse_util.flatten_dict(tree)} for kind, tree in shapes(config).items()}
    assert (
        found
        == {
            "frozen": {"params": {"kernel"}, "batch_stats": {"mean", "var", "scale", "bias"}},
            "batch": {"params": {"kernel", "scale", "bias"}, "batch_stats": {"mean", "var"}},
            "group": {"params": {"kernel", "scale", "bias"}},
        }[norm]
    )
    variables = filled(config)
    _, updates = encode(config, variables, pixels(32), train=True)
    for path, value in traverse_util.flatten_dict(updates.get("batch_stats", {})).items():
        moved = np.abs(value - traverse_util.flatten_dict(variables["batch_stats"])[path]).max() > 0
        assert moved == (norm == "batch"), path


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("block", [Basic, Bottleneck, SplitBottleneck])
def test_a_block_starts_as_its_shortcut(block: Any, norm: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 8)).astype(np.float32)
    module = block(8 if block is Basic else 2, 1, Norm(norm, 2))
    found, _ = module.init_with_output(jax.random.key(0), x, train=False)
    np.testing.assert_array_equal(found, np.maximum(x, 0.0))


def test_half_precision_stays_near() -> None:
    variables = filled(SMALL)
    for half, full in zip(encode(SMALL, variables, pixels(32), jnp.bfloat16)[0], encode(SMALL, variables, pixels(32))[0], strict=True):
        assert half.dtype == jnp.bfloat16
        assert np.abs(half.astype(np.float32) - full).max() <= 0.05 * np.abs(full).max()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "vit"}, "'vit' model, expected 'resnet'"),
        ({"hidden_sizes": [256, 512, 1024, 1000]}, "hidden_sizes"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"downsample_in_first_stage": True}, "downsample_in_first_stage True"),
        ({"num_channels": 1}, "num_channels 1"),
        ({"layer_type": "wide"}, "layer_type 'wide'|hidden_sizes"),
    ],
)
def test_configurations_that_cannot_be_built_are_refused(changes: dict[str, Any], named: str) -> None:
    found = {"model_type": "resnet", "num_channels": 3, "embedding_size": 64, "hidden_sizes": [256, 512, 1024, 2048]}
    found |= {"depths": [3, 4, 23, 3], "layer_type": "bottleneck", "hidden_act": "relu", "downsample_in_first_stage": False}
    assert ResNetConfig.from_transformers(found) == ResNetConfig(depths=(3, 4, 23, 3))
    with pytest.raises(ValueError, match=named):
        ResNetConfig.from_transformers({**found, **changes})
    with pytest.raises(ValueError, match="lacks depths"):
        ResNetConfig.from_transformers({name: value for name, value in found.items() if name != "depths"})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"depths": ()}, "at least one stage"),
        ({"depths": (1, 0)}, "each stage a block"),
        ({"stem_kernel": 4}, "kernel is odd"),
        ({"norm": "layer"}, "unknown norm 'layer'"),
        ({"norm": "group", "stem": 24}, "24 channels do not divide into 32 groups"),
        ({"split": True}, "3x3 kernels in its stem"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ResNetConfig(**fields)
    with pytest.raises(ValueError, match=r"pixels are \[N, S, S, 3\], found \[2, 3, 32, 32\]"):
        ResNet(SMALL).init(jax.random.key(0), np.zeros((2, 3, 32, 32), np.float32), train=False)


def test_directories_of_other_strides_are_refused(parity: dict[str, Any]) -> None:
    config = describe(parity["folder"] / "weights")
    other = dataclasses.replace(config, stem_pool=False)
    with pytest.raises(ValueError, match="stem_pool is True in the checkpoint, False in the model"):
        load_resnet(parity["folder"] / "weights", other, filled(other))
