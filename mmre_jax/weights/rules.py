"""Declarative rules that name, for every tensor of a foreign checkpoint, the parameter it fills; read in both directions.

A pattern is a name in which `{n}` stands for a number and, except in rules, `*` for anything.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from mmre_jax.text_files import shown
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.transforms import TRANSFORMS, Transform

__all__ = [
    "TRANSFORMS",
    "Rule",
    "Transform",
    "WeightError",
    "as_part",
    "dense_rules",
    "excused",
    "norm_rules",
    "read",
    "upper_layers",
    "write",
]

Tree = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line of a table: `source` names a tensor, `target` a parameter ('a/b/kernel'), `transform` is a key of TRANSFORMS.

    Both names may hold one `{n}`, which stands for the same number in both.
    """

    source: str
    target: str
    transform: str = "same"

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise ValueError(f"{self} has an unknown transform; known are {', '.join(TRANSFORMS)}")
        if self.source.count("{n}") != self.target.count("{n}") or self.source.count("{n}") > 1:
            raise ValueError(f"{self} must have one {{n}} on both sides or none")


def read(
    rules: tuple[Rule, ...],
    tensors: Mapping[str, np.ndarray],
    target: Tree,
    *,
    unread: Mapping[str, str],
    initialised: tuple[str, ...] = (),
    source: str = "the checkpoint",
) -> dict[str, Any]:
    """Fills a parameter tree from a checkpoint's tensors.

    Args:
      rules: the table. Every tensor must be used by exactly one rule, or be excused in `unread` and fill nothing.
      tensors: the checkpoint.
      target: the nested tree to fill, of arrays or, where nothing keeps its initial value, of `jax.ShapeDtypeStruct`.
      unread: {pattern: reason} for tensors that the model has no use for.
      initialised: patterns of parameters that the checkpoint lacks and that keep their value.
      source: what error messages call the checkpoint.

    Returns:
      A tree of the target's structure: numpy arrays in the target's dtypes, and the target's own arrays where kept.

    Raises:
      WeightError: all tensors without or with several rules, shapes that do not fit, and parameters left unfilled.
    """
    flat = traverse_util.flatten_dict(_plain(target), sep="/")
    filled: dict[str, Any] = {}
    origin: dict[str, str] = {}
    problems: list[str] = []
    for name in sorted(tensors):
        excuses = [f"{pattern!r} ({reason})" for pattern, reason in unread.items() if _match(pattern, name) is not None]
        found = [(rule, path) for rule, path in _targets(rules, name) if not excuses or path in flat]
        if len(found) + bool(excuses) != 1:
            used = [f"read as {path}" for _, path in found] + [f"excused by {excuse}" for excuse in excuses]
            problems.append(f"tensor {shown(name)} {list(tensors[name].shape)} is " + (" and ".join(used) or "neither read nor excused"))
            continue
        if excuses:
            continue
        rule, path = found[0]
        if path in origin:
            problems.append(f"parameter {path} is filled by both {origin[path]} and {name}")
            continue
        origin[path] = name
        try:
            filled[path] = _transformed(rule, path, tensors[name], flat)
        except ValueError as error:
            problems.append(f"tensor {shown(name)} {list(tensors[name].shape)} does not fit {path} by {rule.transform!r}: {error}")
    problems += _keep_initialised(rules, flat, filled, origin, initialised)
    _raise_all(f"{source} does not fit the model", problems)
    return traverse_util.unflatten_dict({path: filled[path] for path in flat}, sep="/")


def write(rules: tuple[Rule, ...], tree: Tree, *, initialised: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The inverse of `read`: the checkpoint's tensors by name, from a filled tree.

    Args:
      rules: the same table. Every parameter must be the target of exactly one rule, or match `initialised`.
      tree: the nested parameters.
      initialised: patterns of parameters that have no counterpart in the checkpoint; they are left out.

    Raises:
      WeightError: all parameters without or with several rules, and two parameters for one tensor.
    """
    tensors: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for path, value in sorted(traverse_util.flatten_dict(_plain(tree), sep="/").items()):
        if any(_match(pattern, path) is not None for pattern in initialised):
            continue
        found = _sources(rules, path)
        if len(found) != 1:
            names = ", ".join(name for _, name in found)
            problems.append(f"parameter {path} is written by " + (f"several rules: {names}" if found else "no rule"))
            continue
        rule, name = found[0]
        if name in tensors:
            problems.append(f"tensor {name} is written by two parameters, {path} is one of them")
            continue
        tensors[name] = np.ascontiguousarray(TRANSFORMS[rule.transform].inverse(np.asarray(value)))
    _raise_all("the parameters cannot be written", problems)
    return tensors


def excused(tensors: Iterable[str], unread: Mapping[str, str]) -> dict[str, str]:
    """{name: reason} of those tensors that a pattern of `unread`, {pattern: reason}, excuses."""
    return {name: reason for name in tensors for pattern, reason in unread.items() if _match(pattern, name) is not None}


def dense_rules(names: Mapping[str, str], bias: bool = True) -> tuple[Rule, ...]:
    """Rules for dense layers {module in the checkpoint: module here}."""
    kernels = [Rule(f"{source}.weight", f"{target}/kernel", "linear") for source, target in names.items()]
    return (*kernels, *(Rule(f"{source}.bias", f"{target}/bias") for source, target in names.items() if bias))


def norm_rules(names: Mapping[str, str], norm: tuple[str, str] = ("weight", "bias")) -> tuple[Rule, ...]:
    """Rules for layer normalisations {module in the checkpoint: module here}; `norm` names scale and bias there."""
    scales = [Rule(f"{source}.{norm[0]}", f"{target}/scale") for source, target in names.items()]
    return (*scales, *(Rule(f"{source}.{norm[1]}", f"{target}/bias") for source, target in names.items()))


def as_part(rules: tuple[Rule, ...], part: str, names: Mapping[str, str] | None = None) -> tuple[Rule, ...]:
    """An encoder's table for that encoder as a part of a system.

    A system's own checkpoint has the added words' rows already: unlike a bare encoder's, a table there must fit exactly.

    Args:
      part: where it is here, such as 'text'.
      names: {start of a name in the table: start of it in the system's checkpoint}, one for each rule; None for the same names.

    Raises:
      ValueError: for a rule that none or several of the names fit.
    """
    names, parts = names or {"": ""}, []
    for rule in rules:
        starts = [start for start in names if rule.source.startswith(start)]
        if len(starts) != 1:
            raise ValueError(f"{rule} starts with {starts or 'none'} of {list(names)}, expected one of them")
        source = names[starts[0]] + rule.source.removeprefix(starts[0])
        parts.append(Rule(source, f"{part}/{rule.target}", "same" if rule.transform == "rows" else rule.transform))
    return tuple(parts)


def upper_layers(prefix: str, layers: int, pretrained: int) -> dict[str, str]:
    """Excuses, {pattern: reason}, for the checkpoint's layers above the model's."""
    return {f"{prefix}{n}.*": f"the model has {layers} layers" for n in range(layers, pretrained)}


def _transformed(rule: Rule, path: str, tensor: np.ndarray, flat: Mapping[str, Any]) -> np.ndarray:
    if path not in flat:
        raise ValueError("the model has no such parameter")
    target = flat[path]
    value = TRANSFORMS[rule.transform].forward(tensor, target)
    if value.shape != tuple(target.shape):
        raise ValueError(f"it gives {list(value.shape)}, expected {list(target.shape)}")
    return np.array(value, dtype=target.dtype, order="C")


def _keep_initialised(
    rules: tuple[Rule, ...], flat: Mapping[str, Any], filled: dict[str, Any], origin: Mapping[str, str], initialised: tuple[str, ...]
) -> list[str]:
    problems = []
    for path, value in flat.items():
        excused = [pattern for pattern in initialised if _match(pattern, path) is not None]
        if path in origin:
            problems += [f"parameter {path} is to keep its initial value ({pattern!r}), but {origin[path]} fills it" for pattern in excused]
        elif not excused:
            lacking = " or ".join(name for _, name in _sources(rules, path)) or "a tensor that no rule names"
            problems.append(f"parameter {path} {list(value.shape)} is filled by no tensor: {lacking} is not there")
        elif isinstance(value, jax.ShapeDtypeStruct):
            problems.append(f"parameter {path} is to keep its initial value, but has none here")
        else:
            filled[path] = value
    return problems


def _targets(rules: tuple[Rule, ...], name: str) -> list[tuple[Rule, str]]:
    matches = [(rule, _match(rule.source, name, wild=False)) for rule in rules]
    return [(rule, rule.target.replace("{n}", match)) for rule, match in matches if match is not None]


def _sources(rules: tuple[Rule, ...], path: str) -> list[tuple[Rule, str]]:
    matches = [(rule, _match(rule.target, path, wild=False)) for rule in rules]
    return [(rule, rule.source.replace("{n}", match)) for rule, match in matches if match is not None]


def _match(pattern: str, name: str, wild: bool = True) -> str | None:
    """What `{n}` stands for, '' where the pattern has none; None where the pattern does not match the whole name."""
    expression = re.escape(pattern).replace(re.escape("{n}"), r"(0|[1-9]\d*)")
    if wild:
        expression = expression.replace(re.escape("*"), ".*")
    match = re.fullmatch(expression, name)
    if match is None:
        return None
    return match.group(1) if match.groups() else ""


def _plain(tree: Tree) -> dict[str, Any]:
    return {name: _plain(value) if isinstance(value, Mapping) else value for name, value in tree.items()}


def _raise_all(what: str, problems: list[str]) -> None:
    if problems:
        raise WeightError(f"{what}, {len(problems)} problems:\n  " + "\n  ".join(problems))
