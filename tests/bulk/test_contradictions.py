"""Labels that name types, and the types of mentions."""

import pytest

from mmre_jax.bulk.contradictions import contradiction, contradicts


@pytest.mark.parametrize(
    ("label", "head", "tail", "expected"),
    [
        ("/per/org/member_of", "PER", "ORG", False),
        ("/per/org/member_of", "LOC", "LOC", True),
        ("/per/org/member_of", "PER", "location", True),
        ("/per/misc/present_in", "person", "MISC", False),
        ("/per/misc/present_in", "PER", "ORG", True),
        ("/per/org/member_of", None, "ORG", False),
        ("/per/org/member_of", "PER", "OTHER", False),
        ("/geo/org/in", "PER", "ORG", False),
        ("None", "LOC", "LOC", False),
        ("per/org/member_of", "LOC", "LOC", False),
        (None, "LOC", "LOC", False),
    ],
)
def test_types_that_contradict_a_label(label, head, tail, expected):
    assert contradicts(label, head, tail) == expected


def test_a_contradiction_in_words():
    found = {"head": {"text": "Oslo", "type": "LOC"}, "tail": {"text": "Paris", "type": "LOC"}, "label": "/per/org/member_of"}
    assert contradiction(found) == "'Oslo' (LOC) -> 'Paris' (LOC): /per/org/member_of"
    assert contradiction({**found, "label": "/loc/loc/contain"}) == contradiction({**found, "head": 3, "tail": None}) == ""
