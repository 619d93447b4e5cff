"""What DGF-PT's gates let through of the pictures: with each record's own picture, and with another record's.

    python -m launch.gates --checkpoint=runs/dgf_pt --split=test

Prints the means, over the records that were shown with a picture, of the image gate's and the object gate's absolute values (eq. 6 and 5 of
its paper) and of the largest share of an object (eq. 4), with the micro-F1 of both.
"""

from __future__ import annotations

from absl import flags

from launch import console
from mmre_jax import evaluate
from mmre_jax.records import SPLITS

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir (its best step is taken) or the directory of one step.")
_SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "Which split.")
_ROOT = flags.DEFINE_string("root", None, "The data set's folder, where it is not where it was in training.")


def main() -> None:
    """Predicts the split twice and prints the table."""
    console.setup()
    print(evaluate.gates(_CHECKPOINT.value, _SPLIT.value, root=_ROOT.value or "").table())


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint"])
    console.run(main)
