"""The configuration that --config names: its file, its variants, and what is wrong with it or with the flags that change its settings,
in one line. A bare word is one that comes with the library, from any folder; all else is a file's path."""

from __future__ import annotations

import difflib
import importlib.util
import pathlib
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from mmre_jax import declare, settings
from mmre_jax.declare import Setting, did_you_mean
from mmre_jax.text_files import read_text

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "configs"  # beside launch/, in a checkout as in the wheel


class ConfigError(ValueError):
    """A configuration's file, or a flag that changes one of its settings, that cannot be used; one line."""


def names() -> list[str]:
    """The configurations that come with the library: the files of configs/ that have a get_config."""
    return [path.stem for path in sorted(FOLDER.glob("*.py")) if "\ndef get_config(" in read_text(path)]


def given(argv: Sequence[str]) -> str | None:
    """The value of --config among a program's arguments, the last of several; None where there is none."""
    value = None
    for i, argument in enumerate(argv):
        if argument == "--":
            break
        if found := re.fullmatch(r"--?config(?:=(.*))?", argument, re.DOTALL):
            value = found[1] if found[1] is not None else argv[i + 1] if i + 1 < len(argv) else ""
    return value


def located(argv: Sequence[str]) -> list[str]:
    """A program's arguments with the file of a configuration where --config names one that comes with the library."""
    found: list[str] = []
    for i, argument in enumerate(argv):
        if argument == "--":
            return [*found, *argv[i:]]
        flag, equals, value = argument.partition("=")
        if flag in ("--config", "-config") and equals:
            argument = f"{flag}={_with_file(value)}"
        elif found and found[-1] in ("--config", "-config"):
            argument = _with_file(argument)
        found.append(argument)
    return found


def as_data(argv: Sequence[str]) -> list[str]:
    """A program's arguments with --data_setting=NAME=VALUE where --config.data.NAME=VALUE stands: what a checkpoint is shown, whose
    configuration is its own.

    Raises:
      ConfigError: for a flag of another section.
    """
    found: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if argument == "--":
            return [*found, argument, *rest]
        if match := re.match(r"--?(no)?config\.([^=]*)", argument):
            no, name = match[1], match[2]
            if not name.startswith("data."):
                raise ConfigError(f"--config.{name}: a checkpoint has its own configuration; of it data.NAME can be given, no {name}")
            value = argument.partition("=")[2] if "=" in argument else "False" if no else None
            if value is None:
                value = "True" if isinstance(declare.defaults(settings.DATA).get(name[5:]), bool) else next(rest, "")
            argument = f"--data_setting={name[5:]}={value}"
        found.append(argument)
    return found


def data_settings(given: Sequence[str]) -> dict[str, Any]:
    """{NAME: value} of NAME=VALUE, settings of section `data` as flags spell their values.

    Raises:
      ConfigError: for a setting that there is not, with the nearest one, or a value of another kind.
    """
    flag_values, argv = flags.FlagValues(), ["data", *(f"--config.data.{each}" for each in given)]
    known = ConfigDict({"data": declare.defaults(settings.DATA)})
    if bare := [each for each in given if "=" not in each]:
        raise ConfigError(f"--data_setting={bare[0]}: NAME=VALUE")
    check_overrides(argv, known)
    config_flags.DEFINE_config_dict("config", known, flag_values=flag_values, sys_argv=argv)
    for each in given:
        name, _, value = each.partition("=")
        try:
            flag_values([argv[0], f"--config.data.{each}"])
        except flags.Error as error:
            setting = settings.DATA[name]
            told = f" is not {setting.range}: {setting.meaning}" if isinstance(setting, Setting) else ""
            raise ConfigError(f"data.{name}={value}{told}") from error
    return {name: flag_values["config"].value.data[name] for name in dict.fromkeys(each.partition("=")[0] for each in given)}


def load(value: str) -> tuple[types.ModuleType, Any]:
    """(the module, the configuration) that NAME, NAME:VARIANT, FILE.py or FILE.py:VARIANT names.

    Raises:
      ConfigError: for a name or file that is not there, a file that cannot be run or has no get_config, and for an unknown variant.
    """
    if not value:
        raise ConfigError("--config is empty: NAME:VARIANT or FILE.py:VARIANT")
    path, colon, variant = value.partition(":")
    module = load_module(path)
    try:
        return module, module.get_config(*([variant] if colon else []))
    except ValueError as error:  # what configs/common.py's `choose` says
        raise ConfigError(f"--config={value}: {error}{_near(variant, getattr(module, 'VARIANTS', ()))}") from error


def load_module(path: str) -> types.ModuleType:
    """A configuration's file as a module, by its path or by the name of one that comes with the library.

    Raises:
      ConfigError: as `load`.
    """
    file = pathlib.Path(path)
    if _is_name(path):
        if path not in (known := names()):
            meant = file.with_suffix(".py")
            near = f"; did you mean {meant}?" if meant.is_file() else did_you_mean(path, known)
            raise ConfigError(f"--config={path}: there is no such configuration{near}")
        file = FOLDER / f"{path}.py"
    if not file.is_file():
        raise ConfigError(f"--config={path}: there is no such file{_nearest_file(file)}")
    if file.suffix != ".py":
        raise ConfigError(f"--config={path}: a configuration is a Python file, FILE.py or FILE.py:VARIANT")
    spec = importlib.util.spec_from_file_location("config_file", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        raise ConfigError(f"--config={path}: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "get_config", None)):
        raise ConfigError(f"--config={path}: the file has no function get_config")
    return module


def variants(module: types.ModuleType) -> dict[str, str]:
    """{variant: what it is, in one sentence}, as the list "Variants:" at the head of the file says; '' for one that it leaves out."""
    names: tuple[str, ...] = tuple(getattr(module, "VARIANTS", ()))
    _, _, listed = (module.__doc__ or "").partition("Variants:\n")
    entries: list[tuple[str, str]] = []
    for line in listed.split("\n\n")[0].splitlines():
        if found := re.fullmatch(r"  (\S+(?:, \S+)*)  +(\S.*)", line):
            entries.append((found[1], found[2]))
        elif entries and line.startswith("    "):
            entries[-1] = (entries[-1][0], f"{entries[-1][1]} {line.strip()}")
    told = {name: meaning for listing, meaning in entries for name in listing.split(", ")}
    return {name: re.split(r"(?<=\.)\s+(?=[A-Z])", told.get(name, ""))[0] for name in names}


def check_overrides(argv: Sequence[str], config: Any) -> None:
    """Refuses flags --config.SECTION.NAME that name no setting of the configuration.

    Raises:
      ConfigError: naming the flag, with the nearest name that there is.
    """
    for argument in argv:
        if argument == "--":
            break
        if found := re.match(r"--?(?:no)?config\.([^=]*)", argument):
            place, parts = config, found[1].split(".")
            for n, part in enumerate(parts):
                if not hasattr(place, "keys") or part not in place:
                    known = list(place.keys()) if hasattr(place, "keys") else []
                    what = "section" if n == 0 else "setting"
                    raise ConfigError(f"--config.{found[1]}: there is no {what} {part!r}{did_you_mean(part, known)}")
                place = place[part]


def declaration(name: str, config: Any) -> Setting | None:
    """The declaration of a setting, SECTION.NAME, of a configuration; None where there is none."""
    place: Any = settings.sections(config)
    for part in name.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place if isinstance(place, Setting) else None


def _is_name(path: str) -> bool:
    """Whether what stands before the variant is a bare word, neither in a folder nor with an ending."""
    return re.fullmatch(r"[\w-]+", path) is not None


def _with_file(value: str) -> str:
    path, colon, variant = value.partition(":")
    return f"{FOLDER / path}.py{colon}{variant}" if _is_name(path) and path in names() else value


def _near(wrong: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _nearest_file(file: pathlib.Path) -> str:
    """The file that was meant, perhaps: with '.py', or of another spelling; or the configuration of its name that comes along."""
    if (meant := file.with_name(f"{file.name}.py")).is_file():
        return f"; did you mean {meant}?"
    if file.stem in names():
        return f"; did you mean {file.stem}, which comes with the library?"
    there = [str(path) for path in file.parent.glob("*.py") if path.stem not in ("__init__", "common")] if file.parent.is_dir() else []
    return did_you_mean(str(file), there)
