"""The wheel, made of the source distribution as a registry would, holds what the checkout has and nothing else; and in a fresh environment,
from a folder that has packages `launch` and `configs` of its own, it trains, extracts and converts."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from mmre_jax import cli

sys.path += [str(Path(__file__).parent / folder) for folder in ("launch", "weights")]
import releases  # noqa: E402
from typed import Server  # noqa: E402

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]
# In the checkout, in the wheel.
PARTS = {"mmre_jax": "mmre_jax", "launch": "mmre_jax/toplevel/launch", "configs": "mmre_jax/toplevel/configs"}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "meets", "grace")
SMALL = [
    *("--config.data.counts=(64,16,16)", "--config.data.buckets=(32,)", "--config.train.epochs=1", "--config.train.eval_batch=16"),
    *("--config.text.layers=1", "--config.vision.layers=1", "--config.system.levels=(0,1)"),
    f"--config.train.compilation_cache={jax.config.jax_compilation_cache_dir}",
]


def build(source, kind, target):
    """The archive that the build backend makes of a folder, without isolation, so without a registry."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    [archive] = target.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="the build backend, of the extra `dev`, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(build(ROOT, "sdist", folder / "sdist")) as archive:
        archive.extractall(folder / "source", filter="data")
    [source] = (folder / "source").iterdir()
    return build(source, "wheel", folder / "dist")


@pytest.fixture(scope="module")
def fresh(wheel, tmp_path_factory):
    """The programs' folder of an environment that has the wheel, and finds its dependencies where this Python has them."""
    pytest.importorskip("pip", reason="pip, which installs the wheel, is not installed")
    folder = tmp_path_factory.mktemp("fresh") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, text=True)
    [site] = folder.glob("lib/python*/site-packages")
    # Of folders that such a file names no .pth files are read in turn: the checkout of an editable installation is not found.
    (site / "dependencies.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return folder / "bin"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder whose own packages are called as ours: to import them is an error."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("launch", "configs"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise ImportError('not that one')\n")
    return folder


def environment():
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(program, *arguments, folder):
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment(), timeout=300, check=False)


def test_it_holds_the_library_the_entry_points_and_the_configurations(wheel):
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    paths = [path for part in PARTS for path in (ROOT / part).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {}
    for path in paths:
        part, *rest = path.relative_to(ROOT).parts
        wanted["/".join([PARTS[part], *rest])] = path.read_bytes()
    assert sorted(found) == sorted(wanted)
    assert found == wanted


def test_its_metadata_name_the_command_and_the_extras(wheel):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(wheel) as archive:
        [about] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(about).decode()
        entry = archive.read(about.replace("METADATA", "entry_points.txt")).decode()
    assert entry.split() == ["[console_scripts]", "mmre", "=", "mmre_jax.cli:main"]
    told = metadata.PathDistribution(zipfile.Path(wheel, about.removesuffix("METADATA"))).metadata
    assert (told["Name"], told["Version"]) == (project["name"], project["version"])
    assert set(told.get_all("Provides-Extra")) == set(project["optional-dependencies"]) >= {"cuda", "tpu", "torch", "tensorboard"}
    assert "# mmre_jax" in text


def test_the_command_lists_what_comes_along(fresh, elsewhere):
    found = run(fresh / "mmre", "--help", folder=elsewhere)
    assert found.returncode == 0 and not found.stderr, found.stderr
    assert [line.split()[0] for line in found.stdout.partition("Commands:\n")[2].splitlines()] == list(cli.programs())
    assert run(fresh / "python", "-m", "mmre_jax", "--help", folder=elsewhere).stdout == found.stdout
    imported = run(fresh / "python", "-c", "import mmre_jax.records; print(mmre_jax.__file__)", folder=elsewhere).stdout
    assert Path(imported.strip()).is_relative_to(fresh.parent), "the wheel's library, not the checkout's"


@pytest.fixture(scope="module")
def quickstart(fresh, elsewhere):
    """The folder of a run of the quickstart, small, that the installed command made."""
    found = run(fresh / "mmre", "train", "--config=hvformer:quickstart", "--workdir=runs/quickstart", *SMALL, folder=elsewhere)
    assert found.returncode == 0, found.stderr
    return elsewhere / "runs" / "quickstart"


def test_it_trains(quickstart):
    metrics = json.loads((quickstart / "metrics.json").read_text())
    assert metrics["test"]["count"] == 16 and (quickstart / "curves.png").is_file()
    steps = [json.loads(line)["step"] for line in (quickstart / "metrics.jsonl").read_text().splitlines()]
    assert steps and [path.name for path in (quickstart / "checkpoints").iterdir()]


def test_it_extracts_converts_and_takes_configurations_of_ones_own(fresh, elsewhere, quickstart):
    (elsewhere / "own.py").write_bytes((ROOT / "configs" / "qeot.py").read_bytes())
    state, back = elsewhere / "state.safetensors", elsewhere / "back.safetensors"
    save_file(releases.random_release("ifaformer_ner", releases.Sizes(words=len(WORDS), positions=16)), state)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (elsewhere / "tokenizer").mkdir()
    tokenizer.save(str(elsewhere / "tokenizer" / "tokenizer.json"))
    commands = [
        ["mmre", "extract", "--checkpoint=runs/quickstart", "--scenes=2", "--pictures=1", "--out=extracted"],
        ["mmre", "convert", state.name, "converted", "--tokenizer=tokenizer", "--heads=2"],
        ["mmre", "convert", "converted", back.name, "--to=released"],
        ["mmre", "settings", "--config=own.py:quickstart", "--json"],
    ]
    server = Server(fresh / "python", elsewhere, environment(), flags=())
    ended = [server.run(*typed) for typed in commands]
    server.close()
    assert all(found.returncode == 0 for found in ended), ended
    assert len((elsewhere / "extracted" / "extracted.jsonl").read_text().splitlines()) == 2
    before, after = load_file(state), load_file(back)
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    assert json.loads(ended[3].stdout)["config"] == "own.py:quickstart"
