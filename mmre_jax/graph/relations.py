"""What a user knows of relations and types: inverse and symmetric relations, and their names in other vocabularies. A TOML file:

    [relations."/per/per/peer"]
    symmetric = true
    property = "http://xmlns.com/foaf/0.1/knows"

    [relations."/per/org/member_of"]
    property = "http://www.wikidata.org/prop/direct/P463"

    [relations."/org/per/has_member"]
    inverse_of = "/per/org/member_of"

    [types]
    PER = "http://xmlns.com/foaf/0.1/Person"

What is not told there has IRIs of its own (iris.py).
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from typing import Any

from mmre_jax.declare import did_you_mean
from mmre_jax.graph import iris
from mmre_jax.records import RecordError
from mmre_jax.text_files import read_text


@dataclasses.dataclass(frozen=True)
class Rule:
    """What is known of a relation.

    property: its IRI. Relations of one property are one relation, called by the first of them.
    symmetric: it holds in both directions. inverse_of: the relation that holds in the other direction, by which it is replaced.
    """

    property: str | None = None
    symmetric: bool = False
    inverse_of: str | None = None


@dataclasses.dataclass(frozen=True)
class Rules:
    """relations: {label: its rule}. types: {entity type: the IRI of its class}.

    Raises:
      ValueError: rules that contradict each other, or what is no IRI. The message names the relation.
    """

    relations: Mapping[str, Rule] = dataclasses.field(default_factory=dict)
    types: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for type_, iri in self.types.items():
            iris.check(iri, f"types.{type_}")
        by_property: dict[str, str] = {}
        for label, rule in self.relations.items():
            if rule.property is not None:
                iris.check(rule.property, f"relation {label!r}, property")
                first = by_property.setdefault(rule.property, label)
                if self.relations[first].symmetric != rule.symmetric:
                    raise ValueError(f"relation {label!r}: has the property of {first!r}, and one of the two is symmetric")
            if (other := rule.inverse_of) is None:
                continue
            if rule.symmetric or rule.property is not None:
                raise ValueError(f"relation {label!r}: inverse_of stands alone: it is written as {other!r}, which may have a property")
            if other == label or self.relations.get(other, Rule()).inverse_of is not None:
                raise ValueError(f"relation {label!r}: inverse_of {other!r}, which has one itself: of two inverses one is written")
            if self.relations.get(other, Rule()).symmetric:
                raise ValueError(f"relation {label!r}: inverse_of {other!r}, which is symmetric and so its own inverse")

    def canonical(self, label: str) -> tuple[str, bool, Rule]:
        """(the relation that a label is written as, whether head and tail change places, what is known of that relation)."""
        rule = self.relations.get(label, Rule())
        turned = rule.inverse_of is not None
        name = rule.inverse_of if rule.inverse_of is not None else label
        rule = self.relations.get(name, Rule())
        if rule.property is not None:
            name = next(other for other, known in self.relations.items() if known.property == rule.property)
        return name, turned, rule


def read(path: str | os.PathLike[str]) -> Rules:
    """The rules of a file.

    Raises:
      RecordError: naming the file, and the relation or the line.
    """
    where = os.fspath(path)
    try:
        value = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise RecordError(f"{where}: not TOML ({error})") from error
    _known(value, ("relations", "types"), where)
    relations = {label: _rule(entry, f"{where}, relation {label!r}") for label, entry in _table(value, "relations", where).items()}
    types = _table(value, "types", where)
    for type_, iri in types.items():
        if not isinstance(iri, str):
            raise RecordError(f"{where}, types.{type_}: expected an IRI, found {iri!r:.80}")
    try:
        return Rules(relations, types)
    except ValueError as error:
        raise RecordError(f"{where}: {error}") from error


def _rule(entry: Any, where: str) -> Rule:
    kinds = {"property": str, "symmetric": bool, "inverse_of": str}
    if not isinstance(entry, dict):
        raise RecordError(f"{where}: expected {', '.join(kinds)}, found {entry!r:.80}")
    _known(entry, tuple(kinds), where)
    for key, item in entry.items():
        if not isinstance(item, kinds[key]):
            raise RecordError(f"{where}, {key}: expected {'true or false' if kinds[key] is bool else 'a string'}, found {item!r:.80}")
    return Rule(**entry)


def _known(value: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for key in value:
        if key not in names:
            raise RecordError(f"{where}: unknown key {key!r}{did_you_mean(key, names)}")


def _table(value: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = value.get(key, {})
    if not isinstance(found, dict):
        raise RecordError(f"{where}: {key!r} is a table, found {found!r:.80}")
    return found
