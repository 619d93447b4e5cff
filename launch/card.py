"""Writes a model card for a run: Markdown with the front matter that the Hugging Face Hub reads.

    python -m launch.card runs/quickstart
    python -m launch.card runs/quickstart --out=README.md --license=apache-2.0 --name="scenes HVFormer"

It says what the system is and of which paper, its data and protocol, with a warning where object crops tell the label, its scores, sizes
and labels, how to use it and what it is not for. Scores are those of the run's metrics.json; what is not known is said not to be.
Without --out the card is printed.
"""

from __future__ import annotations

from absl import app, flags

from launch import console
from mmre_jax import card, storage

_OUT = flags.DEFINE_string("out", None, "File to write, such as README.md; it must not exist. A folder: README.md in it.")
_NAME = flags.DEFINE_string("name", "", "Name of the model; by default the workdir's.")
_LICENSE = flags.DEFINE_string("license", "", "Licence of the model, as the Hub calls it: apache-2.0, cc-by-4.0. The data's may bind you.")


def main(checkpoint: str) -> None:
    """Writes or prints the card."""
    logger = console.setup()
    text = card.card(checkpoint, name=_NAME.value, license=_LICENSE.value)
    if _OUT.value is None:
        print(text, end="")
        return
    path = storage.on_disk(_OUT.value, "--out")
    path = path / "README.md" if path.is_dir() else path
    if path.exists():
        raise app.UsageError(f"{path} exists already")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    logger.info("written: %s", path)


if __name__ == "__main__":
    console.run(main, ["the directory of a run"], cached=True)
