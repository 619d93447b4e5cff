"""The file of meanings: of exactly the labels that there are."""

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
