"""Image encoders as directories of transformers, which loads them with their image processors: same states, same pixels."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mmre_jax.data.pictures import RESIZES, Slot, fit
from mmre_jax.encoders.from_config import COLOURS
from mmre_jax.encoders.rcnn.pyramid import PyramidConfig, PyramidEncoder
from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.encoders.vgg import VggConfig
from mmre_jax.encoders.vit import ImageSequence, ViT, ViTConfig, patch_mask
from mmre_jax.systems.system import normalise
from mmre_jax.weights.resnet import load_resnet
from mmre_jax.weights.rules import WeightError
from mmre_jax.weights.vision_directory import write_vision_directory
from mmre_jax.weights.vit import load_vit

SIDE = 17  # no multiple of a patch: the last pixel of each line is read by none
PHOTO, CROPS = ImageSequence("photo", 1, SIDE), ImageSequence("detected", 2, 8)
SLOT = Slot("photo", 1, SIDE, "photo", "squash", *COLOURS["vit"])
RESNETS = {
    "bottleneck": ResNetConfig(depths=(2, 1), stem=4),
    "basic": ResNetConfig(depths=(1, 2, 1), stem=4, bottleneck=False, norm="batch"),
    "strided first": ResNetConfig(depths=(1, 1), stem=4, stride_first=True, norm="global"),
    "of a detector": ResNetConfig(depths=(1, 1), stem=4, eps=0.0),
}


def filled(init: Any) -> Any:
    """Variables at random, of which no variance is small."""
    random = np.random.default_rng(0)

    def fill(path: Any, leaf: Any) -> np.ndarray:
        noise = random.normal(0, 0.3, leaf.shape).astype(np.float32)
        return np.abs(noise) + np.float32(0.5) if path[-1].key in ("var", "scale") else noise

    return jax.tree_util.tree_map_with_path(fill, jax.eval_shape(init))


def vit(dialect: Any, *sequences: ImageSequence) -> tuple[ViTConfig, Any, dict[str, jax.Array]]:
    config = ViTConfig(sequences, patch=4, width=16, layers=3, heads=2, mlp=24, dialect=dialect, final_norm=False)
    random = np.random.default_rng(1)
    pixels = {s.name: jnp.asarray(random.normal(size=(2, s.count, s.side, s.side, 3)), jnp.float32) for s in sequences}
    return config, filled(lambda: ViT(config).init(jax.random.key(0), pixels, None, train=False)), pixels


def states_of(folder: Path, pixels: jax.Array) -> list[np.ndarray]:
    """What transformers' AutoModel makes of pixels [B, S, S, 3]."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model(torch.tensor(np.asarray(pixels).transpose(0, 3, 1, 2)), output_hidden_states=True)
    return [state.numpy() for state in found.hidden_states]


@pytest.mark.parametrize("dialect", ["vit", "clip"])
def test_a_vit_that_reads_photo_and_crops_reads_the_photo_as_with_crops_masked(dialect: str, tmp_path: Path) -> None:
    config, variables, pixels = vit(dialect, PHOTO, CROPS)
    notes = write_vision_directory(tmp_path, config, variables, SLOT)
    assert notes == ("the directory reads the photo; the places of detected crops are left out",)
    mask = patch_mask(config, {"photo": np.ones((2, 1), bool), "detected": np.zeros((2, 2), bool)})
    ours = ViT(config).apply(variables, pixels, mask, train=False)
    theirs = states_of(tmp_path, pixels["photo"][:, 0])
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one[:, : other.shape[1]], other, atol=1e-5)

    again = load_vit(tmp_path, config, jax.tree.map(np.zeros_like, variables["params"]))
    kept = again["embeddings"].pop("position_detected")
    assert not kept.any()
    del variables["params"]["embeddings"]["position_detected"]
    jax.tree.map(np.testing.assert_array_equal, again, variables["params"])


def test_one_that_reads_crops_alone_reads_the_first(tmp_path: Path) -> None:
    config, variables, pixels = vit("clip", CROPS)
    [note] = write_vision_directory(tmp_path, config, variables, dataclasses.replace(SLOT, side=8))
    assert note == "it looks at crops alone: the directory reads one picture as the first detected crop, of 8 pixels a side"
    mask = patch_mask(config, {"detected": np.array([[True, False]] * 2)})
    ours, theirs = ViT(config).apply(variables, pixels, mask, train=False), states_of(tmp_path, pixels["detected"][:, 0])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one[:, : other.shape[1]], other, atol=1e-5)


@pytest.mark.parametrize("part", ["key", "value"])
def test_a_last_layer_of_keys_or_values_is_left_out(part: str, tmp_path: Path) -> None:
    config, variables, pixels = vit("vit", PHOTO)
    last = variables["params"]["layer_2"]
    expected = ViT(config).apply(variables, pixels, None, train=False)[:-1]
    variables["params"]["layer_2"] = {"attention": {part: last["attention"][part]}, "attention_norm": last["attention_norm"]}
    [note] = write_vision_directory(tmp_path, config, variables, SLOT)
    assert note == "its last layer, 2, is left out: the system has no more of it than keys and values"
    for one, other in zip(expected, states_of(tmp_path, pixels["photo"][:, 0]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("config", RESNETS.values(), ids=RESNETS)
def test_a_resnets_maps_are_the_same(config: ResNetConfig, tmp_path: Path) -> None:
    pixels = jnp.asarray(np.random.default_rng(1).normal(size=(2, 33, 33, 3)), jnp.float32)
    variables = filled(lambda: ResNet(config).init(jax.random.key(0), pixels, train=False))
    assert write_vision_directory(tmp_path, config, variables, SLOT) == ()
    maps, (_, *theirs) = ResNet(config).apply(variables, pixels, train=False), states_of(tmp_path, pixels)
    for one, other in zip(maps, theirs, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one / scale, other.transpose(0, 2, 3, 1) / scale, atol=1e-5)
    if config.eps:
        again = load_resnet(tmp_path, config, jax.tree.map(np.zeros_like, variables))
        jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_of_a_pyramid_the_backbone_is_written(tmp_path: Path) -> None:
    config = PyramidConfig(RESNETS["bottleneck"], width=4)
    pixels = jnp.asarray(np.random.default_rng(1).normal(size=(1, 32, 32, 3)), jnp.float32)
    variables = filled(lambda: PyramidEncoder(config).init(jax.random.key(0), pixels, train=False))
    assert write_vision_directory(tmp_path, config, variables, SLOT) == ("the detector's ResNet is written, without the pyramid over it",)
    own = {name: tree["backbone"] for name, tree in variables.items()}
    ours = ResNet(config.backbone).apply(own, pixels, train=False)[-1]
    np.testing.assert_allclose(ours, states_of(tmp_path, pixels)[-1].transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5 * float(ours.max()))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ResNetConfig(split=True, stem_kernel=3), "transformers has no ResNeSt"),
        (VggConfig(((4,),)), "transformers has no VGG"),
        (ResNetConfig(norm="group"), "has batch normalisation, here norm is 'group'"),
        (ResNetConfig(stem_kernel=3, stem_pool=False), "another stem: here stem_kernel 3, there 7, stem_pool False, there True"),
        (ViTConfig(dialect="clip", qkv_bias=False), "transformers' CLIP has biases in its attention"),
    ],
)
def test_what_transformers_does_not_have_is_named(config: Any, message: str, tmp_path: Path) -> None:
    variables = {"params": vit("clip", PHOTO)[1]["params"] if isinstance(config, ViTConfig) else {}}
    with pytest.raises(WeightError, match=f"this image encoder cannot be written as a directory of transformers: .*{message}"):
        write_vision_directory(tmp_path, config, variables, SLOT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resize", RESIZES)
def test_the_image_processor_makes_the_same_pixels(resize: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config, variables, _ = vit("vit", PHOTO)
    slot = dataclasses.replace(SLOT, side=16, resize=resize, mean=(0.3, 0.4, 0.5), std=(0.2, 0.3, 0.4))
    write_vision_directory(tmp_path, config, variables, slot)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8))
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(picture, return_tensors="np")["pixel_values"][0]
    pixels = fit(picture, 16, resize)[None, None]
    ours = np.asarray(normalise(jnp.asarray(pixels), jnp.ones((1, 1), bool), slot))[0, 0]
    # 'crop' and 'cover' resample the part that stays alone, which rounds a grey level otherwise.
    np.testing.assert_allclose(ours, theirs.transpose(1, 2, 0), atol=1e-5 if resize not in ("crop", "cover") else 1.01 / 255 / 0.2)
