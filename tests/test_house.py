"""The rules that hold for every file: it imports, it stays on its floor, it is documented and typed, and it names no machine."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "mmre_jax").rglob("*.py"))
LAUNCHERS = sorted((ROOT / "launch").rglob("*.py"))
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.py") if path.stem not in ("__init__", "common"))

# Lowest first. A module belongs to the longest prefix that fits; it may import from its own floor and from those below.
FLOORS = (
    ("records", "declare"),
    ("boxes", "matching", "losses", "attention", "cudnn", "dropout", "storage", "scratch", "paths", "file_lock", "progress", "text_files"),
    ("data.numpy_pickle", "data.torch_pickle", "data.exif", "data.essentials", "data.decode", "data.pictures", "data.scenes"),
    ("data.given", "data.words"),
    ("data.dataset", "data.readers"),
    ("data",),
    ("encoders",),
    ("fusion",),
    ("heads",),
    ("systems",),
    ("tasks",),
    ("settings",),
    ("training.formats", "training.processes", "training.state", "training.stage"),
    ("training.orbax_manager", "training.checkpoint", "training.locate"),
    ("weights",),
    ("training",),
    ("analysis", "extraction", "graph", "not_seen"),
    ("extract", "convert", "detection", "planning", "prompts"),
    ("benchmark",),
    ("pipelines", "evaluate", "compare", "analyse", "detection_inputs", "detection_files", "bulk", "chain", "serve", "card"),
    ("reproduce",),
    ("cli",),
    ("__main__",),
)


def module_name(path: Path) -> str:
    """mmre_jax/data/text.py -> 'mmre_jax.data.text'; a package's __init__.py -> the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.Module, package: str) -> Iterator[tuple[str, int, bool]]:
    """Yields (dotted name, line, inside a function) of each import, wherever it stands; `from a import b` counts as a.b."""
    inside = {id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno, id(node) in inside


def package_of(path: Path) -> str:
    name = module_name(path)
    return name if path.stem == "__init__" else name.rpartition(".")[0]


def floor(module: str, floors: tuple[tuple[str, ...], ...] = FLOORS) -> int | None:
    """The floor of a dotted name below mmre_jax, by the longest fitting prefix; None for the package itself and for strangers."""
    fits = [
        (len(prefix), level)
        for level, prefixes in enumerate(floors)
        for prefix in prefixes
        if module == f"mmre_jax.{prefix}" or module.startswith(f"mmre_jax.{prefix}.")
    ]
    return max(fits)[1] if fits else None


def climbs(path: Path, tree: ast.Module) -> list[str]:
    """What `path` imports from a floor above its own, one line each."""
    name = module_name(path)
    own = floor(name)
    if own is None:
        # mmre_jax/__init__.py re-exports from any floor; every other file has a floor.
        return [] if name == "mmre_jax" else [f"{name_of(path)}: on no floor; add it to FLOORS"]
    found = []
    for target, line, _ in imports(tree, package_of(path)):
        if not target.startswith("mmre_jax"):
            continue
        level = floor(target)
        if level is None:
            found.append(f"{name_of(path)}:{line}: imports {target}: name the module it comes from, not mmre_jax itself")
        elif level > own:
            found.append(f"{name_of(path)}:{line}: imports {target} from a floor above its own")
    return found


def strangers(path: Path, tree: ast.Module) -> list[str]:
    """Imports no library or launch code may have: TensorFlow, PyTorch (but lazily in weights), and what is run from a checkout."""
    found = []
    name = module_name(path)
    for target, line, lazy in imports(tree, package_of(path)):
        top = target.split(".")[0]
        if top == "torch" and lazy and name.startswith("mmre_jax.weights"):
            continue
        if top in ("torch", "torchvision", "tensorflow") or (top in ("launch", "configs") and name.startswith("mmre_jax")):
            found.append(f"{name_of(path)}:{line}: imports {target}")
    return found


def undocumented(path: Path, tree: ast.Module) -> list[str]:
    """The module and its public functions and classes that have no docstring."""
    nodes = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")]
    found = [f"{name_of(path)}:{node.lineno}: {node.name} has no docstring" for node in nodes if not ast.get_docstring(node)]
    empty = path.stem == "__init__" and not tree.body
    return found if empty or ast.get_docstring(tree) else [f"{name_of(path)}: the module has no docstring", *found]


def untyped(path: Path, tree: ast.Module) -> list[str]:
    """Functions, nested ones and methods included, with an argument or a result that has no type hint."""
    methods = {id(node) for owner in ast.walk(tree) if isinstance(owner, ast.ClassDef) for node in owner.body}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args]
        static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
        if id(node) in methods and not static:
            arguments = arguments[1:]
        arguments += [*node.args.kwonlyargs, *(extra for extra in (node.args.vararg, node.args.kwarg) if extra)]
        bare = [argument.arg for argument in arguments if argument.annotation is None] + ([] if node.returns else ["the result"])
        if bare:
            found.append(f"{name_of(path)}:{node.lineno}: {node.name} lacks type hints: {', '.join(bare)}")
    return found


def complaints(rule: types.FunctionType, paths: list[Path]) -> str:
    return "\n".join(line for path in paths for line in rule(path, parse(path)))


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_every_module_imports(path: Path) -> None:
    importlib.import_module(module_name(path))


# Launchers define flags on import, several the same ones, since each is a program of its own: they are imported in a process
# where each finds the flags as the one before it found them.
IMPORT_LAUNCHERS = """
import importlib, sys
from absl import flags
for name in sys.argv[1:]:
    before = set(flags.FLAGS)
    importlib.import_module(name)
    for flag in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, flag)
"""


def test_every_launcher_imports() -> None:
    names = [module_name(path) for path in LAUNCHERS]
    command = [sys.executable, "-W", "error", "-c", IMPORT_LAUNCHERS, *names]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def load_config(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_every_config_variant_builds(path: Path) -> None:
    module = load_config(path)
    assert isinstance(module.VARIANTS, tuple) and module.VARIANTS and len(set(module.VARIANTS)) == len(module.VARIANTS)
    for variant in module.VARIANTS:
        config = module.get_config(variant)
        assert config.is_locked, f"{name_of(path)}:{variant} is not locked"
        missing = {"system", "task", "data", "text", "vision", "optim", "train", "parallel"} - set(config)
        assert not missing, f"{name_of(path)}:{variant} lacks the sections {sorted(missing)}"


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_an_unknown_variant_names_the_valid_ones(path: Path) -> None:
    module = load_config(path)
    with pytest.raises(ValueError) as error:
        module.get_config("no_such_variant")
    assert "no_such_variant" in str(error.value)
    assert all(variant in str(error.value) for variant in module.VARIANTS)


def test_no_import_climbs() -> None:
    assert not (found := complaints(climbs, LIBRARY)), found


def test_no_strange_imports() -> None:
    assert not (found := complaints(strangers, LIBRARY + LAUNCHERS)), found


def test_everything_public_is_documented() -> None:
    assert not (found := complaints(undocumented, LIBRARY + LAUNCHERS + CONFIGS)), found


def test_every_function_is_typed() -> None:
    assert not (found := complaints(untyped, LIBRARY)), found


def test_no_file_names_a_machine() -> None:
    folders = [path for name in ("mmre_jax", "launch", "configs", "tests", ".ci") for path in (ROOT / name).rglob("*") if path.is_file()]
    top = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]  # a file in a linked worktree
    paths = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|opt)/\w")
    found = []
    for path in sorted(folders + top):
        if path.suffix in (".py", ".md", ".toml", ".txt", ".sh", ".yaml", ".yml", ".json", ".jsonl") or not path.suffix:
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if paths.search(line) or f"{ROOT.parent}/" in line or f"{Path.home()}/" in line:
                    found.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_the_rules_catch_what_they_forbid() -> None:
    reader, system, weights = (ROOT / "mmre_jax" / part for part in ("data/readers/mnre.py", "systems/toy.py", "weights/hub.py"))
    assert climbs(reader, ast.parse("from mmre_jax.data import text"))
    assert climbs(reader, ast.parse("from ..loader import load"))
    assert climbs(reader, ast.parse("def f():\n    import mmre_jax.tasks.relation"))
    assert climbs(system, ast.parse("import mmre_jax"))
    assert climbs(ROOT / "mmre_jax" / "attic.py", ast.parse(""))
    below = "from mmre_jax.records import Record\nfrom mmre_jax.data import pictures, torch_pickle\nfrom . import other"
    assert not climbs(reader, ast.parse(below))
    assert not climbs(system, ast.parse("from mmre_jax.fusion.cross_stream import fuse"))
    assert strangers(system, ast.parse("import torch")) and strangers(system, ast.parse("from configs import common"))
    assert strangers(weights, ast.parse("import torch")) and strangers(weights, ast.parse("import tensorflow as tf"))
    assert not strangers(weights, ast.parse("def read():\n    import torch\n    import tensorflow_datasets"))
    assert undocumented(system, ast.parse("def f(): ...")) and not undocumented(system, ast.parse('"""Module."""\ndef _f(): ...'))
    assert untyped(system, ast.parse("def f(a: int, *rest) -> None: ..."))
    assert untyped(system, ast.parse("class A:\n    def f(self) -> None:\n        def g(): ..."))
    assert not untyped(system, ast.parse("class A:\n    def f(self, a: int, *, b: str = '') -> None: ..."))
