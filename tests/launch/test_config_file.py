"""--config takes the name of a configuration that comes with the library, or a file's path."""

import importlib
import pathlib

import pytest

from launch import config_file

NAMES = config_file.names()


def test_names_are_those_of_the_files_that_have_a_configuration():
    folder = pathlib.Path(__file__).parents[2] / "configs"
    modules = {path.stem: importlib.import_module(f"configs.{path.stem}") for path in folder.glob("*.py") if path.stem != "__init__"}
    assert NAMES == sorted(name for name, module in modules.items() if hasattr(module, "get_config"))
    assert {"hvformer", "qeot"} < set(NAMES) and "common" not in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_file_in_any_folder(name, tmp_path, monkeypatch):
    path = f"configs/{name}.py"
    variant = config_file.load_module(path).VARIANTS[0]
    _, by_path = config_file.load(f"{path}:{variant}")
    monkeypatch.chdir(tmp_path)
    module, by_name = config_file.load(f"{name}:{variant}")
    assert by_name.to_dict() == by_path.to_dict()
    assert config_file.load(name)[1].to_dict() == module.get_config().to_dict()
    [located] = config_file.located([f"--config={name}:{variant}"])
    assert config_file.load(located.removeprefix("--config="))[1].to_dict() == by_path.to_dict()


def test_a_path_stays_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "qeot.py"
    own.write_text("from configs import qeot\nVARIANTS = ('mine',)\ndef get_config(variant='mine'):\n    return variant.upper()\n")
    for path in ("qeot.py", "./qeot.py", str(own)):
        assert config_file.load(f"{path}:mine")[1] == "MINE"
        assert config_file.located([f"--config={path}:mine"]) == [f"--config={path}:mine"]
    with pytest.raises(config_file.ConfigError, match="--config=./qeot: there is no such file; did you mean qeot.py?"):
        config_file.load("./qeot")
    (tmp_path / "other.py").write_text("")
    with pytest.raises(config_file.ConfigError, match="--config=other: there is no such configuration; did you mean other.py?"):
        config_file.load("other:mine")
    with pytest.raises(config_file.ConfigError, match="--config=configs/qeot.py: .*; did you mean qeot, which comes with the library?"):
        config_file.load("configs/qeot.py:quickstart")


def test_only_the_value_of_config_is_replaced():
    file = str(config_file.FOLDER / "qeot.py")
    untouched = ["--config.text.weights=qeot", "--out=qeot", "qeot", "--configs=qeot", "--config=x.py:qeot", "--config", "x.py"]
    assert config_file.located([*untouched, "--config=qeot:a"]) == [*untouched, f"--config={file}:a"]
    assert config_file.located(["-config", "qeot:a:b", "qeot"]) == ["-config", f"{file}:a:b", "qeot"]
    assert config_file.located(["--config=none_such", "--", "--config=qeot"]) == ["--config=none_such", "--", "--config=qeot"]
    assert config_file.located(["--config=", "--config"]) == ["--config=", "--config"]


def test_settings_of_other_data_are_read_as_flags_are():
    argv = ["prog", "--config.data.name=jsonl", "--split=val", "--config.data.root", "DIR", "--noconfig.data.published"]
    argv += ["--", "--config.x=1"]
    found = config_file.as_data(argv)
    given = [f"--data_setting={each}" for each in ("name=jsonl", "root=DIR", "published=False")]
    assert found == ["prog", given[0], "--split=val", *given[1:], "--", "--config.x=1"]
    assert config_file.as_data(["--config.data.published"]) == ["--data_setting=published=True"]
    read = config_file.data_settings(["name=jsonl", "root=a=b", "published=True", "counts=(1,2,3)", "view="])
    assert read == {"name": "jsonl", "root": "a=b", "published": True, "counts": (1, 2, 3), "view": ""}
    assert config_file.data_settings([]) == {}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--config.text.width=3"], "--config.text.width: a checkpoint has its own configuration; of it data.NAME can be given"),
        (["--config.data.nam=x"], "there is no setting 'nam'; did you mean name?"),
        (["--config.data.train_share=x"], r"data.train_share=x is not a number in \(0, 1\]: of the training examples"),
        (["--data_setting=name"], "NAME=VALUE"),
    ],
)
def test_settings_of_other_data_that_are_none(argv, message):
    with pytest.raises(config_file.ConfigError, match=message):
        config_file.data_settings([each.removeprefix("--data_setting=") for each in config_file.as_data(argv)])
