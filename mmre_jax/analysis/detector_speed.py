"""Milliseconds a picture of Faster R-CNN with ResNet-50-FPN, ours against torchvision's: same weights, same canvas, same machine, in turns.

torchvision with its compiled operators wants a PyTorch of its own, so it lives in an environment of its own and is run as another process
that is told by lines what to do.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn, RcnnConfig, propose
from mmre_jax.training.protocol import versions
from mmre_jax.weights.rcnn import rcnn_rules
from mmre_jax.weights.rules import write

Case = tuple[int, int, int]  # pictures, height and width of their canvas
CASES: tuple[Case, ...] = ((1, 800, 1088), (4, 800, 1088))
SMALLER: tuple[Case, ...] = ((1, 480, 640), (1, 320, 448))  # of ours alone
_DEVIATIONS = {("proposer", "objectness"): 3.0, ("proposer", "offsets"): 0.4, ("head", "classes"): 2.0, ("head", "offsets"): 1.0}

# What the other environment runs. A line of JSON in: weights and pictures, then how often to look; a line of JSON out.
PROGRAM = """
import json, sys, time
import numpy as np, torch, torchvision
from safetensors.torch import load_file
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.misc import FrozenBatchNorm2d

first = json.loads(sys.stdin.readline())
torch.set_num_threads(first["threads"])
body = torchvision.models.resnet.resnet50(norm_layer=lambda width: FrozenBatchNorm2d(width, eps=0.0))
model = torchvision.models.detection.FasterRCNN(_resnet_fpn_extractor(body, 5), num_classes=91)
model.load_state_dict(load_file(first["weights"]), strict=False)
missing = set(model.state_dict()) - set(load_file(first["weights"]))
assert not [name for name in missing if not name.startswith("backbone.body.fc.")], missing
model.eval()
mean, std = (torch.tensor(x)[None, :, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def look(pixels):
    x = (pixels.float() / 255 - mean) / std
    pictures = ImageList(x, [tuple(x.shape[2:])] * len(x))
    maps = model.backbone(pictures.tensors)
    proposals, _ = model.rpn(pictures, maps)
    return model.roi_heads(maps, proposals, pictures.image_sizes)[0]


print(json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__, "threads": torch.get_num_threads()}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    pixels = torch.from_numpy(np.load(order["pixels"])).permute(0, 3, 1, 2).contiguous()
    with torch.inference_mode():
        began = time.perf_counter()
        for _ in range(order["calls"]):
            found = look(pixels)
        seconds = time.perf_counter() - began
    scores = [x for one in found for x in one["scores"].tolist()]
    print(json.dumps({"seconds": seconds, "scores": scores}), flush=True)
"""


def measure(
    python: str, *, cases: Sequence[Case] = CASES, smaller: Sequence[Case] = SMALLER, rounds: int = 5, config: RcnnConfig | None = None
) -> dict[str, Any]:
    """Times a whole look, from uint8 to boxes, of either side on pictures of noise and rectangles, which fill their canvas.

    Args:
      python: the interpreter of an environment with torchvision; '' times ours alone.
      cases: of both sides.
      smaller: of ours alone.
      rounds: timed looks of each side and case, one after the other in turns; the medians count.
      config: of the detector, whose sizes are ResNet-50-FPN's if there is a comparison.

    Returns:
      Plain JSON values: about (versions, threads), rows {pictures, height, width, ours_ms, torchvision_ms, ratio (ours over torchvision's),
      low, high (of the ratio over the rounds), boxes, torchvision_boxes, difference (of the sorted scores, at most)}.

    Raises:
      RuntimeError: the other environment is not there, or does not do as it is told.
    """
    net = FasterRcnn(config or RcnnConfig())
    variables = spread(net)
    look = jax.jit(net.apply)
    about: dict[str, Any] = {"versions": versions(), "device": jax.devices()[0].platform, "cores": _cores(), "rounds": rounds}
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        other = stack.enter_context(_torchvision(python, pathlib.Path(folder), net, variables)) if python else None
        if other is not None:
            about |= other({})
        for case in (*cases, *smaller):
            pixels = pictures(case)
            sizes = np.tile(np.array(case[1:], np.int32), (case[0], 1))
            ours = functools.partial(_timed, look, variables, pixels, sizes)
            theirs = None
            if other is not None and case in cases:
                np.save(pathlib.Path(folder, "pixels.npy"), pixels)
                theirs = functools.partial(other, {"pixels": str(pathlib.Path(folder, "pixels.npy")), "calls": 1})
            rows.append(_row(case, ours, theirs, rounds))
    return {"about": about, "rows": rows}


def spread(net: FasterRcnn) -> Any:
    """Random variables whose last layers say as different things of regions as trained ones do, so that there is something to suppress."""
    side = 8 * net.config.divisor
    pixels, sizes = pictures((1, side, side)), np.array([[side, side]], np.int32)
    variables = jax.tree.map(np.array, jax.jit(net.init)(jax.random.key(0), pixels, sizes))

    @jax.jit
    def outputs(variables: Any) -> dict[tuple[str, str], jax.Array]:
        def run(net: FasterRcnn) -> dict[tuple[str, str], jax.Array]:
            maps = net.maps(pixels, sizes, train=False)
            logits, offsets = net.proposer(maps, train=False)
            boxes = propose(net.config, (side, side), logits, offsets, jnp.asarray(sizes)).boxes
            _, classes, moves = net.regions(maps, boxes, train=False)
            found = {("proposer", "objectness"): logits, ("proposer", "offsets"): offsets}
            return {**found, ("head", "classes"): classes, ("head", "offsets"): moves}

        return {name: value.std() for name, value in net.apply(variables, method=run).items()}

    for part in ("proposer", "head"):  # the head's regions depend on the proposals
        for (owner, layer), found in outputs(variables).items():
            if owner == part:
                variables["params"][owner][layer]["kernel"] *= _DEVIATIONS[owner, layer] / float(found)
    return variables


def pictures(case: Case, seed: int = 0) -> np.ndarray:
    """Coloured rectangles on noise, uint8 [N, H, W, 3]."""
    random, (count, height, width) = np.random.default_rng(seed), case
    found = random.integers(0, 80, (count, height, width, 3), dtype=np.uint8)
    for picture in found:
        for _ in range(12):
            (y, x), sides = (random.random((2, 2)) * [height, width] * 0.7).astype(int)
            picture[y : y + 5 + sides[0], x : x + 5 + sides[1]] = random.integers(0, 256, 3)
    return found


def text(result: dict[str, Any]) -> str:
    """The rows for a terminal."""
    about = result["about"]
    lines = [f"{about['cores']} cores, jax {about['versions']['jax']} on {about['device']}, medians of {about['rounds']} rounds"]
    if "torchvision" in about:
        lines[0] += f"; torch {about['torch']} with torchvision {about['torchvision']}, {about['threads']} threads"
    for row in result["rows"]:
        line = f"{row['pictures']} x {row['height']} x {row['width']}: ours {row['ours_ms']:,.0f} ms a picture, {row['boxes']} boxes"
        if "ratio" in row:
            line += (
                f"; torchvision's {row['torchvision_ms']:,.0f} ms, {row['torchvision_boxes']} boxes; ours takes {row['ratio']:.2f} times "
                f"as long ({row['low']:.2f} to {row['high']:.2f}), scores differ by {row['difference']:.1e}"
            )
        lines.append(line)
    return "\n".join(lines)


Look = Callable[[], dict[str, Any]]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _row(case: Case, ours: Look, theirs: Look | None, rounds: int) -> dict[str, Any]:
    count, height, width = case
    sides = {"ours": ours, **({} if theirs is None else {"torchvision": theirs})}
    answers = {name: side() for name, side in sides.items()}  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            seconds[name].append(sides[name]()["seconds"] / count)
    middle = {name: float(np.median(found)) for name, found in seconds.items()}
    scores = {name: sorted(answer["scores"]) for name, answer in answers.items()}
    row: dict[str, Any] = {"pictures": count, "height": height, "width": width}
    row |= {"ours_ms": 1e3 * middle["ours"], "boxes": len(scores["ours"])}
    if theirs is not None:
        ratios = np.array(seconds["ours"]) / np.array(seconds["torchvision"])
        both = list(zip(scores["ours"][::-1], scores["torchvision"][::-1], strict=False))
        row |= {"torchvision_ms": 1e3 * middle["torchvision"], "torchvision_boxes": len(scores["torchvision"])}
        row |= {"ratio": middle["ours"] / middle["torchvision"], "low": float(ratios.min()), "high": float(ratios.max())}
        row["difference"] = max((abs(a - b) for a, b in both), default=0.0)
    return row


def _timed(look: Callable[..., Any], variables: Any, pixels: np.ndarray, sizes: np.ndarray) -> dict[str, Any]:
    began = time.perf_counter()
    found = jax.block_until_ready(look(variables, pixels, sizes))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "scores": np.asarray(found.scores)[np.asarray(found.valid)].tolist()}


@contextlib.contextmanager
def _torchvision(
    python: str, folder: pathlib.Path, net: FasterRcnn, variables: Any
) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """What tells the other process something and waits for its answer; told nothing it says what it is."""
    weights = folder / "weights.safetensors"
    safetensors.numpy.save_file(write(rcnn_rules(net.config), variables), weights)
    if not pathlib.Path(python).is_file():
        raise RuntimeError(f"{python}: no such interpreter: make one with torch and torchvision (make benchmark-detector does)")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with subprocess.Popen(
        [os.path.abspath(python), "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
    ) as process:

        def ask(order: dict[str, Any]) -> dict[str, Any]:
            assert process.stdin is not None and process.stdout is not None
            if order:
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(f"{python}: ended without an answer, see its message above")
            return dict(json.loads(answer))

        assert process.stdin is not None
        process.stdin.write(json.dumps({"weights": str(weights), "threads": _cores()}) + "\n")
        process.stdin.flush()
        try:
            yield ask
        finally:
            process.stdin.close()
