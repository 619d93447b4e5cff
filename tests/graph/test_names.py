"""Which names are one, and the user's table of ids."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmre_jax.graph.names import normalised, read_ids, trimmed
from mmre_jax.records import RecordError


@pytest.mark.parametrize(
    "names",
    [
        ("Ada", "ADA", "@ada", "#Ada", "Ada's", "Ada\u2019s", " ada ", "＠Ada", "A\u00adda", "ada\u200b", "@Ada's", ".@ada"),
        ("New York", "new  york", "New\u00a0York", "NEW YORK's", "New\nYork"),
        ("James", "James'", "james\u2019", "@james"),
        ("Straße", "STRASSE", "strasse"),
        ("ﬁn", "FIN"),
        ("#",),
        ("'s",),
        ("Ada 's", "ada"),
    ],
)
def test_names_that_are_one(names):
    assert len({normalised(name) for name in names}) == 1


def test_names_that_are_not():
    assert len({normalised(name) for name in ("Ada", "Adas", "Ada B", "a da", "آدا", "#", "@", "'s")}) == 8
    joined, apart = "👩\u200d💻", "👩💻"
    assert normalised(joined) != normalised(apart), "a joiner makes another emoji of two"


def test_what_is_shown_keeps_its_case():
    assert [trimmed(name) for name in ("@Ada's", "#NBA", "James'", "#", "New\n York")] == ["Ada", "NBA", "James", "#", "New York"]


@given(st.text(min_size=1))
@example("ŉ's")
@example("\u0345@")
def test_a_normalised_name_is_stable_and_knows_no_case_or_form(name):
    found = normalised(name)
    assert found
    assert normalised(unicodedata.normalize("NFD", name)) == normalised(unicodedata.normalize("NFC", name)) == found
    assert unicodedata.normalize("NFKC", found) == found


def write(tmp_path, text):
    (tmp_path / "ids.csv").write_text(text, "utf-8")
    return tmp_path / "ids.csv"


def test_ids_of_a_table(tmp_path):
    ids = read_ids(write(tmp_path, '\ufeffsurface,type,id\n"Ada",PER,http://w/Q1\r\nada\'s,ORG,http://w/Q2\nNew York,,http://w/Q3\n'))
    assert (ids("@ADA", "PER"), ids("Ada", "ORG"), ids("Ada", None), ids("Ada", "LOC")) == ("http://w/Q1", "http://w/Q2", None, None)
    assert ids("new  york", "LOC") == ids("New York's", None) == "http://w/Q3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "ids.csv:1: the columns are surface, type, id, found none"),
        ("name,id\n", "found name, id"),
        ("surface,type,id\nAda,PER\n", "ids.csv:2: a line has three fields"),
        ("surface,type,id\nAda,PER,a,b\n", "ids.csv:2: a line has three fields"),
        ("surface,type,id\n,PER,http://w/Q1\n", "ids.csv:2: no surface"),
        ("surface,type,id\nAda,PER,Q1\n", "ids.csv:2, field 'id': 'Q1' is no absolute IRI"),
        ("surface,type,id\nAda,PER,http://w/Q 1\n", "' ' cannot be in one"),
        ("surface,type,id\nAda,PER,http://w/Q1\nADA,PER,http://w/Q2\n", "ids.csv:3: 'ADA' has another id in line 2: http://w/Q1"),
        ('surface,type,id\nAda,PER,"http://w/Q1\n', "ids.csv: not CSV after line 1"),
    ],
)
def test_a_table_that_is_wrong_is_told_by_line(tmp_path, text, said):
    with pytest.raises(RecordError, match=re.escape(said)):
        read_ids(write(tmp_path, text))
