"""launch.analyse as a person types it."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from mmre_jax import analyse

ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "-W", "error", "-m", "launch.analyse", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, timeout=300, check=False)


def test_a_figure_is_written_where_it_is_said_to_be(trained, tmp_path):
    result = run(f"--checkpoint={trained}", "kurtosis", "--split=val", f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    written = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert set(written) == {"kurtosis.npz", "kurtosis.json", "kurtosis.png"}
    assert all(str(path) in result.stderr for path in written.values())
    with np.load(written["kurtosis.npz"]) as arrays:
        assert arrays["kurtosis"].shape == (2, 2)


def test_help_lists_the_figures():
    told = run("--help").stdout
    assert "expert" in told and all(f"  {name} " in told for name in analyse.FIGURES)


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="there is no figure 'kurtossis'; did you mean kurtosis?"):
        analyse.check("kurtossis")
    with pytest.raises(ValueError, match="there is no figure 'everything'; there are alignment, all, case_study"):
        analyse.check("everything")
