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
from mmre_jax import storage
from mmre_jax.analysis import matching_speed
from mmre_jax.matching import MATCHERS
from mmre_jax.training.checks import check_settings
from mmre_jax.training.log import write_json

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_CALLS = flags.DEFINE_integer("calls", 50, "Timed calls per size and matcher.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 20, "Timed training steps per matcher.", lower_bound=2)
_STRESS = flags.DEFINE_integer("stress", None, "Instead of timing calls, run so many small steps on all local devices.", lower_bound=2)
_JSON = flags.DEFINE_string("json", None, "Also write the figures there.")


def main() -> None:
    """Measures, prints, writes."""
    logger = console.setup()
    if _CONFIG.value is not None:
        check_settings(_CONFIG.value)
    if _STRESS.value is not None:
        result = {"stress": [matching_speed.stress(_STRESS.value, matcher) for matcher in MATCHERS]}
        for row in result["stress"]:
            speed = f"{row['steps_per_second']:.1f} steps/s"
            print(f"{row['matcher']}: {row['steps']} steps on {row['devices']} x {row['device']}, {speed}")
    else:
        result = matching_speed.measure(calls=_CALLS.value)
        if _CONFIG.value is not None:
            result["share"] = matching_speed.step_share(_CONFIG.value, _STEPS.value)
        print(matching_speed.text(result))
    if _JSON.value is not None:
        write_json(storage.path(_JSON.value), result)
        logger.info("written: %s", _JSON.value)


if __name__ == "__main__":
    console.run(main)
