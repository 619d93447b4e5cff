"""One level of a feature pyramid against torchvision's backbone of a detector, and that nothing is built which the level does not need."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import reference

from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn, RcnnConfig, normalise
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig, PyramidEncoder
from mmre_jax.encoders.resnet import ResNetConfig
from mmre_jax.weights.rcnn import describe_rcnn, pyramid_rules, pyramid_unread
from mmre_jax.weights.rules import excused, read, write

SIDE = 64
SMALL = ResNetConfig(depths=(1, 1, 1), stem=8, bottleneck=False, norm="group", groups=2)


def shapes(config, side=SIDE):
    return jax.eval_shape(lambda: PyramidEncoder(config).init(jax.random.key(0), jnp.zeros((1, side, side, 3)), train=False))


@pytest.mark.parametrize("version", [1, 2])
def test_every_level_equals_torchvisions(version):
    """Bottlenecks, one a stage, with statistics of their own, the norms of version 1 with its epsilon of 0."""
    model = reference.detector(version, (1, 1, 1, 1), 3)
    import torch

    random = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=random) + (0.5 if name.endswith("var") else -0.5))
    model = reference.freeze(model, 1e-5 if version == 2 else 0.0).eval()
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    pixels = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = [x.numpy().transpose(0, 2, 3, 1) for x in model.backbone(torch.tensor(pixels.transpose(0, 3, 1, 2))).values()]
    whole = describe_rcnn(tensors).pyramid
    assert len(theirs) == 5 and whole.normed == (version == 2)
    for level in range(5) if version == 1 else (1, 4):
        config = PyramidConfig(whole.backbone, whole.width, whole.normed, level)
        variables = read(pyramid_rules(config), tensors, shapes(config), unread=pyramid_unread(config))
        back, left = write(pyramid_rules(config), variables), excused(tensors, pyramid_unread(config))
        assert set(back) == set(tensors) - set(left) and all(np.array_equal(back[name], tensors[name]) for name in back)
        others = sum(why == "other levels of the pyramid" for why in left.values())
        assert others == (5 if version == 2 else 2) * (3 + min(level, 3)), "the finer 1x1 and all but one of four 3x3 convolutions"
        (found,) = jax.jit(PyramidEncoder(config).apply, static_argnames="train")(variables, pixels, train=False)
        np.testing.assert_allclose(found, theirs[level], atol=1e-4 * max(1.0, np.abs(theirs[level]).max()))


@pytest.mark.parametrize("level", range(4))
def test_a_level_has_the_parameters_that_it_depends_on_and_no_others(level):
    config = PyramidConfig(SMALL, 6, level=level)
    random = np.random.default_rng(level)
    variables = jax.tree.map(lambda x: jnp.asarray(0.3 * random.standard_normal(x.shape, np.float32)), shapes(config, 32))
    pixels = jnp.asarray(random.standard_normal((1, 32, 32, 3), np.float32))
    cells = 32 // (4 * 2**level)
    net = PyramidEncoder(config)
    found, grads = jax.jit(jax.value_and_grad(lambda v: (net.apply(v, pixels, train=True)[0] ** 2).sum()))(variables)
    assert np.isfinite(found) and all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))
    assert jax.eval_shape(lambda: net.apply(variables, pixels, train=False)[0]).shape == (1, cells, cells, 6)
    lowest = min(level, 2)
    assert set(variables["params"]["pyramid"]) == {f"inner_{n}" for n in range(lowest, 3)} | {f"layer_{lowest}"}


def test_a_level_is_that_of_the_whole_detector():
    detector = FasterRcnn(RcnnConfig(backbone=SMALL, classes=2, width=6, anchors=(8.0, 16.0, 32.0, 64.0), hidden=4))
    pixels, sizes = np.zeros((1, 32, 32, 3), np.uint8) + np.arange(3, dtype=np.uint8) * 50, np.array([[32, 32]])
    random = np.random.default_rng(0)
    made = jax.eval_shape(detector.init, jax.random.key(0), pixels, sizes)
    variables = jax.tree.map(lambda x: jnp.asarray(0.3 * random.standard_normal(x.shape, np.float32)), made)
    maps = jax.jit(lambda v: detector.apply(v, pixels, sizes, train=False, method=FasterRcnn.maps))(variables)
    normalised = normalise(jnp.asarray(pixels), jnp.asarray(sizes))
    own = {name: variables["params"][name] for name in ("backbone", "pyramid")}
    for level, expected in enumerate(maps):
        (found,) = PyramidEncoder(PyramidConfig(SMALL, 6, level=level)).apply({"params": own}, normalised, train=False)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match="has the levels 0 to 3, found level 4"):
        PyramidConfig(SMALL, level=4)
    with pytest.raises(ValueError, match="S a multiple of 16"):
        PyramidEncoder(PyramidConfig(SMALL, level=0)).init(jax.random.key(0), jnp.zeros((1, 40, 40, 3)), train=False)
