"""Extracts relations, mentions, triples or objects from posts with a trained checkpoint, to JSON lines.

    python -m launch.extract --checkpoint=runs/quickstart --input=posts.jsonl --out=extracted
    python -m launch.extract --checkpoint=runs/quickstart --scenes=4 --out=extracted --pictures=4
    python -m launch.extract --entities=runs/tagger --relations=runs/mnre --input=posts.jsonl --out=extracted

--input is a file in the library's JSON-lines format (mmre_jax/data/readers/jsonl.py), or a folder, of which all *.jsonl are taken in the
order of their names; one post a line, such as
    {"text": "Ada meets Grace in Paris", "image": "photos/17.jpg"}
    {"text": "Ada meets Grace in Paris", "image": "photos/17.jpg", "relations": [{"head": [0, 1], "tail": [2, 3]}]}
    {"text": "Ada meets Grace in Paris", "mentions": [[0, 1], [2, 3], [4, 5]], "regions": [{"box": [0.1, 0.2, 0.4, 0.9]}]}
with spans [start, end) in words, {"chars": [start, end]} in characters of the text, or what stands there, "Ada", and the image's path
absolute, or relative to the file. A checkpoint for entities or triples needs no more than the first; one for relations needs either
`relations` (pairs) or `mentions`, all ordered pairs of which are tried. `regions` are for systems trained with object crops. Annotation of
what is to be found is not looked at. With --entities and --relations instead of --checkpoint the mentions that the first finds are what the
second finds relations between, and words are enough.

OUT/extracted.jsonl has a line for each post in the same format: it may be the --input of another checkpoint, and the --predictions of
launch.evaluate. OUT/summary.json counts. A line that is no such post stands in OUT/rejects.jsonl, with its file, number, text and reason.
A picture that is missing or cannot be read is masked, as in training: the post's notes say so, and summary.json counts such posts. With
--strict the first one ends the program. Relations whose label names other types than their mentions have, as /per/org/member_of between two
locations does, are counted there, too, and left as they are. --pictures=N also draws the first N posts, beside what was found what is
annotated.

--engine=ray has the workers of a Ray cluster extract (extra `ray`; RAY_ADDRESS says which, else one of this machine alone), to the same
files. They read checkpoint and pictures by the same paths.

Started again after it was stopped it goes on, and ends as if it had not been. It refuses to go on where the input, the checkpoint, what is
wanted of it or a picture, by its size and time, are others than before.
"""

from __future__ import annotations

import itertools

from absl import app, flags

import mmre_jax
from launch import console
from mmre_jax import storage
from mmre_jax.bulk import files, posts
from mmre_jax.bulk.place import EXTRACTED, REJECTS, Wanted, accepted
from mmre_jax.data.readers import scenes
from mmre_jax.extraction import KINDS, Extraction, in_words
from mmre_jax.records import Region, Relation, Triple

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir (its best step is taken) or the directory of one step.")
_ENTITIES = flags.DEFINE_string("entities", None, "Instead of --checkpoint, with --relations: a run that finds mentions.")
_RELATIONS = flags.DEFINE_string("relations", None, "A run that finds the relations between the mentions of --entities.")
_INPUT = flags.DEFINE_string("input", None, "JSON lines of posts, or a folder of such files.")
_SCENES = flags.DEFINE_integer("scenes", 0, "Instead of --input: that many test records of the embedded data set.", lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "Folder for extracted.jsonl, rejects.jsonl, summary.json and the pictures.")
_SCORE = flags.DEFINE_float("min_score", 0.0, "Lowest score of what is written; mentions of --entities stay.", lower_bound=0, upper_bound=1)
_SKIP = flags.DEFINE_bool("skip_none", False, "Leave out pairs between which no relation was found.")
_TOP = flags.DEFINE_integer("top", 0, "Of each relation, also the probabilities of so many labels, the likeliest.", lower_bound=0)
_STRICT = flags.DEFINE_bool("strict", False, "End at the first picture that is missing or cannot be read, instead of masking it.")
_PICTURES = flags.DEFINE_integer("pictures", 0, "Draw so many posts, the first ones.", lower_bound=0)
_ATTENTION = flags.DEFINE_bool("attention", False, "QEOT: with --pictures, also draw what picture and queries attend to.")
_ENGINE = flags.DEFINE_enum("engine", "local", ["local", "ray"], "Who extracts: this process, or the workers of a Ray cluster.")
_WORKERS = flags.DEFINE_integer("workers", 0, "With --engine=ray: at most so many workers; 0: as many as fit.", lower_bound=0)
_CPUS = flags.DEFINE_float("worker_cpus", 1.0, "With --engine=ray: CPUs that each worker takes.", lower_bound=0.0)
_GPUS = flags.DEFINE_float("worker_gpus", 0.0, "With --engine=ray: GPUs that each worker takes.", lower_bound=0.0)
_SILENCE = flags.DEFINE_float("silence", 900.0, "With --engine=ray: seconds without any result after which it ends.", lower_bound=1.0)
_OF_RAY = ("workers", "worker_cpus", "worker_gpus", "silence")
PRINTED = 5  # posts


def main() -> None:
    """Extracts, writes and names what was written."""
    if (_INPUT.value is None) == (_SCENES.value == 0):
        raise app.UsageError("give either --input or --scenes")
    if (_CHECKPOINT.value is None) == (_ENTITIES.value is None) or (_ENTITIES.value is None) != (_RELATIONS.value is None):
        raise app.UsageError("give either --checkpoint, or --entities and --relations")
    if _ATTENTION.value and not _PICTURES.value:
        raise app.UsageError("--attention draws more of posts that are drawn: give --pictures=N, too")
    logger = console.setup()
    out = storage.path(_OUT.value)
    elsewhere = _ENGINE.value == "ray"
    if not elsewhere and (idle := [name for name in _OF_RAY if flags.FLAGS[name].present]):
        raise app.UsageError(f"--{idle[0]} is of --engine=ray")
    if _INPUT.value is not None and storage.absolute(_INPUT.value) == storage.absolute(out):
        raise app.UsageError(f"--out={out} is the folder of the posts: what is written there would be taken for posts; give another")
    given = None if _INPUT.value is None else posts.find(storage.absolute(_INPUT.value))
    checkpoint = {"path": _CHECKPOINT.value, "entities": _ENTITIES.value, "relations": _RELATIONS.value}
    extractor = mmre_jax.load(**checkpoint)
    if extractor.task != "relation" and (idle := [name for name in ("top", "skip_none") if flags.FLAGS[name].value]):
        raise app.UsageError(f"--{idle[0]} is of relations, and this checkpoint finds {KINDS[extractor.task]}")
    last = extractor.relations if isinstance(extractor, mmre_jax.Chain) else extractor
    if _ATTENTION.value:
        from mmre_jax.analysis.query_maps import check_attention

        check_attention(last.job)
    if given is None:
        kind = _scene(extractor)
        given = posts.Given(f"scenes:{kind}:test:{_SCENES.value}", scenes.read(kind, "test", _SCENES.value))
    wanted = Wanted(_SCORE.value, _SKIP.value, _TOP.value, _STRICT.value)
    if elsewhere:
        from mmre_jax.bulk import ray_engine

        cluster = ray_engine.Cluster(_WORKERS.value, _CPUS.value, _GPUS.value, _SILENCE.value)
        there = {name: value and str(storage.absolute(value)) for name, value in checkpoint.items()}
        summary, first = ray_engine.extract_all(there, extractor, given, out, wanted, cluster, progress="extract"), []
    else:
        summary, first = files.extract_all(extractor, given, out, wanted, show=max(PRINTED, _PICTURES.value), progress="extract")
    records = []
    if _PICTURES.value or not first:
        records = [*itertools.islice(accepted(extractor, given), max(PRINTED, _PICTURES.value))]
    if not first:  # they were extracted from before, or elsewhere
        first = [wanted.of(extraction, extractor.none) for extraction in extractor.extract_many(records, top=wanted.top)]
    for line in itertools.chain.from_iterable(map(as_text, first[:PRINTED])):
        print(line)
    logger.info("%d records, %d %s: %s", summary["records"], summary["found"], KINDS[extractor.task], out / EXTRACTED)
    for name, fitted in summary["calibration"].items():
        if fitted is None and extractor.task != "objects":
            logger.info("scores are not calibrated: python -m launch.calibrate %s", flags.FLAGS[name].value)
    if against := summary["contradicting"]:
        such = summary["contradictions"][0]
        logger.warning("%d of %d relations contradict the types of their mentions, such as %s", against, summary["found"], such)
    if masked := summary["masked"]:
        logger.info("%d of %d records have pictures that were masked, such as %s", masked, summary["records"], summary["examples"][0])
    if rejected := summary["rejected"]:
        logger.warning("%d posts could not be read, such as %s: %s", rejected, summary["reasons"][0], out / REJECTS)
    if _PICTURES.value:
        from launch.drawing import draw  # which takes a second to import

        some = _PICTURES.value
        for path in draw(last, records[:some], first[:some], out, attention=_ATTENTION.value):
            logger.info("picture: %s", path)


def as_text(extraction: Extraction, width: int = 120, most: int = 6) -> list[str]:
    """Lines for a terminal, none wider than `width`: the post, and indented what was found in it, the first `most` of it, with scores."""
    record = extraction.record
    post = " ".join((record.string or " ".join(record.words)).split())
    lines = [f"{record.id}: {post}", *(f"      note: {note}" for note in extraction.notes)]
    if extraction.task == "relation" and any(mention.type for mention in record.mentions):
        told = (
            f"{record.text(mention.span)} ({mention.type})" if mention.type else record.text(mention.span) for mention in record.mentions
        )
        lines.append(f"      mentions: {', '.join(told)}")
    for found in extraction.found[:most]:
        first, *rest = in_words(found, record)
        if isinstance(found, Relation):
            said = f"{first} -> {rest[1]}: {rest[0]}"
        else:
            place = f" at {rest[-1]}" if isinstance(found, Region | Triple) and found.box else ""
            said = (first if isinstance(found, Region) else f"{first}: {rest[0]}") + place
        lines.append(f"{'' if found.score is None else f'{found.score:.2f}':>8}  {said}")
    rest = len(extraction.found) - most
    if rest > 0 or not extraction.found:
        lines.append(f"          {f'and {rest} more' if rest > 0 else 'nothing found'}")
    lines = ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines]  # a terminal obeys some
    return [line if len(line) <= width else f"{line[: width - 3]}..." for line in lines]


def _scene(extractor: mmre_jax.Extractor | mmre_jax.Chain) -> str:
    """The checkpoint's own kind of scene; if it was trained on something else, the kind that its task is annotated in."""
    if isinstance(extractor, mmre_jax.Chain):
        return _scene(extractor.relations)
    data = extractor.job.config.data
    return data.scene if data.name == "scenes" else {"relation": "relations"}.get(extractor.task, extractor.task)


if __name__ == "__main__":
    flags.mark_flags_as_required(["out"])
    console.run(main, cached=True)
