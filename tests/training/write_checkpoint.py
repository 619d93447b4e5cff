"""Writes the checkpoints of the present format that tests/training/test_formats.py keeps, as small as they can be:

    python tests/training/write_checkpoint.py

To be run once for a format, when it is raised; those of former formats were written by the versions that had them.
"""

from __future__ import annotations

import importlib
import io
import json
import lzma
import os
import pathlib
import sys
import tarfile
import tempfile
from typing import Any

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
SYSTEMS = {"hvformer": "quickstart", "ifaformer": "quickstart_entities", "qeot": "quickstart", "rsrnet": "quickstart"}
TEXT = "grace meets ada in rome"
STEPS = 2


def write_data(folder: pathlib.Path, rich: bool = True) -> None:
    """JSON lines of every task; for relations alone if not `rich`."""
    folder.mkdir()
    words = ["ada", "meets", "grace", "in", "paris"]
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        rows = []
        for i in range(count):
            pair = {"head": {"start": 0, "end": 1}, "tail": {"start": 2, "end": 3}, "label": ("None", "peer", "at")[i % 3]}
            row = {"id": f"{split}{i}", "text": " ".join(words[i % 2 :] + words[: i % 2]), "relations": [pair]}
            if rich:
                mentions = [{"start": 0, "end": 1, "type": "PER"}, {"start": 2, "end": 3, "type": "LOC"}]
                triple = {"mention": {"start": 0, "end": 1}, "label": ("peer", "at")[i % 2], "box": [0.1, 0.2, 0.5, 0.75]}
                row |= {"mentions": mentions, "triples": [triple]}
            rows.append(row)
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def photo() -> str:
    """The name of a picture, drawn in the working directory."""
    Image.new("RGB", (20, 30), (40, 120, 200)).save("photo.png")
    return "photo.png"


def config(system: str, **changes: object) -> object:
    """A configuration of eight numbers a token, on the data of `write_data` in a folder `data`."""
    found = importlib.import_module(f"configs.{system}").get_config(SYSTEMS[system]).copy_and_resolve_references().unlock()
    small = {"width": 8, "layers": 1, "heads": 2, "mlp": 8}
    found.text.update({**small, "positions": 16, "max_tokens": 16, "vocab_size": 40, "dropout": 0.0, "attention_dropout": 0.0})
    found.vision.update({**small, "side": 16, "crop_side": 16, "patch": 8, "stem": 4, "groups": 2})
    found.system.update({name: value for name, value in (("heads", 2), ("hidden", 8)) if name in found.system})
    if system == "qeot":
        found.system.update({"mlp": 8, "encoder_layers": 1, "decoder_layers": 1, "queries": 2})
        found.task.threshold = 0.0
    found.data.update({"name": "jsonl", "root": "data", "objects": "none", "buckets": (16,), "threads": 1})
    found.optim.lr = 1e-2
    found.train.update({"epochs": 2, "batch": 4, "eval_batch": 4, "max_steps": STEPS, "compilation_cache": "", "log_every": 1})
    found.update_from_flattened_dict(changes)
    return found.lock()


def said(extraction: Any) -> dict[str, Any]:
    """What was found as found.json keeps it, which is the same for all formats."""
    record = extraction.record

    def mention(found: Any) -> dict[str, Any]:
        return {"text": record.text(found.span), "span": list(found.span), **({"type": found.type} if found.type else {})}

    rows = {
        "relation": [
            {"head": mention(r.head), "relation": r.label, "tail": mention(r.tail), "score": r.score} for r in extraction.relations
        ],
        "entities": [{**mention(m), "score": m.score} for m in extraction.mentions],
        "triples": [{"entity": mention(t.mention), "relation": t.label, "box": list(t.box), "score": t.score} for t in extraction.triples],
    }[extraction.task]
    kind = {"relation": "relations", "entities": "mentions"}.get(extraction.task, extraction.task)
    text = " ".join(record.words)
    return {"id": record.id, "text": text, "image": record.image, kind: rows, "notes": list(extraction.notes)}


def write(system: str, target: pathlib.Path) -> None:
    """Trains a run in the working directory for STEPS steps and packs it, with what it finds in TEXT and the photo."""
    import mmre_jax
    from mmre_jax.training.interrupt import Interrupted
    from mmre_jax.training.train import train

    run = pathlib.Path(system)
    try:
        train(config(system), run)  # type: ignore[arg-type]
    except Interrupted:
        pass
    extractor = mmre_jax.load(run)
    pair = {"head": (0, 1), "tail": (2, 3)} if extractor.task == "relation" else {}
    found = json.dumps(said(extractor.extract(text=TEXT, image=photo(), **pair)), indent=1) + "\n"
    here = f"{pathlib.Path.cwd().resolve()}{os.sep}".encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(target, "wb", preset=9) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        files = {str(path): path.read_bytes().replace(here, b"") for path in sorted((run / "checkpoints").rglob("*")) if path.is_file()}
        for name, content in {**files, f"{system}/found.json": found.encode()}.items():
            if system == "hvformer" or "optimiser" not in name:  # one is enough to go on with
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    from mmre_jax.training.formats import FORMAT

    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        write_data(pathlib.Path("data"))
        for name in sys.argv[1:] or SYSTEMS:
            write(name, ROOT / "tests" / "training" / "checkpoints" / f"format_{FORMAT}" / f"{name}.tar.xz")
