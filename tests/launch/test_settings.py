"""launch.settings prints what is declared, and what a configuration has instead."""

import importlib
import json
import pathlib
import sys

import pytest

from configs import qeot
from launch import config_file
from mmre_jax import settings, systems

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from typed import run  # noqa: E402

FILES = ("hvformer", "ifaformer", "mkgformer", "qeot", "rsrnet", "visualbert", "pipeline", "text_baselines", "adapted")


@pytest.fixture(scope="module")
def printed():
    one = ["settings", "--config=configs/qeot.py:quickstart", "--config.optim.lr=0.5"]
    found = [run(*typed) for typed in (["settings"], ["settings", "--json"], one, [*one, "--json"])]
    assert all(ended.returncode == 0 and not ended.stderr for ended in found), found
    return [ended.stdout for ended in found]


def test_every_setting_is_printed_with_range_default_and_meaning(printed):
    text, listed = printed[0], json.loads(printed[1])["sections"]
    assert set(listed) == {
        *(f"system ({name})" for name in systems.BUILDERS),
        *(f"task ({name})" for name in settings.TASKS),
        *settings.COMMON,
    }
    for rows in listed.values():
        for row in rows:
            assert row["meaning"] and row["range"] and set(row) == {"name", "meaning", "range", "default"}
            assert f"  {row['name']} " in text
    [clip] = [row for row in listed["optim"] if row["name"] == "optim.clip"]
    assert clip["default"] == settings.OPTIM["clip"].default and clip["range"] == "a number of at least 0"
    assert max(map(len, text.splitlines())) <= 132


def test_a_configuration_marks_what_differs(printed):
    text, listed = printed[2], json.loads(printed[3])
    config = qeot.get_config("quickstart")
    assert listed["config"] == "configs/qeot.py:quickstart" and pathlib.Path(listed["file"]).name == "qeot.py"
    assert tuple(listed["variants"]) == qeot.VARIANTS and all(listed["variants"].values())
    rows = {row["name"]: row for found in listed["sections"].values() for row in found}
    assert rows["optim.lr"] | {"value": 0.5, "differs": True} == rows["optim.lr"], "with what flags changed"
    assert rows["system.queries"]["value"] == config.system.queries and rows["system.queries"]["differs"]
    assert rows["system.weights.giou"]["value"] == 3.5 and not rows["system.weights.giou"]["differs"]
    lines = {line[2:].split(" ")[0]: line for line in text.splitlines() if line[:2] in ("* ", "  ") and "." in line[2:].split(" ")[0]}
    for name, row in rows.items():
        assert lines[name].startswith("* " if row["differs"] else "  "), name
    assert "0.5 (default 1e-05)" in lines["optim.lr"] and "variants of configs/qeot.py" in text


@pytest.mark.parametrize("name", FILES)
def test_the_head_of_every_file_tells_each_variant(name):
    module = config_file.load_module(f"configs/{name}.py")
    found = config_file.variants(module)
    assert tuple(found) == importlib.import_module(f"configs.{name}").VARIANTS
    assert all(found.values()), [variant for variant, meaning in found.items() if not meaning]


def test_the_argument_of_config_is_found_as_flags_find_it():
    given = config_file.given
    assert given(["--config=a.py:b", "--x=1"]) == given(["-config", "a.py:b"]) == "a.py:b"
    assert given(["--config=a.py", "--config=b.py"]) == "b.py"
    assert given(["--config.optim.lr=1", "--configs=2"]) is None and given(["--", "--config=a"]) is None and given(["--config"]) == ""
