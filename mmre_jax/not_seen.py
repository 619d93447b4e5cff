"""What a system is not shown of a post, although it was trained to see such, or the post has it."""

from __future__ import annotations

from collections.abc import Sequence

from mmre_jax import tasks
from mmre_jax.data.decode import PictureError
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.parts import Failed
from mmre_jax.data.pictures import sources
from mmre_jax.records import Record
from mmre_jax.training.job import Job


def object_sources(job: Job) -> tuple[str, ...]:
    """Which objects a job's system looks at: any of 'grounded' and 'detected'."""
    crops = tuple(slot.source for slot in job.system.plan if slot.source != "photo")
    return crops or tasks.boxes_of(job.task)


def not_seen(
    job: Job, record: Record, encoded: Sequence[Encoded], failed: Failed, *, strict: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the system is not shown of a record.

    Args:
      encoded: the words of its examples, one or more.
      failed: its pictures that could not be read.
      strict: whether one of these is an error.

    Returns:
      Notes of all that, and of these again those of pictures that are missing or damaged, which are masked.

    Raises:
      PictureError: where `strict`, naming the record.
    """
    cut = max(len(each.cut_off()) for each in encoded)  # of the worst pair
    notes = [f"{cut} of {len(record.words)} words are cut off: too long"] if cut else []
    masked: list[str] = []
    for slot, error in failed:
        said = f"{'image' if slot.source == 'photo' else f'{slot.source} crop'}: {error}"
        if strict:
            raise PictureError(f"{record.origin or record.id}: {said}") from error
        masked.append(f"{said}: masked")
    for slot in job.system.plan:
        places = [place for place in sources(record, slot) if place]
        if not places and slot.source == "photo":
            notes.append("no picture: masked")
        elif not places:
            notes.append(f"trained with {slot.source} object crops, none given: masked")
    for source in tasks.boxes_of(job.task):
        if not any(region.source == source and region.box is not None for region in record.regions):
            notes.append(f"trained with {source} objects, none given: masked")
    if record.image is not None and not job.system.plan:
        notes.append("trained on text alone: the picture is not looked at")
    elif record.regions and not object_sources(job):
        notes.append("trained without object crops: boxes are not looked at")
    if record.caption and not tasks.reads_captions(job.task):
        notes.append("trained without captions: the caption is not read")
    masked = list(dict.fromkeys(masked))  # crops of one photo say the same
    return (*notes, *masked), tuple(masked)
