"""The tables as data: their numbers stand in the papers' texts, and every configuration that they name can be run."""

import os
import pathlib
import re

import pytest
from transformers import BertConfig

from launch import config_file
from mmre_jax import settings
from mmre_jax.analysis import gallery
from mmre_jax.analysis.figures import FIGURES
from mmre_jax.data.datasets import DATASETS
from mmre_jax.reproduce import plan, sizes
from mmre_jax.reproduce.table import HOW, SCALES, UNITS, Run
from mmre_jax.reproduce.tables import ENTRIES
from mmre_jax.reproduce.tables.families import WHOSE
from mmre_jax.training.checks import check_settings

PAPERS = pathlib.Path(os.environ.get("MMRE_PAPERS", pathlib.Path(__file__).resolve().parents[2] / "../shared/papers"))


def load(value):
    return config_file.load(value)[1]


def runs():
    """{(FILE:VARIANT, scale): entries and runs} of all tables."""
    found = {}
    for entry in ENTRIES.values():
        for row in entry.rows:
            for scale, run in row.runs.items():
                if isinstance(run, Run):
                    found.setdefault((run.config, scale), []).append((f"{entry.name}, {row.name}", run))
    return found


def cases():
    return [pytest.param(config, scale, id=f"{config}-{scale}") for config, scale in runs()]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Data sets and weights that are not there: the papers' sizes are those of the settings; MiniLM's are told by a description, vectors by
    files of two."""
    folder = tmp_path_factory.mktemp("minilm")
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    BertConfig(**sizes).save_pretrained(folder)
    vectors = {name: folder / f"{name}.txt" for name in ("glove", "glove100")}
    for file, width in zip(vectors.values(), (50, 100), strict=True):
        file.write_text("".join(f"{word} {' '.join(['0.5'] * width)}\n" for word in ("ada", "paris")))
    return {**dict.fromkeys((*WHOSE, *DATASETS), ""), "minilm": str(folder), **{name: str(file) for name, file in vectors.items()}}


@pytest.mark.parametrize(("config", "scale"), cases())
def test_every_configuration_of_a_table_has_settings_that_it_can_have(config, scale, places):
    for where, resolved in resolved_once(config, scale, places):
        try:
            settings.check(resolved)
        except ValueError as error:
            pytest.fail(f"{where}: {error}")


@pytest.mark.thorough
@pytest.mark.parametrize(("config", "scale"), cases())
def test_every_configuration_of_a_table_can_be_run(config, scale, places):
    """Built without data, as before training."""
    for where, resolved in resolved_once(config, scale, places):
        try:
            check_settings(resolved)
        except ValueError as error:
            pytest.fail(f"{where}: {error}")


def resolved_once(config, scale, places):
    """(who asks, the configuration) of each run of a variant; of those that several tables share the first."""
    usual, found = load(config), {}
    for where, run in runs()[config, scale]:
        resolved, _ = plan.configure(run, usual, plan.Asked(scale, places=places), 0)
        found.setdefault(plan.folder_name(config, resolved), (where, resolved))
    return found.values()


def test_every_place_is_described():
    named = {
        value.name
        for entry in ENTRIES.values()
        for row in entry.rows
        for run in row.runs.values()
        if isinstance(run, Run)
        for value in run.changes.values()
        if isinstance(value, plan.Place)
    }
    assert named <= set(WHOSE)


def test_every_small_run_has_a_size_and_every_size_a_run():
    small = [config for config, scale in runs() if scale == "small"]
    assert all(sizes.of(config, "small") for config in small) and not sizes.of(small[0], "paper")
    assert {config.partition(":")[0] for config in small} == {config.partition(":")[0] for config in sizes.SMALL}


def test_columns_are_scores_of_the_rows_task():
    """Else a table would be empty, and nothing would say so."""
    scores = {"relation": ("micro", "accuracy"), "entities": ("entity",), "triples": ("triple", "pair", "relation", "entity")}
    for entry in ENTRIES.values():
        for row in entry.rows:
            for run in row.runs.values():
                if isinstance(run, Run) and run.how not in ("counts", "settings"):
                    own = (*scores[load(run.config).task.name], "training")
                    assert {column.metric.partition(".")[0] for column in entry.columns} <= set(own), f"{entry.name}, {row.name}"


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_is_whole(entry):
    assert re.fullmatch(r"\w+\.(table|figure)\d+\w*|ours\.\w+", entry.name)
    assert entry.title and entry.title == entry.title.strip()
    names = [row.label for row in entry.rows]
    assert len(set(names)) == len(names), "two rows of one name"
    assert not [row.label for row in entry.rows if row.group and re.match(rf"{re.escape(row.group)}.", row.name)], "a label says it twice"
    meant = [row for row in entry.rows if entry.reference in (row.name, row.label)]
    assert len(meant) == bool(entry.reference), "one row is the reference"
    assert not entry.tested or entry.tested in [column.name for column in entry.columns]
    assert set(entry.figures) <= {*FIGURES, gallery.COUNTED}
    assert all(column.unit in UNITS for column in entry.columns)
    for row in entry.rows:
        assert set(row.published) == {column.name for column in entry.columns}
        assert set(row.deviation) <= set(row.published) and row.runs.keys() <= set(SCALES)
        assert {"small", "paper"} & row.runs.keys(), f"{row.name} is run nowhere"
        assert all(run.how in HOW for run in row.runs.values() if isinstance(run, Run))
    if entry.rows:
        assert entry.columns and entry.protocol


def test_every_figure_of_the_papers_is_listed():
    """Those that docs/gallery.md has, 5a, b as 5."""
    systems = {"HVFormer": "hvformer", "IFAformer": "ifaformer", "QEOT": "qeot", "RSRNeT": "rsrnet", "DGF-PT": "dgf_pt"}
    for paper, name in systems.items():
        for figure in gallery.PUBLISHED[paper]:
            number = re.match("[0-9]+", figure.number)[0]
            assert any(re.fullmatch(rf"{name}\.figure{number}[a-z]?", entry) for entry in ENTRIES)


def forms(value):
    """How a number may be printed."""
    tiny = re.sub(r"e-0*", "e - ", f"{value:.0e}")
    return {f"{value:,}", f"{value:g}", f"{value:.2f}", f"{value:.1f}", f"{value:.2f}".lstrip("0"), tiny}


def on_one_line(values, lines):
    """Whether some line holds all numbers, as whole numbers of their own."""
    patterns = [re.compile("|".join(rf"(?<![\d.,]){re.escape(form)}(?![\d]|[.,]\d)" for form in forms(value))) for value in values]
    return any(all(pattern.search(line) for pattern in patterns) for line in lines)


def told_by_difference(values, entry, lines):
    """Whether the text has how far a row's one number is below that of the entry's reference, for a table whose body it lacks."""
    above = entry.reference_row.published[entry.main.name] if entry.reference_row else None
    if entry.paper != "rsrnet" or len(values) > 1 or above is None:
        return False
    return on_one_line([above], lines) and on_one_line([round(above - values[0], 2)], lines)


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES.values() if entry.rows], ids=lambda entry: entry.name)
def test_numbers_are_those_of_the_paper(entry):
    """All numbers of a row stand on one line of the paper's text, or all of a column, where the table lies on its side."""
    text = PAPERS / f"{entry.paper}.txt"
    if entry.paper == "ours":
        return
    if not text.is_file():
        pytest.skip(f"{text} is not there: MMRE_PAPERS names the folder of the papers' texts")
    lines = text.read_text(encoding="utf-8").splitlines()
    by_row = [[value for value in row.published.values() if value is not None] for row in entry.rows]
    by_column = [[row.published[c.name] for row in entry.rows if row.published[c.name] is not None] for c in entry.columns]
    wrong_rows = [values for values in by_row if values and not on_one_line(values, lines) and not told_by_difference(values, entry, lines)]
    wrong_columns = [values for values in by_column if values and not on_one_line(values, lines)]
    assert not wrong_rows or not wrong_columns, f"not on one line: {wrong_rows}"
    for row in entry.rows:
        if row.deviation:
            values = [value for value in row.published.values() if value is not None]
            assert on_one_line([*values, *row.deviation.values()], lines), f"{row.name}: its deviations"


def test_numbers_that_follow_from_stated_differences_are_given():
    """The paper says by how much RSRNeT is above MNER-QG."""
    for data, f1 in (("twitter2015", 74.94), ("twitter2017", 87.25)):
        (row,) = (row for row in ENTRIES[f"rsrnet.table3_{data}"].rows if row.name == "MNER-QG")
        assert row.published["F1"] == f1


def test_case_studies_have_all_systems_of_the_paper_that_there_are():
    assert {row.name for row in ENTRIES["rsrnet.table5"].rows} == {"RSRNeT", "HVPNeT", "VisualBERT", "BERT"}


def test_a_row_of_an_encoder_has_that_encoder():
    """MiniLM is a BERT, and at that scale QEOT sees through a small ResNet."""
    there = {row.name for row in ENTRIES["dgf_pt.table1"].rows if isinstance(row.runs.get("minilm"), Run)}
    assert {name for name in there if "Encoder" in name} == {"DGF-PT (BERT Encoder)"}
    assert not any("minilm" in row.runs for row in ENTRIES["qeot.figure6a"].rows if row.name == "Faster R-CNN")


def test_vectors_are_as_wide_as_the_configuration_says():
    """CNN-BiLSTM-CRF's are Ma and Hovy's of 100 numbers."""
    for entry in ENTRIES.values():
        for row in entry.rows:
            if isinstance(run := row.runs.get("paper"), Run) and "text.vectors" in run.changes:
                width = {50: "glove", 100: "glove100"}[load(run.config).text.width]
                assert run.changes["text.vectors"].name == width, f"{entry.name}, {row.name}"


def test_what_a_row_lacks_below_the_scale_of_the_paper_is_told():
    rows = {row.name: row for row in ENTRIES["hvformer.table2"].rows}
    assert "gates alone" in rows["HVPNeT"].runs["small"].note and "blanks" in rows["MTB"].runs["minilm"].note
    assert not any(run.note for row in rows.values() if isinstance(run := row.runs["paper"], Run))
