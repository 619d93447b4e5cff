"""A model card for a run: Markdown behind YAML front matter, as the Hugging Face Hub reads both
(https://huggingface.co/docs/hub/model-cards).

Everything in it stands in the checkpoint or beside it: its metadata, the run's metrics.json, the step's calibration.json. What is not there
is said to be missing. Folders of the machine that trained it are named by their last part alone.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from mmre_jax.card.run import Run, open_run
from mmre_jax.card.words import CALLS, FINDS, OBJECTS, OWN, PAPERS, PIPELINES, TAGS, code, table, text
from mmre_jax.encoders.from_config import VECTORS
from mmre_jax.extraction import KINDS
from mmre_jax.records import SPLITS
from mmre_jax.systems import released
from mmre_jax.tasks import WORDLESS
from mmre_jax.training.protocol import protocol

# Of a record that a warning names, as ID (FOLDER/FILE:LINE).
_FOLDER = re.compile(r"\((?:[^()]|\([^()]*\))*[/\\](?=[^/\\]+:\d+\))")


def card(checkpoint: str | os.PathLike[str], *, name: str = "", license: str = "") -> str:
    """The card of a run's checkpoint.

    Args:
      checkpoint: the workdir of a run (its best step is taken) or the directory of one step.
      name: of the model; '' for the workdir's.
      license: of the model as the Hub writes it, such as 'apache-2.0'; '' where it was not said.

    Raises:
      CheckpointError: a checkpoint that is missing, damaged, or of another format; a metrics.json that is no JSON.
    """
    run = open_run(checkpoint, name)
    parts = [
        f"# {text(run.name)}",
        _what(run, license),
        "## Data and protocol",
        _data(run),
        "## Scores",
        _scores(run),
        "## Model",
        _model(run),
        "## Labels",
        _labels(run),
        "## Calibration",
        _calibration(run),
        "## Use",
        _use(run),
        "## Intended use and limits",
        _limits(run),
        "## Versions and settings",
        _versions(run),
    ]
    return front_matter(run, license) + "\n" + "\n\n".join(parts) + "\n"


def front_matter(run: Run, license: str = "") -> str:
    """The YAML at the beginning, whose values are written as JSON, which YAML holds."""
    task, data = run.task, run.job.config.data
    tags = [
        "mmre_jax",
        "jax",
        *(["multimodal"] if run.job.system.plan and task not in WORDLESS else []),
        TAGS[task],
        run.job.config.system.name,
    ]
    lines: dict[str, Any] = {"license": license} if license else {}
    lines |= {"library_name": "mmre_jax", "tags": tags}
    if task in PIPELINES:
        lines["pipeline_tag"] = PIPELINES[task]
    if data.name not in OWN:
        lines["datasets"] = [data.name]
    results = _results(run)
    if results:
        lines["metrics"] = sorted({each["type"] for each in results})
        source = {"type": data.name, "name": data.name, "split": "test", "args": {"objects": protocol(run.job.config)["objects"]}}
        of_task = {"type": PIPELINES.get(task, TAGS[task]), "name": TAGS[task].replace("-", " ")}
        lines["model-index"] = [{"name": run.name, "results": [{"task": of_task, "dataset": source, "metrics": results}]}]
    return "---\n" + "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in lines.items()) + "\n---\n"


def _results(run: Run) -> list[dict[str, Any]]:
    """The test scores of this step as the Hub's leaderboard has them; none where they are not known."""
    if not run.scored or run.metrics is None:
        return []
    found = []
    for name, value in run.metrics.get("headline", {}).items():
        kind = name.rpartition(".")[2]
        found.append({"type": kind if kind in ("f1", "precision", "recall", "accuracy") else name, "value": round(value, 6), "name": name})
    return found


def _what(run: Run, license: str) -> str:
    config = run.job.config
    flavour = " in the arithmetic of its authors' released code" if released.is_asked_for(config) else ""
    lines = [f"{PAPERS[config.system.name]}{flavour}, trained with mmre_jax (JAX/Flax).", FINDS[run.task]]
    if config.system.modalities == "text":
        lines.append("**This one was trained on text alone: pictures are not looked at.**")
    lines.append("" if license else "No licence was given for this model.")
    return "\n".join(line for line in lines if line)


def _data(run: Run) -> str:
    config, said = run.job.config, protocol(run.job.config)
    name = "records of the user's own" if config.data.name in OWN else f"`{config.data.name}`"
    sees = "nothing: pictures are not looked at" if config.system.modalities == "text" else OBJECTS[said["objects"]]
    rows = [f"- Data set: {name}, task `{said['task']}`.", f"- Of a picture it sees: {sees} (`data.objects={said['objects']}`)."]
    rows += [f"- `data.{key}={value}`" for key, value in said.items() if key not in ("task", "data", "objects", "precision", "warning")]
    counts = (run.metrics or {}).get("counts")
    if counts:
        rows.append("- Examples: " + ", ".join(f"{counts[split]:,} {split}" for split in SPLITS if split in counts) + ".")
    else:
        rows.append("- How many examples there were is not known: there is no metrics.json beside the checkpoint.")
    if "warning" in said:
        rows.append(f"\n> **Warning.** {said['warning'][0].upper()}{said['warning'][1:]} A post of your own has no such crops.")
    for warning in (run.metrics or {}).get("warnings", ()):
        if warning != said.get("warning"):
            rows.append(f"\n> **Warning.** {text(_FOLDER.sub('(', str(warning)))}")
    return "\n".join(rows)


def _scores(run: Run) -> str:
    if run.metrics is None:
        return "There is no metrics.json beside the checkpoint: its scores are not known."
    if not run.scored:
        return f"metrics.json is of step {run.metrics.get('best_step')}, this checkpoint of step {run.step}: its scores are not known."
    splits = [split for split in ("test", "val") if isinstance(run.metrics.get(split), Mapping)]
    names = list(run.metrics.get("headline", {}))
    rows = [[name, *(_number(_at(run.metrics[split], name)) for split in splits)] for name in names]
    found = [table(["", *splits], rows)]
    per = next((key for key in run.metrics.get("test", {}) if key.startswith("per_")), None)
    inner = run.metrics.get("test", {}).get("entity", {}) if per is None else run.metrics.get("test", {})
    per = per or next((key for key in inner if key.startswith("per_")), None)
    if per:
        columns = list(next(iter(inner[per].values()), {}))
        found.append("By label, on test:")
        found.append(table(["label", *columns], [[label, *(_number(row[c]) for c in columns)] for label, row in inner[per].items()]))
    found.append(
        f"One run, seed {run.metrics.get('seed')}; step {run.step} of {run.metrics.get('steps')}, chosen by the first score on val."
    )
    return "\n\n".join(found)


def _at(tree: Any, name: str) -> Any:
    """The value at a dotted name, None where there is none."""
    for key in name.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _number(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _model(run: Run) -> str:
    config, total = run.job.config, sum(run.parts.values())
    rows = [f"{total:,} parameters:", table(["part", "parameters"], [[name, f"{count:,}"] for name, count in run.parts.items()])]
    if run.task not in WORDLESS:
        sizes, own = config.text, pathlib.PurePath(config.text.weights).name
        start = f"started from `{own}`" if own else "without published weights"
        what = f"{sizes.kind}, {sizes.layers} layers of width {sizes.width}"
        if sizes.kind == VECTORS:
            file = pathlib.PurePath(sizes.vectors).name
            what, start = f"vectors of words, {sizes.width} wide", f"started from those of `{file}`" if file else "random at the start"
        rows.append(f"Text: {what}, at most {sizes.max_tokens} tokens, {start}.")
    if run.job.system.plan:
        own = pathlib.PurePath(config.vision.weights).name
        start = f"started from `{own}`" if own else "without published weights"
        slots = ", ".join(f"{slot.count} of {slot.name} at {slot.side} pixels" for slot in run.job.system.plan)
        rows.append(f"Pictures: {config.vision.kind}, {start}; it reads {slots}.")
    return "\n\n".join(rows)


def _labels(run: Run) -> str:
    task = run.job.task
    said = f"{len(task.labels)}, in the order of the head's outputs"
    said += f"; `{code(task.none)}` says that there is nothing:" if task.none in task.labels else ":"
    return said + "\n\n" + " ".join(f"`{code(label)}`" for label in task.labels)


def _calibration(run: Run) -> str:
    if run.calibration is None:
        return "None was fitted: scores are as the system gives them, and need not be the share of answers that are right."
    said = ", ".join(
        f"{key} {_number(value) if isinstance(value, (int, float)) else text(str(value))}" for key, value in run.calibration.items()
    )
    return f"Scores are calibrated: {said}."


def _use(run: Run) -> str:
    asked = f"extractor.extract({CALLS[run.task]})"
    example = f'import mmre_jax\n\nextractor = mmre_jax.load("{run.name}")\nprint({asked}.{KINDS[run.task]})'
    lines = ["With mmre_jax installed, and this model's folder `checkpoints` in a folder of its name:", f"```python\n{example}\n```"]
    crops = sorted({slot.source for slot in run.job.system.plan} - {"photo"})
    if crops:
        lines.append(
            f"It was trained with {' and '.join(crops)} object crops: give `boxes=`, or they are masked, which the notes of the result say."
        )
    return "\n\n".join(lines)


def _limits(run: Run) -> str:
    lines = [
        "For research on multimodal extraction, and for proposing facts that a person or another source checks. A score is no proof.",
        "It knows the labels above and no others, and the kind of text and pictures that it was trained on: on others, measure before use "
        "(`python -m launch.evaluate`).",
        "What it says of people may be wrong, and comes of associations in its data. Do not decide about a person by it, and do not use it "
        "to identify people in pictures or to watch them.",
    ]
    if run.job.config.data.name == "scenes":
        lines.insert(
            0,
            "**Its data set is generated: coloured shapes and made-up sentences. It is for trying the library, and knows nothing of "
            "real posts.**",
        )
    return "\n\n".join(lines)


def _versions(run: Run) -> str:
    known = run.meta.get("versions")
    said = ", ".join(f"{name} {value}" for name, value in known.items()) if isinstance(known, Mapping) else "not known"
    settings = json.dumps(_without_places(run.meta["config"]), indent=1, ensure_ascii=False)
    return "\n\n".join(
        [
            f"Written by: {said}.",
            f"This card: `python -m launch.card {run.name}`. Scores again: `python -m launch.evaluate --checkpoint={run.name} "
            "--split=test`. Training: `python -m launch.train` with the settings below, each as --config.SECTION.NAME=VALUE.",
            f"<details><summary>All settings</summary>\n\n```json\n{settings}\n```\n\n</details>",
        ]
    )


def _without_places(value: Any) -> Any:
    """Settings in which files and folders are named by their last part alone."""
    if isinstance(value, Mapping):
        return {name: each if name == "none_label" else _without_places(each) for name, each in value.items()}
    if isinstance(value, str) and (os.path.isabs(value) or "/" in value or value.startswith("~")):
        return pathlib.PurePath(value).name
    return value
