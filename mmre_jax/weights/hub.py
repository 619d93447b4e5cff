"""Reads a model directory in transformers' format: config.json and safetensors, or, with PyTorch installed, a pytorch_model.bin.
Reads a state dict from a file of its own, too.

No pickled code is run: PyTorch reads .bin files in its mode for tensors alone.
"""

from __future__ import annotations

import json
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors

from mmre_jax.text_files import read_text

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

_CONFIG, _SINGLE, _INDEX, _PICKLE = "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"


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
    """All tensors of a state dict by name, from a .safetensors file or, with PyTorch installed, from one that `torch.save` wrote.

    Args:
      upcast: fp16 and bf16 become fp32. All other dtypes stay.

    Raises:
      WeightError: the file is missing, damaged, of an unknown kind, holds anything but tensors, or takes PyTorch to read.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", *PICKLES):
        raise WeightError(f"{path}: a state dict is a file named {', '.join(('*.safetensors', *(f'*{end}' for end in PICKLES)))}")
    if not path.is_file():
        raise WeightError(f"{path} {'is a directory, not a file' if path.is_dir() else 'does not exist'}")
    return _read_safetensors(path, upcast) if path.suffix == ".safetensors" else _read_pickle(path, upcast)


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
    try:
        found = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise WeightError(f"{path} is not a readable safetensors file (damaged or cut short?): {error}") from error
    return {name: _array(path, name, entry, upcast) for name, entry in found}


def _read_pickle(path: Path, upcast: bool = True) -> dict[str, np.ndarray]:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise WeightError(f"{path} is a pickle, which takes PyTorch to read: pip install '.[torch]', or give safetensors") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it names {code.group(1)}, as a pickled model does: save its state_dict() instead" if code else str(error)[:200]
        raise WeightError(f"{path} holds more than tensors, or is damaged: {reason}") from error
    if not isinstance(found, dict) or not all(isinstance(x, str) and isinstance(y, torch.Tensor) for x, y in found.items()):
        raise WeightError(f"{path} does not hold a dictionary of tensors")
    arrays = {}
    for name, value in found.items():
        half = value.dtype in (torch.float16, torch.bfloat16)
        try:
            array = (value.float() if half else value).detach().numpy()
        except (TypeError, RuntimeError, NotImplementedError) as error:
            raise WeightError(f"{path}: tensor {name} ({value.layout}, {value.dtype}, {value.device}) is not a plain one") from error
        own = jnp.bfloat16 if value.dtype == torch.bfloat16 else np.float16
        arrays[name] = array.astype(own) if half and not upcast else array
    return arrays


def _array(path: Path, name: str, entry: dict[str, Any], upcast: bool) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise WeightError(f"{path}: tensor {name} has dtype {entry['dtype']}; readable are {', '.join(_DTYPES)}")
    array = np.frombuffer(entry["data"], dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return array.astype(np.float32) if upcast and entry["dtype"] in _UPCAST else array


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WeightError(f"{path} does not exist")
    try:
        found = json.loads(read_text(path, WeightError))
    except json.JSONDecodeError as error:
        raise WeightError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise WeightError(f"{path} holds a {type(found).__name__}, expected a JSON object")
    return found
