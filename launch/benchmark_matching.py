"""Times the matching of queries and targets, on the host (scipy) and on the device (optax).

    python -m launch.benchmark_matching [--calls=50] [--json=FILE]
    python -m launch.benchmark_matching --config=configs/qeot.py:quickstart [--steps=20]    (also as a share of this training's step)
    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m launch.benchmark_matching --stress=5000    (do that many steps end?)

Nothing is saved but the figures.
"""

from __future__ import annotations

from absl import flags
from ml_collections import config_flags

from launch import console
from mmre_jax.analysis import matching_speed
from mmre_jax.matching import MATCHERS
from mmre_jax.training.checks import check_settings

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_CALLS = flags.DEFINE_integer("calls", 50, "Timed calls per size and matcher.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 20, "Timed training steps per matcher.", lower_bound=2)
_STRESS = flags.DEFINE_integer("stress", None, "Instead of timing calls, run so many small steps on all local devices.", lower_bound=2)
_JSON = flags.DEFINE_string("json", None, "Also write the figures there.")


def main() -> None:
    """Measures, prints, writes."""
    console.setup()
    if _CONFIG.value is not None:
        check_settings(_CONFIG.value)
    if _STRESS.value is not None:
        rows = [matching_speed.stress(_STRESS.value, matcher) for matcher in MATCHERS]
        told = "{matcher}: {steps} steps on {devices} x {device}, {steps_per_second:.1f} steps/s"
        console.leave({"stress": rows}, "\n".join(told.format(**row) for row in rows), _JSON.value)
        return
    result = matching_speed.measure(calls=_CALLS.value)
    if _CONFIG.value is not None:
        result["share"] = matching_speed.step_share(_CONFIG.value, _STEPS.value)
    console.leave(result, matching_speed.text(result), _JSON.value)


if __name__ == "__main__":
    console.run(main)
