"""Text and picture in; relations, mentions or triples out: a trained checkpoint as a Python object."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from mmre_jax import tasks
from mmre_jax.data.dataset import FilePictures
from mmre_jax.data.decode import PictureError
from mmre_jax.data.encoded import Encoded
from mmre_jax.data.parts import Failed, parts
from mmre_jax.data.pictures import sources
from mmre_jax.extraction import Extraction, Where, all_pairs, find
from mmre_jax.progress import Progress
from mmre_jax.records import Box, Mention, Record, RecordError, Region, Relation, check_box
from mmre_jax.tasks import WORDLESS, relation
from mmre_jax.text_files import check_words
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.evaluate import Predictor, make_predictor
from mmre_jax.training.job import Job, restore_job, shapes
from mmre_jax.training.locate import locate
from mmre_jax.training.parallel import local_devices
from mmre_jax.training.splits import Split, open_pictures

PART = 8  # batches whose pictures are in memory together


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A checkpoint ready to extract; make one with `load`."""

    job: Job
    variables: Any
    predictor: Predictor
    step: int

    def extract(
        self,
        *,
        text: str | Sequence[str] = "",
        image: str | os.PathLike[str] | None = None,
        head: Where | None = None,
        tail: Where | None = None,
        mentions: Sequence[Where] = (),
        boxes: Sequence[Box] = (),
        caption: str | None = None,
        strict: bool = True,
    ) -> Extraction:
        """What the checkpoint's task finds in a post; for relations, of one pair or of every ordered pair of mentions.

        Args:
          text: a string (split at spaces) or words; of no use where the task reads pictures alone.
          image: path of the picture.
          head, tail: (task relation) each a word span (start, end), end-exclusive, or words as they stand in the text.
          mentions: instead of head and tail: all ordered pairs of these are tried.
          boxes: objects in the picture, normalised (x_min, y_min, x_max, y_max), best first, for systems that look at objects; where they
            look at some that are found in two ways, these serve for both.
          caption: what the picture shows, for systems that read captions.
          strict: whether a picture that is missing or cannot be read is an error; else it is masked and noted.

        Raises:
          RecordError: for a span or box out of range, a string that is not in the text or is in it more than once (its places are
            listed), if neither a pair nor two mentions are given, or if they are given to a task that finds them by itself.
          PictureError: where `strict`, for a picture that is missing or cannot be read.
        """
        words = tuple(text.split() if isinstance(text, str) else text)
        if not words and self.task not in WORDLESS:
            raise RecordError(f"give a text: the checkpoint's task is {self.task!r}, which reads words")
        relations: tuple[Relation, ...] = ()
        if self.task != "relation":
            if head is not None or tail is not None or mentions:
                raise RecordError(f"the checkpoint's task is {self.task!r}, which takes no head, tail or mentions")
        elif (head is None) != (tail is None) or (head is None) == (not mentions):
            raise RecordError("give head and tail, or two or more mentions")
        elif head is not None and tail is not None:
            relations = (Relation(Mention(*find(words, head, "head")), Mention(*find(words, tail, "tail"))),)
        else:
            relations = all_pairs([Mention(*find(words, mention, f"mentions[{i}]")) for i, mention in enumerate(mentions)], "mentions")
        checked = [check_box(box, f"boxes[{i}]") for i, box in enumerate(boxes)]
        regions = tuple(Region(box=box, source=source) for source in self.object_sources or ("detected",) for box in checked)
        photo = None if image is None else os.fspath(image)
        record = Record(id="text", words=words, image=photo, relations=relations, regions=regions, caption=caption)
        return self.extract_records([record], strict=strict)[0]

    @property
    def task(self) -> str:
        """What the checkpoint finds: 'relation', 'entities', 'triples' or 'objects'."""
        return str(self.job.config.task.name)

    @property
    def object_sources(self) -> tuple[str, ...]:
        """Which objects the system looks at: any of 'grounded' and 'detected'."""
        crops = tuple(slot.source for slot in self.job.system.plan if slot.source != "photo")
        return crops or tasks.boxes_of(self.job.task)

    def extract_records(self, records: Sequence[Record], progress: str = "", *, strict: bool = False) -> list[Extraction]:
        """Predicts every record: of relations, every pair that it names; annotations are not looked at.

        Args:
          progress: name under which progress is shown; it is not where empty.
          strict: whether a picture that a record names but that is missing or cannot be read ends all; else it is masked, as in training,
            and stands in the record's notes.

        Raises:
          RecordError: for a record that names no pair, where the task is to find relations, or with half of a character in its words.
          PictureError: where `strict`, for one such picture.
        """
        for record in records:
            check_words(record.words, f"{record.origin or record.id}: words")
        pairs = self.task == "relation"
        blank = [
            dataclasses.replace(r, relations=tuple(dataclasses.replace(p, label=None) for p in r.relations))
            if pairs
            else dataclasses.replace(r, relations=(), mentions=(), triples=(), regions=tuple(x for x in r.regions if x.source != "gold"))
            for r in records
        ]
        if lacking := [record for record in blank if pairs and not record.relations]:
            raise RecordError(f"{lacking[0].origin or lacking[0].id}: no pair to find the relation of")
        examples = [relation.examples([record]) if pairs else [record] for record in blank]
        counts = [len(own) for own in examples]
        tokens = iter(self.job.task.encode([example for own in examples for example in own]))
        encoded = [[next(tokens) for _ in own] for own in examples]
        predictor = self._predictor(sum(counts))
        config, plan = predictor.job.config, self.job.system.plan
        found: dict[int, Extraction] = {}
        with Progress(progress, len(records), unit="record") as shown:
            read = FilePictures(()) if (opened := open_pictures(self.job)) is None else opened
            for part in parts(blank, counts, PART * config.train.eval_batch, read, config.data.threads):
                looked = [self._look(blank[number], encoded[number], part.failed(blank[number]), strict) for number in part.numbers]
                here, text = ([each for number in part.numbers for each in values[number]] for values in (examples, encoded))
                split = Split(here, text, self.job.task.features, part if plan else None)
                predicted = iter(predictor.predict(self.variables, split))
                for number, (notes, masked) in zip(part.numbers, looked, strict=True):
                    said = tuple(x for _ in examples[number] for x in next(predicted).found)
                    found[number] = Extraction(blank[number], said, notes, self.task, masked)
                    shown.advance()
        return [found[number] for number in range(len(records))]

    def _look(self, record: Record, encoded: Sequence[Encoded], failed: Failed, strict: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What the system will not be shown of a record, and of that what is missing or damaged, which is an error where `strict`."""
        cut = max(len(each.cut_off()) for each in encoded)  # of the worst pair
        notes = [f"{cut} of {len(record.words)} words are cut off: too long"] if cut else []
        masked: list[str] = []
        for slot, error in failed:
            said = f"{'image' if slot.source == 'photo' else f'{slot.source} crop'}: {error}"
            if strict:
                raise PictureError(f"{record.origin or record.id}: {said}") from error
            masked.append(f"{said}: masked")
        for slot in self.job.system.plan:
            places = [place for place in sources(record, slot) if place]
            if not places and slot.source == "photo":
                notes.append("no picture: masked")
            elif not places:
                notes.append(f"trained with {slot.source} object crops, none given: masked")
        for source in tasks.boxes_of(self.job.task):
            if not any(region.source == source and region.box is not None for region in record.regions):
                notes.append(f"trained with {source} objects, none given: masked")
        if record.image is not None and not self.job.system.plan:
            notes.append("trained on text alone: the picture is not looked at")
        elif record.regions and not self.object_sources:
            notes.append("trained without object crops: boxes are not looked at")
        if record.caption and not tasks.reads_captions(self.job.task):
            notes.append("trained without captions: the caption is not read")
        masked = list(dict.fromkeys(masked))  # crops of one photo say the same
        return (*notes, *masked), tuple(masked)

    def _predictor(self, examples: int) -> Predictor:
        """The predictor for a few examples: rows that fill up a batch cost as much as real ones, and starting workers takes seconds."""
        size = 1
        while size < examples:
            size *= 4  # few sizes, since each is compiled
        config = self.job.config.copy_and_resolve_references().unlock()
        config.train.eval_batch = min(size, config.train.eval_batch)
        config.data.workers = 0
        return dataclasses.replace(self.predictor, job=dataclasses.replace(self.job, config=config.lock()))


def load(path: str | os.PathLike[str], devices: int = 1) -> Extractor:
    """An extractor from a run's workdir (its best step by dev score, else its last) or from the directory of one step.

    Args:
      devices: local devices to predict on; 0 for all.

    Raises:
      CheckpointError: if there is no checkpoint, or it is of another format or version.
    """
    directory, step = locate(path)
    with Checkpoints(directory, read_only=True) as checkpoints:
        job = restore_job(checkpoints.meta(step))
        variables = checkpoints.restore_variables(step, shapes(job))
    mapped = local_devices(devices)
    return Extractor(job, mapped.replicate(variables), make_predictor(job, mapped), step)
