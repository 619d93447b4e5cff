"""The command `mmre`: `mmre train ...` is `python -m launch.train ...` in any folder, from a wheel as from a checkout.

A command is a file of launch/ that can be run: a new one is found there, and its first line says what it does. In a checkout launch/ and
configs/ lie beside the library. A wheel has them in mmre_jax/toplevel/, since packages of such names in site-packages would meet other
people's; that folder comes first on the path of the program that is run, and on no other's, so that all they import from each other is
imported as in a checkout. Nothing of JAX is imported here: help is to come at once.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import pathlib
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from mmre_jax.declare import did_you_mean

_USAGE = """Multimodal relation extraction in JAX.

    mmre COMMAND [--FLAG=VALUE ...]
    mmre COMMAND --help
    mmre train --config=hvformer:quickstart --workdir=runs/quickstart

Commands:
"""
# (what is typed in a checkout, what with `mmre`), applied in turn.
_TYPED = (
    (r"\bpython\s+-m\s+launch\.(\w+)", r"mmre \1"),
    (r"(?<=-m )launch\.(\w+)", r"mmre_jax \1"),
    (r"\blaunch\.(\w+)", r"mmre \1"),
    (r"(?<=--config=)configs/(\w+)\.py\b", r"\1"),
    (r"\bconfigs/(\w+)\.py(?=:)", r"\1"),
)


def main() -> None:
    """Runs the command that sys.argv names; an unknown one ends with one line and exit code 2."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(usage(shutil.get_terminal_size((120, 24)).columns))
        return
    name = arguments[0]
    if name == "--version":
        print(sys.modules[str(__package__)].__version__)
        return
    if name.startswith("-"):
        _end(f"mmre {name}: a command comes first: mmre COMMAND --FLAG=VALUE; mmre --help lists them")
    if name not in (known := programs()):
        _end(f"mmre {name}: there is no such command{did_you_mean(name, known)}")
    run(name, arguments[1:])


def toplevel() -> pathlib.Path:
    """The folder that holds launch/ and configs/: the wheel's own, or the root of the checkout."""
    library = pathlib.Path(__file__).resolve().parent
    packaged = library / "toplevel"
    return packaged if packaged.is_dir() else library.parent


def programs() -> dict[str, str]:
    """{name: the first line of its docstring} of the files of launch/ that do something when they are run."""
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((toplevel() / "launch").glob("*.py"))}
    return {name: (ast.get_docstring(tree) or "").partition("\n")[0] for name, tree in trees.items() if _can_be_run(tree)}


def usage(width: int) -> str:
    """What `mmre --help` prints, no line of it wider than `width` where a command's name leaves room."""
    known = programs()
    longest = max(map(len, known))
    room = max(width - longest - 4, 20)
    told = [f"  {name:<{longest}}  {textwrap.shorten(line, room, placeholder=' ...')}" for name, line in known.items()]
    return _USAGE + "\n".join(told)


def run(name: str, arguments: Sequence[str]) -> None:
    """Runs launch/NAME.py as `python -m launch.NAME` does, but for sys.argv[0]: `mmre NAME`, by which help says what is to be typed."""
    sys.path.insert(0, str(toplevel()))
    sys.argv = [f"mmre {name}", *arguments]
    spec = importlib.util.find_spec(f"launch.{name}")
    assert spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader)
    module = importlib.util.module_from_spec(spec)
    module.__name__ = "__main__"
    sys.modules["__main__"] = module
    exec(spec.loader.get_code(spec.name), vars(module))


def as_typed(text: str) -> str:
    """Help that names commands of a checkout, python -m launch.X: with those of `mmre`, if the program was run by it."""
    if not sys.argv[0].startswith("mmre "):
        return text
    for pattern, typed in _TYPED:
        text = re.sub(pattern, typed, text)
    return text


def _can_be_run(tree: ast.Module) -> bool:
    """Whether a file ends with `if __name__ == "__main__":`."""
    return any(isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in tree.body)


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
