"""launch.analyse as a person types it."""

import pathlib
import sys

import numpy as np
import pytest

from mmre_jax import analyse

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from typed import run  # noqa: E402

pytestmark = pytest.mark.thorough


def test_a_figure_is_written_where_it_is_said_to_be(trained, tmp_path):
    result = run("analyse", f"--checkpoint={trained}", "kurtosis", "--split=val", f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    written = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert set(written) == {"kurtosis.npz", "kurtosis.json", "kurtosis.png"}
    assert all(str(path) in result.stderr for path in written.values())
    with np.load(written["kurtosis.npz"]) as arrays:
        assert arrays["kurtosis"].shape == (2, 2)


def test_help_lists_the_figures():
    told = run("analyse", "--help").stdout
    assert "expert" in told and all(f"  {name} " in told for name in analyse.FIGURES)


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="there is no figure 'kurtossis'; did you mean kurtosis?"):
        analyse.check("kurtossis")
    with pytest.raises(ValueError, match="there is no figure 'everything'; there are alignment, all, case_study"):
        analyse.check("everything")
