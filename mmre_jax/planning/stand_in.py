"""The job of a configuration without its data: what only files would tell is assumed, and said."""

from __future__ import annotations

import copy
import dataclasses

from ml_collections import ConfigDict

from mmre_jax import settings, systems, tasks
from mmre_jax.data import datasets
from mmre_jax.data.dataset import Labels, entity_labels, object_labels
from mmre_jax.data.text import train_tokenizer
from mmre_jax.data.tokenizer_files import load_tokenizer
from mmre_jax.encoders.from_config import VECTORS
from mmre_jax.fusion.prefixes import words_around
from mmre_jax.planning.chips import PlanError
from mmre_jax.records import Mention, Record, RecordError, Relation
from mmre_jax.training.job import Job, check_lengths, make_task, new_job, parts_that_are_there, text_encoder
from mmre_jax.weights import pretrained

EMBEDDED = "scenes"  # the data set that needs no files
# Relations as the data sets' papers count them: their own tables of ids are files.
RELATIONS = {"mnre": 23, "mnre_v1": 31, "more": 21}
TYPES = ("loc", "misc", "org", "per")  # of entities that MNRE's relations name
# Rows of the word tables of the weights that the papers name, by text.kind (their config.json on huggingface.co).
VOCABULARIES = {
    "bert": (30522, "bert-base-uncased"),
    "roberta": (50265, "roberta-base; xlm-roberta-base has 250,002"),
    "gpt2": (50257, "gpt2"),
    "gpt": (40478, "openai-gpt"),
}


@dataclasses.dataclass(frozen=True)
class StandIn:
    """A job, and what was assumed of its data, a phrase each."""

    job: Job
    assumed: tuple[str, ...]


def stand_in(config: ConfigDict, *, labels: int = 0, vocabulary: int = 0) -> StandIn:
    """The job that training would have, but for the values of labels and words; of the embedded data set the very one.

    Args:
      labels: relations, types of entities or classes of objects; 0: as the data set publishes.
      vocabulary: entries of the tokenizer; 0: as text.weights has them, else as the weights of the papers.

    Raises:
      PlanError: where neither the data set nor `labels` says how many there are.
      ValueError: for settings that no run can have.
      WeightError: as `pretrained.resolve`.
    """
    settings.check(config)
    check_lengths(config)
    if config.data.name == EMBEDDED and not labels and not vocabulary:
        return StandIn(new_job(config, datasets.open_records(config.data, "train")), ())
    config, assumed = parts_that_are_there(pretrained.resolve(config)), []
    names, none = _labels(config, labels, assumed)
    config = _with_types(config, assumed)
    tokenizer = _tokenizer(config)
    caption = "a" if config.data.captions else None
    if config.system.name == "dgf_pt" and caption is None:
        assumed.append("no captions (none without data.captions)")
    record = Record(id="planned", words=("a", "b"), relations=(Relation(Mention(0, 1), Mention(1, 2)),), caption=caption)
    config = tasks.settled(config, text_encoder(config, tokenizer), names, [record])
    task = make_task(config, names, none, tokenizer)
    words = task.encoder.vocab_size
    if not config.text.weights and config.task.name not in tasks.WORDLESS:
        known = {**VOCABULARIES, VECTORS: (config.text.vocab_size, "text.vocab_size, the most there can be")}
        entries, whose = (vocabulary, "--vocabulary") if vocabulary else known[config.text.kind]
        words = entries + len(task.encoder.added)
        assumed.append(f"{entries:,} words ({whose})")
    return StandIn(Job(config, task, systems.build(config, vocab_size=words, labels=task.labels)), tuple(assumed))


def _labels(config: ConfigDict, count: int, assumed: list[str]) -> Labels:
    name, task = config.data.name, config.task.name
    known = count or (RELATIONS.get(name, 0) if task in ("relation", "triples") else 0)
    if not known:
        try:
            return datasets.labels(config.data, task, ())
        except (RecordError, ValueError) as error:
            where = f"data.name={name!r} has for task.name={task!r}"
            raise PlanError(f"how many labels {where} stands in its files: give --labels=N") from error
    what = {"relation": "relations", "triples": "relations", "entities": "types of entities", "objects": "classes of objects"}[task]
    assumed.append(f"{known} {what} ({'--labels' if count else f'as published of {name}'})")
    made = tuple(f"X{number}" for number in range(known))
    if task in ("entities", "objects"):
        return entity_labels(made) if task == "entities" else object_labels(made)
    return (made, made[0]) if task == "relation" else (made, "none")


def _with_types(config: ConfigDict, assumed: list[str]) -> ConfigDict:
    """With the entity types that a run would find in MNRE, where its system asks for them."""
    if config.system.name != "dgf_pt" or config.system.types:
        return config
    config = ConfigDict(copy.deepcopy(config.to_dict()))
    config.system.types = TYPES
    assumed.append(f"types {', '.join(TYPES)} (system.types)")
    return config.lock()


def _tokenizer(config: ConfigDict) -> str:
    """As JSON: that of the weights; else a small one, which has the words that a configuration names, in one piece each."""
    if config.text.weights and config.task.name not in tasks.WORDLESS:
        return load_tokenizer(config.text.weights)
    named = [word for part in words_around(config.system.prefix.words) for word in part] if config.system.name == "dgf_pt" else []
    return train_tokenizer([("a", "b", *named)], vocab_size=64, kind="word")
