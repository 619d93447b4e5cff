"""HVFormer's reference flavour against a second forward pass in PyTorch that reads the authors' state dict, and the table between them."""

import dataclasses
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
import hvformer_torch
import released_torch
from hvformer_torch import CROSS

from configs import hvformer as configs
from mmre_jax import systems
from mmre_jax.systems.hvformer import HVFormer, HVFormerConfig
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.weights import released
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.hvformer import hvformer_rules, unread
from mmre_jax.weights.pretrained import resolve
from mmre_jax.weights.rules import read, write

pytestmark = pytest.mark.thorough

SPEC = Path(os.environ.get("MMRE_SPEC", Path(__file__).parents[2] / ".." / "shared" / "spec"))
UNREAD_AT_FULL_SIZE = 39_024_384  # numbers in floating-point tensors


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of a release; the defaults are small, with the released number of patches: 3 x 16 of grounded and 3 x 4 of detected crops."""

    width: int = 24
    mlp: int = 40
    layers: int = 3
    levels: tuple[int, ...] = (0, 1, 3)
    heads: int = 2
    patch: int = 4
    words: int = 30
    positions: int = 16
    relations: int = 5
    photo: int = 50  # rows of the unread table of the full image


FULL = Sizes(768, 3072, 12, (0, 6, 12), 12, 32, 30526, 512, 23)
SMALL = Sizes()


def dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def released_shapes(s: Sizes) -> dict[str, tuple[int, ...]]:
    """Every tensor of a release of these sizes."""
    d, v, t, e = s.width, "model.vision_embeddings", "model.text_embeddings", "model.encoder"
    shapes = {
        f"{v}.class_embedding": (d,),
        f"{v}.position_ids": (1, s.photo),
        f"{v}.aux_position_ids": (1, 48),
        f"{v}.rcnn_position_ids": (1, 12),
        f"{v}.patch_embedding.weight": (d, 3, s.patch, s.patch),
        f"{v}.position_embedding.weight": (s.photo, d),
        f"{v}.aux_position_embedding.weight": (48, d),
        f"{v}.rcnn_position_embedding.weight": (12, d),
        f"{t}.position_ids": (1, s.positions),
        f"{t}.word_embeddings.weight": (s.words, d),
        f"{t}.position_embeddings.weight": (s.positions, d),
        f"{t}.token_type_embeddings.weight": (2, d),
        f"{e}.vision2text_layer_agg.moe_layer_wise_agg.experts1": (3, 2 * d, d),
        f"{e}.vision2text_layer_agg.moe_layer_wise_agg.experts2": (3, d, d),
    }
    shapes |= norm("model.vision_pre_layrnorm", d) | norm("model.vision_post_layernorm", d) | norm(f"{t}.LayerNorm", d)
    shapes |= dense(f"{e}.vision2text_layer_agg.moe_layer_wise_agg.expert_router", 4 * d, 4)
    shapes |= dense("re_classifier.classifier", 2 * d, s.relations)
    for n in range(s.layers):
        layer = f"{e}.vision_layers.{n}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= dense(f"{layer}.self_attn.{name}", d, d)
        shapes |= norm(f"{layer}.layer_norm1", d) | norm(f"{layer}.layer_norm2", d)
        shapes |= dense(f"{layer}.mlp.fc1", d, s.mlp) | dense(f"{layer}.mlp.fc2", s.mlp, d)
        layer = f"{e}.text_layer.{n}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= dense(f"{layer}.attention.{name}", d, d)
        shapes |= norm(f"{layer}.attention.output.LayerNorm", d) | norm(f"{layer}.output.LayerNorm", d)
        shapes |= dense(f"{layer}.intermediate.dense", d, s.mlp) | dense(f"{layer}.output.dense", s.mlp, d)
    for n in range(s.layers + 1):
        for name in ("text_q_proj", "vision_k_proj", "vision_v_proj", "out_proj"):
            shapes |= dense(f"{CROSS}.{n}.self_attn.{name}", d, d)
        shapes |= dense(f"{CROSS}.{n}.self_attn.vision_and_text_k_proj", 2 * d, d) | norm(f"{CROSS}.{n}.layer_norm1", d)
    return shapes


def random_release(s: Sizes) -> dict[str, np.ndarray]:
    random, tensors = np.random.default_rng(0), {}
    for name, shape in released_shapes(s).items():
        scale = min(0.3, 1.5 / shape[-1] ** 0.5) if len(shape) > 1 else 0.2
        tensors[name] = random.normal(size=shape).astype(np.float32) * np.float32(scale)
        if re.search(r"norm\d?\.weight$", name.lower()):
            tensors[name] += 1
        if name.endswith("position_ids"):
            tensors[name] = np.arange(shape[1])[None]
    return tensors


def make(s: Sizes) -> tuple[ModuleSystem, Any]:
    """The reference system of these sizes and the shapes of its parameters."""
    config = configs.get_config("reference").copy_and_resolve_references()
    with config.unlocked():
        own = {"width": s.width, "layers": s.layers, "heads": s.heads, "mlp": s.mlp}
        config.text.update({**own, "positions": s.positions, "max_tokens": min(80, s.positions)})
        config.vision.update({**own, "patch": s.patch, "crop_side": 4 * s.patch})
        config.system.heads = s.heads
    system = systems.build(resolve(config), vocab_size=s.words, labels=tuple(map(str, range(s.relations))))
    assert isinstance(system, ModuleSystem) and system.net.config.levels == s.levels
    return system, jax.eval_shape(system.init, jax.random.key(0), batch_for(s))["params"]


def batch_for(s: Sizes, seed: int = 1) -> dict[str, Any]:
    """Two records: one of 9 tokens with all its crops, one of 6, padded, whose last grounded and first detected crops are absent."""
    random = np.random.default_rng(seed)
    sides = {"grounded": 4 * s.patch, "detected": 2 * s.patch}
    return {
        "text": {
            "ids": random.integers(0, s.words, (2, 9)).astype(np.int32),
            "mask": np.arange(9)[None] < np.array([[9], [6]]),
            "markers": np.array([[1, 5], [3, 0]], np.int32),
        },
        "label": np.array([2, 4], np.int32),
        "pictures": {name: random.integers(0, 256, (2, 3, side, side, 3)).astype(np.uint8) for name, side in sides.items()},
        "present": {"grounded": np.array([[True] * 3, [True, True, False]]), "detected": np.array([[True] * 3, [False, True, True]])},
        "valid": np.ones(2, bool),
        "index": np.arange(2, dtype=np.int32),
    }


def second(tensors: dict[str, torch.Tensor], s: Sizes, batch: dict[str, Any]) -> torch.Tensor:
    """The second implementation's logits."""
    return hvformer_torch.logits(released_torch.State(tensors, s.heads, 1e-12), batch, s.levels)


def read_released(tensors: dict[str, np.ndarray], params: Any, config: Any) -> Any:
    return read(hvformer_rules(config), tensors, params, unread=unread(config))


def write_released(params: Any, config: Any) -> dict[str, np.ndarray]:
    return write(hvformer_rules(config), params)


def test_logits_and_gradients_are_the_releases() -> None:
    system, shapes = make(SMALL)
    release, batch = random_release(SMALL), batch_for(SMALL)
    params = read_released(release, shapes, system.net.config)
    tensors = {name: torch.tensor(x, requires_grad=x.dtype == np.float32) for name, x in release.items()}
    expected = second(tensors, SMALL, batch)
    assert expected.std(dim=0).min() > 1e-2, "the two records must differ"

    def loss(params: Any) -> tuple[jax.Array, jax.Array]:
        logits = system.net.apply({"params": params}, *system.inputs(batch), train=False)
        return system.objective.loss(logits, batch, None)[0], logits

    gradients, found = jax.jit(jax.grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-4, rtol=0)

    F.cross_entropy(expected, torch.tensor(batch["label"]).long()).backward()
    gradients = write_released(gradients, system.net.config)
    for name, gradient in gradients.items():
        theirs = tensors[name].grad
        if theirs is None:  # the detached image encoder
            assert name.startswith("model.vision_") or ".vision_layers." in name, name
            assert not gradient.any(), name
        else:
            np.testing.assert_allclose(gradient, theirs.numpy(), atol=1e-4, rtol=1e-4, err_msg=name)
    trained = {name for name, tensor in tensors.items() if tensor.grad is not None}
    assert trained <= set(gradients), "what trains in the release is a parameter here"


def test_dtypes_and_values_survive_the_round_trip_exactly() -> None:
    system, shapes = make(SMALL)
    release = random_release(SMALL)
    params = read_released(release, shapes, system.net.config)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    written = write_released(params, system.net.config)
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, release[name], err_msg=name)
    left = {name for name in release if name not in written}
    assert not any(f"{CROSS}.{n}.self_attn.text_q_proj.weight" in left for n in SMALL.levels)
    again = read_released({**release, **written}, shapes, system.net.config)
    jax.tree.map(np.testing.assert_array_equal, again, params)


@pytest.mark.parametrize("s", [SMALL, pytest.param(FULL, marks=pytest.mark.slow)], ids=["small", "full"])
def test_a_release_converts_by_its_tensors_alone(s: Sizes) -> None:
    release, batch, kind = random_release(s), batch_for(s), "hvformer_re"
    assert released.recognise(release) == kind
    config = configs.get_config("reference").copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict(released.sizes(kind, release, heads=s.heads))
    assert (released.vocab_rows(kind, release), released.classes(kind, release)) == (s.words, s.relations)
    system = systems.build(resolve(config), vocab_size=s.words, labels=tuple(map(str, range(s.relations))))
    assert isinstance(system, ModuleSystem) and system.net.config == make(s)[0].net.config
    variables = released.read(kind, release, jax.eval_shape(system.init, jax.random.key(0), batch), system)
    with torch.no_grad():
        expected = second({name: torch.tensor(x) for name, x in release.items()}, s, batch)
    assert expected.std(dim=0).max() > 0.1, "the two records must differ"
    np.testing.assert_allclose(jax.jit(system.predict)(variables, batch)["logits"], expected.numpy(), atol=1e-4, rtol=0)

    kept = {name: release[name] for name in released.unread(kind, release, system)}
    written = released.write(kind, variables, kept, system)
    assert written.keys() == release.keys()
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, release[name], err_msg=name)


def without(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda tensors: tensors.pop(name) is None


def with_zeros(name: str, *shape: int) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda tensors: tensors.update({name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(f"{CROSS}.1.self_attn.vision_k_proj.bias"), r"parameter tva_1/attention/key/bias \[24\] is filled by no tensor"),
        (without("model.vision_embeddings.rcnn_position_embedding.weight"), "position_detected .* is filled by no tensor"),
        (with_zeros("model.encoder.text_layer.3.output.dense.bias", 24), "text_layer.3.output.dense.bias .* no such parameter"),
        (with_zeros(f"{CROSS}.4.layer_norm1.bias", 24), "the model has no such parameter"),
        (with_zeros("model.pooler.dense.bias", 24), r"tensor model.pooler.dense.bias \[24\] is neither read nor excused"),
        (with_zeros("re_classifier.classifier.bias", 6), r"it gives \[6\], expected \[5\]"),
        (with_zeros("model.text_embeddings.word_embeddings.weight", 29, 24), r"it gives \[29, 24\], expected \[30, 24\]"),
    ],
)
def test_what_does_not_fit_is_named(change: Callable[[dict[str, np.ndarray]], None], message: str) -> None:
    system, shapes = make(SMALL)
    release = random_release(SMALL)
    change(release)
    with pytest.raises(WeightError, match=message):
        read_released(release, shapes, system.net.config)


def test_other_flavours_have_no_releases() -> None:
    system, shapes = make(SMALL)
    config = HVFormerConfig(system.net.config.text, system.net.config.vision, SMALL.relations, SMALL.levels, SMALL.heads)
    paper = dataclasses.replace(system, net=HVFormer(config))
    with pytest.raises(WeightError, match="hvformer_re fits .*system.flavour=reference.* not a HVFormerConfig"):
        released.read("hvformer_re", random_release(SMALL), {"params": shapes}, paper)


def of_no_bytes(shape: tuple[int, ...]) -> np.ndarray:
    """An array of elements without content: it has a shape and takes no memory, however large."""
    return np.zeros(shape, np.dtype([]))


def test_the_table_takes_exactly_the_released_tensors_at_full_size() -> None:
    listed = SPEC / "state_dicts" / "HVFormer_RE.tsv"
    if not listed.is_file():
        pytest.skip(f"{listed} is absent (set MMRE_SPEC to the folder that holds state_dicts/)")
    rows = [line.split("\t") for line in listed.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    tensors = {name: tuple(int(n) for n in re.findall(r"\d+", shape)) for name, shape, _ in rows}
    assert tensors == released_shapes(FULL), "the small releases of the other tests have the same tensors"

    system, shapes = make(FULL)
    params = jax.tree.map(lambda leaf: of_no_bytes(leaf.shape), shapes)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(params)) == 0
    filled = read_released({name: of_no_bytes(shape) for name, shape in tensors.items()}, params, system.net.config)
    assert jax.tree.map(np.shape, filled) == jax.tree.map(lambda leaf: leaf.shape, shapes)

    written = {name: tensor.shape for name, tensor in write_released(filled, system.net.config).items()}
    assert written.items() <= tensors.items()
    floating = {name for name, _, dtype in rows if dtype == "float32"}
    assert sum(np.prod(tensors[name]) for name in floating - set(written)) == UNREAD_AT_FULL_SIZE
    assert all(reason for reason in unread(system.net.config).values())
