"""CSV: Neo4j's headers, nothing that a spreadsheet computes, nothing lost."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.graph import build, tables, write_csv
from mmre_jax.records import Mention, Record, Relation

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def read_back(path):
    lines = path.read_text("utf-8").split("\n")
    assert lines.pop() == ""
    rows = list(csv.reader(lines, strict=True))
    assert len(rows) == len(lines), "a line is a row"
    return rows[0], rows[1:]


def test_five_posts(graph, tmp_path):
    nodes, edges = write_csv(graph, tmp_path / "new" / "tables")
    header, rows = read_back(nodes)
    assert header[0] == "id:ID" and header[-1] == ":LABEL"
    ids = [row[0] for row in rows]
    assert ids == list(graph.nodes) and len(set(ids)) == len(ids)
    assert {row[1]: row[-1] for row in rows}["Ada"] == "Entity;PER" and rows[-1][-1] == "Area"
    header, rows = read_back(edges)
    assert header[:3] == [":START_ID", ":END_ID", ":TYPE"] and "score:double" in header
    assert {end for row in rows for end in row[:2]} <= set(ids)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    [hostile] = [row for row in found if "cmd" in row[":TYPE"]]
    assert hostile[":TYPE"] == "'=cmd|' /C calc'!A0" and float(hostile["score:double"]) == 0.4
    assert not [cell for path in (nodes, edges) for row in read_back(path)[1] for cell in row if cell.startswith(FORMULAS)]
    assert [row["score:double"] for row in found if "lives_in" in row[":TYPE"]].count("") == 1, "annotated: no score"


@given(st.text(max_size=6) | st.sampled_from(["=1+1", "'=1", "''", "@SUM(A1)", "\t=1", "-2", "＝1"]))
def test_a_cell_is_harmless_and_gives_its_text_back(text):
    cell = tables.harmless(text)
    assert not cell.startswith(FORMULAS) and tables.plain(cell) == text
    assert cell == text or cell == f"'{text}"


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(
    ['",=1,"', "a;b", "=x", "\u2028", "\x00"]
)


@given(texts, texts, texts)
def test_whatever_posts_say_stays_in_its_cell(tmp_path_factory, name, type_, label):
    record = Record("1", (name, "B"), relations=(Relation(Mention(0, 1, type_), Mention(1, 2), label, 0.5),))
    nodes, edges = write_csv(build([record], none=()), tmp_path_factory.getbasetemp())
    (header, rows), (_, [edge]) = read_back(nodes), read_back(edges)
    assert all(len(row) == len(header) for row in rows) and len(edge) == len(tables.EDGES)
    assert not [cell for row in (*rows, edge) for cell in row if cell.startswith(FORMULAS)]
    assert [name] in [json.loads(row[header.index("forms")]) for row in rows] or name.casefold() == "b"
    assert json.loads(edge[-1]) == [{"post": "1", "label": label, "score": 0.5}]
    assert rows[0][-1].count(";") <= 1


def test_a_folder_that_cannot_be_made_is_told(graph, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_csv(graph, tmp_path / "file" / "tables")
