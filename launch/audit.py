"""Leak audit: can the relation, or that there is none, be told from metadata alone (number of crops, missing pictures, sizes)?

    python -m launch.audit --config=configs/hvformer.py:mnre --config.data.root=DIR --config.data.objects=grounded
    python -m launch.audit --config=configs/hvformer.py:quickstart

Fits on the training split, scores on validation and test together, prints a table, and ends with exit code 1 where metadata of the
pictures tells more than --threshold. --json=FILE writes the same as JSON.
"""

from __future__ import annotations

import pathlib
import sys

from absl import app, flags
from ml_collections import config_flags

from launch import console
from mmre_jax.analysis import leakage

_CONFIG = config_flags.DEFINE_config_file("config", None, "The configuration whose section `data` is audited.")
_THRESHOLD = flags.DEFINE_float("threshold", leakage.THRESHOLD, "Largest gain over the majority's answer, 0 to 1, that passes.", 0.0, 1.0)
_JSON = flags.DEFINE_string("json", None, "File for the report as JSON.")


def main() -> None:
    """Audits, prints, and exits with 1 where the audit fails."""
    if _CONFIG.value is None:
        raise app.UsageError("--config names the data set, for example --config=configs/hvformer.py:quickstart", exitcode=2)
    if _CONFIG.value.task.name != "relation":
        raise app.UsageError(f"the audit is of relation labels, and the configuration's task is {_CONFIG.value.task.name!r}", exitcode=2)
    console.setup()
    with console.user_errors():
        data = _CONFIG.value.data
        report = leakage.audit_dataset(_CONFIG.value, _THRESHOLD.value)
        if _JSON.value is not None:
            pathlib.Path(_JSON.value).write_text(report.to_json() + "\n", encoding="utf-8")
    print(f"{data.name}, objects: {data.objects}\n{report.table()}")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    console.run(main)
