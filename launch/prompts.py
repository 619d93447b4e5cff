"""Writes the records of a split as requests to a vision-language model, for any OpenAI-compatible server; its answers are a baseline.

    python -m launch.prompts --config=configs/hvformer.py:mnre --config.data.root=DIR --split=test --model=MODEL --out=prompts
    python -m launch.prompts --config=configs/hvformer.py:mnre --config.data.root=DIR --model=MODEL --meanings=FILE --shots=8 --out=prompts

The whole round: write; send, by whatever client, which is not this library; score; compare with a run, by paired bootstrap:
    python -m launch.prompts --config=configs/hvformer.py:mnre --config.data.root=DIR --model=Qwen/Qwen2.5-VL-7B-Instruct --out=prompts
    vllm run-batch -i prompts/requests-1.jsonl -o answers.jsonl --model Qwen/Qwen2.5-VL-7B-Instruct
    python -m launch.evaluate --answers=answers.jsonl --prompts=prompts --config=configs/hvformer.py:mnre --config.data.root=DIR --out=found
    python -m launch.compare runs/hvformer found/predictions.jsonl
A hosted service takes the files as batches, here with the client of OpenAI, and gives back a file of answers and one of errors; both go
into --answers=FILE,FILE:
    client = openai.OpenAI()
    file = client.files.create(file=open("prompts/requests-1.jsonl", "rb"), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    open("answers.jsonl", "wb").write(client.files.content(client.batches.retrieve(batch.id).output_file_id).read())  # when it has ended
Mind what leaves the house: the requests hold the texts and the pictures of the split.

Each request asks for one example of the configuration's task (relation, entities or triples): its text, in relations with head and tail
between tags, its picture as a JPEG of at most --side pixels, and the labels, with --meanings=FILE each with a line on what it means (JSON
{label: meaning}, or a label, a tab and its meaning a line; of all labels, the empty relation included; docs/mnre_meanings.tsv is one of
MNRE, written for this library from its training split). A picture that is not there is said not to be. Neither crops of objects nor
captions are shown. No label of the split is: --shots come from training, and have other words than any example of the split. By --draw
they are balanced (an example of each relation, or set of types or relations, in turn) or uniform. data.train_share, data.image_share and
data.shuffle_pictures are heeded.

Into --out go requests-1.jsonl, requests-2.jsonl and so on, of at most --file_requests requests and --file_megabytes each, and
manifest.json: what was asked of which data, checksums, and the custom id of each example's request, which holds the checksum of its body.
launch.evaluate reads it, so that answers are scored against the examples that they belong to.

--structured tells the server the JSON schema of an answer (response_format), where it can follow one. --body={...} holds further fields of
each request's body, and null takes one away: --body='{"max_tokens": null, "max_completion_tokens": 2000, "temperature": null}'.
"""

from __future__ import annotations

import time
from collections import Counter

from absl import app, flags
from ml_collections import config_flags

from launch import console
from mmre_jax import storage
from mmre_jax.prompts import batch, shots
from mmre_jax.prompts.write import PICTURES, Way, write
from mmre_jax.records import SPLITS
from mmre_jax.text_files import parse_json

_W = Way("")
_CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration whose task and data are asked about.")
_SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "Which split.")
_OUT = flags.DEFINE_string("out", None, "Folder for requests and manifest.")
_MODEL = flags.DEFINE_string("model", None, "What the server calls the model.")
_PICTURES = flags.DEFINE_enum("pictures", _W.pictures, PICTURES, "Show each post's photo, or its text alone.")
_SIDE = flags.DEFINE_integer("side", _W.side, "Pixels of the longer side that larger pictures are brought down to.", lower_bound=16)
_QUALITY = flags.DEFINE_integer("quality", _W.quality, "Of the JPEGs.", 1, 95)
_MEANINGS = flags.DEFINE_string("meanings", _W.meanings, "File of what the labels mean; their names alone if not given.")
_SHOTS = flags.DEFINE_integer("shots", _W.shots, "Training examples with their answers that stand before each question.", lower_bound=0)
_DRAW = flags.DEFINE_enum("draw", _W.draw, shots.DRAWS, "How they are drawn.")
_SEED = flags.DEFINE_integer("seed", _W.seed, "Of the draw.", lower_bound=0)
_SHOT_PICTURES = flags.DEFINE_bool("shot_pictures", _W.shot_pictures, "Show them with their pictures.")
_STRUCTURED = flags.DEFINE_bool("structured", _W.structured, "Ask for answers by a JSON schema.")
_TEMPERATURE = flags.DEFINE_float("temperature", _W.temperature, "Of sampling.", lower_bound=0.0)
_TOKENS = flags.DEFINE_integer("max_tokens", _W.max_tokens, "Of an answer; 0: as many as one of the task needs.", lower_bound=0)
_BODY = flags.DEFINE_string("body", "{}", "JSON object of further fields of each body; null takes one away.")
_REQUESTS = flags.DEFINE_integer("file_requests", batch.REQUESTS, "The most requests of a file.", lower_bound=1)
_MEGABYTES = flags.DEFINE_integer("file_megabytes", batch.MEGABYTES, "The most megabytes (10^6 bytes) of a file.", lower_bound=1)


def main() -> None:
    """Writes, and tells what was written."""
    if _CONFIG.value is None:
        raise app.UsageError("--config names task and data, for example --config=configs/hvformer.py:quickstart")
    logger = console.setup()
    body = parse_json(_BODY.value, "--body")
    if not isinstance(body, dict):
        raise app.UsageError(f"--body={_BODY.value}: expected a JSON object")
    way = Way(
        model=_MODEL.value,
        pictures=_PICTURES.value,
        side=_SIDE.value,
        quality=_QUALITY.value,
        meanings=_MEANINGS.value,
        shots=_SHOTS.value,
        draw=_DRAW.value,
        seed=_SEED.value,
        shot_pictures=_SHOT_PICTURES.value,
        structured=_STRUCTURED.value,
        temperature=_TEMPERATURE.value,
        max_tokens=_TOKENS.value,
        body=body,
        file_requests=_REQUESTS.value,
        file_megabytes=_MEGABYTES.value,
    )
    began = time.monotonic()
    folder = storage.at_home(_OUT.value)
    found = write(_CONFIG.value, _SPLIT.value, folder, way)
    pictures = ", ".join(f"{count:,} {state}" for state, count in Counter(each.picture for each in found.asked).most_common())
    size = sum(file["bytes"] for file in found.files)
    logger.info(
        "%s: %s requests in %.1f s, %.1f MB; pictures: %s",
        found.split,
        f"{len(found.asked):,}",
        time.monotonic() - began,
        size / 1e6,
        pictures,
    )
    if found.shots:
        logger.info("examples before each question: %s", ", ".join(found.shots))
    if len(found.files) > 1:
        logger.info("in %d files, of at most %s requests and %d MB each", len(found.files), f"{way.file_requests:,}", way.file_megabytes)
    for name in [*(file["file"] for file in found.files), "manifest.json"]:
        print(folder / name)


if __name__ == "__main__":
    flags.mark_flags_as_required(["out", "model"])
    console.run(main)
