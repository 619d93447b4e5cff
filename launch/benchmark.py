"""Times training: the step per length and over an epoch, the loader alone, and both together.

    python -m launch.benchmark --config=configs/hvformer.py:quickstart [--steps=50] [--json=FILE]
    python -m launch.benchmark --config=configs/hvformer.py:mnre ... --dtypes=float32,bfloat16    (timed in turns, with their ratio)
    python -m launch.benchmark ... --peak_tflops=989    (for the utilisation, where the device is not one that is known by name)

Nothing is saved but the figures. Compile seconds are those of a first run: the compilation cache is not used.
"""

from __future__ import annotations

from absl import app, flags
from ml_collections import config_flags

from launch import console
from mmre_jax.analysis import speed, speed_report
from mmre_jax.systems import DTYPES
from mmre_jax.training.checks import check_settings

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_STEPS = flags.DEFINE_integer("steps", 50, "Timed steps per length and dtype, and steps of the loop.", lower_bound=2)
_DTYPES = flags.DEFINE_list("dtypes", [], "Values of train.dtype to compare; the configuration's own if empty.")
_PEAK = flags.DEFINE_float("peak_tflops", None, "TFLOP/s that one device could do at best.", lower_bound=0.0)
_JSON = flags.DEFINE_string("json", None, "Also write the figures there.")


def main() -> None:
    """Measures, prints, writes."""
    if unknown := set(_DTYPES.value) - set(DTYPES):
        raise app.UsageError(f"--dtypes knows {', '.join(DTYPES)}, not {', '.join(sorted(unknown))}")
    console.setup()
    check_settings(_CONFIG.value)
    result = speed.measure(_CONFIG.value, dtypes=_DTYPES.value, steps=_STEPS.value, peak_tflops=_PEAK.value)
    console.leave(result, speed_report.text(result), _JSON.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config"])
    console.run(main)
