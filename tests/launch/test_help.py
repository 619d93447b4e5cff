"""--help of every entry point, in a checkout and as a command of `mmre`, names every flag, and what is to be typed."""

import ast
import pathlib
import re
import sys

import pytest

from mmre_jax import cli

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from typed import ROOT, run  # noqa: E402

# launch.local and launch.submit are not of the library's programs but what starts them: they take their own few flags by argparse.
PROGRAMS = {name: first for name, first in cli.programs().items() if name not in ("local", "submit")}


def flags_of(name):
    """The names in DEFINE_string("name", ...) and its like, where they are written out, as a set."""
    calls = [node for node in ast.walk(ast.parse((ROOT / "launch" / f"{name}.py").read_text())) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr.startswith("DEFINE_")]
    return {call.args[0].value for call in made if isinstance(call.args[0], ast.Constant)}


@pytest.fixture(scope="module")
def helped():
    """{(launcher, as what it was typed): how it ended}."""
    commands = {(name, "launch"): [name, "--help"] for name in PROGRAMS} | {(name, "mmre"): ["mmre", name, "--help"] for name in PROGRAMS}
    return {key: run(*typed) for key, typed in commands.items()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_names_every_flag(helped, name):
    wanted = flags_of(name)
    for typed in ("launch", "mmre"):
        found = helped[name, typed]
        assert found.returncode == 0 and not found.stderr, found.stderr
        assert found.stdout.startswith(PROGRAMS[name].split()[0]) and wanted, "the docstring comes first; a program has flags"
        lacking = wanted - set(re.findall(r"^  --(?:\[no\])?([\w-]+):", found.stdout, re.MULTILINE))
        assert not lacking, found.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_says_what_is_to_be_typed(helped, name):
    in_checkout, as_command = (" ".join(helped[name, typed].stdout.split()) for typed in ("launch", "mmre"))
    assert f"python -m launch.{name} " in in_checkout and "python -m launch.settings [--config=FILE:VARIANT]" in in_checkout
    assert f"mmre {name} " in as_command and "mmre settings [--config=FILE:VARIANT]" in as_command
    assert "launch." not in as_command and "--config=configs/" not in as_command
