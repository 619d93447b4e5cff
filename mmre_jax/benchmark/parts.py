"""What is measured, a part at a time: a released kind, a system at one of its sizes, the loader. Each part is plain JSON values."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmre_jax.analysis.peaks import peak_of
from mmre_jax.benchmark.lines import Side, SideError
from mmre_jax.benchmark.turns import take_turns

HERE = pathlib.Path(__file__).parent
# Loads this folder as a tree's own mmre_jax.benchmark, so that all trees are measured alike, whatever they have of it.
TREE_PROGRAM = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("mmre_jax.benchmark", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
module = sys.modules["mmre_jax.benchmark"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from mmre_jax.benchmark.worker import main
main()
"""
OURS, BEFORE, EAGER, COMPILED, ADAMW, CACHED = "ours", "before", "eager", "compiled", "optax.adamw", "features cached"

_BERT = {"text.kind": "bert", "text.eps": 1e-12, "text.positions": 512, "text.types": 2}
# Each released kind: its configuration, what makes that fit (weights/released.py), and the rows of its word table.
KINDS: dict[str, tuple[str, dict[str, Any], int]] = {
    "hvformer": ("hvformer:reference", {}, 30526),
    "ifaformer": ("ifaformer:reference", {}, 30526),
    "hvpnet": ("rsrnet:reference", {**_BERT, "vision.kind": "resnet", "system.gate": "leaky_relu"}, 30526),
    "rsrnet": ("rsrnet:reference", {"text.pad_id": 1}, 50267),
    "mkgformer": ("mkgformer:reference", {}, 30526),
}
RELATIONS = 23  # MNRE's
# Every system at the size of its quickstart and of its paper; classes of a detector, whose data would name them.
SYSTEMS: dict[str, tuple[str, str, int]] = {
    "hvformer": ("hvformer:quickstart", "hvformer:mnre", 0),
    "qeot": ("qeot:quickstart", "qeot:more", 0),
    "ifaformer": ("ifaformer:quickstart", "ifaformer:mnre", 0),
    "rsrnet": ("rsrnet:quickstart", "rsrnet:mnre", 0),
    "hvpnet": ("", "rsrnet:hvpnet_mnre", 0),
    "dgf_pt": ("dgf_pt:quickstart", "dgf_pt:mnre", 0),
    "mkgformer": ("mkgformer:quickstart", "mkgformer:mnre", 0),
    "detector": ("detector:quickstart", "detector:jsonl", 90),
    "visualbert": ("visualbert:quickstart", "visualbert:mnre", 0),
    "adapted": ("adapted:ifaformer_quickstart", "adapted:ifaformer_more", 0),
    "pcnn": ("text_baselines:quickstart_pcnn", "text_baselines:pcnn_mnre", 0),
    "bilstm_crf": ("text_baselines:quickstart_bilstm_crf", "text_baselines:bilstm_crf_twitter2017", 0),
}
ONE_DEVICE = {"parallel.devices": 1, "parallel.mapping": "pmap"}


@dataclasses.dataclass(frozen=True)
class Trees:
    """Checkouts of this library. before: another one to measure beside it; '' for none.

    changes: of settings, by dotted names, in this one alone: the other may lack them.
    """

    ours: str
    before: str = ""
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def folders(self) -> dict[str, str]:
        """{side: folder}."""
        return {OURS: self.ours, **({BEFORE: self.before} if self.before else {})}

    def that_have(self, config: str) -> Trees:
        """These, without the other checkout where it has no such configuration, NAME:VARIANT: it came later."""
        has = self.before and (pathlib.Path(self.before) / "configs" / f"{config.partition(':')[0]}.py").is_file()
        return self if has else dataclasses.replace(self, before="")

    def changed(self, side: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The changes of settings for a side."""
        return {**changes, **(self.changes if side == OURS else {})}

    @contextlib.contextmanager
    def open(self) -> Iterator[dict[str, Side]]:
        """The processes in which they are measured, by side."""
        with contextlib.ExitStack() as stack:
            yield {name: stack.enter_context(tree(folder, name)) for name, folder in self.folders().items()}


def tree(folder: str | os.PathLike[str], name: str) -> Side:
    """The process in which a checkout of this library is measured.

    Raises:
      FileNotFoundError: it is none.
    """
    root = pathlib.Path(folder).resolve()
    if not (root / "mmre_jax").is_dir() or not (root / "configs").is_dir():
        raise FileNotFoundError(f"{folder}: no checkout of this library: it has no mmre_jax and configs")
    # Compilations are real, and a GPU's memory is shared with the other sides.
    environment = {"PYTHONPATH": str(root), "JAX_ENABLE_COMPILATION_CACHE": "false", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return Side(name, [sys.executable, "-c", TREE_PROGRAM, str(HERE)], folder=str(root), environment=environment)


def config_of(folder: str, config: str) -> str:
    """NAME:VARIANT of a checkout, as FILE:VARIANT."""
    name, _, variant = config.partition(":")
    return f"{pathlib.Path(folder).resolve() / 'configs' / name}.py:{variant}"


def released(
    kind: str,
    trees: Trees,
    rival: Sequence[str],
    *,
    batch: int,
    tokens: int,
    dtype: str,
    rounds: int,
    compiled: bool,
    small: Mapping[str, Any] | None = None,
    words: int = 0,
) -> dict[str, Any]:
    """A released kind with random weights and a random batch, the same on both sides: training step, prediction, update alone.

    Args:
      kind: one of KINDS.
      rival: the command of PyTorch's process (tests/benchmark/rival.py); none measures trees alone.
      batch, tokens: records, all of that length.
      dtype: of train.dtype.
      rounds: in turns.
      compiled: whether torch.compile is measured, too.
      small, words: changes of settings and rows of the word table, for tests.

    Returns:
      about: {side: what ran where}.
      case: sizes.
      timed: {step, infer, update: {side: [seconds a call]}}; where an image encoder is frozen, 'step cached' has the same rounds of PyTorch
        beside a step of ours on its features.
      compile: {step, infer: {side: seconds}}; of PyTorch those of the first call.
      memory_mib: {side: the most in use in training steps}; planned_mib: XLA's plan for ours.
      flops: of ours, {step, infer}.
      logits: difference, the largest between ours and PyTorch's without dropout, and deviation of ours.
      failed: {what: message} of what torch.compile could not do.
    """
    name, fixed, rows = KINDS[kind]
    changes = {**fixed, **ONE_DEVICE, "train.dtype": dtype, **(small or {})}
    sizes = {"batch": batch, "tokens": tokens, "labels": RELATIONS, "words": words or rows}
    with trees.open() as sides, contextlib.ExitStack() as stack:
        cases = {}
        for side, process in sides.items():
            folder = trees.folders()[side]
            cases[side] = process.ask("open", config=config_of(folder, name), changes=trees.changed(side, changes), **sizes)
        ours, part = sides[OURS], {"case": cases[OURS], "compile": {}, "flops": {}, "planned_mib": {}, "failed": {}, "timed": {}}
        if rival:
            torch = stack.enter_context(Side(EAGER, rival))
            part["logits"] = _hand_over(kind, ours, torch, cases[OURS])
        else:
            torch = None
        part["about"] = {side: process.ask("about") for side, process in {**sides, **({EAGER: torch} if torch else {})}.items()}
        for what in ("step", "infer", "update"):
            told = {side: process.ask("compile", what=what) for side, process in sides.items()}
            part["compile"][what] = {side: found["seconds"] for side, found in told.items()}
            part["flops"][what] = told[OURS]["flops"]
            part["planned_mib"][what] = {side: found["memory_mib"] for side, found in told.items()}
            timed = {side: functools.partial(process.ask, "time", what=what) for side, process in sides.items()}
            if what == "update":
                ours.ask("compile", what="adamw")
                timed[ADAMW] = functools.partial(ours.ask, "time", what="adamw")
            if what == "step" and cases[OURS]["cached"]:
                part["compile"]["step cached"] = {OURS: ours.ask("compile", what="cached")["seconds"]}
                timed[CACHED] = functools.partial(ours.ask, "time", what="cached")
            if torch is not None:
                timed |= _of_torch(torch, what, compiled and what != "update", part)
            for process in (*sides.values(), *((torch,) if torch else ())):
                process.ask("forget_peak")
            part["timed"][what] = take_turns(timed, rounds)
            if CACHED in part["timed"][what]:
                others = {side: seconds for side, seconds in part["timed"][what].items() if side in (EAGER, COMPILED)}
                part["timed"]["step cached"] = {OURS: part["timed"][what].pop(CACHED), **others}
            if what == "step":
                part["memory_mib"] = {side: process.ask("peak_mib") for side, process in sides.items()}
                if torch is not None:
                    part["memory_mib"][EAGER] = torch.ask("peak_mib")
    return part


def _hand_over(kind: str, ours: Side, torch: Side, case: Mapping[str, Any]) -> dict[str, float]:
    """Gives PyTorch our weights and batch, and compares what comes out.

    Raises:
      SideError: it has other parameters, or trains others.
    """
    with tempfile.TemporaryDirectory() as folder:
        ours.ask("write", folder=folder, kind=f"{kind}_re")
        theirs = torch.ask("open", kind=kind, folder=folder, about=case)
        if theirs["trained"] != case["trained"]:
            raise SideError(f"{kind}: ours trains {case['trained']:,} parameters, PyTorch {theirs['trained']:,}")
        found = []
        for side in (ours, torch):
            side.ask("logits", file=f"{folder}/{side.name}.npy")
            found.append(np.load(f"{folder}/{side.name}.npy"))
    return {"difference": float(np.abs(found[0] - found[1]).max()), "deviation": float(found[0].std())}


def _of_torch(torch: Side, what: str, compiled: bool, part: dict[str, Any]) -> dict[str, Callable[[], float]]:
    """PyTorch's sides, made ready."""
    part["compile"][what][EAGER] = torch.ask("prepare", what=what)
    timed = {EAGER: functools.partial(torch.ask, "time", what=what)}
    if compiled:
        try:
            part["compile"][what][COMPILED] = torch.ask("prepare", what=f"{what} compiled")
            timed[COMPILED] = functools.partial(torch.ask, "time", what=f"{what} compiled")
        except SideError as error:
            part["failed"][what] = str(error)
    return timed


def system(
    config: str,
    trees: Trees,
    *,
    batch: int,
    dtype: str,
    rounds: int,
    labels: int = 0,
    loop: int = 0,
    small: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A system's training step on a batch of the right shapes, the longest of data.buckets.

    Args:
      config: NAME:VARIANT.
      batch: records; 0 for train.batch.
      labels: classes, where the data would name them.
      loop: steps of the real loop, whose waiting for data is measured; 0: the data is not here.
      small: changes of settings, for tests.

    Returns:
      about, case, timed and compile as of `released`, step alone; memory_mib; flops; callbacks {side: share of a step's time that the host
      takes in callbacks}; peak_gflops, of the device's data sheet, else of a product measured here; loop, as of analysis/speed.py.
    """
    changes = {**ONE_DEVICE, "train.dtype": dtype, **(small or {})}
    part: dict[str, Any] = {"about": {}, "case": {}, "compile": {"step": {}}, "flops": {}, "callbacks": {}, "memory_mib": {}}
    with trees.open() as sides:
        for side, process in sides.items():
            where = {"config": config_of(trees.folders()[side], config), "changes": trees.changed(side, changes)}
            part["case"][side] = process.ask("open", **where, batch=batch, tokens=0, labels=labels)
            part["about"][side] = process.ask("about")
            told = process.ask("compile", what="step")
            part["compile"]["step"][side], part["flops"][side] = told["seconds"], told["flops"]
            process.ask("time", what="step")
            process.ask("forget_peak")
            process.ask("callback_seconds")
        part["timed"] = {"step": take_turns({s: functools.partial(p.ask, "time", what="step") for s, p in sides.items()}, rounds)}
        for side, process in sides.items():
            part["memory_mib"][side] = process.ask("peak_mib")
            seconds = process.ask("time", what="step") if process.ask("callback_seconds") else 0.0
            part["callbacks"][side] = process.ask("callback_seconds") / seconds if seconds else 0.0
        ours = sides[OURS]
        sheet = peak_of(part["about"][OURS]["device"], dtype)
        part["peak_gflops"] = ours.ask("matmul_gflops", dtype=dtype) if sheet is None else 1e3 * sheet
        if loop:
            where = {"config": config_of(trees.ours, config), "changes": trees.changed(OURS, changes)}
            part["loop"] = ours.ask("speed", **where, steps=loop)["loop"][0]
    return part


def loader(config: str, trees: Trees, *, steps: int, rounds: int, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The loader alone on a configuration's training records, seconds a record; a pass in front warms it.

    Args:
      config: NAME:VARIANT.
      steps: batches of a pass.
      changes: {side: changes of settings}, such as where the data is.
    """
    with trees.open() as sides:
        case = {
            side: process.ask(
                "open_loader",
                config=config_of(trees.folders()[side], config),
                changes=trees.changed(side, {**ONE_DEVICE, **changes.get(side, {})}),
                steps=steps,
            )
            for side, process in sides.items()
        }
        about = {side: process.ask("about") for side, process in sides.items()}
        timed = take_turns({side: functools.partial(process.ask, "time", what="loader") for side, process in sides.items()}, rounds)
    return {"about": about, "case": case, "timed": {"record": timed}}
