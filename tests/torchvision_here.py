"""torchvision for the tests: importable beside a PyTorch of another build, and out of the way of everything else.

    transforms = torchvision_here.load().transforms  # skips the test with a reason where it is not installed

torchvision's wheels are built for one PyTorch; beside another one its own compiled operators do not load. What the tests compare with is
plain Python, which at import only wants operators of certain names to exist; of them non-maximum suppression stands below, and RoIAlign in
Python in torchvision itself. transformers behaves otherwise where it sees torchvision: so
it is installed, without dependencies, into a folder of its own ($MMRE_TORCHVISION, default .venv/torchvision), and forgotten after import.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("MMRE_TORCHVISION", Path(__file__).parents[1] / ".venv" / "torchvision"))
MISSING = f"torchvision is not in {FOLDER}: make .venv/torchvision, or set MMRE_TORCHVISION"


def load(name: str = "torchvision") -> types.ModuleType:
    """The module of that name, with what it imports; skips the test where it cannot be had."""
    pytest.importorskip("torch")
    if not (FOLDER / name).is_dir():
        pytest.skip(MISSING if name == "torchvision" else f"{name} is not in {FOLDER}")
    return _load()[name]


def part(name: str) -> types.ModuleType:
    """A module of torchvision by its dotted name; skips the test where it cannot be had."""
    return functools.reduce(getattr, name.split("."), load())


def _nms(boxes: Any, scores: Any, threshold: float) -> Any:
    """Greedy non-maximum suppression: indices of the boxes [N, 4] that stay, best first."""
    import torch

    left, kept = scores.argsort(descending=True, stable=True), []
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        sides = torch.minimum(boxes[best, 2:], boxes[left, 2:]) - torch.maximum(boxes[best, :2], boxes[left, :2])
        common = sides.clamp(min=0).prod(dim=1)
        left = left[common <= threshold * (area[best] + area[left] - common)]
    return torch.tensor(kept, dtype=torch.long)


@functools.cache
def _load() -> dict[str, types.ModuleType]:
    import torch

    if not hasattr(torch.ops.torchvision, "nms"):
        operators = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        operators.impl("nms", _nms, "CPU")
        _load.kept = operators  # it takes its definitions along when it goes
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        names = [name for name in ("torchvision", "timm") if (FOLDER / name).is_dir()]
        found = {name: importlib.import_module(name) for name in names}
        for part in ("transforms", "ops", "models.resnet", "models.vgg", "models.detection"):
            importlib.import_module(f"torchvision.{part}")
        align, boxes = (sys.modules[f"torchvision.ops.{name}"] for name in ("roi_align", "boxes"))
        align._has_ops, align._roi_align = lambda: False, align._roi_align.__wrapped__  # in Python, and not compiled
        boxes._assert_has_ops = lambda: None
        return found
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("torchvision", "timm"):
                del sys.modules[name]
