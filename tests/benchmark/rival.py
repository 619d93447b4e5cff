"""The released systems trained in PyTorch: the second implementations with its fused attention, dropout and AdamW. A process that answers
lines (mmre_jax/benchmark/lines.py); launch/benchmark_rival.py starts it.

It does no more than ours: what is frozen is not differentiated, the last text layer is computed at the markers alone, nothing is clipped
where the configuration clips nothing.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "systems"), str(ROOT / "mmre_jax" / "benchmark")]
import hvformer_torch  # noqa: E402
import released_torch  # noqa: E402
from lines import answer  # noqa: E402

# What the configuration calls "vision", in the authors' names.
VISION = {"hvpnet": ("image_model.",), "rsrnet": ("image_model.",)}
CLIP = ("model.vision_", "model.encoder.vision_layers.")
STATISTICS = ("running_mean", "running_var")
UNDECAYED = ("bias", "LayerNorm.weight", "layer_norm1.weight", "layer_norm2.weight", "layrnorm.weight")


@dataclasses.dataclass(frozen=True)
class Net(released_torch.State):
    """With PyTorch's fused attention, and dropout where the text encoder has it."""

    dropout: float = 0.0
    attention_dropout: float = 0.0
    train: bool = False

    def dropped(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, training=self.train)

    def asked(self, x: torch.Tensor, batch: released_torch.Batch) -> torch.Tensor:
        return released_torch.at_markers(x, batch)

    def marked(self, states: torch.Tensor, batch: released_torch.Batch) -> torch.Tensor:
        return states.flatten(1)

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, added: torch.Tensor | None = None, *, of_text: bool = False
    ) -> torch.Tensor:
        rate = self.attention_dropout if of_text and self.train else 0.0
        added = None if added is None else added.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=added, dropout_p=rate).transpose(1, 2).flatten(2)


class Rival:
    """What is open in this process: one released system, its optimiser and a batch."""

    def __init__(self) -> None:
        torch.set_flush_denormal(True)  # before there are other threads, which inherit it
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def about(self) -> dict[str, Any]:
        """What runs where."""
        tiny = torch.full((1 << 20,), 1e-39, device=self.device) * 1.5
        return {
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "numpy")},
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "subnormals": "kept" if tiny.cpu().view(torch.int32).any() else "flushed",
        }

    def open(self, kind: str, folder: str, about: dict[str, Any]) -> dict[str, Any]:
        """Reads what ours left (`Worker.write`). about: what ours says of itself (`Case.about`)."""
        precision = about["precision"] == "highest"
        torch.set_float32_matmul_precision("highest" if precision else "high")
        torch.backends.cudnn.allow_tf32 = not precision
        self.kind, self.told = kind, about
        frozen = VISION.get(kind, CLIP) if "vision" in about["frozen"] else ()
        if unknown := set(about["frozen"]) - {"vision"}:
            raise ValueError(f"nothing is known of freezing {', '.join(sorted(unknown))}")
        if about["multipliers"]:
            raise ValueError("learning rates of parts are not known here")
        tensors = {name: x.to(self.device) for name, x in load_file(f"{folder}/weights.safetensors").items()}
        fixed = {name for name in tensors if name.startswith(frozen) or name.endswith(STATISTICS) or not tensors[name].is_floating_point()}
        self.params = {name: x.requires_grad_() for name, x in tensors.items() if name not in fixed}
        self.tensors = tensors
        self.batch: dict[str, Any] = {}
        for name, x in np.load(f"{folder}/batch.npz").items():
            section, _, inner = name.partition("/")
            tensor = torch.from_numpy(x).to(self.device)
            if inner:
                self.batch.setdefault(section, {})[inner] = tensor
            else:
                self.batch[section] = tensor
        self.optimiser()
        self.forwards: dict[str, Callable[[], torch.Tensor]] = {}
        counted = sum(x.numel() for name, x in tensors.items() if not name.endswith(STATISTICS) and x.is_floating_point())
        return {"parameters": counted, "trained": sum(x.numel() for x in self.params.values())}

    def optimiser(self) -> None:
        """AdamW in one kernel, with warm-up and decay of the learning rate."""
        optim, total = self.told["optim"], self.told["steps"]
        plain = [x for name, x in self.params.items() if name.endswith(UNDECAYED) or x.ndim < 2]
        others = {id(x) for x in plain}
        groups = [
            {"params": [x for x in self.params.values() if id(x) not in others], "weight_decay": optim["weight_decay"]},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, lr=optim["lr"], betas=(optim["b1"], optim["b2"]), eps=optim["eps"], fused=True)
        warm = round(optim["warmup"] * total)
        falls = optim["schedule"] == "linear"

        def factor(step: int) -> float:
            return step / warm if step < warm else max(0.0, (total - step) / max(total - warm, 1)) if falls else 1.0

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.adamw, factor)

    def logits_of(self, train: bool) -> torch.Tensor:
        """[B, R]."""
        told, rsrnet = self.told, self.kind == "rsrnet"
        net = Net(self.tensors, told["heads"], 1e-5 if rsrnet else 1e-12, told["dropout"], told["attention_dropout"], train)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=told["dtype"] == "bfloat16"):
            if self.kind == "hvformer":
                return hvformer_torch.logits(net, self.batch, told["levels"]).float()
            kind = f"{self.kind}_re"
            return released_torch.logits(net, released_torch.states_of(net, self.batch, kind), self.batch).float()

    def loss(self) -> torch.Tensor:
        """Of the batch, with dropout."""
        return F.cross_entropy(self.logits_of(True), self.batch["label"].long())

    def prepare(self, what: str) -> float:
        """'step', 'infer', 'update', or one of the first two with ' compiled' behind it. Returns the seconds of its first call."""
        name, _, compiled = what.partition(" ")
        body: Callable[[], torch.Tensor] = {"step": self.loss, "infer": lambda: self.logits_of(False), "update": self.loss}[name]
        self.forwards[what] = torch.compile(body) if compiled else body
        if name == "update":
            for x in self.params.values():
                x.grad = 1e-3 * torch.randn_like(x)
        return self.time(what)

    def time(self, what: str, calls: int = 1) -> float:
        """Seconds a call, over `calls` of them."""
        do = {"step": self.step, "infer": self.infer, "update": self.update}[what.partition(" ")[0]]
        self.wait()
        began = time.perf_counter()
        for _ in range(calls):
            do(self.forwards[what])
        self.wait()
        return (time.perf_counter() - began) / calls

    def step(self, loss: Callable[[], torch.Tensor]) -> None:
        self.adamw.zero_grad(set_to_none=True)
        loss().backward()
        self.update(loss)

    def update(self, _: Callable[[], torch.Tensor]) -> None:
        if clip := self.told["optim"]["clip"]:
            torch.nn.utils.clip_grad_norm_(list(self.params.values()), clip, foreach=True)
        self.adamw.step()
        self.schedule.step()

    def infer(self, logits: Callable[[], torch.Tensor]) -> None:
        with torch.inference_mode():
            logits()

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def logits(self, file: str) -> None:
        """Leaves the logits of the batch there."""
        with torch.no_grad():
            np.save(file, self.logits_of(False).cpu().numpy())

    def forget_peak(self) -> None:
        """From now on the peak of memory is counted anew."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")

    def peak_mib(self) -> float:
        """The most memory in use since then, MiB: of the device, or this process's resident memory."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
        assert found is not None
        return int(found[1]) / 1024


def main() -> None:
    """Answers until nobody asks."""
    rival = Rival()
    names = ("about", "open", "prepare", "time", "logits", "forget_peak", "peak_mib")
    answer({name: getattr(rival, name) for name in names})


if __name__ == "__main__":
    main()
