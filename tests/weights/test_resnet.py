"""ResNet's tables: both kinds of keys, both directions, and every misfit named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.resnet import describe, describe_tensors, load_resnet, resnet_rules, resnet_unread
from mmre_jax.weights.rules import read, write

CONFIGS = {
    "bottleneck": ResNetConfig(depths=(2, 1), stem=4),
    "basic": ResNetConfig(depths=(1, 2), stem=4, bottleneck=False),
    "batch": ResNetConfig(depths=(2, 1), stem=4, norm="batch"),
}


def filled(config: ResNetConfig, seed: int = 0) -> Any:
    """Variables in which every number is another one."""
    pixels = np.zeros((1, 16, 16, 3), np.float32)
    shapes = jax.eval_shape(lambda: ResNet(config).init(jax.random.key(0), pixels, train=False))
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), shapes)


def published(config: ResNetConfig, seed: int = 1) -> tuple[Any, dict[str, np.ndarray]]:
    """(variables, a torchvision state dict of them with all that comes along)."""
    variables = filled(config, seed)
    tensors = write(resnet_rules(config), variables)
    counts = {name.replace("running_mean", "num_batches_tracked"): np.array(7) for name in tensors if name.endswith("running_mean")}
    head = {"fc.weight": np.zeros((5, config.channels[-1]), np.float32), "fc.bias": np.zeros(5, np.float32)}
    return variables, tensors | counts | head


def assert_equal(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("names", ["torchvision", "transformers"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_there_and_back_gives_the_same_numbers(config: ResNetConfig, names: Any) -> None:
    variables = filled(config)
    tensors = write(resnet_rules(config, names), variables)
    assert len(tensors) == len(jax.tree.leaves(variables))
    assert_equal(read(resnet_rules(config, names), tensors, filled(config, 1), unread={}), variables)
    inside = {kind: {"vision": tree} for kind, tree in variables.items()}
    released = write(resnet_rules(config, names, "image_model.resnet.", "vision/"), inside)
    assert_equal({name.removeprefix("image_model.resnet."): tensor for name, tensor in released.items()}, tensors)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_transformers_takes_what_is_written(config: ResNetConfig) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {"depths": list(config.depths), "embedding_size": config.stem, "hidden_sizes": list(config.channels)}
    kind = "bottleneck" if config.bottleneck else "basic"
    model = transformers.ResNetModel(transformers.ResNetConfig(layer_type=kind, **sizes))
    tensors = write(resnet_rules(config, "transformers"), filled(config))
    model.load_state_dict({name: torch.tensor(tensor) for name, tensor in tensors.items()})
    trained = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers() if "running" in name}
    assert set(tensors) == trained


def test_norms_of_detectors_are_constants_and_others_parameters() -> None:
    targets = {
        norm: {rule.target for rule in resnet_rules(dataclasses.replace(CONFIGS["batch"], norm=norm))} for norm in ("batch", "frozen")
    }
    assert "params/stem_0/norm/scale" in targets["batch"] and "batch_stats/stem_0/norm/scale" in targets["frozen"]
    assert "batch_stats/stem_0/norm/mean" in targets["batch"] & targets["frozen"]
    with pytest.raises(WeightError, match="vision.norm is 'frozen', 'batch' or 'global'"):
        resnet_rules(dataclasses.replace(CONFIGS["batch"], norm="group", groups=2))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_state_dict_describes_and_fills_itself(config: ResNetConfig, tmp_path: Path) -> None:
    variables, tensors = published(config)
    save_file(tensors, tmp_path / "model.safetensors")
    assert describe(tmp_path) == dataclasses.replace(config, norm="frozen")
    assert describe_tensors({f"a.b.{name}": tensor for name, tensor in tensors.items()}, "a.b.") == describe(tmp_path)
    assert_equal(load_resnet(tmp_path, config, filled(config)), variables)
    (tmp_path / "config.json").write_text('{"architecture": "resnet50", "num_classes": 5}')  # timm's says nothing about sizes
    assert describe(tmp_path) == dataclasses.replace(config, norm="frozen")


def test_a_pickled_state_dict_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    config = CONFIGS["bottleneck"]
    variables, tensors = published(config)
    torch.save({name: torch.tensor(tensor) for name, tensor in tensors.items()}, tmp_path / "pytorch_model.bin")
    assert_equal(load_resnet(tmp_path, config, filled(config)), variables)


def test_a_classifiers_directory_of_transformers_is_read(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"depths": [2, 1], "embedding_size": 4, "hidden_sizes": [16, 32]}
    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes))
    model.save_pretrained(tmp_path / "headed")
    model.resnet.save_pretrained(tmp_path / "bare")
    config = describe(tmp_path / "headed")
    assert config == CONFIGS["bottleneck"]
    assert_equal(*(load_resnet(tmp_path / name, config, filled(config)) for name in ("headed", "bare")))


def test_fewer_stages_leave_the_upper_ones_unread(tmp_path: Path) -> None:
    config = CONFIGS["bottleneck"]
    variables, tensors = published(config)
    save_file(tensors, tmp_path / "model.safetensors")
    lower = dataclasses.replace(config, depths=(2,))
    found = load_resnet(tmp_path, lower, filled(lower))
    assert_equal(found, {kind: {name: tree[name] for name in ("stem_0", "stage_0")} for kind, tree in variables.items()})
    reasons = resnet_unread(lower, 2)
    assert reasons["layer2.*"] == "the model has 1 stages" and "fc.*" in reasons and "*.num_batches_tracked" in reasons
    assert "encoder.stages.1.*" in resnet_unread(lower, 2, "transformers")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    config = CONFIGS["bottleneck"]
    _, tensors = published(config)
    tensors["layer1.0.conv2.weight"] = np.zeros((4, 2, 3, 3), np.float32)  # as grouped convolutions have it
    del tensors["bn1.running_var"]
    tensors["mystery"] = np.zeros(1, np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightError) as caught:
        load_resnet(tmp_path, config, filled(config))
    for part in (
        "3 problems",
        "layer1.0.conv2.weight [4, 2, 3, 3] does not fit params/stage_0/block_0/spatial/conv/kernel",
        "batch_stats/stem_0/norm/var [4] is filled by no tensor",
        "mystery [1] is neither read nor excused",
    ):
        assert part in str(caught.value)


def test_other_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"the tensors has no stem conv1.weight followed by layer1.0"):
        describe_tensors({"conv1.weight": np.zeros((4, 3, 7, 7))}, source="the tensors")
    with pytest.raises(WeightError, match="no stem"):
        describe_tensors({"layer1.0.conv1.weight": np.zeros((4, 4, 1, 1)), "conv1.0.weight": np.zeros((4, 3, 3, 3))})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(WeightError, match="'vit' model, expected 'resnet'"):
        describe(tmp_path)
