"""The tokens of a record as a network reads them, for drawing."""

from __future__ import annotations

from mmre_jax.data.markers import MARKERS
from mmre_jax.records import Record
from mmre_jax.training.job import Job


def token_names(job: Job, record: Record) -> tuple[str, ...]:
    """The L pieces of a sentence, specials and the markers of a pair included; of an unknown piece its word."""
    task, encoder = job.task, job.task.encoder
    [encoded] = task.encode([record])
    unknown = encoder.special_ids["unk"]
    names = dict(zip(encoder.marker_ids, MARKERS, strict=True)) if encoder.markers else {}
    pairs = zip(encoded.ids.tolist(), encoded.words.tolist(), strict=True)
    return tuple(
        record.words[word] if i == unknown and 0 <= word < len(record.words) else names.get(i) or str(encoder.tokenizer.id_to_token(i))
        for i, word in pairs
    )
