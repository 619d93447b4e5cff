"""What a figure is made of: a checkpoint with a split of data, and out of it arrays, facts and pages."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

from mmre_jax.analysis.attention_maps import Sight, layers, row_names, sights
from mmre_jax.analysis.averages import Mean
from mmre_jax.analysis.watching import Pick, Watched, chosen, sown_shapes, watch
from mmre_jax.training.job import Job, sample
from mmre_jax.training.mesh import MeshDevices
from mmre_jax.training.parallel import Devices
from mmre_jax.training.splits import Split

Shapes = Mapping[str, tuple[int, ...]]
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class View:
    """A checkpoint, and the records that are looked at with it.

    variables: on the devices.  workdir: the run's folder.  step: of the checkpoint.
    name: of the split.  split: its examples, each with its own picture.
    ids: the examples that are looked at; empty: all, of which a figure of single records shows those that it finds good.
    beside: other checkpoints on the same records, for a figure that compares.
    """

    job: Job
    devices: Devices | MeshDevices
    variables: Any
    workdir: pathlib.Path
    step: int
    name: str
    split: Split
    ids: tuple[str, ...] = ()
    beside: tuple[View, ...] = ()
    _known: dict[Callable[[View], Any], Any] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, compute: Callable[[View], Result]) -> Result:
        """What `compute` makes of this view, computed for the first figure that asks."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return self._known[compute]

    @functools.cached_property
    def looked_at(self) -> Split:
        """The records in `ids`, else all. Raises ValueError for ids that the split does not have."""
        return chosen(self.split, self._places(0)) if self.ids else self.split

    @functools.cached_property
    def shapes(self) -> Shapes:
        """{module path: shape for one short record} of what the network sows."""
        return sown_shapes(self.job)

    @property
    def sights(self) -> tuple[Sight, ...]:
        """Where words attend to the picture."""
        return sights(self.shapes)

    @functools.cached_property
    def rows(self) -> tuple[str, ...]:
        """What the rows of words are that `attention_maps.word_rows` gives."""
        return row_names(sample(self.job))

    def layers(self, encoder: str) -> tuple[str, ...]:
        """The module paths of the self-attention of 'text' or 'vision'."""
        return layers(self.shapes, encoder)

    def watch(self, pick: Pick) -> Iterator[Watched]:
        """What `pick` makes of all records that are looked at."""
        return watch(self.job, self.devices, self.variables, self.looked_at, pick, self.name)

    def mean(self, pick: Pick, values: Callable[[Any], tuple[np.ndarray, np.ndarray]], missing: str) -> Mean:
        """A mean over the records that are looked at.

        Args:
          values: of what `pick` made of a batch the arrays [B, ...] that the mean is of, and which of them count (`Mean.add`).
          missing: what there is not where none count, for the message.

        Raises:
          ValueError: where none count, for want of pictures.
        """
        mean = Mean()
        for watched in self.watch(pick):
            mean.add(*values(watched.picked))
        if not mean.count:
            raise ValueError(f"no record of {self.name} has a picture that can be read: {missing}")
        return mean

    def watch_some(self, pick: Pick, most: int) -> Iterator[Watched]:
        """What `pick` makes of the records in `ids`, each by itself in that order; without any, of the first `most` that have a picture, or
        of the first of all if none has.

        Raises:
          ValueError: for ids that the split does not have.
        """
        split = chosen(self.split, self._places(most))
        found = [each for watched in watch(self.job, self.devices, self.variables, split, pick) for each in watched.each()]
        yield from sorted(found, key=lambda watched: watched.index[0])

    def _places(self, most: int) -> list[int]:
        if self.ids:
            known = {record.id: place for place, record in enumerate(self.split.records)}
            if lacking := [name for name in self.ids if name not in known]:
                some = ", ".join(list(known)[:3])
                raise ValueError(f"--records: {self.name} has no record {lacking[0]!r}; its {len(known):,} are {some}, ...")
            return [known[name] for name in self.ids]
        hidden = self.split.picture_of
        there = [
            place for place, record in enumerate(self.split.records) if record.image is not None and (hidden is None or hidden[place] >= 0)
        ]
        return (there or list(range(len(self.split.records))))[:most]


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure.

    arrays: what it shows, by name.  facts: what the axes of the arrays are, and the numbers that one would quote; plain values.
    pages: {suffix of the file's name: page}; '' where there is only one.
    table: what the pages show in words, as Markdown; '' for none.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]
    pages: Mapping[str, Figure]
    table: str = ""


@dataclasses.dataclass(frozen=True)
class Need:
    """What a network must sow for a figure.

    words: for the message where it does not.  met: whether it does, from the job and {module path: shape} of `watching.sown_shapes`.
    """

    words: str
    met: Callable[[Job, Shapes], bool]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A figure that can be asked for.

    about: one line.  paper: which published figure it is, '' for none.  systems: which have what it needs, in their ordinary form.
    draw: makes it; ValueError where the data or the run lack what it shows.  compares: whether it shows View.beside.
    """

    about: str
    paper: str
    systems: tuple[str, ...]
    needs: tuple[Need, ...]
    draw: Callable[[View], Drawn]
    compares: bool = False

    def lacking(self, job: Job, shapes: Shapes) -> list[str]:
        """What a job's network does not sow of what is needed, from {module path: shape} of what it does."""
        return [need.words for need in self.needs if not need.met(job, shapes)]


def last_cross(shapes: Shapes) -> str:
    """The module path of the cross-attention of a query decoder's last layer, '' without a decoder."""
    found = [match for name in shapes if (match := re.fullmatch(r"decoder/layer_(\d+)/cross/attention", name))]
    return max(found, key=lambda match: int(match[1]))[0] if found else ""


def _reads_words_alone(job: Job, shapes: Shapes) -> bool:
    """Whether each layer of the text encoder reads a record's tokens and nothing else; DGF-PT's reads stages, with the picture in them."""
    tokens = sample(job)["text"]["ids"].shape[1]
    found = layers(shapes, "text")
    return bool(found) and all(shapes[name][-2] == tokens for name in found)


CROSS = Need("attention of words to the picture", lambda _, shapes: bool(sights(shapes)))
LEVELS = Need("attention of words to levels of a vision transformer", lambda _, shapes: any(s.level is not None for s in sights(shapes)))
VISION = Need("a vision transformer's attention to itself", lambda _, shapes: bool(layers(shapes, "vision")))
TEXT = Need("a text encoder's attention to words alone", _reads_words_alone)
EXPERTS = Need("weights of experts", lambda _, shapes: "mome/expert_weights" in shapes)
STAGES = Need("gates over the stages of an image encoder", lambda _, shapes: "prefix/gates" in shapes)
DUAL = Need("dual-gated fusion", lambda job, _: bool(job.system.plan) and getattr(job.system.net.config, "dual_gate", False))
SELECT = Need("attention of the picture's cells to words", lambda _, shapes: "select/image_to_text" in shapes)
QUERIES = Need("queries that attend to the picture", lambda _, shapes: bool(last_cross(shapes)))


def frequent(relations: np.ndarray, most: int = 12) -> list[str]:
    """The relations that are drawn, str [n] of n records: those with the most records, in the order of their names."""
    found, counts = np.unique(relations, return_counts=True)
    return [str(found[place]) for place in sorted(np.argsort(-counts, kind="stable")[:most])]


def labels_of(found: Sequence[Sight]) -> list[str]:
    """The labels of some sights."""
    return [sight.label for sight in found]
