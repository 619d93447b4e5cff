"""RSRNeT and HVPNeT: gradients in every configuration, absent pictures, padding, both tasks, and settings that contradict each other."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small import (
    absent,
    assert_absent_pixels_are_not_read,
    assert_gradients,
    build,
    gradients_both_ways,
    gradients_of,
    outputs_of,
    second_record,
)

from configs import rsrnet as configs
from mmre_jax import systems
from mmre_jax.weights.pretrained import resolve

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def tiny(task="relation", objects="detected", layers=2, kind="resnet", norm="group", **system):
    reference = system.get("flavour") == "reference"
    config = configs.get_config("reference" if reference else "quickstart").copy_and_resolve_references()
    with config.unlocked():
        small = {"width": 16, "layers": layers, "heads": 2, "mlp": 32, "init_std": 0.25, "positions": 48, "max_tokens": 32}
        config.text.update({**small, "dropout": 0.0, "attention_dropout": 0.0})
        blocks = {"depths": (1, 1), "stem": 8, "stem_kernel": 3, "stem_stride": 2, "stem_pool": False, "bottleneck": kind == "resnest"}
        config.vision.update({"kind": kind, **blocks, "norm": norm, "groups": 2, "side": 32, "crop_side": 32, "crops": 2})
        config.system.update({"head_dropout": 0.0, **system})
        config.task.name = task
        config.data.objects = objects
        if reference:
            config.vision.update({"depths": (1, 1, 1, 1), "norm": "frozen"})
            config.system.hidden = 12
    return config


def make(config):
    return build(config, TAGS)


VARIANTS = {
    "paper": {},
    "no crops": {"objects": "none"},
    "leaky ReLU": {"gate": "leaky_relu"},
    "plain": {"stages": "plain"},
    "1t3": {"stages": "1t3"},
    "text-only": {"modalities": "text"},
    "[CLS]": {"pool": "cls"},
    "[CLS], text-only": {"pool": "cls", "modalities": "text"},
    "entities": {"task": "entities"},
    "entities, text-only": {"task": "entities", "modalities": "text"},
    "ResNeSt": {"kind": "resnest"},
    "pyramid": {"kind": "rcnn"},
    "plain pyramid": {"kind": "rcnn", "stages": "plain"},
    "frozen norm": {"norm": "frozen"},
    "trained norm": {"norm": "batch"},
    "reference": {"flavour": "reference", "objects": "grounded", "kind": "resnest"},
    "reference, entities": {"flavour": "reference", "objects": "grounded", "kind": "resnet", "task": "entities"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_trained_parameter_has_a_gradient(name):
    config = tiny(**VARIANTS[name])
    system, batch, variables = make(config)
    gradients = (gradients_both_ways if name == "[CLS]" else gradients_of)(system, batch, variables)
    # A shift of all keys cancels under the softmax where no prefix stands beside them.
    assert_gradients(gradients, set(config.optim.frozen), cancels=config.system.modalities == "text")


@pytest.mark.parametrize("name", ["paper", "plain", "1t3", "entities", "ResNeSt", "pyramid"])
def test_pixels_of_an_absent_picture_never_change_a_prediction(name):
    assert_absent_pixels_are_not_read(*make(tiny(**VARIANTS[name])))


def test_from_cls_a_relation_is_read_off_the_first_token_alone():
    """The head has half the inputs, and where the markers stand means nothing to it; what they are does, since they are words."""
    system, batch, variables = make(tiny(pool="cls"))
    assert variables["params"]["head"]["classifier"]["kernel"].shape == (16, 5)
    assert make(tiny())[2]["params"]["head"]["classifier"]["kernel"].shape == (32, 5)
    found = outputs_of(system, variables, batch)
    moved = {**batch, "text": {**batch["text"], "markers": batch["text"]["markers"][::-1] + 1}}
    np.testing.assert_array_equal(outputs_of(system, variables, moved), found)
    states = system.net.apply(variables, *system.inputs(batch), train=False, mutable=["intermediates"])[1]["intermediates"]["text"][
        "hidden"
    ]
    head = variables["params"]["head"]["classifier"]
    np.testing.assert_allclose(found, np.asarray(states[-1])[:, 0] @ head["kernel"] + head["bias"], atol=1e-5)


@pytest.mark.parametrize(("task", "pool"), [("relation", "markers"), ("relation", "cls"), ("entities", "markers")])
def test_without_pictures_it_is_the_text_only_system(task, pool):
    system, batch, variables = make(tiny(task, pool=pool))
    text, _, _ = make(tiny(task, pool=pool, modalities="text"))
    assert text.plan == ()
    own = {"params": {name: variables["params"][name] for name in ("text", "head")}}
    np.testing.assert_allclose(outputs_of(system, variables, absent(batch)), outputs_of(text, own, batch), atol=1e-5)


@pytest.mark.parametrize("name", ["paper", "entities", "reference"])
def test_padding_and_other_records_change_nothing(name):
    system, batch, variables = make(tiny(**VARIANTS[name]))
    whole = outputs_of(system, variables, batch)[1:2]
    expected = whole[:, :5] if whole.ndim == 3 else whole
    np.testing.assert_allclose(outputs_of(system, variables, second_record(batch)), expected, atol=1e-5)


def test_reference_attends_to_absent_crops_as_zeros():
    system, batch, variables = make(tiny(**VARIANTS["reference"]))
    assert [(s.name, s.count) for s in system.plan] == [("photo", 1), ("grounded", 2)]
    noise = {k: 255 - v for k, v in batch["pictures"].items()}
    found = outputs_of(system, variables, absent(batch))
    np.testing.assert_array_equal(found, outputs_of(system, variables, {**absent(batch), "pictures": noise}))
    assert not np.allclose(found, outputs_of(system, variables, batch), atol=1e-3)
    config = tiny(**VARIANTS["reference"])
    with config.unlocked():
        config.system.modalities = "text"
    text, _, _ = make(config)
    own = {"params": {name: variables["params"][name] for name in ("text", "head")}}
    assert not np.allclose(found, outputs_of(text, own, batch), atol=1e-3), "zeros have a prefix, too"


def test_positions_count_the_prefix_in_the_released_roberta_alone():
    offsets = {}
    for kind in ("roberta", "bert"):
        config = tiny(**VARIANTS["reference"])
        with config.unlocked():
            config.text.kind = kind
        offsets[kind] = make(config)[0].net.config.text.position_offset
    assert offsets == {"roberta": 4 * 3, "bert": 0}
    assert make(tiny())[0].net.config.text.position_offset == 0


@pytest.mark.parametrize(
    ("variant", "text", "split", "gate", "task"),
    [
        ("mnre", "roberta", True, "selu", "relation"),
        ("twitter2017", "roberta", True, "selu", "entities"),
        ("hvpnet_mnre", "bert", False, "leaky_relu", "relation"),
        ("hvpnet_twitter2015", "bert", False, "leaky_relu", "entities"),
    ],
)
def test_the_two_published_systems(variant, text, split, gate, task):
    system = systems.build(resolve(configs.get_config(variant)), vocab_size=40, labels=TAGS)
    net = system.net.config
    assert (net.text.kind, net.vision.split, net.prefix.gate, net.task) == (text, split, gate, task)
    assert (net.text.layers, net.vision.depths, net.vision.norm) == (12, (3, 4, 6, 3), "frozen")
    assert [(slot.count, slot.side, slot.resize) for slot in system.plan] == [(1, 224, "crop"), (3, 224, "crop")]


@pytest.mark.parametrize(
    ("variant", "lr", "warmup", "head", "batch", "epochs", "pool", "frozen"),
    [
        ("mnre", 1e-5, 0.1, 1e-5, 16, 15, "cls", ()),
        ("twitter2015", 3e-5, 0.1, 3e-5, 16, 30, "markers", ()),
        ("twitter2017", 3e-5, 0.1, 3e-5, 16, 30, "markers", ()),
        ("released_mnre", 3e-5, 0.06, 3e-5, 16, 15, "markers", ("vision",)),
        ("released_twitter2015", 3e-5, 0.01, 5e-2, 16, 30, "markers", ("vision",)),
        ("released_twitter2017", 3e-5, 0.01, 5e-2, 16, 30, "markers", ("vision",)),
        ("hvpnet_mnre", 3e-5, 0.06, 3e-5, 16, 15, "markers", ("vision",)),
        ("hvpnet_twitter2015", 3e-5, 0.01, 5e-2, 8, 30, "markers", ("vision",)),
        ("hvpnet_twitter2017", 3e-5, 0.01, 5e-2, 8, 30, "markers", ("vision",)),
    ],
)
def test_published_settings(variant, lr, warmup, head, batch, epochs, pool, frozen):
    """The paper's "Experimental setup" and the scripts of the two releases; none of them clips gradients."""
    config = configs.get_config(variant)
    optim, train = config.optim, config.train
    assert (optim.lr, optim.warmup, optim.clip, optim.weight_decay) == (lr, warmup, 0.0, 1e-2)
    assert optim.lr * optim.multipliers.get("head", 1.0) == pytest.approx(head) and optim.frozen == frozen
    assert (train.batch, train.epochs, config.system.pool) == (batch, epochs, pool)


def test_what_is_small_keeps_its_settings():
    for variant in (name for name in configs.VARIANTS if name.startswith(("quickstart", "minilm"))):
        config = configs.get_config(variant)
        assert config.optim.clip == 1.0 and config.system.pool == "markers" and not config.optim.frozen


def test_shares_ignore_invalid_records():
    system, batch, variables = make(tiny())
    batch["valid"] = np.array([True, False, True])
    share, metrics, updates = jax.jit(lambda v: system.loss(v, batch, jax.random.key(0), axis=None, train=False))(variables)
    logits = np.asarray(outputs_of(system, variables, batch), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(share, -np.mean([log_p[i, batch["label"][i]] for i in (0, 2)]), rtol=1e-5)
    assert metrics["loss"][1] == 2 and not updates


def test_a_trained_norm_updates_its_statistics():
    system, batch, variables = make(tiny(norm="batch"))
    updates = jax.jit(lambda v: system.loss(v, batch, jax.random.key(0), axis=None, train=True)[2])(variables)
    assert jax.tree.structure(updates) == jax.tree.structure({"batch_stats": variables["batch_stats"]})
    before, after = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (variables["batch_stats"], updates))
    assert (before != after).mean() > 0.9


def test_levels_of_a_pyramid_are_built_as_far_as_they_are_read():
    built = {name: set(make(tiny(**VARIANTS[name]))[2]["params"]["vision"]["pyramid"]) for name in ("pyramid", "plain pyramid")}
    assert built["pyramid"] == {"inner_0", "inner_1", "layer_0", "layer_1"} and built["plain pyramid"] == {"inner_1", "layer_1"}


def test_bf16_computation_keeps_fp32_parameters():
    config = tiny()
    with config.unlocked():
        config.train.dtype = "bfloat16"
    system, batch, variables = make(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(system.init, jax.random.key(0), batch))} == {jnp.dtype("float32")}
    a, b = (jax.jit(s.predict)(variables, batch)["probabilities"] for s in (system, make(tiny())[0]))
    assert a.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavour": "released"}, "system.flavour=.* is not one of paper, reference"),
        ({"modalities": "image"}, "system.modalities=.* is not one of both, text"),
        ({"stages": "all"}, "system.stages=.* is not one of gates, 1t3, plain"),
        ({"gate": "relu"}, "system.gate=.* is not one of selu, leaky_relu"),
        ({"pool": "mean"}, "system.pool=.* is not one of markers, cls"),
        ({"pool": "cls", "task": "entities"}, "entities are read at every token: set system.pool=markers"),
        ({"pool": "cls", "flavour": "reference"}, "the released code reads relations at the markers: set system.pool=markers"),
        ({"stages": "1t3", "layers": 3}, "1t3 gives 2 stages equal shares"),
        ({"kind": "vit"}, "vision.kind='vit' has none"),
        ({"task": "triples"}, "system 'rsrnet' has the tasks relation and entities"),
        ({"flavour": "reference", "stages": "plain"}, "the reference flavour has gates"),
        ({"vision.crop_side": 16}, "vision.crop_side=16 is not 32"),
        ({"flavour": "reference", "optim.frozen": ()}, "name vision in optim.frozen"),
        ({"flavour": "reference", "vision.depths": (1, 1)}, "over the four stages"),
        ({"flavour": "reference", "kind": "rcnn"}, "the released code has a ResNet or a ResNeSt: set vision.kind, found 'rcnn'"),
    ],
)
def test_contradictions_are_refused(change, message):
    config = tiny(**{name: value for name, value in change.items() if "." not in name})
    with config.unlocked():
        config.update_from_flattened_dict({name: value for name, value in change.items() if "." in name})
    with pytest.raises(ValueError, match=message):
        make(config)


def test_maps_too_small_to_pool_are_refused_by_name():
    config = tiny(objects="none")
    with config.unlocked():
        config.vision.side = 4
    with pytest.raises(ValueError, match="vision.side=4 leaves the last of 2 stages fewer than 2 x 2 cells"):
        make(config)


@pytest.mark.parametrize("norm", ["batch", "frozen", "group"])
def test_statistics_are_equal_on_all_devices_and_move_where_they_are_trained(norm):
    """One device has records without pictures: to it the running means of the first layer, which are 0, stay as they are."""
    system, batch, variables = make(tiny(norm=norm, objects="none"))
    batch = jax.tree.map(lambda x: np.concatenate([x, x])[:4], batch)
    for present in batch["present"].values():
        present[:2] = False
    assert ("batch_stats" in variables) == (norm != "group")
    if norm == "batch":
        variables = {**variables, "batch_stats": jax.tree.map(np.zeros_like, variables["batch_stats"])}
    shards = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), batch)

    def updates(shard):
        return system.loss(variables, shard, jax.random.key(0), axis="devices", train=True)[2]

    found = jax.pmap(updates, axis_name="devices")(shards)
    assert bool(jax.tree.leaves(found)) == (norm == "batch"), "statistics that nothing trains are no updates"
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        np.testing.assert_array_equal(leaf[0], leaf[1], err_msg=jax.tree_util.keystr(path))
    if norm == "batch":
        own = [
            system.loss(variables, jax.tree.map(lambda x, d=d: x[d], shards), jax.random.key(0), axis=None, train=True)[2] for d in (0, 1)
        ]
        alone, both = (jax.tree.leaves(x) for x in (own[0], found))
        still = [np.asarray(x) == 0 for x in alone]
        assert any((s & (np.asarray(y[0]) != 0)).any() for s, y in zip(still, both, strict=True)), "one device's would have stayed"
        for a, b, mean in zip(alone, jax.tree.leaves(own[1]), both, strict=True):
            np.testing.assert_allclose((a + b) / 2, mean[0], rtol=1e-5, atol=1e-6)
