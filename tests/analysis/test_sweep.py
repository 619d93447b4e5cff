"""A sweep's cells, means and tables by hand; its curves have the points, bars and axes that they should."""

import numpy as np
import pytest

from mmre_jax.analysis import sweep_plots
from mmre_jax.analysis.sweep import Sweep, cells

SHARES = {"data.train_share": [0.05, 0.1, 0.2, 0.5]}
GRID = {"system.mixture": ["experts", "concat"], "data.image_share": [0.0, 0.5, 1.0]}
SEEDS = [0, 1, 2]


def finished(vary, seeds, score):
    """A sweep whose every run is finished, scored by its values and its seed."""
    runs = {folder: score(cell.values, seed or 0) for cell in cells(vary, seeds) for seed, folder in cell.seeds.items()}
    return Sweep(vary, seeds, {folder: {"micro.f1": value, "accuracy": value / 2} for folder, value in runs.items()})


@pytest.fixture
def shares():
    return finished(SHARES, SEEDS, lambda values, seed: values[0] + 0.1 * seed)


@pytest.fixture
def grid():
    return finished(GRID, [], lambda values, seed: (values[0] == "experts") * 0.5 + values[1] / 4)


def test_folders_tell_runs_apart():
    (first, *others) = cells(GRID, [3, 4])
    assert first.values == ("experts", 0.0) and first.seeds == {
        3: "system.mixture=experts_data.image_share=0.0/seed_3",
        4: "system.mixture=experts_data.image_share=0.0/seed_4",
    }
    assert len({folder for cell in (first, *others) for folder in cell.seeds.values()}) == 12
    assert [cell.seeds for cell in cells({"system.levels": [(0,), (1, 2)]})] == [{None: "system.levels=_0"}, {None: "system.levels=_1_2"}]


def test_what_would_share_a_folder_is_refused():
    with pytest.raises(ValueError, match="data.train_share: 0.5 is given twice"):
        cells({"data.train_share": [0.5, 1, 0.5]})
    with pytest.raises(ValueError, match="seeds: 1 is given twice"):
        cells(SHARES, [1, 1])
    with pytest.raises(ValueError, match="would both be in the folder text.weights=a_b"):
        cells({"text.weights": ["a/b", "a_b"]})


def test_means_and_deviations_by_hand(shares):
    found = shares.scored()
    assert [each.cell.values[0] for each in found] == SHARES["data.train_share"] and {each.runs for each in found} == {3}
    assert found[0].mean["micro.f1"] == pytest.approx(0.15) and found[0].std["micro.f1"] == pytest.approx(0.1)  # 0.05, 0.15, 0.25
    assert found[0].std["accuracy"] == pytest.approx(0.05)


def test_unfinished_runs_are_left_out(shares):
    few = Sweep(shares.vary, shares.seeds, dict(list(shares.headlines.items())[:4]))
    first, second = few.scored()
    assert (first.runs, second.runs) == (3, 1) and np.isnan(second.std["micro.f1"])
    assert few.to_json()["cells"][1]["std"]["micro.f1"] is None and len(few.to_json()["runs"]) == 4


def test_tables(shares, grid):
    lines = [line.split("  ") for line in shares.text().splitlines()]
    assert shares.text().split()[:5] == ["data.train_share", "0.05", "0.1", "0.2", "0.5"]
    assert "0.150 +- 0.100" in shares.text() and len(lines) == 4
    rows = [line.split() for line in grid.text().splitlines()]
    assert rows[0] == ["system.mixture", "data.image_share", "micro.f1", "accuracy"] and rows[3] == ["experts", "0.5", "0.625", "0.312"]
    assert len(rows) == 2 + 6


def test_json_and_back(shares, grid):
    for sweep in (shares, grid, finished({"system.levels": [(0,), (1, 2)]}, [], lambda values, seed: 0.5)):
        assert Sweep.from_json(sweep.to_json()) == sweep
    with pytest.raises(ValueError, match="written by a former version"):
        Sweep.from_json({"vary": "system.queries", "runs": {"1": {"micro.f1": 0.5}}})


def lines_of(axes):
    """{label: ([x], [y], [half the length of the error bar])}."""
    found = {}
    for container in axes.containers:
        (line, _, bars) = container.lines
        lengths = [(segment[1, 1] - segment[0, 1]) / 2 for segment in bars[0].get_segments()] if bars else []
        found[container.get_label()] = (*(np.asarray(side, float).tolist() for side in line.get_data()), lengths)
    return found


def test_a_curve_over_shares_is_in_percent_on_an_even_axis(shares):
    axes = sweep_plots.curve({"shares": shares}, ["micro.f1"]).axes[0]
    ((xs, ys, errors),) = lines_of(axes).values()
    assert xs == SHARES["data.train_share"] and ys == pytest.approx([15, 20, 30, 60]) and errors == pytest.approx([10] * 4)
    assert axes.get_xlabel() == "training examples (%)" and axes.get_ylabel() == "test micro.f1 (%)" and axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["5", "10", "20", "50"]


def test_a_line_for_each_value_of_the_other_setting(grid):
    figure = sweep_plots.curve({"grid": grid}, ["micro.f1", "accuracy"])
    found = lines_of(figure.axes[0])
    assert list(found) == ["system.mixture=experts", "system.mixture=concat"]
    assert found["system.mixture=concat"] == ([0, 0.5, 1], pytest.approx([0, 12.5, 25]), []), "no error bars of single runs"
    assert figure.axes[0].get_xscale() == "linear" and figure.axes[1].get_ylabel() == "test accuracy (%)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(found)


def test_bars_where_there_are_no_numbers():
    sweep = finished({"system.mixture": ["experts", "concat"]}, SEEDS, lambda values, seed: 0.5 + 0.1 * seed)
    axes = sweep_plots.curve({"x": sweep}, ["micro.f1"]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([60, 60])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["experts", "concat"]


def test_other_sweeps_beside_it(shares, grid):
    other = finished({"data.train_share": [0.1, 1.0]}, [], lambda values, seed: 0.9)
    figure = sweep_plots.curve({"rsrnet": shares, "hvpnet": other}, ["micro.f1"])
    found = lines_of(figure.axes[0])
    assert list(found) == ["rsrnet", "hvpnet"] and found["hvpnet"][0] == [0.1, 1.0]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["5", "10", "20", "50", "100"]
    with pytest.raises(ValueError, match=r"grid varies system\.mixture, data\.image_share, not data\.train_share"):
        sweep_plots.curve({"shares": shares, "grid": grid}, ["micro.f1"])
    with pytest.raises(ValueError, match="there is nothing to draw"):
        sweep_plots.curve({"x": Sweep(SHARES, [], {})}, [])


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([0.05, 0.1, 0.2, 0.5], True),
        ([1, 2, 4, 8], True),
        ([1e-5, 1e-4, 1e-3], True),
        ([0, 0.2, 0.4], False),
        ([0.2, 0.4, 0.6, 0.8, 1.0], False),
        ([0.05, 0.1, 0.2, 0.3, 0.4, 0.5], False),
        ([0.1, 1.0], False),
    ],
)
def test_the_axis_spaces_values_evenly(values, logarithmic):
    assert sweep_plots.is_logarithmic(values) == logarithmic
