"""Plans training on chips that are not here: compiles the step for them, says what fits, what is sent, and how fast it can be at most.

    python -m launch.plan --config=configs/hvformer.py:mnre --topology=v5e:4x4 [--mesh=4,4] [--json=FILE]
    python -m launch.plan --config=configs/qeot.py:more --topology=v5p:2x2x2 --per-chip=8
    python -m launch.plan --config=configs/qeot.py:more --topology=cuda:8 --config.system.matcher=optax
    python -m launch.plan --table=FOLDER     (the plans of its JSON files as one Markdown table)

Topologies are v4:AxBxC, v5e:AxB, v5p:AxBxC and v6e:AxB, for which the real compiler is asked (pip install 'mmre_jax[tpu]'; no TPU is
needed; minutes for the papers' sizes), and cuda:N, for which the step is lowered only: nothing tells its memory. No data and no weights
are needed: what they would say is assumed, and printed.
"""

from __future__ import annotations

import json
import os
import pathlib

import jax
from absl import app, flags
from ml_collections import config_flags

from launch import console
from mmre_jax.planning import told
from mmre_jax.planning.chips import KNOWN
from mmre_jax.planning.plan import plan
from mmre_jax.text_files import read_text

_CONFIG = config_flags.DEFINE_config_file("config", None, console.CONFIG)
_TOPOLOGY = flags.DEFINE_string("topology", None, f"The chips: {KNOWN}.")
_MESH = flags.DEFINE_string("mesh", "", "DATA,FSDP: how parameters lie on them; by default as parallel.mesh says, or whole on each.")
_PER_CHIP = flags.DEFINE_integer("per-chip", 0, "Records a chip, where train.batch does not divide over the chips.", lower_bound=0)
_TOKENS = flags.DEFINE_integer("tokens", 0, "Padded length of the batch, one of data.buckets; 0: the largest.", lower_bound=0)
_LABELS = flags.DEFINE_integer("labels", 0, "Relations, entity types or classes; 0: as the data set publishes.", lower_bound=0)
_VOCABULARY = flags.DEFINE_integer("vocabulary", 0, "Entries of the tokenizer; 0: as the papers' weights have them.", lower_bound=0)
_TABLE = flags.DEFINE_string("table", None, "Folder of plans as JSON files, to be printed as one table instead.")
_HLO = flags.DEFINE_string("hlo", None, "Also write the compiled program there, as text.")
_JSON = flags.DEFINE_string("json", None, "Also write the plan there.")


def main() -> None:
    """Compiles, prints, writes."""
    console.setup()
    if not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")  # nothing is computed; and where the compiler of TPUs is, JAX would look for one
    if _TABLE.value is not None:
        files = sorted(pathlib.Path(_TABLE.value).glob("*.json"))
        if not files:
            raise app.UsageError(f"--table={_TABLE.value}: no JSON files there")
        print(told.markdown({file.stem: json.loads(read_text(file)) for file in files}))
        return
    if _CONFIG.value is None or _TOPOLOGY.value is None:
        raise app.UsageError("give --config and --topology, such as --config=configs/hvformer.py:mnre --topology=v5e:4x4")
    result = plan(
        _CONFIG.value,
        _TOPOLOGY.value,
        mesh=_MESH.value,
        per_chip=_PER_CHIP.value,
        tokens=_TOKENS.value,
        labels=_LABELS.value,
        vocabulary=_VOCABULARY.value,
        written=None if _HLO.value is None else pathlib.Path(_HLO.value),
    )
    console.leave(result, told.text(result), _JSON.value)


if __name__ == "__main__":
    console.run(main)
