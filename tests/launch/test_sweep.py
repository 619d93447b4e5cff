"""A sweep's values have the type of the setting; the command trains one run a value and prints them side by side."""

import json
import subprocess
import sys

import pytest

PARSE = """
import sys
from absl import app
from configs import hvformer
from launch import sweep
for text in sys.argv[1:]:
    try:
        print(repr(sweep.parse(text, hvformer.get_config("quickstart"))))
    except app.UsageError as error:
        print("refused:", error)
"""

PARSED = {
    "train.epochs=1,2": "('train.epochs', [1, 2])",
    "data.train_share=0.5,1": "('data.train_share', [0.5, 1])",
    "system.levels=(0,);(1,2)": "('system.levels', [(0,), (1, 2)])",
    "system.mixture=experts,concat": "('system.mixture', ['experts', 'concat'])",
    "system.width=1": "refused: --vary: the configuration has no setting 'system.width'",
    "train.epochs=1.5": "refused: --vary: train.epochs is a int such as 5, found 1.5",
    "train.epochs=": "refused: --vary is SECTION.NAME=VALUE,VALUE,..., found 'train.epochs='",
    "data.image_share=half": "refused: --vary: data.image_share: 'half' is not a value",
}


def test_values_have_the_type_of_the_setting():
    done = subprocess.run([sys.executable, "-c", PARSE, *PARSED], capture_output=True, text=True, check=True)
    assert dict(zip(PARSED, done.stdout.splitlines(), strict=True)) == PARSED


@pytest.mark.slow
def test_a_column_a_value(tmp_path):
    tiny = ["--config.data.counts=(64,8,8)", "--config.train.epochs=1", "--config.train.compilation_cache="]
    command = [sys.executable, "-m", "launch.sweep", "--config=configs/qeot.py:quickstart", "--vary=system.queries=1,2"]
    done = subprocess.run([*command, f"--workdir={tmp_path}", *tiny], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:3] == ["system.queries", "1", "2"]
    assert set(json.loads((tmp_path / "sweep.json").read_text())["runs"]) == {"1", "2"}
