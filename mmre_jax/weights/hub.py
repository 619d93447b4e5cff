"""Reads a model directory in transformers' format: config.json and safetensors, or, with PyTorch installed, a pytorch_model.bin.
Reads a state dict from a file of its own, too.

No pickled code is run: PyTorch reads .bin files in its mode for tensors alone.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors

from mmre_jax.data.torch_pickle import is_lfs_pointer, lfs_message
from mmre_jax.text_files import read_text, shown

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_UPCAST = ("F16", "BF16")

PICKLES = (".pth", ".pt", ".bin", ".ckpt")  # what torch.save writes, by the usual names
WRAPPERS = ("state_dict", "model", "model_state_dict", "module", "net")  # what trainers call a state dict that has arguments beside it
# What PyTorch raises on files that hold more than tensors, are damaged, or are none of its own.
_DAMAGE = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)

_LONGEST = 1000
_CONFIG, _SINGLE, _INDEX, _PICKLE = "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"

logger = logging.getLogger(__name__)


class WeightError(ValueError):
    """Weights that cannot be read or do not fit the model. The message names files and tensors."""


def read_directory(directory: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns (config.json as a dict, all tensors by name) of a model directory.

    Tensors come from model.safetensors, or from the shards that model.safetensors.index.json lists; fp16 and bf16 become
    fp32, other dtypes stay.

    Raises:
      WeightError: the directory or a file in it is missing or damaged, or there is only a pytorch_model.bin and no PyTorch to read it.
    """
    directory = Path(directory)
    return read_config(directory), read_tensors(directory)


def read_config(directory: str | Path) -> dict[str, Any]:
    """The directory's config.json. Raises WeightError where it is missing or no JSON object."""
    if not Path(directory).is_dir():
        raise WeightError(f"{directory} is not a directory; expected a model directory with {_CONFIG} and {_SINGLE}")
    return _read_json(Path(directory) / _CONFIG)


def read_tensors(directory: str | Path) -> dict[str, np.ndarray]:
    """All tensors of a model directory by name; see `read_directory`."""
    directory = Path(directory)
    if (directory / _SINGLE).is_file():
        return _read_safetensors(directory / _SINGLE)
    if (directory / _INDEX).is_file():
        return _read_shards(directory)
    if (directory / _PICKLE).is_file():
        return _read_pickle(directory / _PICKLE)
    raise WeightError(f"{directory} holds no weights; expected {_SINGLE}, or {_INDEX} with its shards")


def read_file(path: str | Path, *, upcast: bool = True) -> dict[str, np.ndarray]:
    """All tensors of a state dict by name, whatever the file is called: safetensors or, with PyTorch installed, what `torch.save` wrote.

    A pickled state dict may stand inside a dictionary, with other things beside it ({"state_dict": ..., "args": ...}): WRAPPERS has the
    usual names, and any other will do if there is but one.

    Args:
      upcast: fp16 and bf16 become fp32. All other dtypes stay.

    Raises:
      WeightError: the file is missing, damaged, neither of the two, holds no state dict or several, or takes PyTorch to read.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightError(f"{path} {'is a directory, not a file' if path.is_dir() else 'does not exist'}")
    _check_no_pointer(path)
    with open(path, "rb") as file:
        start = file.read(9)
    if path.suffix == ".safetensors" or start[8:] == b"{":  # behind the length of a safetensors header
        return _read_safetensors(path, upcast)
    if path.suffix in PICKLES or start[:2] == b"PK" or start[:1] == b"\x80":  # a zip archive, as of PyTorch 1.6, or a bare pickle
        return _read_pickle(path, upcast)
    raise WeightError(f"{path} is no state dict: neither safetensors nor what torch.save writes")


def _check_no_pointer(path: Path) -> None:
    if is_lfs_pointer(path):
        raise WeightError(lfs_message(path))


def _read_shards(directory: Path) -> dict[str, np.ndarray]:
    index = _read_json(directory / _INDEX)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise WeightError(f"{directory / _INDEX} has no weight_map of tensor names to file names")
    tensors: dict[str, np.ndarray] = {}
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard:  # it may be a link: the hub's cache keeps a model's files as links to its blobs
            raise WeightError(f"{directory / _INDEX} names the shard {shard!r}, which is not a plain file name")
        tensors.update(_read_safetensors(directory / shard))
    if set(tensors) != set(places):
        differing = sorted(set(tensors) ^ set(places))
        raise WeightError(f"{directory / _INDEX} and its shards disagree on {len(differing)} tensors, such as {differing[:3]}")
    return tensors


def _read_safetensors(path: Path, upcast: bool = True) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise WeightError(f"{path} does not exist")
    _check_no_pointer(path)
    try:
        found = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise WeightError(f"{path} is not a readable safetensors file (damaged or cut short?): {shown(error)}") from error
    return {name: _array(path, name, entry, upcast) for name, entry in found}


def _read_pickle(path: Path, upcast: bool = True) -> dict[str, np.ndarray]:
    _check_no_pointer(path)
    try:
        import torch
    except ModuleNotFoundError as error:
        raise WeightError(f"{path} is a pickle, which takes PyTorch to read: pip install '.[torch]', or give safetensors") from error
    _check_names(path)
    try:
        # Beside a state dict trainers keep their arguments and scores: a Namespace and NumPy's numbers are made without running any code.
        with torch.serialization.safe_globals([argparse.Namespace, *_numpy_numbers()]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it names {shown(code.group(1))}, as a pickled model does: save its state_dict() instead" if code else shown(error)
        raise WeightError(f"{path} holds more than tensors, or is damaged: {reason}") from error
    arrays = {}
    for name, value in _state_dict(path, found, torch.Tensor).items():
        half = value.dtype in (torch.float16, torch.bfloat16)
        try:
            array = (value.float() if half else value).detach().numpy()
        except (TypeError, RuntimeError, NotImplementedError) as error:
            kind = f"({value.layout}, {value.dtype}, {value.device})"
            raise WeightError(f"{path}: tensor {shown(name)} {kind} is not a plain one") from error
        own = jnp.bfloat16 if value.dtype == torch.bfloat16 else np.float16
        arrays[name] = array.astype(own) if half and not upcast else array
    return arrays


def _check_names(path: Path) -> None:
    """Refuses a pickle that names something of more than _LONGEST letters, on which PyTorch's own message would work for hours.

    Damage is left for PyTorch to find.
    """
    longest = ""
    with contextlib.suppress(*_DAMAGE, OSError, zipfile.BadZipFile, StopIteration), contextlib.ExitStack() as files:
        stream, pickles = files.enter_context(open(path, "rb")), 4  # before PyTorch 1.6: a magic number, a version, sizes, the dictionary
        if zipfile.is_zipfile(path):
            archive = files.enter_context(zipfile.ZipFile(stream))
            stream, pickles = files.enter_context(archive.open(next(x for x in archive.namelist() if x.split("/")[-1] == "data.pkl"))), 1
        for operation, argument, _ in itertools.chain.from_iterable(pickletools.genops(stream) for _ in range(pickles)):
            if operation.name in ("GLOBAL", "INST"):
                longest = max(longest, argument, key=len)
    if len(longest) > _LONGEST:
        raise WeightError(f"{path} holds more than tensors, or is damaged: it names {shown(longest)}")


def _numpy_numbers() -> list[Any]:
    """What a pickle names to make NumPy's numbers and booleans, under the module names of NumPy 2 and 1."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_)]
    return [np.dtype, *kinds, (scalar, "numpy._core.multiarray.scalar"), (scalar, "numpy.core.multiarray.scalar")]


def _state_dict(path: Path, found: Any, tensor: type) -> Mapping[str, Any]:
    """The dictionary of tensors that a pickle holds: all of it, or what stands in it under a name of WRAPPERS, or the only one there is."""

    def strange(value: Any) -> str:
        """What keeps a value from being a state dict; '' where nothing does."""
        if not isinstance(value, dict):
            return f"it is a {shown(type(value).__name__)}"
        others = ((name, x) for name, x in value.items() if not (isinstance(name, str) and isinstance(x, tensor)))
        return next((f"{shown(name)} is a {shown(type(x).__name__)}" for name, x in others), "")

    reason = strange(found)
    if not reason:
        return found
    parts = found.items() if isinstance(found, dict) else ()
    inner = {str(name): x for name, x in parts if isinstance(x, dict) and x and not strange(x)}
    named = [name for name in WRAPPERS if name in inner]
    names = named[:1] or list(inner)
    if len(names) == 1:
        beside = ", ".join(sorted(str(name) for name in found if name != names[0])) or "nothing"
        logger.info("%s: the state dict is its %r; not read beside it: %s", path, shown(names[0]), shown(beside))
        return inner[names[0]]
    if names:
        raise WeightError(f"{path} holds several dictionaries of tensors ({shown(', '.join(names))}): save the one to be read alone")
    wanted = next((name for name in WRAPPERS if isinstance(found, dict) and name in found), None)
    reason = reason if wanted is None else f"in its {wanted!r} {strange(found[wanted]) or 'there is nothing'}"
    raise WeightError(f"{path} does not hold a dictionary of tensors: {reason}")


def _array(path: Path, name: str, entry: dict[str, Any], upcast: bool) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise WeightError(f"{path}: tensor {shown(name)} has dtype {entry['dtype']}; readable are {', '.join(_DTYPES)}")
    array = np.frombuffer(entry["data"], dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return array.astype(np.float32) if upcast and entry["dtype"] in _UPCAST else array


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WeightError(f"{path} does not exist")
    _check_no_pointer(path)
    try:
        found = json.loads(read_text(path, WeightError))
    except json.JSONDecodeError as error:
        raise WeightError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise WeightError(f"{path} holds a {type(found).__name__}, expected a JSON object")
    return found
