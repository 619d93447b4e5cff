"""Encoders named by a configuration: sizes are taken from their directories, tensors from their files."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import traverse_util
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from configs import hvformer
from mmre_jax.encoders.bert import Bert
from mmre_jax.encoders.from_config import bert_config, gpt_config, photo_and_objects, resnet_config, text_config, vgg_config, vit_config
from mmre_jax.encoders.gpt import Gpt, GptConfig
from mmre_jax.encoders.resnet import ResNet, ResNetConfig
from mmre_jax.encoders.vgg import Vgg, VggConfig
from mmre_jax.encoders.vit import ViT
from mmre_jax.training.checks import rehearse
from mmre_jax.weights import pretrained
from mmre_jax.weights.bert import bert_rules
from mmre_jax.weights.gpt import write_gpt
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.resnest import resnest_rules
from mmre_jax.weights.resnet import resnet_rules
from mmre_jax.weights.rules import write
from mmre_jax.weights.vgg import vgg_rules
from mmre_jax.weights.vit import vit_rules

BERT = {
    "model_type": "bert",
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-7,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
SIZES = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 12, "image_size": 16, "patch_size": 8}
CLIP = {"model_type": "clip_vision_model", **SIZES, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-4}
VIT = {
    "model_type": "vit",
    **SIZES,
    "num_channels": 3,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-4,
    "initializer_range": 0.02,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "qkv_bias": True,
}
GPT = {"vocab_size": 30, "width": 8, "layers": 3, "heads": 2, "mlp": 12, "positions": 40, "eps": 1e-6, "init_std": 0.0}
ZEROS = {name: 0 for name in ("width", "layers", "heads", "mlp")}


def directory(path, description):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(description))
    return str(path)


@pytest.fixture
def given(tmp_path):
    """A configuration that leaves every size to tiny directories, by the image encoder's description."""

    def make(vision=CLIP, text=BERT, **changes):
        config = hvformer.get_config("quickstart").unlock()
        config.text.update({**ZEROS, "positions": 0, "max_tokens": 32, "weights": directory(tmp_path / "bert", text)})
        config.vision.update({**ZEROS, "patch": 0, "side": 0, "crop_side": 8, "crops": 2, "weights": directory(tmp_path / "vit", vision)})
        config.data.objects = "detected"
        config.update_from_flattened_dict(changes)
        return config.lock()

    return make


def fields(section, **expected):
    return {name: section[name] for name in expected}, expected


@pytest.mark.parametrize(("vision", "dialect"), [(CLIP, "clip"), (VIT, "vit")])
def test_zeros_become_what_the_directories_have(given, vision, dialect):
    config = given(vision)
    found = pretrained.resolve(config)
    sizes = {"width": 8, "layers": 3, "heads": 2, "mlp": 12}
    got, expected = fields(found.text, **sizes, positions=40, types=2, eps=1e-7, activation="relu")
    assert got == expected
    got, expected = fields(found.vision, **sizes, patch=8, side=16, eps=1e-4, dialect=dialect, activation=vision["hidden_act"])
    assert got == expected
    assert found.is_locked and config.text.width == 0, "the configuration given stays as it is"
    assert pretrained.resolve(found).to_dict() == found.to_dict()


def test_another_text_encoder_brings_its_own_positions(given):
    """RoBERTa's table has 514 rows where BERT's has 512: exchanging one for the other is an ablation."""
    assert pretrained.resolve(given(**{"text.positions": 514})).text.positions == 40


def test_without_weights_nothing_changes():
    config = hvformer.get_config("quickstart")
    assert pretrained.resolve(config).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("key", "value", "has"),
    [
        ("text.width", 16, 8),
        ("text.layers", 4, 3),
        ("vision.heads", 4, 2),
        ("vision.layers", 12, 3),
        ("vision.patch", 4, 8),
        ("vision.side", 224, 16),
    ],
)
def test_a_size_that_contradicts_the_weights_is_refused(given, key, value, has):
    with pytest.raises(WeightError, match=rf"{key}={value}, but .* has {has} \(0 takes what the weights have\)"):
        pretrained.resolve(given(**{key: value}))


GPTS = {"gpt2": GptConfig(**GPT), "openai-gpt": GptConfig(**{**GPT, "mlp": 32}, kind="gpt")}


@pytest.mark.parametrize("name", GPTS)
def test_a_gpt_directory_gives_kind_and_sizes_and_fits_no_encoder_that_looks_both_ways(given, name):
    described = GPTS[name]
    config = given(text=described.to_transformers() | {"model_type": name})
    found = pretrained.resolve(config)
    assert (
        gpt_config(found.text, 30)
        == text_config(found.text, 30)
        == dataclasses.replace(described, dropout=0.0, attention_dropout=0.0, attention="auto")
    )
    said = rf"looks both ways: text.kind=bert or roberta, found '{described.kind}', which is what text.weights=.*bert holds"
    with pytest.raises(ValueError, match=said):
        rehearse(config)
    longer = config.copy_and_resolve_references().unlock()
    longer.text.max_tokens = 41
    with pytest.raises(ValueError, match=r"text\.max_tokens=41 exceeds the text encoder's 40 positions"):
        pretrained.resolve(longer)


@pytest.mark.parametrize("name", GPTS)
def test_a_gpt_is_loaded_from_its_directory(given, name):
    config = pretrained.resolve(given(text=GPTS[name].to_transformers()))
    words = np.zeros((1, 3, GPTS[name].width), np.float32)
    published, own = (filled(Gpt(gpt_config(config.text, size)), seed, words) for size, seed in ((30, 0), (34, 1)))
    save_file(write_gpt(published, GPTS[name].kind), f"{config.text.weights}/model.safetensors")
    found = pretrained.load(config, (), {"params": {"text": own}})["params"]["text"]
    expected = {**published, "word": np.concatenate([published["word"], own["word"][30:]])}
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_causal_kind_is_refused_before_any_data_are_read():
    config = hvformer.get_config("quickstart").unlock()
    config.text.kind = "gpt2"
    with pytest.raises(ValueError, match=r"looks both ways: text.kind=bert or roberta, found 'gpt2'$"):
        rehearse(config.lock())
    config = hvformer.get_config("quickstart").unlock()
    with pytest.raises(ValueError, match=r"is a causal language model: text.kind=gpt2 or gpt, found 'bert'$"):
        gpt_config(config.text, 30)
    config.text.update({"tokenizer": "byte_bpe", "vocab_size": 80})
    with pytest.raises(ValueError, match="text.vocab_size=80 is too small for text.tokenizer=byte_bpe"):
        rehearse(config.lock())


def test_fewer_layers_are_allowed(given):
    found = pretrained.resolve(given(**{"text.layers": 2, "vision.layers": 1}))
    assert (found.text.layers, found.vision.layers) == (2, 1)


def test_other_kinds_and_missing_directories_are_named(given, tmp_path):
    with pytest.raises(WeightError, match=r"text\.weights=.*bert: this is the configuration of a 't5' model, expected .*'openai-gpt'"):
        pretrained.resolve(given(text={**BERT, "model_type": "t5"}))
    config = hvformer.get_config("quickstart").unlock()
    config.vision.weights = str(tmp_path / "nowhere")
    with pytest.raises(WeightError, match="nowhere is not a directory"):
        pretrained.resolve(config)


def test_sizes_left_out_without_weights_are_named():
    config = hvformer.get_config("quickstart").unlock()
    config.text.update({"width": 0, "mlp": 0})
    with pytest.raises(ValueError, match=r"text\.width, text\.mlp unset: give sizes, or --config\.text\.weights=DIR"):
        pretrained.resolve(config)
    config.text.update({"width": 64, "mlp": 64, "max_tokens": 33})
    with pytest.raises(ValueError, match=r"text\.max_tokens=33 exceeds the text encoder's 32 positions"):
        pretrained.resolve(config)


def filled(module, seed, *inputs):
    """Parameters of a module, every number another one."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=False))["params"]
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)


def encoders(config, objects, vocab_size, seed):
    """(plan, parameters of the text encoder, of the image encoder) of a resolved configuration."""
    plan = photo_and_objects(config.vision, objects)
    ids = np.zeros((1, 4), np.int32)
    pixels = {slot.name: np.zeros((1, slot.count, slot.side, slot.side, 3), np.float32) for slot in plan}
    text = filled(Bert(bert_config(config.text, vocab_size)), seed, ids, ids == 0)
    return plan, text, filled(ViT(vit_config(config.vision, plan, config.vision.layers)), seed + 1, pixels, None)


def publish(config, prefix):
    """Writes random weights for 30 words and a photo into the directories that a configuration names."""
    plan, text, image = encoders(config, "none", 30, 0)
    rules = vit_rules(vit_config(config.vision, plan, config.vision.layers), prefix)
    save_file(write(bert_rules(), text), f"{config.text.weights}/model.safetensors")
    save_file(write(rules, image), f"{config.vision.weights}/model.safetensors")
    return text, image


@pytest.mark.parametrize(("vision", "prefix"), [(CLIP, "vision_model."), (VIT, "")], ids=["clip", "vit"])
@pytest.mark.parametrize("layers", [0, 2])
def test_loaded_parameters_are_the_files_and_the_rest_stays(given, vision, prefix, layers):
    """Marker rows, position tables of crops, and other parts of the system keep what they were initialised with."""
    config = given(vision)
    published = publish(pretrained.resolve(config), prefix)
    config = config.unlock()
    config.text.layers = config.vision.layers = layers
    resolved = pretrained.resolve(config)
    plan, text, image = encoders(resolved, "detected", 34, 7)
    head = {"kernel": np.ones((2, 2), np.float32)}
    found = pretrained.load(resolved, plan, {"params": {"text": text, "vision": image, "head": head}})["params"]

    assert found["head"] is head
    np.testing.assert_array_equal(found["text"]["embeddings"]["word"][:30], published[0]["embeddings"]["word"])
    np.testing.assert_array_equal(found["text"]["embeddings"]["word"][30:], text["embeddings"]["word"][30:])
    np.testing.assert_array_equal(found["vision"]["embeddings"]["position_detected"], image["embeddings"]["position_detected"])
    special = ("embeddings/word", "embeddings/position_detected")
    for part, files, own in (("text", published[0], text), ("vision", published[1], image)):
        got, files, own = (traverse_util.flatten_dict(tree, sep="/") for tree in (found[part], files, own))
        assert set(got) == set(own)
        for name in set(got) - set(special):
            np.testing.assert_array_equal(got[name], files[name])


def test_a_system_without_image_encoder_reads_no_image_weights(given):
    sizes = {"width": 8, "layers": 1, "heads": 2, "mlp": 8, "positions": 32, "weights": ""}
    resolved = pretrained.resolve(given(**{f"text.{name}": value for name, value in sizes.items()}))
    variables = {"params": {"text": {"a": np.ones(1)}}}
    assert pretrained.load(resolved, (), variables) == variables


CONVOLUTIONS = {
    "resnet": ResNetConfig(depths=(1, 2), stem=4),
    "resnest": ResNetConfig(depths=(1, 2), stem=8, stem_kernel=3, split=True),
}


@pytest.fixture(params=CONVOLUTIONS)
def convolution(request, tmp_path):
    """(a configuration that names a directory with a bare state dict and leaves its sizes to it, the variables in that directory)."""
    published = CONVOLUTIONS[request.param]
    shapes = jax.eval_shape(lambda: ResNet(published).init(jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32), train=False))
    random = np.random.default_rng(3)
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)
    rules = resnest_rules(published) if published.split else resnet_rules(published)
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(write(rules, variables), folder / "model.safetensors")
    config = hvformer.get_config("quickstart").unlock()
    config.vision.update({"kind": request.param, "depths": (), "stem": 0, "side": 32, "weights": str(folder)})
    return config.lock(), variables


def test_convolutional_encoders_are_described_by_their_tensors(convolution):
    config, _ = convolution
    found = pretrained.resolve(config)
    assert resnet_config(found.vision) == CONVOLUTIONS[config.vision.kind]
    assert pretrained.resolve(found).to_dict() == found.to_dict()
    fewer = config.copy_and_resolve_references().unlock()
    fewer.vision.depths = (1,)
    assert resnet_config(pretrained.resolve(fewer).vision).depths == (1,)


def test_their_variables_are_the_files_and_the_rest_stays(convolution):
    config, published = convolution
    config = pretrained.resolve(config)
    head = {"kernel": np.ones(2, np.float32)}
    variables = {kind: {"vision": jax.tree.map(np.zeros_like, tree)} for kind, tree in published.items()}
    variables["params"]["head"] = variables["batch_stats"]["head"] = head
    found = pretrained.load(config, (), variables)
    expected = {kind: {"vision": tree, "head": head} for kind, tree in published.items()}
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    lower = {kind: {"vision": {n: x for n, x in tree["vision"].items() if n != "stage_1"}} for kind, tree in variables.items()}
    lower = pretrained.load(config, (), lower)
    assert set(lower["params"]["vision"]) == set(published["params"]) - {"stage_1"}
    np.testing.assert_array_equal(
        lower["batch_stats"]["vision"]["stem_0"]["norm"]["var"], published["batch_stats"]["stem_0"]["norm"]["var"]
    )


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("depths", (1, 2, 1), r"vision.depths=\(1, 2, 1\), but .* has \(1, 2\)"),
        ("stem", 16, "vision.stem=16, but"),
        ("stem_kernel", 5, "vision.stem_kernel=5, but"),
        ("side", 0, "vision.side unset"),
    ],
)
def test_settings_that_contradict_a_convolutional_encoder_are_refused(convolution, key, value, named):
    config = convolution[0].copy_and_resolve_references().unlock()
    config.vision[key] = value
    with pytest.raises(ValueError, match=named):
        pretrained.resolve(config)


def test_the_other_kind_of_convolutional_encoder_is_refused(convolution):
    config = convolution[0].copy_and_resolve_references().unlock()
    config.vision.kind = "resnet" if config.vision.kind == "resnest" else "resnest"
    with pytest.raises(WeightError, match=f"holds a ResNe[a-zS]*t, vision.kind={config.vision.kind}"):
        pretrained.resolve(config)


def test_an_encoder_of_another_kind_is_never_built(convolution):
    config = pretrained.resolve(convolution[0])
    plan = photo_and_objects(config.vision, "none")
    assert plan[0].mean == (0.485, 0.456, 0.406) and plan[0].std == (0.229, 0.224, 0.225)
    with pytest.raises(ValueError, match="is a ViT here"):
        vit_config(config.vision, plan, 1)
    with pytest.raises(ValueError, match="3 stages of the image encoder are asked for"):
        resnet_config(config.vision, 3)
    with pytest.raises(ValueError, match="is convolutional here"):
        resnet_config(hvformer.get_config("quickstart").vision)


def test_sizes_and_tensors_of_a_vgg(tmp_path, given):
    """As torchvision has them: depths and the first width are read off the shapes, and fc7 is left alone."""
    sizes = VggConfig(((4,), (8, 8), (16,)))
    shapes = jax.eval_shape(lambda: Vgg(sizes).init(jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32), train=False))["params"]
    params = jax.tree.map(lambda leaf: np.random.default_rng(3).normal(size=leaf.shape).astype(np.float32), shapes)
    tensors = {**write(vgg_rules(sizes), params), "classifier.0.weight": np.zeros((2, 2), np.float32)}
    folder = tmp_path / "vgg"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    changes = {"vision.kind": "vgg", "vision.depths": (), "vision.stem": 0, "vision.side": 16, "vision.weights": str(folder)}
    plain = given(**changes)
    config = pretrained.resolve(plain)
    assert (config.vision.depths, config.vision.stem) == ((1, 2, 1), 4) and vgg_config(config.vision) == sizes
    blank = jax.tree.map(np.zeros_like, params)
    with config.unlocked():
        config.text.weights = ""  # of the image encoder alone
    found = pretrained.load(config, (), {"params": {"vision": blank}})["params"]["vision"]
    jax.tree.map(np.testing.assert_array_equal, found, params)

    for changed, message in (({"vision.depths": (1, 1)}, "vision.depths="), ({"vision.stem": 8}, "vision.stem=8, but .* has 4")):
        wrong = ConfigDict(plain.to_dict())
        wrong.update_from_flattened_dict(changed)
        with pytest.raises(WeightError, match=message):
            wrong = pretrained.resolve(wrong).copy_and_resolve_references().unlock()
            wrong.text.weights = ""
            pretrained.load(wrong, (), {"params": {"vision": blank}})
