"""What a QEOT looks at in one record: the image's selective attention to the text (fig. 3) and each query's cross-attention (fig. 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from mmre_jax.analysis import attention_plots
from mmre_jax.analysis.annotate import FAINT
from mmre_jax.analysis.attention_plots import QueryPanel
from mmre_jax.analysis.tokens import token_names
from mmre_jax.analysis.triple_plots import entity_colours
from mmre_jax.boxes import pairwise_iou
from mmre_jax.data.datasets import open_pictures, read_picture
from mmre_jax.data.lengths import buckets_of
from mmre_jax.data.loader import Order, batches
from mmre_jax.data.split import Split
from mmre_jax.encoders.vit_config import PHOTO
from mmre_jax.records import Box, Record, Triple
from mmre_jax.systems.qeot import QEOT
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.tasks.triple_metrics import strict_matches
from mmre_jax.training.job import Job
from mmre_jax.training.step import precise


@dataclasses.dataclass(frozen=True)
class QueryMaps:
    """The attention of one record, L tokens, h x w cells, Q queries.

    tokens: the L pieces, specials included.
    photo: uint8 [H, W, 3], in the photo's own proportions: the system saw all of it, made square.
    selected: float32 [h * w, L], what each cell attends to in the text; None "w/o select".
    queries: float32 [Q, h, w], the last decoder layer's cross-attention, averaged over heads, over the cells; None "w/o query".
    found: what each query says, None where it says that there is nothing.
    """

    tokens: tuple[str, ...]
    photo: np.ndarray
    grid: tuple[int, int]
    selected: np.ndarray | None
    queries: np.ndarray | None
    found: tuple[Triple | None, ...]

    def figures(self, record: Record, predicted: Sequence[Triple], iou: float) -> dict[str, Figure]:
        """{'selective': fig. 3, 'queries': fig. 4}, of which an ablation lacks its own.

        Args:
          predicted: the triples found, in the order in which triples_figure lists them: a query has the number of its triple there, and
            the colour. Queries that say the same were merged into one triple.
          iou: overlap above which a box is right.
        """
        drawn = {}
        if self.selected is not None:
            drawn["selective"] = attention_plots.selective_attention_figure(self.tokens, self.photo, self.selected, grid=self.grid)
        if self.queries is not None:
            colours = entity_colours([*predicted, *record.triples])
            annotated = [(triple.box, colours[triple.mention.span]) for triple in record.triples]
            drawn["queries"] = attention_plots.query_attention_figure(self.photo, self.panels(record, predicted, iou), annotated)
        return drawn

    def panels(self, record: Record, predicted: Sequence[Triple], iou: float) -> list[QueryPanel]:
        """What is drawn of each query: those of the triples in their order, then those that say what another says, then the silent ones."""
        if self.queries is None:
            return []
        colours, gold = entity_colours([*predicted, *record.triples]), self._gold(record, iou)
        numbers = [None if triple is None else listed_as(triple, predicted) for triple in self.found]
        best = {number: query for query, number in sorted(enumerate(numbers), key=lambda each: self._score(each[0])) if number is not None}
        drawn = []
        for query, (triple, number) in enumerate(zip(self.found, numbers, strict=True)):
            if triple is None:
                drawn.append(((2, query), QueryPanel(self.queries[query], f"no triple\nquery {query + 1}")))
                continue
            first = number is not None and best[number] == query
            score = "" if triple.score is None else f"  {triple.score:.2f}"
            place = "" if number is None else f"{number + 1}  " if first else f"as {number + 1}  "
            caption = f"{place}{record.text(triple.mention.span)}: {triple.label}{score}\nquery {query + 1}"
            order = (0, number) if first else (1, query)
            colour = colours.get(triple.mention.span, FAINT)
            drawn.append((order, QueryPanel(self.queries[query], caption, colour, triple.box, gold[query])))
        return [panel for _, panel in sorted(drawn, key=lambda each: each[0])]

    def _score(self, query: int) -> float:
        triple = self.found[query]
        return 0.0 if triple is None or triple.score is None else triple.score

    def _gold(self, record: Record, iou: float) -> list[Box | None]:
        """The gold box that each query found, by the strict measure."""
        places = [n for n, triple in enumerate(self.found) if triple is not None]
        boxes: list[Box | None] = [None] * len(self.found)
        for gold, found in strict_matches(record.triples, tuple(self.found[n] for n in places), iou):
            boxes[places[found]] = record.triples[gold].box
        return boxes


def listed_as(triple: Triple, predicted: Sequence[Triple]) -> int | None:
    """The place, among the triples found, of the one that a query's triple is or was merged into; None if there is none."""
    same = [n for n, other in enumerate(predicted) if (other.mention.span, other.label) == (triple.mention.span, triple.label)]
    return max(same, key=lambda n: pairwise_iou(np.array([triple.box]), np.array([predicted[n].box]))[0, 0], default=None)


def check_attention(job: Job) -> None:
    """Raises ValueError for a system that has no such attention: another one than QEOT, or one without pictures."""
    if not isinstance(job.system, ModuleSystem) or not isinstance(job.system.net, QEOT) or not job.system.plan:
        without = " without pictures" if not job.system.plan else ""
        raise ValueError(f"attention of queries to the photo is QEOT's: this is a checkpoint of {job.config.system.name!r}{without}")


def query_mapper(job: Job, variables: Any) -> Callable[[Record], QueryMaps]:
    """What runs a QEOT on one record after another and keeps what it attended to; compiled once for each length.

    It raises ValueError for a record whose picture cannot be read.

    Args:
      variables: of a checkpoint, on one device.

    Raises:
      ValueError: for another system, or a QEOT without pictures.
    """
    check_attention(job)

    def look(batch: Any) -> tuple[Any, Any]:
        outputs, state = job.system.net.apply(variables, *job.system.inputs(batch), train=False, mutable=["intermediates"])
        return job.system.objective.predict(outputs, batch), state["intermediates"]

    compiled = jax.jit(precise(look, job.config.train.precision))

    def mapper(record: Record) -> QueryMaps:
        split = Split([record], job.task.encode([record]), job.task.features, open_pictures(job.system.plan))
        batch = next(batches(Order(split.lengths, 1, buckets_of(job.config), train=False), split))
        if not batch["present"][PHOTO].any():
            raise ValueError(f"{record.origin or record.id}: no picture to look at")
        prediction, sown = jax.tree.map(np.asarray, compiled(batch))
        last = f"layer_{job.system.net.config.triples.decoder_layers - 1}"
        selected = sown["select"]["image_to_text"][0][0] if "select" in sown else None
        queries = sown["decoder"][last]["cross"]["attention"][0][0] if "decoder" in sown else None
        return query_maps(job, record, batch["text"]["mask"][0], {name: x[0] for name, x in prediction.items()}, selected, queries)

    return mapper


def query_maps(
    job: Job,
    record: Record,
    mask: np.ndarray,
    prediction: Mapping[str, np.ndarray],
    selected: np.ndarray | None,
    queries: np.ndarray | None,
) -> QueryMaps:
    """What was attended to in one record.

    Args:
      mask: bool [L'], True on its L tokens.
      prediction: of this record alone.
      selected: float32 [1, P, L'], of the image to the text.
      queries: float32 [H, Q, P], of the last decoder layer; where the memory is of both, [H, Q, L' + P].
    """
    length = int(mask.sum())
    selected = None if selected is None else selected[0]
    queries = None if queries is None else queries.mean(axis=0)[:, len(mask) if job.system.net.config.memory == "both" else 0 :]
    cells = next((x.shape[axis] for x, axis in ((selected, 0), (queries, 1)) if x is not None), 0)
    side = round(cells**0.5)
    return QueryMaps(
        tokens=token_names(job, record)[:length],
        photo=_photo(record.image),
        grid=(side, side),
        selected=None if selected is None else selected[:, :length],
        queries=None if queries is None else queries.reshape(-1, side, side),
        found=tuple(_one(job, prediction, query, record) for query in range(len(prediction["box"]))),
    )


def _photo(name: str | None, longest: int = 640) -> np.ndarray:
    """A picture as uint8 [H, W, 3], no side longer than `longest` pixels."""
    assert name is not None, "a picture that was seen has a name"
    image = read_picture(name).copy()  # the one read may be kept for the next reader
    image.thumbnail((longest, longest))
    return np.asarray(image)


def _one(job: Job, prediction: Mapping[str, np.ndarray], query: int, record: Record) -> Triple | None:
    """What one query says by itself."""
    alone = {name: x[query : query + 1] for name, x in prediction.items()}
    found = job.task.decode(alone, record)
    return found[0] if found and isinstance(found[0], Triple) else None
