"""Released state dicts: recognised from their keys, sized from their shapes, read whole, written back, and refused by name."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from releases import KINDS, SMALL, empty_variables, full, random_release, shapes_of, system_for

from mmre_jax.weights import released
from mmre_jax.weights.hub import WeightError

SPEC = Path(os.environ.get("MMRE_SPEC", Path(__file__).parents[2] / ".." / "shared" / "spec"))
LISTED = {
    "hvpnet_re": "HVPNeT_RE",
    "hvpnet_ner": "HVPNeT_NER",
    "rsrnet_re": "RSRNeT_RE",
    "rsrnet_ner": "RSRNeT_NER",
    "ifaformer_re": "IFAformer_RE",
    "mkgformer_re": "MKGformer_RE",
}
FUSION = "model.encoder.text_layer.0.intermediate.fusion_dense"
Tensors = dict[str, np.ndarray]


def of_no_bytes(shape: tuple[int, ...]) -> np.ndarray:
    """An array of elements without content: it has a shape and takes no memory, however large."""
    return np.zeros(shape, np.dtype([]))


def test_these_releases_are_all_but_hvformers() -> None:
    assert set(KINDS) | {"hvformer_re"} == set(released.KINDS)


@pytest.mark.parametrize("kind", LISTED)
def test_the_small_releases_have_the_released_tensors(kind: str) -> None:
    listed = SPEC / "state_dicts" / f"{LISTED[kind]}.tsv"
    if not listed.is_file():
        pytest.skip(f"{listed} is absent (set MMRE_SPEC to the folder that holds state_dicts/)")
    rows = [line.split("\t") for line in listed.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert {name: tuple(map(int, re.findall(r"\d+", shape))) for name, shape, _ in rows} == shapes_of(kind, full(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_is_read_and_written_at_full_size(kind: str) -> None:
    s = full(kind)
    tensors = {name: of_no_bytes(shape) for name, shape in shapes_of(kind, s).items()}
    assert released.recognise(tensors) == kind
    assert released.vocab_rows(kind, tensors) == s.words
    assert released.classes(kind, tensors) == (23 if kind.endswith("_re") else 13)
    changes = released.sizes(kind, tensors)
    assert {name: changes[f"text.{name}"] for name in ("width", "layers", "heads", "mlp")} == {
        "width": 768,
        "layers": 12,
        "heads": 12,
        "mlp": 3072,
    }
    assert changes["text.max_tokens"] == (40 if kind == "ifaformer_ner" else 80), "as released: its image stream attends to padding"
    system = system_for(kind, tensors, s)
    slots = [("grounded", 3, 128), ("detected", 3, 64)] if "former" in kind else [("photo", 1, 224), ("grounded", 3, 224)]
    assert [(slot.name, slot.count, slot.side) for slot in system.plan] == slots
    shapes = empty_variables(kind, system, s)
    filled = released.read(kind, tensors, jax.tree.map(lambda leaf: of_no_bytes(leaf.shape), shapes), system)
    assert jax.tree.map(np.shape, filled) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    reasons = released.unread(kind, tensors, system)
    written = released.write(kind, filled, {name: tensors[name] for name in reasons}, system)
    assert {name: tensor.shape for name, tensor in written.items()} == shapes_of(kind, s)
    assert all(reasons.values())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unread_never_matters_and_all_else_does(kind: str) -> None:
    tensors = random_release(kind, SMALL)
    system = system_for(kind, tensors, SMALL)
    reasons, shapes = released.unread(kind, tensors, system), empty_variables(kind, system, SMALL)
    starts = (
        "bert.pooler",
        "image_model.resnet.fc",
        "model.text_pooler",
        "model.vision_post",
        "model.vision_embeddings.position_embedding",
    )
    last = r"model\.encoder\.vision_layers\.1\.(self_attn\.[qvo]|mlp|layer_norm2)" if kind.startswith("ifaformer") else FUSION
    for name in tensors:
        excused = name.startswith(starts) or name.endswith(("position_ids", "num_batches_tracked")) or bool(re.match(last, name))
        assert (name in reasons) == excused, name
    read = released.read(kind, tensors, shapes, system)
    less = released.read(kind, {name: x for name, x in tensors.items() if name not in reasons}, shapes, system)
    jax.tree.map(np.testing.assert_array_equal, read, less)
    assert {leaf.dtype for leaf in jax.tree.leaves(read)} == {np.dtype(np.float32)}


def test_heads_are_as_told_or_of_the_released_width() -> None:
    tensors = random_release("ifaformer_re", SMALL)
    with pytest.raises(WeightError, match="a width of 32 has no heads of 64: say how many"):
        released.sizes("ifaformer_re", tensors)
    changes = released.sizes("ifaformer_re", tensors, heads=4)
    assert changes["text.heads"] == changes["vision.heads"] == 4
    assert changes["vision.crop_side"] == 4 * SMALL.patch


def without(name: str) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.pop(name)


def with_zeros(name: str, *shape: int) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.update({name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_zeros("fc.weight", 13, 32), r"fit several kinds.*\n  ifaformer_re: .*\n  ifaformer_ner: "),
        (without("classifier.weight"), r"no released checkpoint has these \d+ tensors.*\n  hvpnet_re: image_model.resnet.conv1.weight and"),
        (lambda tensors: tensors.clear(), r"these 0 tensors"),
    ],
)
def test_what_is_not_recognised_is_explained(change: Callable[[Tensors], Any], message: str) -> None:
    tensors = {name: of_no_bytes(shape) for name, shape in shapes_of("ifaformer_re", SMALL).items()}
    change(tensors)
    with pytest.raises(WeightError, match=message):
        released.recognise(tensors)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("hvpnet_re", without("gates.1.bias"), r"params/prefix/gate_1/bias \[4\] is filled by no tensor"),
        ("hvpnet_re", without("image_model.resnet.bn1.running_var"), "batch_stats/vision/stem_0/norm/var .* is filled by no tensor"),
        ("hvpnet_re", with_zeros("gates.2.bias", 4), "the model has no such parameter"),
        ("hvpnet_re", with_zeros("aux_head.bias", 4), r"tensor aux_head.bias \[4\] is neither read nor excused"),
        ("hvpnet_ner", with_zeros("crf.transitions", 13, 12), r"it gives \[13, 12\], expected \[13, 13\]"),
        ("hvpnet_ner", with_zeros("bert.embeddings.word_embeddings.weight", 29, 32), r"it gives \[29, 32\], expected \[30, 32\]"),
        ("rsrnet_re", with_zeros("image_model.resnet.layer1.0.conv2.fc2.bias", 3), r"split/weigh/bias .*\[3\], expected \[32\]"),
        ("rsrnet_ner", without("crf.end_transitions"), r"params/head/end \[13\] is filled by no tensor"),
        ("ifaformer_re", without("model.encoder.vision_layers.1.self_attn.k_proj.bias"), "layer_1/attention/key/bias .* by no tensor"),
        ("ifaformer_ner", with_zeros("model.encoder.vision_layers.2.mlp.fc1.bias", 40), "the model has no such parameter"),
    ],
)
def test_what_does_not_fit_is_named(kind: str, change: Callable[[Tensors], Any], message: str) -> None:
    tensors = random_release(kind, SMALL)
    system = system_for(kind, tensors, SMALL)
    change(tensors)
    with pytest.raises(WeightError, match=message):
        released.read(kind, tensors, empty_variables(kind, system, SMALL), system)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("hvpnet_re", without("bert.embeddings.word_embeddings.weight"), "word_embeddings.weight with 2 axes, found none"),
        ("hvpnet_re", with_zeros("encoder_conv.0.weight", 3), r"encoder_conv.0.weight with 2 axes, found \[3\]"),
        ("hvpnet_re", with_zeros("bert.embeddings.token_type_embeddings.weight", 1, 32), "hvpnet_re is a bert, but its .* 1 rows"),
        ("rsrnet_ner", with_zeros("bert.embeddings.token_type_embeddings.weight", 2, 32), "rsrnet_ner is a roberta, but its .* 2 rows"),
        ("rsrnet_re", without("image_model.resnet.conv1.6.weight"), "no stem"),
        (
            "ifaformer_re",
            with_zeros("model.vision_embeddings.aux_position_embedding.weight", 50, 32),
            "50 rows, which are no 3 square crops",
        ),
        ("ifaformer_re", with_zeros("model.vision_embeddings.rcnn_position_embedding.weight", 3, 32), "found 4 and 1 patches a side"),
    ],
)
def test_sizes_that_cannot_be_are_named(kind: str, change: Callable[[Tensors], Any], message: str) -> None:
    tensors = random_release(kind, SMALL)
    change(tensors)
    with pytest.raises(WeightError, match=message):
        released.sizes(kind, tensors, heads=2)


def test_kinds_and_systems_that_do_not_agree_are_refused() -> None:
    tensors = random_release("ifaformer_re", SMALL)
    system = system_for("ifaformer_re", tensors, SMALL)
    for kind in ("ifaformer_ner", "hvpnet_re", "hvformer_re"):
        with pytest.raises(WeightError, match=f"a checkpoint of {kind} fits system.name="):
            released.unread(kind, tensors, system)
    with pytest.raises(WeightError, match="one of hvpnet_re, .* found 'mkgformer_ner'"):
        released.classes("mkgformer_ner", tensors)


def test_mkgformer_is_told_from_ifaformer_and_its_entities_are_no_kind() -> None:
    """All of IFAformer's tensors are among MKGformer's."""
    tensors = {name: of_no_bytes(shape) for name, shape in shapes_of("mkgformer_re", SMALL).items()}
    assert set(shapes_of("ifaformer_re", SMALL)) < set(tensors) and released.recognise(tensors) == "mkgformer_re"
    tensors["fc.weight"] = tensors.pop("classifier.weight")
    with pytest.raises(WeightError, match=rf"\n  ifaformer_ner: .* and fc.weight, not {FUSION}.weight\n"):
        released.recognise(tensors)


def test_kept_tensors_are_unread_ones_alone() -> None:
    tensors = random_release("hvpnet_re", SMALL)
    system = system_for("hvpnet_re", tensors, SMALL)
    variables = released.read("hvpnet_re", tensors, empty_variables("hvpnet_re", system, SMALL), system)
    with pytest.raises(WeightError, match="never reads, found classifier.bias, other$"):
        released.write("hvpnet_re", variables, {name: tensors["classifier.bias"] for name in ("other", "classifier.bias")}, system)


def test_a_trained_norm_is_written_back() -> None:
    """A checkpoint that was trained on here, with a norm whose scale and bias are parameters."""
    tensors = random_release("hvpnet_re", SMALL)
    changed = system_for("hvpnet_re", tensors, SMALL, norm="batch")
    variables = released.read("hvpnet_re", tensors, empty_variables("hvpnet_re", changed, SMALL), changed)
    assert "scale" in variables["params"]["vision"]["stem_0"]["norm"]
    written = released.write("hvpnet_re", variables, {}, changed)
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)
