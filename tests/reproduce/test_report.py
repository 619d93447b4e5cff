"""Reports are complete: every row, every number, every reason, in each of the four files; and nothing of a text becomes markup."""

import csv
import dataclasses
import io
import json
import pathlib
import sys
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mmre_jax.analysis import gallery, plots
from mmre_jax.reproduce import commands, execute, figures, write
from mmre_jax.reproduce.plan import Asked, plan
from mmre_jax.reproduce.table import Family, row

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from stand_in import DRAWING, F1, ONE, OTHER, TABLE, Hands, load, parts, planned  # noqa: E402

CALL = "python -m launch.reproduce hvformer.table99 --seeds=0,1"


@pytest.fixture(scope="module", params=["small", "paper"])
def written(request, tmp_path_factory):
    """(scale, {ending: text}) after two seeds of all rows."""
    folder, scale = tmp_path_factory.mktemp("reports"), request.param
    places = {"bert": "/w/bert", "mnre": "/d"}
    found = planned(TABLE, scale=scale, seeds=(0, 1), places=places)
    execute.execute(found, folder, parts, hands=Hands().hands)
    files, _ = write.write(TABLE, found, Asked(scale, (0, 1), places), folder, load, parts, CALL)
    assert [path.name for path in files] == ["report.md", "report.csv", "report.html", "report.json", "rows.png"]
    assert all(path.parent == folder / "reports" / scale / TABLE.name for path in files)
    return scale, {path.suffix: path.read_text(encoding="utf-8") for path in files if path.suffix != ".png"}


class Cells(HTMLParser):
    """The cells of a page's table, and the names of all its elements."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.elements, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.inside = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        if self.inside:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_every_row_stands_in_every_file(written):
    scale, files = written
    shown = Cells(files[".html"]).rows
    assert [row[0] for row in shown[1:]] == [row.label for row in TABLE.rows]
    table = [line for line in files[".md"].splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(TABLE.rows) and all(line.count(" | ") >= shown[0].count("") for line in table)
    rows = list(csv.DictReader(io.StringIO(files[".csv"])))
    assert len(rows) == len(TABLE.rows) * 2
    said = json.loads(files[".json"])
    assert [row["name"] for row in said["rows"]] == [row.name for row in TABLE.rows]
    assert all(row["state"] == "done" for row in said["rows"][:3])
    assert said["rows"][4]["state"] == "not run: its <script>code</script> was never released"
    assert said["rows"][3]["state"] == ("done" if scale == "small" else "not run: not at scale paper; at small and minilm")


def test_the_papers_numbers_stand_beside_ours(written):
    scale, files = written
    one = next(row for row in csv.DictReader(io.StringIO(files[".csv"])) if row["row"] == "One" and row["column"] == "F1")
    assert (one["paper"], one["paper_deviation"], one["seeds"]) == ("70.5", "0.25", "2") and float(one["ours"]) > 80
    heads, row = Cells(files[".html"]).rows[:2]
    assert row[heads.index("F1, paper")] == "70.50 ± 0.25" and row[heads.index("F1, ours")].startswith(f"{float(one['ours']):.2f} ± ")
    assert ("F1: ours - paper" in heads) == (scale == "paper") == bool(one["difference"]), "small ones compare with nothing"


def test_small_numbers_say_at_the_top_that_they_compare_with_nothing(written):
    scale, files = written
    for text in (files[".md"], files[".html"]):
        assert ("compare with nothing" in text.partition("both: One")[0]) == (scale == "small")
    assert bool(json.loads(files[".json"])["warning"]) == (scale == "small")


def test_what_was_scored_and_what_to_distrust_is_told(written):
    _, files = written
    heads, *rows = Cells(files[".html"]).rows
    assert [row[heads.index("scored on")] for row in (rows[0], rows[-1])] == ["scenes, crops: none", "-"]
    assert files[".html"].count("distrust &lt;it&gt;") == 1 and "distrust \\<it\\>" in files[".md"]


def test_pictures_that_were_not_at_hand_are_told(tmp_path):
    """A system of pictures that had few is hardly more than its words."""
    found = planned(OTHER)
    execute.execute(found, tmp_path, parts, hands=Hands().hands)
    crops = {"present": 0, "referenced": 3000}
    for photos, told in ((51, "photos of 51 of 1,614 records, crops at hand 0 of 3,000"), (1614, "crops at hand 0 of 3,000")):
        seen = {"records": 1614, "records_with_photo": photos, "crops": crops}
        (tmp_path / "runs" / found[0].name / "metrics.json").write_text(json.dumps({"pictures": seen}))
        files, _ = write.write(OTHER, found, Asked("small"), tmp_path, load, parts, CALL)
        heads, row = Cells(files[2].read_text()).rows
        assert row[heads.index("scored on")] == f"scenes, crops: none, {told}"


def test_rows_are_tested_and_commands_told(written):
    scale, files = written
    heads, *rows = Cells(files[".html"]).rows
    tested = {row[0]: row[heads.index("F1 against both: One")] for row in rows}
    assert tested["both: One"] == tested["Three"] == "-" and tested["both: w/o part"].count(",") == 1
    commands = {row["name"]: row["commands"] for row in json.loads(files[".json"])["rows"]}
    variant = "quickstart" if scale == "small" else "mnre"
    assert len(commands["w/o part"]) == 4, "two seeds, each trained and scored"
    assert commands["w/o part"][0].startswith(f"python -m launch.train --config=configs/one.py:{variant} --config.")
    assert "--config.system.part=False" in commands["w/o part"][0] and "system.part" not in commands["One"][0]
    assert "--config.train.seed=1" in commands["w/o part"][2] and commands["w/o part"][1].startswith("python -m launch.evaluate")
    assert commands["One, shuffled"][1].endswith("--shuffle_pictures") and CALL in files[".md"] and CALL in files[".html"]
    if scale == "paper":
        assert "--config.data.root=/d" in commands["One"][0] and "--config.text.weights=/w/bert" in commands["One"][0]


def test_texts_are_no_markup_and_pages_ask_no_network(written):
    _, files = written
    elements = Cells(files[".html"]).elements
    assert "script" not in elements and "b" not in elements and elements.count("img") == 1
    assert "http" not in files[".html"].replace("http-equiv", "") and 'src="data:image/png;base64,' in files[".html"]
    assert "what \\<b\\>two\\</b\\> systems \\| score" in files[".md"] and "&lt;script&gt;" in files[".html"]


def test_what_is_not_run_yet_is_told(tmp_path):
    hands = Hands(fails=["two_"])
    found = planned(TABLE)
    execute.execute(found, tmp_path, parts, hands=hands.hands)
    write.write(TABLE, found, Asked("small"), tmp_path, load, parts, CALL)
    states = {
        row["name"]: row["state"] for row in json.loads((tmp_path / "reports/small/hvformer.table99/report.json").read_text())["rows"]
    }
    assert states["Two"] == "failed: RuntimeError: out of memory" and states["One"] == "done"
    write.write(TABLE, planned(TABLE, seeds=(0, 1)), Asked("small", (0, 1)), tmp_path, load, parts, CALL)
    states = {
        row["name"]: row["state"] for row in json.loads((tmp_path / "reports/small/hvformer.table99/report.json").read_text())["rows"]
    }
    assert states["One"] == "1 of 2 seeds; not run yet"


def test_a_row_that_is_not_all_that_its_name_says_is_told(tmp_path):
    """What its family lacks, below the paper's scale; and vectors of words that no file holds."""
    family = Family("one", {"small": "quickstart"}, lacks="One was not pretrained.")
    entry = dataclasses.replace(OTHER, rows=(row(F1, "One", (), family),))

    def read(text):
        def load_words(value):
            config = ConfigDict(load(value).to_dict())
            config.text.update(text)
            return config.lock()

        asked = Asked("small")
        files, _ = write.write(entry, plan(entry, asked, load_words), asked, tmp_path, load_words, parts, CALL)
        return [file.read_text() for file in files[:3:2]]

    for said in read({"kind": "vectors", "vectors": ""}):
        assert "One was not pretrained." in said and "Random word vectors, no file of vectors being given: One." in said
    assert not any("Random" in said for said in read({"kind": "vectors", "vectors": "glove.txt"}))


def test_the_command_of_a_table_of_settings_prints_the_settings_that_were_read(tmp_path):
    entry = dataclasses.replace(OTHER, rows=(row(F1, "One", (), ONE, {"train.epochs": 7}, how="settings"),))
    (each,) = planned(entry)
    assert commands.of_row(each, tmp_path, load) == ["python -m launch.settings --config=configs/one.py:quickstart --config.train.epochs=7"]


def test_a_figure_that_cannot_be_drawn_loses_nothing_else(tmp_path, monkeypatch):
    figure, found = dataclasses.replace(OTHER, figures=("kurtosis", "heads")), planned(OTHER)
    execute.execute(found, tmp_path, parts, hands=Hands().hands)
    tried = []

    def drawn(name, runs, split, out):
        tried.append(name)
        if name == "kurtosis" and tried.count(name) == 1:
            raise ValueError("no record has\na picture")
        plots.save(Figure(), out / f"{name}.png")
        return [out / f"{name}.png"]

    monkeypatch.setattr(figures, "_drawn", drawn)
    for pictures, failed in ((["heads"], {"kurtosis": "ValueError: no record has a picture"}), (["kurtosis", "heads"], {})):
        files, undrawn = write.write(figure, found, Asked("small"), tmp_path, load, parts, CALL)
        assert [path.stem for path in files[4:]] == pictures and undrawn == failed, "one row alone is no comparison"
        assert ("Not drawn: kurtosis: ValueError" in files[2].read_text()) == bool(failed)
        assert write.state(figure, found, tmp_path, "small", parts).word == ("partly" if failed else "done")
    write.write(figure, found, Asked("small"), tmp_path, load, parts, CALL)
    assert tried == ["kurtosis", "heads"] * 2, "what was drawn of the same runs is left as it is"
    out = write.folder(figure, tmp_path, "small")
    for number, spoil in enumerate(((out / "heads.png").unlink, lambda: (out / figures.DRAWN).write_text("{"))):
        spoil()
        assert write.state(figure, found, tmp_path, "small", parts).word == "partly"
        files, _ = write.write(figure, found, Asked("small"), tmp_path, load, parts, CALL)
        assert all(path.is_file() for path in files) and tried == ["kurtosis", "heads"] * (3 + number), "drawn anew"


def test_figures_of_several_runs_say_which_is_whose(tmp_path, monkeypatch):
    """In them runs are called by their folders."""
    figure = dataclasses.replace(TABLE, figures=("case_study",))
    execute.execute(planned(figure), tmp_path, parts, hands=Hands().hands)
    monkeypatch.setattr(figures, "_drawn", lambda name, runs, split, out: [])
    files, _ = write.write(figure, planned(figure), Asked("small"), tmp_path, load, parts, CALL)
    assert f"One is {planned(figure)[0].name}, " in files[2].read_text()


def test_a_figure_is_of_its_first_row_or_waits_for_it(tmp_path, monkeypatch):
    figure = dataclasses.replace(OTHER, figures=("heads",), rows=TABLE.rows[:1] + TABLE.rows[3:4])
    found, looked = planned(figure), []
    monkeypatch.setattr(figures, "_drawn", lambda name, runs, split, out: looked.append([run.name for run in runs]) or [])
    for fails in (["one_"], []):
        execute.execute(found, tmp_path, parts, hands=Hands(fails=fails).hands)
        write.write(figure, found, Asked("small"), tmp_path, load, parts, CALL)
    assert looked == [[each.name for each in found]], "nothing is drawn of the second alone"


def test_a_drawing_says_that_there_is_nothing_to_compute(tmp_path):
    files, _ = write.write(DRAWING, [], Asked("small"), tmp_path, load, parts, CALL)
    assert [path.name for path in files] == ["report.md", "report.csv", "report.html", "report.json"]
    assert "nothing to compute" in files[0].read_text() and "nothing to compute" in files[2].read_text()


def test_states(tmp_path):
    def told(entry, **more):
        return write.state(entry, planned(entry, **more), tmp_path, more.get("scale", "small"), parts).told()

    assert told(TABLE) == "never, 0 of 3 runs" and told(DRAWING) == "drawing, nothing to compute"
    assert told(TABLE, scale="paper") == "never, 0 of 2 runs; needs bert, mnre"
    execute.execute(planned(OTHER), tmp_path, parts, hands=Hands().hands)
    assert told(OTHER) == "done, 1 of 1 runs" and told(TABLE) == "partly, 1 of 3 runs"
    assert told(OTHER, seeds=(0, 1)) == "partly, 1 of 2 runs"


def test_the_index_leads_to_all_reports(tmp_path):
    path = write.write_index(tmp_path, "small", [("hvformer.table99", "two <systems>", "done")])
    assert 'href="hvformer.table99/report.html"' in path.read_text() and "two &lt;systems&gt;" in path.read_text()


def test_scores_by_training_count_are_drawn_of_a_run(trained, tmp_path):
    (path,) = figures._drawn(gallery.COUNTED, [trained], "test", tmp_path)
    assert path.parent == tmp_path and path.name == f"{gallery.COUNTED}_{trained.name}.png" and path.stat().st_size > 5000
