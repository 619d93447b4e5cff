"""The command `mmre`: what it lists, how soon, and what it says of a command that there is not."""

import importlib
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mmre_jax
from mmre_jax import chain, cli, extract, extraction

ROOT = Path(__file__).resolve().parents[1]


def mmre(monkeypatch, capsys, *arguments):
    """(exit code, stdout, stderr)."""
    monkeypatch.setattr(sys, "argv", ["mmre", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_help_comes_at_once():
    script = "import runpy, sys; sys.argv = ['mmre', '--help']; runpy.run_module('mmre_jax', run_name='__main__'); print(*sys.modules)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    *told, modules = done.stdout.splitlines()
    assert not {"jax", "numpy", "absl"} & {name.partition(".")[0] for name in modules.split()}
    assert any(line.split()[:2] == ["train", "Trains"] for line in told)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1, "seconds of a processor"


def test_commands_are_the_files_that_can_be_run(tmp_path, monkeypatch, capsys):
    runs = "\n\nif __name__ == '__main__':\n    print('ran')\n"
    (tmp_path / "launch" / "pods").mkdir(parents=True)
    for name, text in {
        "detect": f'"""Finds objects.\n\nIn pictures."""{runs}',
        "gates": f'"""Draws what gates let through, over the whole of the longest of lines."""{runs}',
        "console": '"""A part."""\nNAME = "__main__"\n',
        "pods/tpu": f'"""Not an entry point."""{runs}',
    }.items():
        (tmp_path / "launch" / f"{name}.py").write_text(text)
    monkeypatch.setattr(cli, "toplevel", lambda: tmp_path)
    assert list(cli.programs()) == ["detect", "gates"]
    assert cli.usage(60).endswith("\n  detect  Finds objects.\n  gates   Draws what gates let through, over the whole ...")
    assert mmre(monkeypatch, capsys, "detekt") == (2, "", "error: mmre detekt: there is no such command; did you mean detect?\n")
    assert mmre(monkeypatch, capsys, "zzz") == (2, "", "error: mmre zzz: there is no such command; there are detect, gates\n")


def test_every_launcher_of_the_checkout_is_a_command():
    assert cli.toplevel() == ROOT
    marked = {path.stem for path in (ROOT / "launch").glob("*.py") if "\nif __name__ ==" in path.read_text(encoding="utf-8")}
    assert set(cli.programs()) == marked and {"train", "convert", "extract"} < marked and "config_file" not in marked
    assert all(cli.programs().values())


def test_without_a_command(monkeypatch, capsys):
    code, out, err = mmre(monkeypatch, capsys)
    assert (code, err) == (0, "") and all(f"\n  {name} " in out for name in cli.programs())
    assert mmre(monkeypatch, capsys, "-h") == mmre(monkeypatch, capsys, "help") == (code, out, err)
    code, out, err = mmre(monkeypatch, capsys, "--workdir=x", "train")
    assert (code, out) == (2, "") and err.startswith("error: mmre --workdir=x: a command comes first") and err.count("\n") == 1


def test_a_configuration_in_a_program_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("whose = 'theirs'\n")
    (tmp_path / "mine.py").write_text("from configs import qeot\ndef get_config(variant):\n    return qeot.get_config(variant)\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("launch", "configs")}
    for name in own:
        monkeypatch.delitem(sys.modules, name)
    path = [*sys.path]
    config = cli.configuration("qeot:quickstart")
    assert config.system.name == "qeot" and config.is_locked
    assert cli.configuration(f"{tmp_path}/mine.py:quickstart").to_dict() == config.to_dict()
    assert sys.path == path and not {"launch", "configs"} & set(sys.modules)
    theirs = importlib.import_module("configs")
    with pytest.raises(ValueError, match="--config=qeot:quick: unknown variant 'quick'.*; did you mean quickstart?"):
        cli.configuration("qeot:quick")
    assert theirs.whose == "theirs" and sys.modules["configs"] is theirs
    del sys.modules["configs"]


def test_help_of_a_checkout_becomes_help_of_the_command(monkeypatch):
    written = "python -m launch.train --config=configs/qeot.py:quickstart or configs/NAME.py:VARIANT (launch.settings; configs/qeot.py)"
    local = "python -m launch.local --processes=2 -- -m launch.train --config=configs/qeot.py"
    assert cli.as_typed(written) == written
    monkeypatch.setattr(sys, "argv", ["mmre train", "--help"])
    assert cli.as_typed(written) == "mmre train --config=qeot:quickstart or NAME:VARIANT (mmre settings; configs/qeot.py)"
    assert cli.as_typed(local) == "mmre local --processes=2 -- -m mmre_jax train --config=qeot"


def test_the_version_is_the_packages(monkeypatch, capsys):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert mmre(monkeypatch, capsys, "--version") == (0, f"{version}\n", "")


def test_the_package_gives_what_it_names():
    assert mmre_jax.load is chain.load and {"load", "Extraction", "Extractor", "__version__"} < set(dir(mmre_jax))
    assert {name: getattr(mmre_jax, name) for name in mmre_jax.__all__} == {
        "Chain": chain.Chain,
        "Chars": extraction.Chars,
        "Extraction": extraction.Extraction,
        "Extractor": extract.Extractor,
        "load": chain.load,
    }
    with pytest.raises(AttributeError, match="module 'mmre_jax' has no attribute 'lode'"):
        _ = mmre_jax.lode
