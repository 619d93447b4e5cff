"""A detector's backbone and pyramid as an image encoder: from a state dict, from a run, sizes and refusals; what is left out is told."""

import dataclasses
import logging

import jax
import numpy as np
import optax
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from configs import detector as detectors
from configs import qeot
from mmre_jax.encoders.from_config import pyramid_config, resnet_config
from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn, RcnnConfig
from mmre_jax.encoders.rcnn.pyramid import PyramidEncoder
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.training.checkpoint import FOLDER, Checkpoints
from mmre_jax.training.state import create
from mmre_jax.weights import pretrained
from mmre_jax.weights.detectors import load_detector
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.rcnn import pyramid_rules, rcnn_rules
from mmre_jax.weights.resnet import resnet_rules
from mmre_jax.weights.rules import write

pytestmark = pytest.mark.thorough

BACKBONE = ResNetConfig(depths=(1, 1, 2), stem=4, eps=0.0)
DETECTOR = RcnnConfig(backbone=BACKBONE, classes=3, width=6, anchors=(8.0, 16.0, 32.0, 64.0), hidden=5)
LEFT = {"the proposal network": 6, "the box head": 8}


def variables_of(config):
    pixels, sizes = np.zeros((1, 32, 32, 3), np.uint8), np.array([[32, 32]])
    shapes = jax.eval_shape(FasterRcnn(config).init, jax.random.key(0), pixels, sizes)
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)


def configuration(weights, **vision):
    """A QEOT's that leaves the sizes of its image encoder to its weights."""
    config = qeot.get_config("quickstart").unlock()
    sizes = {"depths": (), "stem": 0, "stem_kernel": 0, "pyramid_width": 0, "side": 32, "level": 1, "norm": "frozen", "groups": 32}
    config.vision.update({**sizes, "kind": "rcnn", "weights": str(weights), **vision})
    return config.lock()


def loaded(config, whole=False):
    """(the resolved configuration, the image encoder's variables as they are loaded into zeros); `whole`: of all levels, not of one."""
    config = pretrained.resolve(config)
    sizes = pyramid_config(config.vision)
    net = PyramidEncoder(dataclasses.replace(sizes, level=None) if whole else sizes)
    made = jax.eval_shape(lambda: net.init(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32), train=False))
    own = {kind: {"vision": jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), tree)} for kind, tree in made.items()}
    found = pretrained.load(config, (), own)
    return config, {kind: tree["vision"] for kind, tree in found.items()}


def assert_same(found, published):
    """Every array found is the published one of its place, in whichever collection."""
    held = {where[1:]: leaf for where, leaf in traverse_util.flatten_dict(published).items()}
    flat = traverse_util.flatten_dict(found)
    assert flat and all(np.array_equal(leaf, held[where[1:]]) for where, leaf in flat.items())


@pytest.fixture(params=["version 1", "version 2", "mask"])
def published(request, tmp_path):
    """(path, configuration, variables, whether there is a mask head) of a state dict of torchvision; of version 1 with published names."""
    config = dataclasses.replace(DETECTOR, backbone=dataclasses.replace(BACKBONE, eps=1e-5), pyramid_norm=True, head_convolutions=1)
    config = config if request.param == "version 2" else DETECTOR
    variables = variables_of(config)
    tensors = write(rcnn_rules(config), variables)
    if request.param == "mask":
        tensors |= {f"roi_heads.mask_{part}.weight": np.ones((2, 2), np.float32) for part in ("head.0.0", "predictor.mask_fcn_logits")}
    if request.param == "version 1":
        tensors = {name.replace("_blocks.1.0.", "_blocks.1.").replace("conv.0.0.", "conv."): x for name, x in tensors.items()}
    save_file(tensors, tmp_path / "detector.safetensors")
    return tmp_path / "detector.safetensors", config, variables, request.param == "mask"


@pytest.mark.parametrize("level", [0, 2, 3])
def test_sizes_and_tensors_are_those_of_the_state_dict(published, level, caplog):
    path, config, variables, masked = published
    with caplog.at_level(logging.INFO):
        resolved, found = loaded(configuration(path, level=level))
    assert pyramid_config(resolved.vision) == dataclasses.replace(config.pyramid, level=level)
    assert pretrained.resolve(resolved).to_dict() == resolved.to_dict()
    assert_same(found, variables)
    names = write(rcnn_rules(config), variables)
    back = write(pyramid_rules(pyramid_config(resolved.vision)), found)
    assert all(np.array_equal(tensor, names[name]) for name, tensor in back.items()), "written under torchvision's names again"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and "the box head (" in told[0] and "the proposal network (" in told[0]
    assert ("the mask head (2)" in told[0]) == masked
    assert "other levels of the pyramid" in told[0]


def test_all_levels_are_read_where_all_are_built(published, caplog):
    """As visual prefixes are made of them."""
    path, _, variables, _ = published
    with caplog.at_level(logging.INFO, "mmre_jax"):
        _, found = loaded(configuration(path), whole=True)
    assert_same(found, variables)
    assert set(found["params"]["pyramid"]) == {f"{kind}_{n}" for kind in ("inner", "layer") for n in range(3)}
    assert "other levels" not in caplog.messages[-1]


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_norms_may_be_trained_on(published, norm):
    """Scale and bias of a norm are constants or parameters, with the same values."""
    path, _, variables, _ = published
    _, found = loaded(configuration(path, norm=norm))
    assert_same(found, variables)
    assert ("scale" in found["params"]["backbone"]["stem_0"].get("norm", {})) == (norm == "batch")


@pytest.mark.parametrize("classes", [3, 5])
def test_another_detector_starts_from_it_with_fresh_classes(published, classes, caplog):
    """Whatever their number: a state dict does not say which they are."""
    path, config, variables, masked = published
    own = dataclasses.replace(config, classes=classes)
    fresh = jax.tree.map(lambda leaf: leaf + 1, variables_of(own))
    with caplog.at_level(logging.INFO):
        found = load_detector(path, own, fresh)
    for layer in ("classes", "offsets"):
        jax.tree.map(np.testing.assert_array_equal, found["params"]["head"].pop(layer), fresh["params"]["head"][layer])
    assert_same(found, variables)
    (told,) = (record.getMessage() for record in caplog.records)
    assert "fresh: head/classes, head/offsets" in told and ("the mask head (2 tensors)" in told) == masked
    with pytest.raises(WeightError, match="does not fit|problems"):
        load_detector(path, dataclasses.replace(own, hidden=7), variables_of(dataclasses.replace(own, hidden=7)))


def run_of(folder, config, **vision):
    """A run's workdir with a checkpoint of a detector."""
    variables = variables_of(config)
    backbone = config.backbone
    sizes = {
        "kind": "rcnn",
        "depths": list(backbone.depths),
        "stem": backbone.stem,
        "norm": backbone.norm,
        "groups": backbone.groups,
        "bottleneck": backbone.bottleneck,
        "pyramid_width": config.width,
    }
    meta = {"config": {"system": {"name": "faster_rcnn"}, "task": {"name": "objects"}, "vision": {**sizes, **vision}}}
    with Checkpoints(folder / FOLDER) as checkpoints:
        checkpoints.save(3, create(variables, (), optax.identity()), meta)
    return folder, variables


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("step", [False, True], ids=["workdir", "step"])
def test_a_run_is_read_like_a_state_dict(tmp_path, norm, step, caplog):
    config = dataclasses.replace(DETECTOR, backbone=ResNetConfig(depths=(1, 1, 2), stem=4, bottleneck=False, norm=norm, groups=2))
    folder, variables = run_of(tmp_path / "run", config)
    with caplog.at_level(logging.INFO, "mmre_jax"):
        resolved, found = loaded(configuration(folder / FOLDER / "3" if step else folder, norm="group" if norm == "group" else "frozen"))
    expected = dataclasses.replace(config.backbone, norm="group" if norm == "group" else "frozen")
    assert pyramid_config(resolved.vision).backbone == (expected if norm == "group" else dataclasses.replace(expected, groups=32))
    assert_same(found, variables)
    (told,) = [record.getMessage() for record in caplog.records if record.name.endswith("detectors")]
    assert all(f"{part} ({count})" in told for part, count in {**LEFT, "other levels of the pyramid": 6}.items())


def test_what_does_not_fit_is_told_before_anything_is_read(tmp_path):
    folder, _ = run_of(tmp_path / "run", dataclasses.replace(DETECTOR, backbone=dataclasses.replace(BACKBONE, norm="group", groups=2)))
    cases = [
        (configuration(folder), "norms are of kind group: set vision.norm=group"),
        (configuration(folder, norm="group", depths=(1, 1)), r"vision.depths=\(1, 1\), but .* has \(1, 1, 2\)"),
        (configuration(folder, norm="group", pyramid_width=8), "vision.pyramid_width=8, but .* has 6"),
        (configuration(tmp_path / "nothing"), "vision.weights=.*nothing"),
    ]
    (tmp_path / "none" / FOLDER).mkdir(parents=True)
    cases.append((configuration(tmp_path / "none"), "the run has no complete checkpoint yet"))
    save_file({"conv1.weight": np.ones((4, 3, 7, 7), np.float32)}, tmp_path / "resnet.safetensors")
    cases.append((configuration(tmp_path / "resnet.safetensors"), "no Faster R-CNN with a feature pyramid"))
    for config, message in cases:
        with pytest.raises(WeightError, match=message):
            pretrained.resolve(config)


def test_a_run_of_another_system_has_no_detector(untrained):
    with pytest.raises(WeightError, match="is a run of system 'qeot', which has no detector: expected one of 'faster_rcnn'"):
        pretrained.resolve(configuration(untrained["triples"]))


@pytest.mark.parametrize("alone", [True, False], ids=["an image encoder", "a detector"])
def test_a_backbone_starts_from_a_resnet_and_the_rest_fresh(tmp_path, alone, caplog):
    """A ResNet's own statistics and epsilon; nothing of what stands on it is touched."""
    backbone = dataclasses.replace(BACKBONE, eps=1e-5)
    fresh = variables_of(dataclasses.replace(DETECTOR, backbone=backbone))
    published = {kind: jax.tree.map(lambda leaf: leaf + 1, tree["backbone"]) for kind, tree in fresh.items()}
    (tmp_path / "resnet").mkdir()
    save_file(write(resnet_rules(backbone), published), tmp_path / "resnet" / "model.safetensors")
    config = configuration(tmp_path / "resnet", pyramid_width=6) if alone else detectors.get_config("quickstart").unlock()
    if not alone:
        config.vision.update({**configuration(tmp_path / "resnet").vision, "pyramid_width": 6})
        config.system.anchors = DETECTOR.anchors
    config = pretrained.resolve(config)
    assert resnet_config(config.vision) == backbone
    given = {kind: {"vision": tree} for kind, tree in fresh.items()} if alone else fresh
    with caplog.at_level(logging.INFO, "mmre_jax"):
        found = pretrained.load(config, (), given)
    found = {kind: tree["vision"] for kind, tree in found.items()} if alone else found
    jax.tree.map(np.testing.assert_array_equal, {kind: tree["backbone"] for kind, tree in found.items()}, published)
    others = fresh["params"].keys() - {"backbone"}
    assert all(found["params"][part] is fresh["params"][part] for part in others)
    assert caplog.messages[-1].endswith("what stands on it starts fresh: head, proposer, pyramid")
