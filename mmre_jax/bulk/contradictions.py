"""Relations whose label names types, as MNRE's do, and other ones than their mentions have: a tagger and a classifier that disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES = frozenset(("per", "org", "loc", "mis"))  # that MNRE's labels name, by their first letters


def contradicts(label: str | None, head: str | None, tail: str | None) -> bool:
    """Whether a label such as '/per/org/member_of' names other types than those of a relation's mentions.

    Types are known by their first letters: PER and person are per; what is none of TYPES, such as OTHER, contradicts nothing.
    """
    parts = (label or "").split("/")
    if len(parts) != 4 or parts[0]:
        return False
    pairs = [(named[:3].lower(), (own or "")[:3].lower()) for named, own in zip(parts[1:3], (head, tail), strict=True)]
    return any(named != own and {named, own} <= TYPES for named, own in pairs)


def contradiction(found: Mapping[str, Any]) -> str:
    """A relation of a line of extracted.jsonl in words, if its label contradicts the types of its mentions; else ''."""
    ends = [end if isinstance(end := found.get(name), dict) else {} for name in ("head", "tail")]
    if not contradicts(found.get("label"), *(end.get("type") for end in ends)):
        return ""
    return " -> ".join(f"{end.get('text')!r} ({end.get('type')})" for end in ends) + f": {found['label']}"
