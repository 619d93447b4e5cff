"""How the entry points talk to a person: progress on stderr, one line a message, and users' mistakes without a traceback."""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict

from mmre_jax.data.pictures import PictureError
from mmre_jax.records import RecordError
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.training.loop import Interrupted, NonFiniteError
from mmre_jax.weights.hub import WeightError

CONFIG = (
    "configs/SYSTEM.py:VARIANT, SYSTEM being hvformer, qeot, rsrnet, ifaformer or pipeline: the head of that file lists its variants, and "
    "configs/common.py every setting, each a flag --config.SECTION.NAME=VALUE."
)


def setup() -> logging.Logger:
    """The library's messages on stderr, not Orbax's: it warns of every read-only use, and prints with a traceback what it raises later."""
    absl_logging.set_verbosity(absl_logging.FATAL)
    logger = logging.getLogger("mmre_jax")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """A locked copy of a configuration with some values, named as flags name them, replaced."""
    config = ConfigDict(copy.deepcopy(config.to_dict()))
    config.update_from_flattened_dict(changes)
    return config.lock()


def run(main: Callable[..., None], arguments: Sequence[str] = ()) -> None:
    """Parses the flags and calls `main` with the arguments beside them. A mistake in a flag ends with one message and exit code 2.

    Args:
      arguments: what they are called; none are taken if there are none.
    """

    def parse(argv: list[str]) -> list[str]:
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:  # of a configuration that could not be made, the whole traceback: its last line is what was wrong
            _end(str(error).strip().splitlines()[-1].removeprefix("ValueError: "))
        except AttributeError as error:  # how ml_collections says it, around the error that says which
            which = error.args[0] if error.args else ""
            said = which.args[0] if isinstance(which, Exception) and which.args else which
            _end(f"a flag names a setting that the configuration does not have: {' '.join(str(said).split())}")

    def call(argv: list[str]) -> None:
        found = argv[1:]
        if len(found) != len(arguments):
            wanted = f"give {' and '.join(arguments)}" if arguments else "unexpected arguments"
            raise app.UsageError(f"{wanted}: {' '.join(found) or 'found nothing'}", exitcode=2)
        main(*found)

    app.run(call, flags_parser=parse)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Errors that name what the user can mend end the program with that message alone, exit code 2; a run that was stopped, exit code 3.

    Of other ValueErrors those are meant that the library itself raises, of a setting; one from below it keeps its traceback.
    """
    try:
        yield
    except Interrupted as stop:
        logging.getLogger("mmre_jax").info("%s", stop)
        sys.exit(3)
    except (RecordError, PictureError, CheckpointError, WeightError, NonFiniteError, OSError) as error:
        _end(error)
    except ValueError as error:
        places = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
        if not places[-1].startswith("mmre_jax."):
            raise
        _end(error)


def _end(error: Exception | str) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
