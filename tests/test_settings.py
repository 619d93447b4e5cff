"""Every setting has one declaration: configurations hold what is declared, and what is out of its range is told before anything is read."""

from __future__ import annotations

import importlib
import math
import re

import pytest
from ml_collections import ConfigDict

from configs import dgf_pt, hvformer, ifaformer, mkgformer, qeot, rsrnet
from mmre_jax import declare, settings, systems
from mmre_jax.data import datasets
from mmre_jax.training.checks import rehearse
from mmre_jax.training.train import train

NAMES = (
    "adapted",
    "detector",
    "dgf_pt",
    "hvformer",
    "ifaformer",
    "mkgformer",
    "pipeline",
    "qeot",
    "rsrnet",
    "text_baselines",
    "visualbert",
)
MODULES = {name: importlib.import_module(f"configs.{name}") for name in NAMES}
SECTIONS = [(name, section) for name, section in settings.COMMON.items()]
SECTIONS += [(f"system.{name}", section) for name, section in systems.SETTINGS.items()]
SECTIONS += [(f"task.{name}", section) for name, section in settings.TASK.items()]


def changed(config, **changes):
    found = ConfigDict(config.to_dict())
    found.update_from_flattened_dict(changes)
    return found.lock()


@pytest.mark.parametrize(("name", "section"), SECTIONS, ids=[name for name, _ in SECTIONS])
def test_every_default_is_in_its_range_and_has_a_meaning(name, section):
    assert declare.problems(name, declare.defaults(section), section) == []
    for row in settings.rows(name, section):
        assert row.meaning and "\n" not in row.meaning and row.range and not row.differs, row.name
        assert row.default == row.value


@pytest.mark.parametrize("name", MODULES)
def test_every_variant_holds_what_is_declared(name):
    for variant in MODULES[name].VARIANTS:
        config = MODULES[name].get_config(variant)
        settings.check(config)
        assert list(config.system) and set(settings.sections(config)) == set(config), "no section is left undeclared"


@pytest.mark.parametrize(("name", "section"), SECTIONS, ids=[name for name, _ in SECTIONS])
def test_every_number_refuses_what_is_no_number(name, section):
    for key, setting in section.items():
        if isinstance(setting, declare.Setting) and type(setting.default) in (int, float):
            for value in (math.nan, math.inf, -math.inf, -2, True, "1", None):
                assert not setting.accepts(value), f"{name}.{key}={value}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim.clip": -1.0}, "optim.clip=-1.0 is not a number of at least 0"),
        ({"optim.lr": -1e-3}, "optim.lr=-0.001 is not a number of at least 0"),
        ({"optim.lr": math.nan}, "optim.lr=nan is not a number of at least 0"),
        ({"optim.warmup": 100.0}, "optim.warmup=100.0 is not a number in [0, 1]: share of all steps"),
        ({"optim.warmup": -0.5}, "optim.warmup=-0.5 is not a number in [0, 1]: share of all steps"),
        ({"optim.weight_decay": -1.0}, "optim.weight_decay=-1.0 is not a number of at least 0"),
        ({"optim.b1": 1.0}, "optim.b1=1.0 is not a number in [0, 1)"),
        ({"optim.eps": 0.0}, "optim.eps=0.0 is not a number above 0"),
        ({"optim.accumulate": 0}, "optim.accumulate=0 is not a whole number of at least 1"),
        ({"optim.schedule": "cosine"}, "optim.schedule='cosine' is not one of linear, constant"),
        ({"optim.multipliers": {"head": -1.0}}, "optim.multipliers={'head': -1.0} is not a dictionary from names to numbers of at least 0"),
        ({"text.dropout": 1.5}, "text.dropout=1.5 is not a number in [0, 1)"),
        ({"text.tokenizer": "bpee"}, "text.tokenizer='bpee' is not one of bpe, word"),
        ({"vision.norm": "layer"}, "vision.norm='layer' is not one of frozen, batch, global, group"),
        ({"vision.level": -1}, "vision.level=-1 is not a whole number of at least 0"),
        ({"vision.norm_eps": -1e-5}, "vision.norm_eps=-1e-05 is not a number of at least 0"),
        ({"vision.stem_stride": 3}, "vision.stem_stride=3 is not a whole number in [1, 2]"),
        ({"train.batch": 0}, "train.batch=0 is not a whole number of at least 1"),
        ({"train.batch": -8}, "train.batch=-8 is not a whole number of at least 1"),
        ({"train.epochs": 0}, "train.epochs=0 is not a whole number of at least 1"),
        ({"train.seed": -1}, "train.seed=-1 is not a whole number in [0, 4294967295]"),
        ({"train.seed": 2**32}, "train.seed=4294967296 is not a whole number in [0, 4294967295]"),
        ({"train.seeds": (1, 1)}, "train.seeds=(1, 1) is not a tuple of whole numbers in [0, 4294967295], different"),
        ({"train.dtype": "float16"}, "train.dtype='float16' is not one of float32, bfloat16"),
        ({"train.save_every": -1}, "train.save_every=-1 is not a whole number of at least 0"),
        ({"data.workers": -2}, "data.workers=-2 is not a whole number of at least -1"),
        ({"data.image_share": 2.0}, "data.image_share=2.0 is not a number in [0, 1]"),
        ({"data.train_share": 0.0}, "data.train_share=0.0 is not a number in (0, 1]"),
        ({"data.buckets": (48, 32)}, "data.buckets=(48, 32) is not a tuple of whole numbers of at least 1, ascending"),
        ({"data.buckets": (0, 8)}, "data.buckets=(0, 8) is not a tuple of whole numbers of at least 1, ascending"),
        ({"data.counts": (8, 8, -8)}, "data.counts=(8, 8, -8) is not a tuple of whole numbers of at least 1, 3 of them"),
        ({"data.objects": "found"}, "data.objects='found' is not one of detected, none, grounded"),
        ({"task.threshold": 1.5}, "task.threshold=1.5 is not a number in [0, 1]"),
        ({"task.iou": 1.0}, "task.iou=1.0 is not a number in [0, 1)"),
        ({"task.merge_iou": 0.0}, "task.merge_iou=0.0 is not a number in (0, 1]"),
        ({"task.max_targets": 0}, "task.max_targets=0 is not a whole number of at least 1"),
        ({"system.queries": 0}, "system.queries=0 is not a whole number of at least 1"),
        ({"system.weights.giou": -3.5}, "system.weights.giou=-3.5 is not a number of at least 0"),
        ({"system.name": "qoet"}, f"system.name='qoet' is not one of {', '.join(systems.BUILDERS)}"),
        ({"parallel.devices": -1}, "parallel.devices=-1 is not a whole number of at least 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_value_out_of_its_range_ends_a_run_before_anything_is_there(tmp_path, changes, message):
    with pytest.raises(declare.SettingError) as error:
        train(changed(qeot.get_config("quickstart"), **changes), tmp_path / "run")
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (dgf_pt, {"text.positions": 32}, "the stages read up to 59 places (4 of prefixes, 4 of objects, 16 of image"),
        (dgf_pt, {"vision.resize": "cover"}, "boxes are parts of the whole photo, which vision.resize=squash alone keeps"),
        (hvformer, {"text.kind": "gpt2"}, "this system's text encoder looks both ways: text.kind=bert or roberta, found 'gpt2'"),
        (hvformer, {"vision.kind": "vgg"}, "the experts look at a transformer's levels: vision.kind='vgg' has none"),
        (hvformer, {"vision.patch": 15}, "vision.patch=15 does not divide vision.side=64"),
        (hvformer, {"data.objects": "detected", "vision.crop_side": 40}, "vision.patch=16 does not divide vision.crop_side=40"),
        (hvformer, {"vision.heads": 5}, "vision.heads=5 does not divide vision.width=64"),
        (hvformer, {"text.heads": 5}, "text.heads=5 does not divide text.width=64"),
        (hvformer, {"system.heads": 5}, "system.heads=5 does not divide text.width=64"),
        (hvformer, {"text.max_tokens": 33, "data.buckets": (16, 32)}, "text.max_tokens=33 exceeds the largest of data.buckets=(16, 32)"),
        (hvformer, {"text.positions": 16}, "text.max_tokens=32 exceeds the text encoder's 16 positions"),
        (hvformer, {"system.levels": (0, 3)}, "system.levels=(0, 3) go beyond the image encoder's vision.layers=2"),
        (hvformer, {"text.kind": "vectors"}, "this system's text encoder looks both ways: text.kind=bert or roberta, found 'vectors'"),
        (hvformer, {"text.vectors": "glove.txt"}, "text.vectors=glove.txt: the text encoder reads no word vectors, text.kind='bert'"),
        (hvformer, {"text.width": 0}, "text.width unset: give sizes, or --config.text.weights=DIR"),
        (hvformer, {"vision.layers": 0}, "vision.layers unset: give sizes, or --config.vision.weights=DIR"),
        (ifaformer, {"vision.layers": 3}, "the streams share keys and values"),
        (mkgformer, {"vision.width": 32}, "the streams share keys, and tokens are compared with patches"),
        (hvformer, {"optim.frozen": ("vison",)}, "optim.frozen names ['vison'], but the parts of this system are ['"),
        (rsrnet, {"optim.multipliers": {"hed": 2.0}}, "optim.multipliers names ['hed'], but the trained parts are ['"),
        (qeot, {"optim.frozen": ("project", "select")}, "optim.frozen names ['select'], but the parts of this system are ['decoder"),
        (qeot, {"vision.kind": "rcnn", "vision.level": 3}, "vision.level=3: a pyramid over the 2 stages of vision.depths=(1, 1)"),
        (qeot, {"vision.groups": 5}, "vision.groups=5 does not divide vision.stem=32"),
        (qeot, {"system.heads": 5}, "system.heads=5 does not divide text.width=64"),
        (rsrnet, {"vision.groups": 5}, "vision.groups=5 does not divide vision.stem=32"),
        (rsrnet, {"vision.side": 8, "vision.crop_side": 8}, "vision.side=8 leaves the last of 2 stages fewer than 2 x 2 cells"),
        (rsrnet, {"system.stages": "1t3", "text.layers": 3}, "1t3 gives 2 stages equal shares"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_named_before_anything_is_there(tmp_path, module, changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        train(changed(module.get_config("quickstart"), **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", MODULES)
def test_every_variant_that_needs_no_weights_fits(name):
    """Of the others sizes come from the weights, or are BERT's; then they fit as well."""
    for variant in MODULES[name].VARIANTS:
        config = MODULES[name].get_config(variant)
        if config.text.width and config.vision.width:
            rehearse(config)


def test_the_data_sets_are_those_that_are_named():
    assert all(name in settings.DATA["name"].meaning for name in datasets.DATASETS)


def test_missing_and_unknown_sections_and_settings():
    config = ConfigDict(hvformer.get_config("quickstart").to_dict())
    config.mine = ConfigDict({"anything": 1})
    settings.check(config)  # nobody declares it, so it is whose it is
    del config.optim.lr
    config.train.epoch = 3
    del config.parallel
    with pytest.raises(declare.SettingError) as error:
        settings.check(config)
    assert str(error.value).splitlines() == [
        "3 settings are wrong:",
        "  optim.lr is missing: a number of at least 0 (the highest learning rate)",
        "  train.epoch: there is no such setting; did you mean epochs?",
        "  section parallel is missing",
    ]
    with pytest.raises(declare.SettingError, match="found NoneType"):
        settings.check(None)


def test_a_sixth_system_declares_its_own_section_or_keeps_it_to_itself(monkeypatch):
    config = ConfigDict(hvformer.get_config("quickstart").to_dict())
    config.system = ConfigDict({"name": "toy", "flavour": "paper", "size": 0})
    with pytest.raises(declare.SettingError, match="system.name='toy' is not one of"):
        settings.check(config)
    monkeypatch.setitem(systems.BUILDERS, "toy", lambda config, **_: None)
    settings.check(config)
    monkeypatch.setitem(
        systems.SETTINGS, "toy", {"flavour": declare.text("", "any"), "size": declare.whole(8, "[1, inf)", "of its one layer")}
    )
    with pytest.raises(declare.SettingError, match=r"^system.size=0 is not a whole number of at least 1: of its one layer$"):
        settings.check(config)
    assert settings.complete({"system": {"name": "toy", "flavour": "paper"}, "task": {"name": "relation"}})["system"]["size"] == 8


def test_a_checkpoint_of_before_a_setting_is_completed():
    config = qeot.get_config("quickstart").to_dict()
    old = {name: dict(section) for name, section in config.items()}
    for section, key in (("data", "view"), ("train", "save_every"), ("system", "memory"), ("task", "iou")):
        assert old[section].pop(key) == config[section][key] == declare.defaults(settings.sections(config)[section])[key]
    old["system"]["weights"] = {"entity": 1.0}
    assert settings.complete(old) == config


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("hvformer", "triples", "system 'hvformer' has the task relation; for triples there is adapted or qeot"),
        ("rsrnet", "triples", "system 'rsrnet' has the task relation or entities; for triples there is adapted or qeot"),
        ("hvformer", "objects", "system 'hvformer' has the task relation; for objects there is faster_rcnn"),
    ],
)
def test_a_task_that_the_system_does_not_have_is_one_line(tmp_path, name, task, said):
    """And not the settings of that task, which the configuration has no reason to have."""
    with pytest.raises(ValueError) as error:
        train(changed(MODULES[name].get_config("quickstart"), **{"task.name": task}), tmp_path / "run")
    assert str(error.value).startswith(f"task.name={task!r}: {said}") and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
