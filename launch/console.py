"""How the entry points talk to a person: progress on stderr, one line a message, and users' mistakes without a traceback."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import math
import os
import pathlib
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict

from launch import config_file
from mmre_jax import cli, settings, storage
from mmre_jax.data.decode import PictureError
from mmre_jax.records import RecordError
from mmre_jax.training import processes, xla_cache
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.training.interrupt import Interrupted
from mmre_jax.training.log import write_json
from mmre_jax.training.train import NonFiniteError
from mmre_jax.weights.hub import WeightError

SETTINGS = "python -m launch.settings [--config=FILE:VARIANT] prints variants, and every setting with its range, default and meaning."
CONFIG = (
    f"NAME:VARIANT, NAME being one of {', '.join(config_file.names())}, or FILE.py:VARIANT: the head of that file lists its variants, and "
    "python -m launch.settings --config=NAME every setting, each a flag --config.SECTION.NAME=VALUE."
)
_DISTRIBUTED = flags.DEFINE_string(
    "distributed", "off", f"{processes.FORM}: where this process stands among those of one run; auto: as JAX detects it (launch/README.md)."
)
_FIND = flags.DEFINE_integer("distributed_wait", processes.FIND, "Seconds to wait for the other processes to start.", lower_bound=1)
_HELP = {"--help", "-help", "-h", "-?", "--helpshort", "--helpfull"}


def setup() -> logging.Logger:
    """The library's messages on stderr, not Orbax's: it warns of every read-only use, and prints with a traceback what it raises later.

    Of several processes the first tells all, the others what they warn of.
    """
    absl_logging.set_verbosity(absl_logging.FATAL)
    logger = logging.getLogger("mmre_jax")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO if processes.is_first() else logging.WARNING)
    return logger


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """A locked copy of a configuration with some values, named as flags name them, replaced."""
    config = ConfigDict(copy.deepcopy(config.to_dict()))
    config.update_from_flattened_dict(changes)
    return config.lock()


def leave(result: Mapping[str, Any], text: str, file: str | None) -> None:
    """Prints a result as text, and writes it as JSON where a file is named, on a disk or in a bucket."""
    print(text)
    if file is not None:
        write_json(storage.path(file), result)
        logging.getLogger("mmre_jax").info("written: %s", file)


def run(main: Callable[..., None], arguments: Sequence[str] = (), *, together: bool = False, cached: bool = False) -> None:
    """Parses the flags and calls `main` with the arguments beside them. A user's mistake ends with one message and exit code 2.

    Before `main` is called, the flags are known to name what there is: --config a file, a variant, settings and values that they can have
    (mmre_jax/settings.py); --workdir, --out and --json places that can be written to.

    Args:
      arguments: what they are called; none are taken if there are none. A last one, "...": or more of them.
      together: whether several processes share the work, as in training. Else the first does it, on its own devices, and the others end.
      cached: whether compiled programs are kept (training/xla_cache.py); training does that by its own setting.
    """

    def call(argv: list[str]) -> None:
        found = argv[1:]
        absl_logging.set_verbosity(absl_logging.FATAL)  # JAX tells how it finds the other processes
        with _alone_in_errors(), user_errors():
            if not together and not _does_it_alone():
                return
            if together:
                processes.start(_DISTRIBUTED.value, find=_FIND.value)
            names = [name for name in arguments if name != "..."]
            if len(found) < len(names) or (len(found) > len(names) and len(names) == len(arguments)):
                wanted = f"give {' and '.join(names)}{' or more' * (len(names) < len(arguments))}" if names else "unexpected arguments"
                raise app.UsageError(f"{wanted}: {' '.join(found) or 'found nothing'}")
            if cached:
                xla_cache.enable_usual()
            with _first_speaks():
                main(*found)

    app.run(call, flags_parser=_parse)


def _does_it_alone() -> bool:
    """Whether this process does a work that is not shared.

    Raises:
      app.UsageError: where nobody said which of several processes it is.
    """
    place = processes.read_place(_DISTRIBUTED.value)
    if place is None and _DISTRIBUTED.value != "off":
        raise app.UsageError("--distributed=auto: this program runs in one process: start it once, without --distributed")
    return place is None or place.index == 0


@contextlib.contextmanager
def _first_speaks() -> Iterator[None]:
    """Of several processes the first prints, since all of them would print the same."""
    if processes.is_first():
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _parse(argv: list[str]) -> list[str]:
    """The arguments beside the flags, which are parsed and checked."""
    if _HELP.intersection(argv[1:]):
        _print_help(argv)
    found = config_file.given(argv[1:]) if "config" in flags.FLAGS else None
    try:
        _, config = (None, None) if found is None else config_file.load(found)
        if config is not None:
            config_file.check_overrides(argv[1:], config)
        of_checkpoint = found is None and "data_setting" in flags.FLAGS
        rest = flags.FLAGS(config_file.as_data(argv) if of_checkpoint else argv if found is None else config_file.located(argv))
        if "data_setting" in flags.FLAGS:
            config_file.data_settings(flags.FLAGS["data_setting"].value)
        _check_places()
        if found:
            settings.check(flags.FLAGS["config"].value)
    except (config_file.ConfigError, settings.SettingError) as error:
        _end(error)
    except flags.Error as error:
        _end(_plainly(error, config))
    return rest


def _plainly(error: flags.Error, config: Any) -> str:
    """What a flag's error says, in one line; of a setting with the values that it can have."""
    said = str(error).strip().splitlines()[-1]
    if found := re.match(r"flag --config\.([\w.]+)=(.*?): ", said):
        if (setting := config_file.declaration(found[1], config)) is not None:
            return f"{found[1]}={found[2]} is not {setting.range}: {setting.meaning}"
    if found := re.fullmatch(r"flag --(\w+)=None: Flag --\w+ must have a value other than None\.", said):
        return f"give --{found[1]}: {cli.as_typed(flags.FLAGS[found[1]].help)}"
    return said


def _check_places() -> None:
    """Refuses flags that are given without a value or as no finite number, and places that cannot be written to. A ~ in these is followed.

    Raises:
      flags.Error: naming the flag.
    """
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.present and flag.value == "" and flag.default is None:
            raise flags.Error(f"--{name} is empty: {flag.help}")
        if isinstance(flag.value, float) and not math.isfinite(flag.value):  # no bound of a flag's refuses nan
            raise flags.Error(f"flag --{name}={flag.value}: not a finite number")
    for name in ("workdir", "out", "json"):
        value = flags.FLAGS[name].value if name in flags.FLAGS else None
        if not value or not isinstance(value, str):  # launch.settings has --json without a file
            continue
        try:
            if storage.is_remote(value):
                storage.path(value)
                continue
        except storage.StorageError as error:
            raise flags.Error(f"--{name}={error}") from error
        flags.FLAGS[name].value = str(storage.at_home(value))  # "--workdir=~/runs" is no path that a shell has made one
        path = pathlib.Path(flags.FLAGS[name].value).absolute()
        if name == "json" and path.is_dir():
            raise flags.Error(f"--{name}={value} is a folder")
        folder = path.parent if name == "json" else path
        above = next(place for place in (folder, *folder.parents) if place.exists())
        if not above.is_dir():
            raise flags.Error(f"--{name}={value}: {above} is not a folder{', but a file that is there already' * (above == path)}")
        if name == "json" and not folder.is_dir():
            raise flags.Error(f"--{name}={value}: there is no folder {folder}")
        if not os.access(above, os.W_OK | os.X_OK):
            raise flags.Error(f"--{name}={value}: {above} cannot be written to")


def _print_help(argv: list[str]) -> NoReturn:
    """The program's help, where settings are told, and the variants of the file that --config names; then ends."""
    lines = [SETTINGS]
    if found := config_file.given(argv[1:]):
        path, _, _ = found.partition(":")
        try:
            known = config_file.variants(config_file.load_module(path))
        except config_file.ConfigError as error:
            _end(error)
        lines += [f"Variants of {path}:", *(f"  {name}: {meaning}" for name, meaning in known.items())]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        app.usage(shorthelp="--helpfull" not in argv, writeto_stdout=True, detailed_error="\n".join(lines))
    cli.tell(cli.as_typed(told.getvalue()))
    sys.exit(0)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Errors that name what the user can mend end the program with that message alone, exit code 2; a run that was stopped, exit code 3;
    Ctrl-C where nothing is kept of it, 130.

    Of other ValueErrors those are meant that the library itself raises, of a setting; one from below it keeps its traceback.
    """
    try:
        yield
    except Interrupted as stop:
        logging.getLogger("mmre_jax").info("%s", stop)
        sys.exit(3)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (RecordError, PictureError, CheckpointError, WeightError, NonFiniteError, OSError, app.UsageError) as error:
        _end(error)
    except (RuntimeError, AssertionError) as error:  # the latter for a platform that JAX knows but finds no device of
        if _raised_in(error) != "jax._src.xla_bridge":
            raise
        said = " ".join(str(error).split())
        _end(f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: JAX finds no such devices here{said and f': {said}'}")
    except ValueError as error:
        if not _raised_in(error).startswith("mmre_jax."):
            raise
        _end(error)


@contextlib.contextmanager
def _alone_in_errors() -> Iterator[None]:
    """Of several processes one that fails ends at once: at an orderly end it would wait for the others, which wait for it. They notice.

    A run that was stopped has stopped in all of them, and is not meant.
    """
    try:
        yield
    except SystemExit as end:
        if processes.is_alone() or end.code in (None, 0, 3):
            raise
        code = end.code if isinstance(end.code, int) else 1
    except Exception as error:
        if processes.is_alone():
            raise
        if processes.is_loss(error):
            print(f"error: another process of this run is gone: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        else:
            traceback.print_exc()
        code = 1
    else:
        return
    if processes.is_first():
        time.sleep(1.0)  # the others end with it, mostly of the same error, which they are to say before
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _raised_in(error: Exception) -> str:
    """The name of the module that raised an error."""
    return str([frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)][-1])


def _end(error: Exception | str) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
