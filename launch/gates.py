"""What DGF-PT's gates let through of the pictures: with each record's own picture, and with another record's.

    python -m launch.gates --checkpoint=runs/dgf_pt --split=test

Prints means over the records that were shown with a picture: of the image gate's and the object gate's absolute values (its paper's eq. 6
and 5), of the largest share of an object (eq. 4), of the share of its length by which the text is moved (eq. 7, 8) and of the divergence
of what is predicted before and after (eq. 10); and the micro-F1 of both. In the paper's order of inputs the two gates are read before the
text is, so that over all of a split they are much the same with its pictures in any order.
"""

from __future__ import annotations

from absl import flags

from launch import console
from mmre_jax import evaluate
from mmre_jax.records import SPLITS

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir (its best step is taken) or the directory of one step.")
_SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "Which split.")
_ROOT = flags.DEFINE_string("root", None, "The data set's folder, where it is not where it was in training.")
_CAPTIONS = flags.DEFINE_string("captions", "", "The file of captions, where it is not where it was in training.")


def main() -> None:
    """Predicts the split twice and prints the table."""
    console.setup()
    print(evaluate.gates(_CHECKPOINT.value, _SPLIT.value, root=_ROOT.value or "", captions=_CAPTIONS.value).table())


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint"])
    console.run(main, cached=True)
