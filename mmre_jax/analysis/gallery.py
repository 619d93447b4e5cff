"""docs/gallery.md: one picture for every figure that can be drawn of a checkpoint, and which published figure is made how.

The page is a function of the table of figures, so that neither can be changed alone (launch/gallery.py draws the pictures).
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping

from PIL import Image

from mmre_jax.analysis.figures import FIGURES

LARGEST = 118_000  # bytes of a picture
WIDEST, TALLEST = 1100, 1500  # pixels of a picture at most


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that figures are drawn of: a variant of a configuration, and changes of its settings."""

    config: str
    changes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def arguments(self, workdir: str) -> list[str]:
        """Of launch.train."""
        return [
            f"--config=configs/{self.config}",
            *(f"--config.{key}={value}" for key, value in self.changes.items()),
            f"--workdir={workdir}",
        ]


# Of each system. Fewer scenes than the quickstarts' for the slow ones; crops where a figure shows them.
RUNS = {
    "hvformer": Run("hvformer.py:quickstart_levels", {"data.counts": "(4096,256,512)", "optim.lr": "2e-3", "train.epochs": "2"}),
    "ifaformer": Run(
        "ifaformer.py:quickstart",
        {"data.counts": "(2048,128,256)", "data.buckets": "(32,)", "data.objects": "detected", "train.epochs": "4"},
    ),
    "rsrnet": Run("rsrnet.py:quickstart"),
    "qeot": Run("qeot.py:quickstart", {"data.counts": "(1536,128,256)", "data.buckets": "(32,)", "train.epochs": "4"}),
    "dgf_pt": Run("dgf_pt.py:quickstart"),
}
BESIDE = ("ifaformer", "rsrnet", "dgf_pt")  # of a figure that compares, beside its first system: those of the same task
FOLDER = "gallery"  # of the pictures, beside the page
COUNTED = "training_count"  # what launch.evaluate draws of a run of relations, and which run is shown
COUNTED_OF = "dgf_pt"


@dataclasses.dataclass(frozen=True)
class Published:
    """A figure of a paper.

    figures: of the table that it is.  command: that makes it, of several runs or in another program. Neither: it is drawn by hand.
    """

    number: str
    shows: str
    figures: tuple[str, ...] = ()
    command: str = ""


_EVALUATE = f"python -m launch.evaluate --checkpoint=runs/gallery/{COUNTED_OF}"


def _sweep(config: str, vary: str, folder: str) -> str:
    return f"python -m launch.sweep --config=configs/{config} --vary={vary} --workdir=runs/{folder}"


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "HVFormer": (
        Published("1", "regions of several scales in a photo"),
        Published("2", "the architecture"),
        Published("3", "how tracking maps are computed"),
        Published(
            "4", "scores with one expert alone", command=_sweep("hvformer.py:quickstart", "'system.levels=(0,);(1,);(2,)'", "one_expert")
        ),
        Published("5a, b", "attention of the markers to the picture by level, and its kurtosis", ("cross_attention", "kurtosis")),
        Published("6", "tracking maps from patches to patches", ("patch_tracking",)),
        Published("7a-c", "tracking maps from patches to markers, and the divergence of heads", ("token_tracking", "divergence")),
        Published("8", "patches of all levels in a plane", ("embedding",)),
        Published("9", "weights of experts over training", ("experts",)),
        Published("10", "weights of experts by relation", ("experts_relations",)),
        Published("11", "the image encoder's attention to itself", ("self_attention",)),
        Published("12", "three heads of it", ("heads",)),
        Published("13", "attention to the picture by head", ("cross_attention_heads",)),
    ),
    "IFAformer": (
        Published("1", "alignment weights between objects and words, there of MEGA, here of IFAformer's own attention", ("alignment",)),
        Published("2", "the architecture"),
    ),
    "RSRNeT": (
        Published("1", "the architecture"),
        Published("2", "a block of ResNeSt"),
        Published("3", "the adaptive module"),
        Published("4", "a layer of the fusion"),
        Published(
            "5",
            "scores with shares of the training data",
            command=_sweep("rsrnet.py:quickstart", "data.train_share=0.05,0.1,0.2,0.5", "shares"),
        ),
    ),
    "QEOT": (
        Published("1", "an example of the task"),
        Published("2", "the architecture"),
        Published("3", "attention of the picture's cells to the text", ("selective_attention",)),
        Published("4", "attention of the queries to the picture", ("query_attention",)),
        Published("5", "the transformer's layers"),
        Published(
            "6a, b",
            "scores with other image encoders and other weights of the loss",
            command=_sweep("qeot.py:quickstart", "vision.kind=resnet,resnest", "backbones"),
        ),
        Published(
            "7a, b",
            "scores with other numbers of queries and other overlaps",
            command=_sweep("qeot.py:quickstart", "system.queries=1,2,5,7,15", "queries"),
        ),
    ),
    "DGF-PT": (
        Published("1", "an example of the task"),
        Published("2", "the architecture"),
        Published(
            "3",
            "scores with shares of the pictures",
            command=_sweep("dgf_pt.py:quickstart", "data.image_share=0,0.2,0.4,0.6,0.8,1", "pictures"),
        ),
        Published("4", "scores by how often training had a relation", (COUNTED,), _EVALUATE),
        Published("5", "a case study", ("case_study",)),
    ),
}


def workdir(system: str) -> str:
    """Where the run of a system is that figures are drawn of."""
    return f"runs/gallery/{system}"


def command(name: str) -> str:
    """What draws a figure of the table."""
    entry = FIGURES[name]
    beside = f" --beside={','.join(map(workdir, BESIDE))}" if entry.compares else ""
    return f"python -m launch.analyse --checkpoint={workdir(entry.systems[0])}{beside} {name}"


def page() -> str:
    """The page, as Markdown."""
    parts = [
        "# Figures",
        "`make gallery` trains the runs that are not there yet, draws every figure that `launch.analyse` knows, of the first system that "
        "it names, and writes this page. The runs are small, on the embedded data set: the pictures show what a figure looks like, not "
        "what the papers found.",
        "## Runs",
        _code([f"python -m launch.train {' '.join(map(_quoted, run.arguments(workdir(name))))}" for name, run in RUNS.items()]),
        "## Of one checkpoint",
    ]
    for name, entry in FIGURES.items():
        parts += [f"### {name}", f"{_sentence(entry.about)}{f' {entry.paper}.' if entry.paper else ''} Of {', '.join(entry.systems)}."]
        parts += [_code([command(name)]), f"![{name}]({FOLDER}/{name}.png)"]
    parts += [f"### {COUNTED}", "Scores by how often training had a relation, which `launch.evaluate` draws. DGF-PT fig. 4."]
    parts += [_code([_EVALUATE]), f"![{COUNTED}]({FOLDER}/{COUNTED}.png)", "## Of the papers"]
    parts += ["What is drawn by hand there, such as an architecture, is not computed here. What takes several runs is not pictured here."]
    for paper, figures in PUBLISHED.items():
        rows = [f"| {x.number} | {x.shows} | {_made(x)} |" for x in figures]
        parts.append("\n".join([f"### {paper}", "", "| figure | shows | made by |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def small(png: bytes) -> bytes:
    """A picture of at most LARGEST bytes, with as many of its pixels as there is room for: as it is or, if that does not fit, in 256
    colours, chosen so that rare ones are among them."""
    with Image.open(io.BytesIO(png)) as opened:
        whole = opened.convert("RGB")
    size = (WIDEST, TALLEST)
    while True:
        picture = whole.copy()
        picture.thumbnail(size, Image.Resampling.LANCZOS)
        for form in (picture, picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)):
            packed = io.BytesIO()
            form.save(packed, "PNG", optimize=True)
            if packed.tell() <= LARGEST:
                return packed.getvalue()
        size = (int(picture.width * 0.9), int(picture.height * 0.9))


def _made(figure: Published) -> str:
    if figure.figures:
        return ", ".join(f"[{name}](#{name})" for name in figure.figures)
    return f"`{figure.command}`" if figure.command else "by hand"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _quoted(argument: str) -> str:
    return f"'{argument}'" if set(argument) & set("();") else argument


def _code(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
