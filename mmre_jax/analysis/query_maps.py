"""What a QEOT looks at in one record: the image's selective attention to the text (fig. 3) and each query's cross-attention (fig. 4)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmre_jax.analysis import attention_plots
from mmre_jax.data.datasets import open_pictures
from mmre_jax.data.loader import Order, batches
from mmre_jax.encoders.vit_config import PHOTO
from mmre_jax.records import Box, Record, Triple
from mmre_jax.systems.qeot import QEOT
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.tasks.triple_metrics import strict_matches
from mmre_jax.training.setup import Job
from mmre_jax.training.step import precise


@dataclasses.dataclass(frozen=True)
class QueryMaps:
    """The attention of one record, L tokens, h x w cells, Q queries.

    tokens: the L pieces, specials included.
    photo: uint8 [S, S, 3], as the system saw it.
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

    def figures(self, record: Record, iou: float) -> dict[str, Figure]:
        """{'selective': fig. 3, 'queries': fig. 4}, of which an ablation lacks its own."""
        drawn = {}
        if self.selected is not None:
            drawn["selective"] = attention_plots.selective_attention_figure(self.tokens, self.photo, self.selected, grid=self.grid)
        if self.queries is not None:
            gold = self._gold(record, iou)
            captions = [self._caption(n, record) for n in range(len(self.queries))]
            boxes: list[Box | None] = [None if triple is None else triple.box for triple in self.found]
            drawn["queries"] = attention_plots.query_attention_figure(self.photo, self.queries, captions, boxes, gold)
        return drawn

    def _caption(self, number: int, record: Record) -> str:
        triple = self.found[number]
        if triple is None:
            return f"query {number + 1}\nno triple"
        return f"query {number + 1}\n{record.text(triple.mention.span)}: {triple.label}"

    def _gold(self, record: Record, iou: float) -> list[Box | None]:
        """The gold box that each query found, by the strict measure."""
        places = [n for n, triple in enumerate(self.found) if triple is not None]
        boxes: list[Box | None] = [None] * len(self.found)
        for gold, found in strict_matches(record.triples, tuple(self.found[n] for n in places), iou):
            boxes[places[found]] = record.triples[gold].box
        return boxes


def check_attention(job: Job) -> None:
    """Raises ValueError for a system that has no such attention: another one than QEOT, or one without pictures."""
    if not isinstance(job.system, ModuleSystem) or not isinstance(job.system.net, QEOT) or not job.system.plan:
        without = " without pictures" if not job.system.plan else ""
        raise ValueError(f"attention of queries to the photo is QEOT's: this is a checkpoint of {job.config.system.name!r}{without}")


def query_maps(job: Job, variables: Any, record: Record) -> QueryMaps:
    """Runs a QEOT on one record and keeps what it attended to.

    Args:
      variables: of a checkpoint, on one device.

    Raises:
      ValueError: for another system, or a QEOT without pictures, and for a record whose picture cannot be read.
    """
    system, task = job.system, job.task
    check_attention(job)
    order = Order(np.array([task.length(record)]), 1, job.config.data.buckets, train=False)
    batch = next(batches(order, [record], task, open_pictures(system.plan), threads=1))
    if not batch["present"][PHOTO].any():
        raise ValueError(f"{record.origin or record.id}: no picture to look at")
    look = precise(lambda *inputs: system.net.apply(*inputs, train=False, mutable=["intermediates"]), job.config.train.precision)
    outputs, state = look(variables, *system.inputs(batch))
    sown, config = state["intermediates"], system.net.config
    padded, length = batch["text"]["ids"].shape[1], int(batch["text"]["mask"].sum())
    selected = np.asarray(sown["select"]["image_to_text"][0])[0, 0] if "select" in sown else None
    queries = None
    if "decoder" in sown:
        last = sown["decoder"][f"layer_{config.decoder_layers - 1}"]["cross"]["attention"][0]
        queries = np.asarray(last)[0].mean(axis=0)[:, padded if config.memory == "both" else 0 :]
    cells = next((x.shape[axis] for x, axis in ((selected, 0), (queries, 1)) if x is not None), 0)
    side = round(cells**0.5)
    prediction = {name: np.asarray(x[0]) for name, x in system.objective.predict(outputs, batch).items()}
    return QueryMaps(
        tokens=_tokens(job, record)[:length],
        photo=batch["pictures"][PHOTO][0, 0],
        grid=(side, side),
        selected=None if selected is None else selected[:, :length],
        queries=None if queries is None else queries.reshape(-1, side, side),
        found=tuple(_one(job, prediction, query, record) for query in range(len(prediction["box"]))),
    )


def _tokens(job: Job, record: Record) -> tuple[str, ...]:
    """The pieces of a sentence; of an unknown one its word."""
    encoder = job.task.encoder
    encoded, unknown = encoder.encode(record.words), encoder.special_ids["unk"]
    pairs = zip(encoded.ids.tolist(), encoded.words.tolist(), strict=True)
    return tuple(record.words[word] if i == unknown and word >= 0 else str(encoder.tokenizer.id_to_token(i)) for i, word in pairs)


def _one(job: Job, prediction: dict[str, np.ndarray], query: int, record: Record) -> Triple | None:
    """What one query says by itself."""
    alone = {name: x[query : query + 1] for name, x in prediction.items()}
    found = job.task.decode(alone, record)
    return found[0] if found and isinstance(found[0], Triple) else None
