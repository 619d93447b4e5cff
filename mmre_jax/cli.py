"""The command `mmre`: `mmre train ...` is `python -m launch.train ...` in any folder, from a wheel as from a checkout.

A command is a file of launch/ that can be run: a new one is found there, and its first line says what it does. In a checkout launch/ and
configs/ lie beside the library. A wheel has them in mmre_jax/toplevel/, since packages of such names in site-packages would meet other
people's; that folder comes first on the path of the program that is run, and on no other's, so that all they import from each other is
imported as in a checkout. Nothing of JAX is imported here: help is to come at once.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import shutil
import sys
import textwrap
import types
from collections.abc import Sequence
from typing import Any, NoReturn

from mmre_jax.declare import did_you_mean
from mmre_jax.text_files import read_text

_USAGE = """Multimodal relation extraction in JAX.

    mmre COMMAND [--FLAG=VALUE ...]
    mmre COMMAND --help
    mmre train --config=hvformer:quickstart --workdir=runs/quickstart
    mmre settings --config=hvformer     its variants, its file, and every setting

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
        tell(usage(shutil.get_terminal_size((120, 24)).columns) + "\n")
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
    trees = {path.stem: ast.parse(read_text(path)) for path in sorted((toplevel() / "launch").glob("*.py"))}
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


def configuration(value: str) -> Any:
    """The locked ConfigDict that --config=VALUE names, for programs of one's own: NAME:VARIANT or FILE.py:VARIANT.

    Packages called launch or configs that the program itself has, imported or not yet, stay what they are.

    Raises:
      ValueError: there is no such configuration or variant (launch/config_file.py).
    """
    theirs = _forget()
    sys.path.insert(0, str(toplevel()))
    try:
        return importlib.import_module("launch.config_file").load(value)[1]
    finally:
        sys.path.remove(str(toplevel()))
        _forget()
        sys.modules.update(theirs)


def as_typed(text: str) -> str:
    """Help that names commands of a checkout, python -m launch.X: with those of `mmre`, if the program was run by it."""
    if not sys.argv[0].startswith("mmre "):
        return text
    for pattern, typed in _TYPED:
        text = re.sub(pattern, typed, text)
    return text


def tell(text: str) -> None:
    """Prints help, of which a reader may take the first lines alone (`mmre --help | head`)."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends


def _forget() -> dict[str, types.ModuleType]:
    """Takes what is called launch or configs out of the modules that are imported, and returns it."""
    return {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] in ("launch", "configs")}


def _can_be_run(tree: ast.Module) -> bool:
    """Whether a file ends with `if __name__ == "__main__":`."""
    return any(isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in tree.body)


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
