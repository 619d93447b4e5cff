"""ViT and CLIP's vision tower against transformers' PyTorch modules, and the promises on several sequences and masks."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmre_jax.encoders.vit import ImageSequence, ViT, ViTConfig, patch_mask, sine_table
from mmre_jax.weights.hub import WeightError, read_config
from mmre_jax.weights.vit import load_vit

PHOTO = (ImageSequence("photo", 1, 16),)
WITH_CROPS = (*PHOTO, ImageSequence("crops", 2, 8), ImageSequence("small", 3, 4))
DIALECTS = {
    "vit": ViTConfig(PHOTO, patch=4, width=32, layers=2, heads=4, mlp=48),
    "clip": ViTConfig(PHOTO, patch=4, width=32, layers=2, heads=4, mlp=48, dialect="clip", final_norm=False),
}


def pixels(config: ViTConfig, seed: int = 0, batch: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {s.name: random.standard_normal((batch, s.count, s.side, s.side, 3)).astype(np.float32) for s in config.sequences}


def shapes(config: ViTConfig, dtype: Any = jnp.float32) -> Any:
    return jax.eval_shape(lambda: ViT(config, dtype).init(jax.random.key(0), pixels(config), None, train=False))["params"]


def initial(config: ViTConfig) -> Any:
    """Random variables, made by NumPy: compiling the initialisers would take most of this file's time."""
    random = np.random.default_rng(1)
    return {"params": jax.tree.map(lambda leaf: random.normal(0.1, 0.2, leaf.shape).astype(leaf.dtype), shapes(config))}


@functools.partial(jax.jit, static_argnames=("config", "dtype", "mutable"))
def encode(config: ViTConfig, variables: Any, pixels: Any, mask: Any, dtype: Any = jnp.float32, mutable: Any = False) -> Any:
    return ViT(config, dtype).apply(variables, pixels, mask, train=False, mutable=mutable)


def reference(dialect: str) -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    sizes |= {"image_size": 16, "patch_size": 4}
    if dialect == "vit":
        model = transformers.ViTModel(transformers.ViTConfig(**sizes, attn_implementation="eager")).eval()
    else:
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes, attn_implementation="eager")).eval()
    with torch.no_grad():  # biases and norms away from 0 and 1, where a mix-up would not show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture(scope="module", params=["vit", "clip"])
def parity(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same random model in both frameworks: all states, and the gradients of one loss over all of them."""
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp(request.param)
    model = reference(request.param)
    model.save_pretrained(folder / "weights")
    config = DIALECTS[request.param]
    picture = torch.tensor(pixels(config)["photo"][:, 0].transpose(0, 3, 1, 2))
    result = model(picture, output_hidden_states=True)
    states = [*result.hidden_states[:-1], result.last_hidden_state]
    sum(state.cos().sum() for state in states).backward()
    with torch.no_grad():  # the gradients travel in the weights' format, so that the rules map them too
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    model.save_pretrained(folder / "gradients")
    return {"folder": folder, "config": config, "model": model, "states": [state.detach().numpy() for state in states]}


def test_every_layer_equals_pytorch(parity: dict[str, Any]) -> None:
    config = ViTConfig.from_transformers(read_config(parity["folder"] / "weights"))
    assert dataclasses.replace(config, activation=None, eps=None) == parity["config"] and config.style == parity["config"].style
    params = load_vit(parity["folder"] / "weights", config, initial(config)["params"])
    states = encode(config, {"params": params}, pixels(config), None)
    assert len(states) == len(parity["states"]) == 3
    for ours, theirs in zip(states, parity["states"], strict=True):
        assert np.abs(ours - theirs).max() <= 1e-4


def test_gradients_equal_pytorch_tensor_by_tensor(parity: dict[str, Any]) -> None:
    config = parity["config"]
    params, expected = (load_vit(parity["folder"] / name, config, initial(config)["params"]) for name in ("weights", "gradients"))

    def loss(params: Any) -> jax.Array:
        return sum(jnp.sum(jnp.cos(state)) for state in ViT(config).apply({"params": params}, pixels(config), None, train=False))

    found = jax.jit(jax.grad(loss))(params)
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / max(1.0, float(jnp.abs(b).max()))), found, expected)
    assert max(jax.tree.leaves(differences)) <= 1e-4, differences


def test_fewer_layers_and_extra_sequences_load_around_the_checkpoint(parity: dict[str, Any]) -> None:
    config = dataclasses.replace(parity["config"], layers=1, sequences=WITH_CROPS, final_norm=False)
    start = initial(config)["params"]
    params = load_vit(parity["folder"] / "weights", config, start)
    np.testing.assert_array_equal(params["embeddings"]["position_crops"], start["embeddings"]["position_crops"])
    present = {"photo": np.ones((2, 1), bool), "crops": np.zeros((2, 2), bool), "small": np.zeros((2, 3), bool)}
    states = encode(config, {"params": params}, pixels(config), patch_mask(config, present))
    photo = pixels(config)["photo"]
    np.testing.assert_array_equal(photo, pixels(parity["config"])["photo"])
    for ours, theirs in zip(states, parity["states"][:2], strict=True):  # masked crops leave the photo as it was alone
        assert np.abs(ours[:, :17] - theirs).max() <= 1e-4
    without = dataclasses.replace(config, sequences=WITH_CROPS[1:])
    params = load_vit(parity["folder"] / "weights", without, initial(without)["params"])
    assert "position_photo" not in params["embeddings"]


def test_another_resolution_is_interpolated_only_where_asked(parity: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    config = dataclasses.replace(parity["config"], sequences=(ImageSequence("photo", 1, 24),))
    with pytest.raises(WeightError, match=r"embeddings/position_photo.*\[17, 32\], expected \[37, 32\]"):
        load_vit(parity["folder"] / "weights", config, initial(config)["params"])
    params = load_vit(parity["folder"] / "weights", config, initial(config)["params"], interpolate_positions=True)
    same = load_vit(parity["folder"] / "weights", parity["config"], initial(parity["config"])["params"], interpolate_positions=True)
    old, new = same["embeddings"]["position_photo"], params["embeddings"]["position_photo"]
    np.testing.assert_array_equal(new[0], old[0])
    grid = torch.tensor(old[1:].reshape(1, 4, 4, 32).transpose(0, 3, 1, 2))
    # PyTorch's plain bicubic uses another cubic (-0.75) than JAX (-0.5, Keys), its antialiased one the same.
    theirs = torch.nn.functional.interpolate(grid, (6, 6), mode="bicubic", antialias=True)[0].permute(1, 2, 0).reshape(36, 32)
    np.testing.assert_allclose(new[1:], theirs.numpy(), atol=1e-5)


def test_a_checkpoint_of_another_model_is_refused(parity: dict[str, Any], tmp_path: Path) -> None:
    other = dataclasses.replace(DIALECTS["vit" if parity["config"].dialect == "clip" else "clip"], final_norm=parity["config"].final_norm)
    with pytest.raises(WeightError, match="dialect is"):
        load_vit(parity["folder"] / "weights", other, initial(other)["params"])
    heads = dataclasses.replace(parity["config"], heads=8)
    with pytest.raises(WeightError, match="heads is 4 in the checkpoint, 8 in the model"):
        load_vit(parity["folder"] / "weights", heads, initial(heads)["params"])
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    (tmp_path / "model.safetensors").write_bytes((parity["folder"] / "weights" / "model.safetensors").read_bytes())
    with pytest.raises(WeightError, match="'resnet' model, expected 'vit'"):
        load_vit(tmp_path, parity["config"], initial(parity["config"])["params"])


def test_checkpoints_with_a_head_or_a_text_tower(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    vision = reference("clip")
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 30}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision.config.to_dict())
    clip = transformers.CLIPModel(config)
    with torch.no_grad():
        theirs = dict(clip.vision_model.named_parameters())
        for name, parameter in vision.named_parameters():
            theirs[name].copy_(parameter)
    clip.save_pretrained(tmp_path / "clip")
    vision.save_pretrained(tmp_path / "vision")
    headed = transformers.ViTForImageClassification(reference("vit").config)
    headed.save_pretrained(tmp_path / "headed")
    headed.vit.save_pretrained(tmp_path / "bare")
    for one, other, dialect in [("clip", "vision", "clip"), ("headed", "bare", "vit")]:
        ours = ViTConfig.from_transformers(read_config(tmp_path / one))
        assert ours.style == DIALECTS[dialect].style
        pair = [load_vit(tmp_path / name, ours, initial(ours)["params"]) for name in (one, other)]
        jax.tree.map(np.testing.assert_array_equal, *pair)


@pytest.mark.parametrize("dialect", ["vit", "clip"])
def test_the_embedded_sequence_is_cls_then_crops_in_order_row_major(dialect: str) -> None:
    """Layer 0 by hand: each patch cut out by its place, multiplied by the kernel, plus the row of its table."""
    config = dataclasses.replace(DIALECTS[dialect], sequences=WITH_CROPS, layers=0, final_norm=False)
    variables = initial(config)
    (state,) = encode(config, variables, pixels(config), None)
    tables = variables["params"]["embeddings"]
    kernel, bias = np.asarray(tables["patch"]["kernel"], np.float64).reshape(-1, 32), tables["patch"].get("bias", 0.0)
    rows = [np.asarray(tables["cls"] + tables["position_photo"][0])]
    for sequence in config.sequences:
        table = tables[f"position_{sequence.name}"][1 if sequence.name == "photo" else 0 :]
        place = 0
        for crop in range(sequence.count):
            for y in range(0, sequence.side, 4):
                for x in range(0, sequence.side, 4):
                    patch = pixels(config)[sequence.name][1, crop, y : y + 4, x : x + 4].reshape(-1)
                    rows.append(patch @ kernel + bias + table[place])
                    place += 1
        assert place == len(table)
    expected = np.stack(rows)
    if dialect == "clip":
        norm = variables["params"]["pre_norm"]
        expected = (expected - expected.mean(-1, keepdims=True)) / np.sqrt(expected.var(-1, keepdims=True) + 1e-5)
        expected = expected * norm["scale"] + norm["bias"]
    np.testing.assert_allclose(state[1], expected, atol=1e-4)
    assert state.shape == (2, config.length, 32)


def test_61_tokens_of_hvformers_released_code() -> None:
    crops = (ImageSequence("grounded", 3, 128), ImageSequence("detected", 3, 64))
    config = ViTConfig(crops, dialect="clip", final_norm=False)
    found = shapes(config)
    assert config.length == 61
    assert found["embeddings"]["position_grounded"].shape == (48, 768)
    assert found["embeddings"]["position_detected"].shape == (12, 768)
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    embedded = 768 + 32 * 32 * 3 * 768 + 60 * 768 + 2 * 768  # CLS, patches, positions, pre-LayerNorm
    assert sum(leaf.size for leaf in jax.tree.leaves(found)) == 12 * layer + embedded
    assert "bias" not in found["embeddings"]["patch"] and "final_norm" not in found


def crops_of(dialect: str) -> tuple[ViTConfig, Any, dict[str, np.ndarray]]:
    config = dataclasses.replace(DIALECTS[dialect], sequences=WITH_CROPS)
    present = {"photo": [[True], [True], [False]], "crops": [[True, False], [False, True], [False, False]]}
    present |= {"small": [[False] * 3, [True, True, False], [False] * 3]}
    return config, initial(config), {name: np.array(x) for name, x in present.items()}


def test_patch_mask_repeats_each_picture_over_its_patches() -> None:
    config, _, present = crops_of("vit")
    mask = patch_mask(config, present)
    assert mask.shape == (3, 1 + 16 + 2 * 4 + 3 * 1) and mask.dtype == bool
    assert mask[0].tolist() == [True] * 21 + [False] * 7
    assert mask[1].tolist() == [True] * 17 + [False] * 4 + [True] * 6 + [False]
    assert not mask[2].any()
    with pytest.raises(ValueError, match=r"hold the sequences \['crops', 'photo', 'small'\], found \['photo'\]"):
        patch_mask(config, {"photo": present["photo"]})
    with pytest.raises(ValueError, match=r"\[B, 2\], found \[3, 1\]"):
        patch_mask(config, present | {"crops": present["photo"]})


@pytest.mark.parametrize("dialect", ["vit", "clip"])
def test_pixels_of_an_absent_picture_change_no_output(dialect: str) -> None:
    config, variables, present = crops_of(dialect)
    mask = patch_mask(config, present)
    run = functools.partial(encode, config, variables, mask=mask)
    one = pixels(config, 0, 3)
    other = {name: np.where(present[name][..., None, None, None], one[name], 1e3 * x) for name, x in pixels(config, 1, 3).items()}
    for state, changed in zip(run(pixels=one), run(pixels=other), strict=True):
        np.testing.assert_array_equal(state, changed)
        assert not np.asarray(state)[~np.asarray(mask)].any()
    other["photo"][0] += 1.0
    assert np.abs(run(pixels=other)[-1][0] - run(pixels=one)[-1][0]).max() > 1e-3


@pytest.mark.parametrize("dialect", ["vit", "clip"])
def test_a_record_without_pictures_gives_zeros_and_adds_no_gradient(dialect: str) -> None:
    config, variables, present = crops_of(dialect)
    mask, one = patch_mask(config, present), pixels(config, 0, 3)

    @jax.jit
    def gradient(variables: Any, counted: np.ndarray) -> Any:
        def loss(variables: Any) -> jax.Array:
            states = ViT(config).apply(variables, one, mask, train=False)
            return sum(jnp.sum(jnp.where(counted[:, None, None], jnp.sin(state), 0.0)) for state in states)

        return jax.grad(loss)(variables)

    whole, pictured = gradient(variables, np.array([True] * 3)), gradient(variables, np.array([True, True, False]))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), whole, pictured)


def test_sown_states_and_weights_and_both_attention_paths() -> None:
    config, variables, present = crops_of("vit")
    mask, one = patch_mask(config, present), pixels(config, 0, 3)
    fast = encode(config, variables, one, mask)
    explicit, sown = encode(config, variables, one, mask, mutable="intermediates")
    for state, other, hidden in zip(fast, explicit, sown["intermediates"]["hidden"], strict=True):
        np.testing.assert_allclose(state, other, atol=1e-5)
        np.testing.assert_array_equal(other, hidden)
    (weights,) = sown["intermediates"]["layer_0"]["attention"]["attention"]
    assert weights.shape == (3, 4, 28, 28) and not weights[0, ..., 21:].any() and not weights[2].any()


def test_bfloat16_stays_near_float32_with_float32_parameters() -> None:
    config, variables, present = crops_of("clip")
    mask, one = patch_mask(config, present), pixels(config, 0, 3)
    wide = encode(config, variables, one, mask)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes(config, jnp.bfloat16)))
    for state, other in zip(encode(config, variables, one, mask, jnp.bfloat16), wide, strict=True):
        assert state.dtype == jnp.bfloat16
        np.testing.assert_allclose(state.astype(jnp.float32), other, atol=0.1)


def test_dropout_works_under_jit() -> None:
    config = dataclasses.replace(DIALECTS["vit"], layers=1, dropout=0.2, attention_dropout=0.2)
    variables = initial(config)
    run = jax.jit(lambda key: ViT(config).apply(variables, pixels(config), None, train=True, rngs={"dropout": key}))
    first, second = run(jax.random.key(0)), run(jax.random.key(1))
    assert jnp.isfinite(first[-1]).all() and np.abs(first[-1] - second[-1]).max() > 0.01


def torch_layer(params: Any, x: Any, seen: Any, prefix: tuple[Any, Any], bias: float) -> Any:
    """One layer of CLIP's in PyTorch, extra keys and values first, their scores raised by `bias`; seen bool [B, X + P]."""
    torch = pytest.importorskip("torch")

    def dense(x: Any, part: Any) -> Any:
        return x @ part["kernel"] + part["bias"]

    def norm(x: Any, part: Any) -> Any:
        return torch.nn.functional.layer_norm(x, (32,), part["scale"], part["bias"], 1e-5)

    normed, batch, extra = norm(x, params["attention_norm"]), x.shape[0], prefix[0].shape[1]
    q, k, v = (dense(normed, params["attention"][name]).reshape(batch, -1, 4, 8).transpose(1, 2) for name in ("query", "key", "value"))
    k, v = (torch.cat([given.transpose(1, 2), own], dim=2) for given, own in zip(prefix, (k, v), strict=True))
    scores = (q @ k.transpose(2, 3) / 8**0.5).masked_fill(~seen[:, None, None], float("-inf"))
    scores = torch.cat([scores[..., :extra] + bias, scores[..., extra:]], dim=-1)
    x = x + dense((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, -1, 32), params["attention"]["out"])
    up = dense(norm(x, params["mlp_norm"]), params["mlp"]["up"])
    return x + dense(up * torch.sigmoid(1.702 * up), params["mlp"]["down"])


class Interleaved(nn.Module):
    """A system that runs the encoder layer by layer, its first layer with a prefix where one is given."""

    config: ViTConfig

    @nn.compact
    def __call__(self, pixels: Any, mask: Any, prefix: Any = None, prefix_mask: Any = None, *, train: bool) -> Any:
        vision = ViT(self.config, name="vision")
        states = [vision.embed(pixels, mask, train=train)]
        bias = 0.0 if prefix is None else 1.0
        options = {"prefix": prefix, "prefix_mask": prefix_mask, "prefix_bias": bias}
        states.append(vision.run_layer(0, states[-1], mask, train=train, **options))
        states.append(vision.run_layer(1, states[-1], mask, train=train))
        # What a layer is given as a prefix instead of its own keys and values, it would have made of its input itself.
        given, none = vision.keys_values(1, states[1]), jnp.zeros((1, 1, 1, self.config.length), bool)
        layer = vision.layer[1](states[1], none, train=train, prefix=given, prefix_mask=mask)
        return (*states, layer)


def test_keys_alone_are_those_of_keys_and_values() -> None:
    config, variables, present = crops_of("clip")
    vision = ViT(config).bind(variables)
    state = vision.embed(pixels(config, 0, 3), patch_mask(config, present), train=False)
    np.testing.assert_array_equal(vision.keys(1, state), vision.keys_values(1, state)[0])


def test_layer_by_layer_is_the_same_encoder_with_the_same_parameters() -> None:
    config, variables, present = crops_of("clip")
    mask, one = patch_mask(config, present), pixels(config, 0, 3)
    model = Interleaved(config)
    found = jax.eval_shape(lambda: model.init(jax.random.key(0), one, mask, train=False))["params"]
    assert jax.tree.structure(found) == jax.tree.structure({"vision": variables["params"]})
    nested = {"params": {"vision": variables["params"]}}
    states, sown = jax.jit(lambda v: model.apply(v, one, mask, train=False, mutable="intermediates"))(nested)
    expected = encode(config, variables, one, mask)
    for state, other, hidden in zip(states[:3], expected, sown["intermediates"]["vision"]["hidden"], strict=True):
        np.testing.assert_allclose(state, other, atol=1e-5)
        np.testing.assert_array_equal(state, hidden)
    np.testing.assert_allclose(np.asarray(states[3])[mask], np.asarray(expected[2])[mask], atol=1e-5)


def test_a_prefix_equals_pytorch_with_its_gradients_and_is_not_seen_where_masked() -> None:
    torch = pytest.importorskip("torch")
    config, variables, present = crops_of("clip")
    mask, one = patch_mask(config, present), pixels(config, 0, 3)
    random = np.random.default_rng(2)
    prefix = tuple(random.standard_normal((2, 3, 5, 4, 8)).astype(np.float32))
    seen = np.arange(5)[None] < np.array([[5], [2], [1]])

    @jax.jit
    def gradient(prefix: Any) -> Any:
        def loss(prefix: Any) -> Any:
            states = Interleaved(config).apply({"params": {"vision": variables["params"]}}, one, mask, prefix, seen, train=False)
            return jnp.sum(jnp.cos(states[1]) * mask[..., None].astype(jnp.float32)), states

        return jax.grad(loss, has_aux=True)(prefix)

    found, states = gradient(prefix)
    tensors = tuple(torch.tensor(x, requires_grad=True) for x in prefix)
    params = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), variables["params"]["layer_0"])
    keys = torch.tensor(np.concatenate([seen, mask], axis=1))
    expected = torch_layer(params, torch.tensor(np.asarray(states[0])), keys, tensors, 1.0)
    valid = np.asarray(mask)
    assert np.abs(expected.detach().numpy() - states[1])[valid].max() <= 1e-4
    assert not np.asarray(states[1])[~valid].any()
    expected.cos()[torch.tensor(valid)].sum().backward()
    for ours, theirs in zip(found, tensors, strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), atol=1e-4)
    changed = gradient(tuple(np.where(seen[..., None, None], x, 1e3).astype(np.float32) for x in prefix))[1]
    np.testing.assert_array_equal(changed[2], states[2])


def test_sine_positions_start_every_picture_with_the_same_grid() -> None:
    config = dataclasses.replace(DIALECTS["vit"], sequences=WITH_CROPS, position_init="sine", layers=0)
    variables = ViT(config).init(jax.random.key(0), pixels(config), None, train=False, mutable=True)
    assert set(variables) == {"params"}
    tables = variables["params"]["embeddings"]
    table = sine_table(4, 32)
    assert not tables["position_photo"][0].any()
    np.testing.assert_array_equal(tables["position_photo"][1:], table)
    np.testing.assert_array_equal(tables["position_crops"], np.tile(sine_table(2, 32), (2, 1)))
    np.testing.assert_allclose((table**2).sum(-1), 16.0, rtol=1e-6)  # sin^2 + cos^2 = 1 for each of 16 waves
    assert len(np.unique(table.round(5), axis=0)) == 16
    np.testing.assert_array_equal(table.reshape(4, 4, 32)[1, :, :16], np.tile(table.reshape(4, 4, 32)[1, 0, :16], (4, 1)))
    with pytest.raises(ValueError, match="divisible by 4"):
        sine_table(2, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dialect": "dino"}, "unknown dialect 'dino'"),
        ({"heads": 5}, "does not divide"),
        ({"sequences": ()}, "at least one sequence"),
        ({"sequences": (*PHOTO, *PHOTO)}, "a name of its own"),
        ({"sequences": (ImageSequence("photo", 2, 16),)}, "one photo"),
        ({"sequences": (ImageSequence("photo", 1, 3),)}, "no patch of 4 pixels"),
        ({"activation": "swish"}, "unknown activation"),
        ({"position_init": "zeros"}, "unknown position_init"),
    ],
)
def test_wrong_configurations_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(DIALECTS["vit"], **change)


def test_wrong_inputs_are_named() -> None:
    config = DIALECTS["vit"]
    variables, one = initial(config), pixels(config)
    with pytest.raises(ValueError, match=r"pixels\['photo'\] is \[B, 1, 16, 16, 3\], found \[2, 16, 16, 3\]"):
        ViT(config).apply(variables, {"photo": one["photo"][:, 0]}, None, train=False)
    with pytest.raises(ValueError, match="found \\['crops', 'photo'\\]"):
        ViT(config).apply(variables, one | {"crops": one["photo"]}, None, train=False)
    with pytest.raises(ValueError, match=r"\[B, 17\], found \[2, 5\]"):
        ViT(config).apply(variables, one, np.ones((2, 5), bool), train=False)
    with pytest.raises(ValueError, match="lacks .*hidden_size"):
        ViTConfig.from_transformers({"model_type": "vit"})
    with pytest.raises(ValueError, match="num_channels 1"):
        ViTConfig.from_transformers({"model_type": "clip_vision_model", "num_channels": 1})
    assert ViTConfig.from_transformers({"model_type": "clip"}) == ViTConfig(
        dialect="clip", final_norm=False, activation="quick_gelu", eps=1e-5
    )
