"""Audit of a data set: what stands in its annotation, and can the relation be told from metadata alone (crops, missing pictures, sizes)?

    python -m launch.audit --config=configs/hvformer.py:mnre --config.data.root=DIR --config.data.objects=grounded
    python -m launch.audit --config=configs/hvformer.py:quickstart

Counts, for every task, contradictions, mentions that one tag per word cannot tell, an empty label that never occurs, what is cut off, and
validation and test records that stand in training. Of relations it fits small trees to metadata of the training split, scored on validation
and test together. Ends with exit code 1 where metadata of the pictures tells more than --threshold, or more than --overlap of the test
split stands in training by text, pair and picture. --json=FILE writes the same as JSON.
"""

from __future__ import annotations

import sys

from absl import app, flags
from ml_collections import config_flags

from launch import console
from mmre_jax import storage
from mmre_jax.analysis import leakage
from mmre_jax.data import annotation

_CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration whose section `data` is audited.")
_THRESHOLD = flags.DEFINE_float("threshold", leakage.THRESHOLD, "Largest gain over the majority's answer, 0 to 1, that passes.", 0.0, 1.0)
_OVERLAP = flags.DEFINE_float("overlap", annotation.OVERLAP, "Largest share of the test split in training, 0 to 1, that passes.", 0.0, 1.0)
_JSON = flags.DEFINE_string("json", None, "File for the report as JSON.")


def main() -> None:
    """Audits, prints, and exits with 1 where the audit fails."""
    if _CONFIG.value is None:
        raise app.UsageError("--config names the data set, for example --config=configs/hvformer.py:quickstart", exitcode=2)
    console.setup()
    data = _CONFIG.value.data
    report = leakage.audit_dataset(_CONFIG.value, _THRESHOLD.value, _OVERLAP.value)
    if _JSON.value is not None:
        storage.write_bytes(storage.path(_JSON.value), (report.to_json() + "\n").encode("utf-8"))
    print(f"{data.name}, objects: {data.objects}\n{report.table()}")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    console.run(main)
