"""The user's file of relations."""

import re

import pytest

from mmre_jax.graph.relations import Rule, Rules, read
from mmre_jax.records import RecordError

TEXT = """
[relations."/per/per/peer"]
symmetric = true
property = "http://xmlns.com/foaf/0.1/knows"
[relations.friend]
symmetric = true
property = "http://xmlns.com/foaf/0.1/knows"
[relations.has]
inverse_of = "member_of"
[types]
PER = "http://xmlns.com/foaf/0.1/Person"
"""


def write(tmp_path, text):
    (tmp_path / "relations.toml").write_text(text, "utf-8")
    return tmp_path / "relations.toml"


def test_what_a_label_is_written_as(tmp_path):
    rules = read(write(tmp_path, TEXT))
    knows = Rule(property="http://xmlns.com/foaf/0.1/knows", symmetric=True)
    assert rules.canonical("friend") == rules.canonical("/per/per/peer") == ("/per/per/peer", False, knows)
    assert rules.canonical("has") == ("member_of", True, Rule())
    assert rules.canonical("member_of") == ("member_of", False, Rule())
    assert rules.types == {"PER": "http://xmlns.com/foaf/0.1/Person"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "relations.toml: not TOML"),
        ("[relation.x]\nsymmetric = true", "unknown key 'relation'; did you mean relations?"),
        ("relations = 3", "'relations' is a table, found 3"),
        ("[relations.x]\nsymetric = true", "relation 'x': unknown key 'symetric'; did you mean symmetric?"),
        ("[relations.x]\nsymmetric = 1", "relation 'x', symmetric: expected true or false, found 1"),
        ("[relations]\nx = 'http://x/y'", "relation 'x': expected property, symmetric, inverse_of, found 'http://x/y'"),
        ("[relations.x]\nproperty = 'knows'", "relation 'x', property: 'knows' is no absolute IRI"),
        ("[types]\nPER = 1", "types.PER: expected an IRI, found 1"),
        ("[types]\nPER = 'Person'", "types.PER: 'Person' is no absolute IRI"),
        ("[relations.x]\ninverse_of = 'x'", "inverse_of 'x', which has one itself"),
        ("[relations.x]\ninverse_of = 'y'\n[relations.y]\ninverse_of = 'x'", "of two inverses one is written"),
        ("[relations.x]\ninverse_of = 'y'\nsymmetric = true", "inverse_of stands alone"),
        ("[relations.x]\ninverse_of = 'y'\n[relations.y]\nsymmetric = true", "'y', which is symmetric"),
        ("[relations.x]\nproperty = 'a:b'\n[relations.y]\nproperty = 'a:b'\nsymmetric = true", "'y': has the property of 'x'"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, text, said):
    with pytest.raises(RecordError, match=re.escape(said)):
        read(write(tmp_path, text))


def test_rules_of_a_program_are_checked_too():
    with pytest.raises(ValueError, match="inverse_of"):
        Rules({"x": Rule(inverse_of="x")})
