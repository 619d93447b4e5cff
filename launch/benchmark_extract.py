"""Times extraction from made-up posts with a checkpoint: one call each, and streamed, with their ratio.

    python -m launch.benchmark_extract --checkpoint=runs/quickstart [--posts=2000] [--rounds=5] [--json=FILE]

Nothing is saved but the figures.
"""

from __future__ import annotations

from absl import flags

from launch import console
from mmre_jax.benchmark import streaming

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A run's workdir (its best step is taken) or the directory of one step.")
_POSTS = flags.DEFINE_integer("posts", 2000, "Posts that are streamed in a round.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Times that both take turns.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "Also write the figures there.")


def main() -> None:
    """Measures, prints, writes."""
    console.setup()
    result = streaming.measure(_CHECKPOINT.value, posts=_POSTS.value, rounds=_ROUNDS.value)
    console.leave(result, streaming.text(result), _JSON.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint"])
    console.run(main, cached=True)
