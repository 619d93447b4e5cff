"""docs/gallery.md is what the table of figures says today, and its pictures are there and small."""

import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs import dgf_pt, hvformer, qeot, rsrnet
from launch import sweep
from mmre_jax.analysis import gallery
from mmre_jax.analysis.figures import FIGURES

DOCS = Path(__file__).resolve().parents[2] / "docs"
CONFIGS = {"hvformer": hvformer, "rsrnet": rsrnet, "qeot": qeot, "dgf_pt": dgf_pt}


def test_the_page_is_that_of_todays_figures():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert text == gallery.page(), "make gallery writes it anew"
    assert all(f"### {name}\n" in text and f"({gallery.FOLDER}/{name}.png)" in text for name in FIGURES)


def test_every_figure_has_a_picture_and_no_other_is_there():
    pictures = {path.stem: path.stat().st_size for path in (DOCS / gallery.FOLDER).iterdir()}
    assert set(pictures) == {*FIGURES, gallery.COUNTED}
    assert max(pictures.values()) < 120_000 and sum(pictures.values()) < 3_000_000


def test_figures_of_papers_are_in_the_table():
    drawn = {name for figures in gallery.PUBLISHED.values() for figure in figures for name in figure.figures}
    assert drawn <= {*FIGURES, gallery.COUNTED}
    assert {name for name, entry in FIGURES.items() if entry.paper} <= drawn


COMMANDS = [x.command for figures in gallery.PUBLISHED.values() for x in figures if "launch.sweep" in x.command]


@pytest.mark.parametrize("command", COMMANDS)
def test_sweeps_vary_what_there_is(command):
    given = dict(word.removeprefix("--").split("=", 1) for word in shlex.split(command) if word.startswith("--"))
    system, variant = given["config"].removeprefix("configs/").split(".py:")
    _, values = sweep.parse(given["vary"], CONFIGS[system].get_config(variant))
    assert values


def test_pictures_are_made_small():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (270, 480, 3), dtype=np.uint8))
    packed = io.BytesIO()
    noise.save(packed, "PNG")
    found = gallery.small(packed.getvalue())
    with Image.open(io.BytesIO(found)) as picture:
        assert len(found) <= gallery.LARGEST and picture.width / picture.height == pytest.approx(16 / 9, rel=0.02)
