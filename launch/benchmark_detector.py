"""Times Faster R-CNN with ResNet-50-FPN against torchvision's on this machine: same random weights, same pictures, in turns.

    make benchmark-detector                                   (sets up torchvision's environment on the first call)
    python -m launch.benchmark_detector --torchvision=.venv-torchvision/bin/python [--rounds=5] [--json=FILE]
    python -m launch.benchmark_detector                       (ours alone)

A look goes from uint8 pixels on a canvas to boxes; decoding and scaling pictures is left out on both sides.
"""

from __future__ import annotations

from absl import flags

from launch import console
from mmre_jax.analysis import detector_speed

_TORCHVISION = flags.DEFINE_string("torchvision", "", "The Python of an environment with torch, torchvision and safetensors; '' for none.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed looks per size and side.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 4, "Pictures of the larger batch.", lower_bound=2)
_JSON = flags.DEFINE_string("json", None, "Also write the figures there.")


def main() -> None:
    """Measures, prints, writes."""
    console.setup()
    cases = ((1, 800, 1088), (_BATCH.value, 800, 1088))
    result = detector_speed.measure(_TORCHVISION.value, cases=cases, rounds=_ROUNDS.value)
    console.leave(result, detector_speed.text(result), _JSON.value)


if __name__ == "__main__":
    console.run(main)
