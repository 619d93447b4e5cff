"""What all figures of single records say of them: the sentence, the annotation and the prediction."""

from __future__ import annotations

from mmre_jax.analysis.figures.entry import View
from mmre_jax.analysis.watching import Watched, first
from mmre_jax.records import Record


def row_titles(view: View, record: Record) -> list[str]:
    """What the rows of `attention_maps.word_rows` are of a record: its two entities behind their markers, or all words."""
    relation, names = record.relations[0] if record.relations else None, list(view.rows)
    if relation is None or len(names) != 2:
        return names
    return [f"{row} {record.text(end.span)}" for row, end in zip(names, (relation.head, relation.tail), strict=True)]


def title_of(view: View, watched: Watched) -> str:
    """The id and sentence of the record that was watched, and of a relation on a second line what it is and what was predicted."""
    record, task = watched.records[0], view.job.task
    said = [str(record.relations[0].label)] if record.relations else []
    predicted = task.decode(first(watched.prediction), record)
    said += [f"predicted {x.label}" for x in predicted if hasattr(x, "head")]
    return f"{record.id}: {' '.join(record.words)}" + (f"\n{', '.join(said)}" if said else "")


def spread(count: int, most: int) -> list[int]:
    """At most so many of `count` places, the first and the last among them, evenly apart."""
    return sorted({round(step * (count - 1) / max(min(most, count) - 1, 1)) for step in range(min(most, count))})
