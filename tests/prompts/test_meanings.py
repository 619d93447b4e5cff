"""The file of meanings: of exactly the labels that there are."""

import json
import os
import pathlib

import pytest

from mmre_jax.prompts import meanings
from mmre_jax.records import RecordError

LABELS = ("None", "/per/per/peer")


@pytest.mark.parametrize("text", ['{"/per/per/peer": " equals ", "None": "nothing"}', "None\tnothing\n\n/per/per/peer\tequals\n"])
def test_both_forms(tmp_path, text):
    (tmp_path / "m").write_text(text)
    found = meanings.read(tmp_path / "m", LABELS)
    assert list(found.items()) == [("None", "nothing"), ("/per/per/peer", "equals")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"None": "x"}', "m: no meaning of /per/per/peer"),
        ('{"None": "x", "/per/per/peer": "y", "/per/per/peers": "z"}', "there is no label '/per/per/peers'; did you mean /per/per/peer"),
        ('{"None": "x", "None": "y"}', "stands there twice"),
        ('{"None": "x", "/per/per/peer": 3}', "expected {label: meaning}"),
        ('{"None": "x", "/per/per/peer": "y\\nz"}', "a meaning is one line"),
        ("None\tx\n/per/per/peer\t  \n", "a meaning is one line"),
        ("None\tx\nNone\ty\n", "m:2: 'None' stands there twice"),
        ("None: x\n", "m:1: expected a label, a tab and its meaning"),
        ("", "no meaning of None, /per/per/peer"),
    ],
)
def test_mistakes_are_named(tmp_path, text, said):
    (tmp_path / "m").write_text(text)
    with pytest.raises(RecordError) as error:
        meanings.read(tmp_path / "m", LABELS)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.real
def test_the_meanings_of_mnre_are_of_its_relations():
    root = pathlib.Path(__file__).parents[2]
    table = pathlib.Path(os.environ.get("MMRE_DATA", root.parent / "shared" / "data")) / "RE_data" / "ours_rel2id.json"
    if not table.is_file():
        pytest.skip(f"MNRE is not at {table.parent} (set MMRE_DATA)")
    labels = list(json.loads(table.read_text()))
    assert list(meanings.read(root / "docs" / "mnre_meanings.tsv", labels)) == labels
