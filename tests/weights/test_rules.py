"""Rules: exact round trips, and every misfit named in one error."""

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.encoders.vit import ImageSequence, ViT, ViTConfig
from mmre_jax.weights.bert import bert_rules
from mmre_jax.weights.rules import TRANSFORMS, Rule, WeightError, as_part, excused, read, write
from mmre_jax.weights.vit import vit_rules

RULES = (
    Rule("emb.weight", "words", "rows"),
    Rule("layers.{n}.fc.weight", "layer_{n}/fc/kernel", "linear"),
    Rule("layers.{n}.fc.bias", "layer_{n}/fc/bias"),
)


def zeros(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name.replace("__", "."): np.zeros(shape, np.float32) for name, shape in shapes.items()}


def checkpoint(layers: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    tensors = {"emb.weight": random.standard_normal((5, 3))}
    for n in range(layers):
        tensors |= {f"layers.{n}.fc.weight": random.standard_normal((4, 3)), f"layers.{n}.fc.bias": random.standard_normal(4)}
    return {name: x.astype(np.float32) for name, x in tensors.items()}


def model(layers: int = 2, words: int = 5) -> dict[str, Any]:
    tree: dict[str, Any] = {"words": np.full((words, 3), 9.0, np.float32)}
    for n in range(layers):
        tree[f"layer_{n}"] = {"fc": {"kernel": np.zeros((3, 4), np.float32), "bias": np.zeros(4, np.float32)}}
    return tree


def assert_equal(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_each_tensor_lands_where_its_rule_says_and_back() -> None:
    tensors = checkpoint(12)
    filled = read(RULES, tensors, model(12), unread={})
    np.testing.assert_array_equal(filled["layer_11"]["fc"]["kernel"], tensors["layers.11.fc.weight"].T)
    assert jax.tree.structure(filled) == jax.tree.structure(model(12))
    assert_equal(write(RULES, filled), tensors)
    assert_equal(read(RULES, write(RULES, filled), model(12), unread={}), filled)


def test_added_rows_keep_their_initial_values_and_survive_the_round_trip() -> None:
    filled = read(RULES, checkpoint(), model(words=7), unread={})
    np.testing.assert_array_equal(filled["words"][:5], checkpoint()["emb.weight"])
    np.testing.assert_array_equal(filled["words"][5:], 9.0)
    assert write(RULES, filled)["emb.weight"].shape == (7, 3)
    assert_equal(read(RULES, write(RULES, filled), model(words=7), unread={}), filled)


def test_the_targets_dtype_is_kept_and_shapes_suffice() -> None:
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float16), model())
    filled = read(RULES, checkpoint(), shapes, unread={})
    assert all(leaf.dtype == np.float16 for leaf in jax.tree.leaves(filled))
    with pytest.raises(WeightError, match="no initial value"):
        read(RULES, checkpoint(), {**shapes, "words": jax.ShapeDtypeStruct((7, 3), np.float32)}, unread={})
    with pytest.raises(WeightError, match="is to keep its initial value, but has none here"):
        read(RULES, checkpoint(), {**shapes, "new": jax.ShapeDtypeStruct((1,), np.float32)}, unread={}, initialised=("new",))


def test_all_problems_come_in_one_error() -> None:
    tensors = checkpoint(3) | zeros(pooler=(2, 2), layers__0__fc__bias=(5,), layers__1__fc__weight=(3,))
    del tensors["layers.1.fc.bias"]
    rules = (*RULES, Rule("emb.weight", "new/table"))
    with pytest.raises(WeightError) as caught:
        read(rules, tensors, model() | {"new": {"table": np.zeros(2), "bias": np.zeros(2)}}, unread={}, source="DIR")
    message = str(caught.value)
    for part in (
        "DIR does not fit the model, 10 problems",
        "tensor pooler [2, 2] is neither read nor excused",
        "tensor emb.weight [5, 3] is read as words and read as new/table",
        "tensor layers.0.fc.bias [5] does not fit layer_0/fc/bias by 'same': it gives [5], expected [4]",
        "tensor layers.1.fc.weight [3] does not fit layer_1/fc/kernel by 'linear': it must have 2 axes",
        "tensor layers.2.fc.bias [4] does not fit layer_2/fc/bias by 'same': the model has no such parameter",
        "parameter layer_1/fc/bias [4] is filled by no tensor",
        "parameter new/bias [2] is filled by no tensor",
    ):
        assert part in message


def test_excuses_need_a_reason_that_holds() -> None:
    tensors = checkpoint(3) | zeros(pooler__dense=(2, 2))
    found = read(RULES, tensors, model(), unread={"pooler.*": "unused", "layers.2.*": "above"})
    assert_equal(found, read(RULES, checkpoint(), model(), unread={}))
    with pytest.raises(WeightError, match=r"tensor emb.weight \[5, 3\] is read as words and excused by 'emb.\*' \(a slip\)"):
        read(RULES, checkpoint(), model(), unread={"emb.*": "a slip"})
    with pytest.raises(WeightError, match="tensor pooler.dense .* neither"):  # a dot is a dot, a pattern matches whole names
        read(RULES, checkpoint() | zeros(pooler__dense=(2, 2)), model(), unread={"pooler": "", "pooler?dense": "", "pooler.dens": ""})


def test_initialised_parameters_keep_their_values() -> None:
    start = model() | {"new": {"a": np.ones(2), "b": np.ones(3)}}
    filled = read(RULES, checkpoint(), start, unread={}, initialised=("new/*",))
    assert filled["new"]["a"] is start["new"]["a"]
    assert_equal(write(RULES, filled, initialised=("new/*",)), checkpoint())
    with pytest.raises(WeightError, match="parameter new/a is written by no rule"):
        write(RULES, filled)
    with pytest.raises(WeightError, match=r"words is to keep its initial value \('w\*'\), but emb.weight fills it"):
        read(RULES, checkpoint(), model(), unread={}, initialised=("w*",))


def test_two_tensors_for_one_parameter_and_the_reverse() -> None:
    rules = (Rule("a", "x"), Rule("b", "x"))
    with pytest.raises(WeightError, match="parameter x is filled by both a and b"):
        read(rules, zeros(a=(1,), b=(1,)), {"x": np.zeros(1)}, unread={})
    with pytest.raises(WeightError, match="x is written by several rules: a, b"):
        write(rules, {"x": np.zeros(1)})
    with pytest.raises(WeightError, match="tensor a is written by two parameters"):
        write((Rule("a", "x"), Rule("a", "y")), {"x": np.zeros(1), "y": np.zeros(1)})


def test_impossible_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown transform"):
        Rule("a", "b", "linaer")
    for source, target in [("a.{n}", "b"), ("a", "b_{n}"), ("a.{n}.{n}", "b_{n}.{n}")]:
        with pytest.raises(ValueError, match="one {n} on both sides"):
            Rule(source, target)


def test_an_encoder_as_a_part_of_a_system() -> None:
    encoder = (Rule("words.weight", "word", "rows"), Rule("layer.{n}.weight", "layer_{n}/kernel", "linear"))
    assert as_part(encoder, "text") == (Rule("words.weight", "text/word"), Rule("layer.{n}.weight", "text/layer_{n}/kernel", "linear"))
    renamed = as_part(encoder, "text", {"words.": "net.vocabulary.", "layer.": "net.stack."})
    assert [rule.source for rule in renamed] == ["net.vocabulary.weight", "net.stack.{n}.weight"]
    with pytest.raises(ValueError, match="starts with none of"):
        as_part(encoder, "text", {"words.": "net.words."})


def test_excused_tensors_and_their_reasons() -> None:
    unread = {"pooler.*": "no part of the encoder", "layer.{n}.count": "a count"}
    names = ("pooler.dense.bias", "layer.3.count", "layer.x.count", "head.bias")
    assert excused(names, unread) == {"pooler.dense.bias": "no part of the encoder", "layer.3.count": "a count"}


def test_a_longer_table_is_cut_only_by_truncate() -> None:
    tensors, target = {"t": np.arange(8.0).reshape(4, 2)}, {"p": np.zeros((3, 2))}
    np.testing.assert_array_equal(read((Rule("t", "p", "truncate"),), tensors, target, unread={})["p"], tensors["t"][:3])
    for transform, table in [("same", target), ("rows", target), ("truncate", {"p": np.zeros((5, 2))})]:
        with pytest.raises(WeightError, match=r"expected \[[35], 2\]"):
            read((Rule("t", "p", transform),), tensors, table, unread={})


SHAPES = {  # of the tensor and of the parameter
    "same": ((2, 3), (2, 3)),
    "linear": ((2, 3), (3, 2)),
    "conv": ((2, 3, 4, 5), (4, 5, 3, 2)),
    "flat": ((2, 5 * 3 * 4), (3, 4, 5, 2)),
    "squeeze": ((1, 2, 3), (2, 3)),
    "squeeze2": ((1, 1, 3), (3,)),
    "rows": ((2, 3), (2, 3)),
    "truncate": ((2, 3), (2, 3)),
}


@given(st.sampled_from(sorted(TRANSFORMS)), st.data())
def test_every_transform_has_its_inverse(name: str, data: st.DataObject) -> None:
    tensor = data.draw(arrays(np.float32, SHAPES[name][0], elements=st.floats(-9, 9, width=32)))
    forward = TRANSFORMS[name].forward(tensor, np.zeros(SHAPES[name][1], np.float32))
    assert forward.shape == SHAPES[name][1]
    np.testing.assert_array_equal(TRANSFORMS[name].inverse(forward), tensor)


def test_only_unit_axes_are_squeezed() -> None:
    with pytest.raises(WeightError, match="first 1 axes must have length 1"):
        read((Rule("t", "p", "squeeze"),), {"t": np.zeros((2, 3))}, {"p": np.zeros(3)}, unread={})


@pytest.mark.parametrize("dialect", ["bert", "vit", "clip"])
def test_the_encoders_tables_round_trip_exactly(dialect: str) -> None:
    if dialect == "bert":
        config = BertConfig(vocab_size=9, width=8, layers=11, heads=2, mlp=12, positions=6)
        module, rules, kept, inputs = Bert(config), bert_rules("bert."), (), (np.zeros((1, 4), np.int32), None)
    else:
        sequences = (ImageSequence("photo", 1, 8), ImageSequence("crops", 2, 4))
        vision = ViTConfig(sequences, patch=4, width=8, layers=11, heads=2, mlp=12, dialect=dialect)
        pixels = {s.name: np.zeros((1, s.count, s.side, s.side, 3), np.float32) for s in sequences}
        module, rules, kept, inputs = ViT(vision), vit_rules(vision), ("embeddings/position_crops",), (pixels, None)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=False))["params"]
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), shapes)
    tensors = write(rules, params, initialised=kept)
    assert sum(x.size for x in tensors.values()) + (0 if dialect == "bert" else 2 * 8) == sum(x.size for x in jax.tree.leaves(params))
    assert_equal(read(rules, tensors, params, unread={}, initialised=kept), params)
