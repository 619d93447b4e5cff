"""Pictures in, objects out: a detector's weights as a Python object.

    detector = detection.load("fasterrcnn_resnet50_fpn.safetensors")        # or a run of configs/detector.py
    for found in detector.detect(["a.jpg", "b.png"]):
        for region in found.regions:
            print(region.label, region.score, region.box)

detection_files.py does the same for folders and data sets, resumably.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from mmre_jax.data.dataset import BACKGROUND
from mmre_jax.data.decode import PictureError, read_picture
from mmre_jax.data.pictures import fit
from mmre_jax.encoders.rcnn.canvas import Canvases, in_picture
from mmre_jax.encoders.rcnn.faster_rcnn import FasterRcnn, detect, propose
from mmre_jax.records import Region
from mmre_jax.systems.faster_rcnn import FasterRcnnSystem
from mmre_jax.text_files import read_text
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.job import restore_job, shapes
from mmre_jax.training.locate import is_run, locate
from mmre_jax.training.parameters import checksum
from mmre_jax.weights import coco
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.rcnn import describe_rcnn, rcnn_rules, rcnn_unread, read_rcnn
from mmre_jax.weights.rules import read

Picture = str | os.PathLike[str] | Image.Image | np.ndarray
Placed = tuple[np.ndarray, np.ndarray]
SHORTER, LONGER = 800, 1333  # torchvision's
_DIGITS = 6  # of boxes and scores: less than a thousandth of a pixel


@dataclasses.dataclass(frozen=True)
class Detected:
    """What was found in one picture.

    regions: best first, with source 'detected', a box, a label and a score.
    features: float32 [regions, hidden] of each region, what the head's last dense layer says of its box; None where not asked for.
    note: why nothing was looked at; '' for a picture that was.
    """

    regions: tuple[Region, ...] = ()
    features: np.ndarray | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """A detector ready to look at pictures; make one with `load`.

    Attributes:
      net: the module, its thresholds in `net.config`.
      variables: its parameters and statistics.
      labels: of every class, the background first.
      canvases: the sizes that pictures come to; an int for a detector that was trained on pictures squashed to squares of that side.
      batch: pictures that are looked at together.
    """

    net: FasterRcnn
    variables: Any
    labels: tuple[str, ...]
    canvases: Canvases | int
    batch: int

    def detect(self, pictures: Sequence[Picture], *, features: bool = False, strict: bool = True) -> list[Detected]:
        """Looks at pictures: files, Pillow's images, or arrays uint8 [H, W, 3].

        Args:
          features: whether each region's feature is wanted, too.
          strict: whether a picture that is missing or cannot be read is an error; else its note says so.

        Raises:
          PictureError: where `strict`, for the first such picture.
          ValueError: for an array that is no picture.
        """
        return self.look([self.open(picture, strict) for picture in pictures], features=features)

    def open(self, picture: Picture, strict: bool = False) -> Placed | str:
        """A picture's pixels as the detector looks at them, uint8 [H, W, 3], and its size there, int32 [2]; or why it cannot be read.

        Raises:
          PictureError, ValueError: see `detect`.
        """
        try:
            return self.place(_image(picture))
        except PictureError as error:
            if strict:
                raise
            return str(error)

    def place(self, image: Image.Image) -> Placed:
        """An RGB picture on its canvas, uint8 [H, W, 3], and its size there, int32 [2] (height, width)."""
        if isinstance(self.canvases, int):
            return fit(image, self.canvases, "squash"), np.array([self.canvases, self.canvases], np.int32)
        return self.canvases.place(image)

    def look(self, placed: Sequence[Placed | str], *, features: bool = False) -> list[Detected]:
        """What is found in opened pictures, those of one canvas together; the last batch of each canvas is filled up with nothing."""
        found = [Detected(note=one) if isinstance(one, str) else None for one in placed]
        by_canvas: dict[tuple[int, ...], list[int]] = {}
        for index, one in enumerate(placed):
            if not isinstance(one, str):
                by_canvas.setdefault(one[0].shape, []).append(index)
        for canvas in sorted(by_canvas):
            those = by_canvas[canvas]
            for group in (those[start : start + self.batch] for start in range(0, len(those), self.batch)):
                pixels, sizes = np.zeros((self.batch, *canvas), np.uint8), np.ones((self.batch, 2), np.int32)
                for row, index in enumerate(group):
                    pixels[row], sizes[row] = placed[index]
                answer = jax.device_get(self._compiled(features)(self.variables, pixels, sizes))
                for row, index in enumerate(group):
                    found[index] = self._detected(jax.tree.map(lambda x, row=row: x[row], answer), sizes[row])
        return [one for one in found if one is not None]

    def about(self) -> dict[str, Any]:
        """All that the boxes depend on, plain JSON values: the parameters' checksum, thresholds, labels, and the sizes of pictures.

        Not how many are looked at together: who ran out of memory goes on with fewer, and another device with its own number.
        """
        sizes = dataclasses.replace(self.net.config, score=0.0, detections=0)
        sides = self.canvases if isinstance(self.canvases, int) else [self.canvases.short, self.canvases.long, *self.canvases.lengths]
        config = self.net.config
        labels = hashlib.blake2b("\n".join(self.labels).encode(), digest_size=8).hexdigest()
        given = {"min_score": config.score, "top": config.detections}
        return {"weights": checksum(self.variables, repr(sizes)), "labels": labels, "sides": sides, **given}

    @functools.cached_property
    def _programs(self) -> dict[bool, Callable[..., Any]]:
        return {features: jax.jit(functools.partial(_look, self.net, features=features)) for features in (False, True)}

    def _compiled(self, features: bool) -> Callable[..., Any]:
        return self._programs[features]

    def _detected(self, answer: dict[str, np.ndarray], size: np.ndarray) -> Detected:
        regions, rows = [], []
        for row in np.flatnonzero(answer["valid"]):
            x0, y0, x1, y1 = (round(side, _DIGITS) for side in in_picture(answer["boxes"][row], size))
            if x0 < x1 and y0 < y1:
                label, score = self.labels[int(answer["labels"][row])], round(float(answer["scores"][row]), _DIGITS)
                regions.append(Region((x0, y0, x1, y1), label=label, score=score))
                rows.append(row)
        features = answer.get("features")
        return Detected(tuple(regions), None if features is None else np.asarray(features[rows], np.float32))


def _look(net: FasterRcnn, variables: Any, pixels: jax.Array, sizes: jax.Array, *, features: bool) -> dict[str, jax.Array]:
    """boxes [B, D, 4], labels, scores, valid [B, D] of `Detections`; with them features [B, D, hidden], read at those boxes."""

    def run(net: FasterRcnn) -> dict[str, jax.Array]:
        maps = net.maps(pixels, sizes, train=False)
        proposals = propose(net.config, pixels.shape[1:3], *net.proposer(maps, train=False), sizes)
        _, scores, moves = net.regions(maps, proposals.boxes, train=False)
        found = detect(net.config, proposals, scores, moves, sizes)
        answer = {"boxes": found.boxes, "labels": found.labels, "scores": found.scores, "valid": found.valid}
        return {**answer, "features": net.regions(maps, found.boxes, train=False)[0].astype(jnp.float32)} if features else answer

    return nn.apply(run, net)(variables)


def load(
    path: str | os.PathLike[str],
    *,
    labels: Sequence[str] = (),
    shorter: int = 0,
    longer: int = 0,
    score: float | None = None,
    top: int = 0,
    batch: int = 0,
) -> Detector:
    """A detector from torchvision's state dict of a Faster or Mask R-CNN (a file, or a directory with model.safetensors), or from a run
    of system faster_rcnn: its workdir, or the directory of one step. No pickled code is run.

    Args:
      labels: of the classes without the background; by default a run's own, COCO's names for 91 classes, else '1', '2' and so on.
      shorter, longer: pixels that the shorter side of a picture comes to, unless the longer one would exceed its own; 0: 800 and 1333,
        as torchvision's. A run looks at squares, as it did in training.
      score: lowest score of a detection; None: the detector's own.
      top: most detections of a picture; 0: the detector's own.
      batch: pictures looked at together; 0: one on a CPU, eight elsewhere.

    Raises:
      WeightError: what is there holds no detector, or not one that can be read.
      CheckpointError: a run without a checkpoint, or a damaged one.
      ValueError: for labels that are not as many as the classes, or sizes of pictures that there cannot be.
    """
    net, variables, own, side = _of_run(path) if is_run(path) else _of_file(path)
    if side and (shorter or longer):
        raise ValueError(f"{os.fspath(path)} is a run, which looks at squares of {side} pixels as in training: no other sizes can be given")
    if labels and len(labels) != len(own) - 1:
        raise ValueError(f"{len(labels)} labels for the {len(own) - 1} classes of {os.fspath(path)}: give one for each but the background")
    config = net.config
    config = dataclasses.replace(config, score=config.score if score is None else score, detections=top or config.detections)
    shorter, longer = shorter or min(SHORTER, longer or SHORTER), longer or max(LONGER, shorter)
    if shorter > longer:
        raise ValueError(f"a picture's shorter side cannot come to more than its longer one, found {shorter} and {longer} pixels")
    return Detector(
        net.clone(config=config),
        variables,
        (BACKGROUND, *labels) if labels else own,
        side or Canvases.of(shorter, longer, config.divisor),
        batch or (1 if jax.default_backend() == "cpu" else 8),
    )


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The labels of a text file, one a line, in the order of their ids; without the background, which may stand first as __background__.

    Raises:
      ValueError: naming file and line, for an empty label or one that stands there twice.
      OSError: the file cannot be read.
    """
    lines = [line.strip() for line in read_text(path, ValueError).rstrip("\n").split("\n")]
    first = 1 if lines[0] in ("__background__", BACKGROUND) else 0
    for number, label in enumerate(lines[first:], first):
        if not label or label in lines[first:number] or label == BACKGROUND:
            raise ValueError(f"{os.fspath(path)}:{number + 1}: the label {label!r} is empty, stands there twice, or is the background's")
    return tuple(lines[first:])


def _image(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise ValueError(f"a picture is uint8 [H, W, 3], found {picture.dtype} {list(picture.shape)}")
        return Image.fromarray(picture)
    return read_picture(picture)


def _of_file(path: str | os.PathLike[str]) -> tuple[FasterRcnn, Any, tuple[str, ...], int]:
    """The module, its variables, its labels, and 0."""
    if not os.path.exists(path):
        raise WeightError(f"{os.fspath(path)}: no such file: expected a detector's state dict (.safetensors, .pth), or a run's workdir")
    tensors = read_rcnn(pathlib.Path(path))
    config = describe_rcnn(tensors, source=os.fspath(path))
    net = FasterRcnn(config)
    canvas = (1, config.divisor, config.divisor, 3)
    expected = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros(canvas, jnp.uint8), jnp.ones((1, 2), jnp.int32)))
    variables = read(rcnn_rules(config), tensors, expected, unread=rcnn_unread(config), source=os.fspath(path))
    numbers = (BACKGROUND, *map(str, range(1, config.classes)))
    return net, variables, coco.labels(BACKGROUND) if config.classes == coco.CLASSES else numbers, 0


def _of_run(path: str | os.PathLike[str]) -> tuple[FasterRcnn, Any, tuple[str, ...], int]:
    """The module, its variables, its labels, and the side of the squares that it looks at."""
    directory, step = locate(path)
    with Checkpoints(directory, read_only=True) as checkpoints:
        job = restore_job(checkpoints.meta(step), checkpoints.where(step))
        if not isinstance(job.system, FasterRcnnSystem):
            name, task = job.config.system.name, job.config.task.name
            raise WeightError(
                f"{os.fspath(path)} is a run of system {name!r} for task {task!r}: expected a detector, which a run of system "
                "'faster_rcnn' is, or torchvision's weights of one"
            )
        variables = checkpoints.restore_variables(step, shapes(job))
    return job.system.net, variables, tuple(job.task.labels), int(job.config.vision.side)
