"""From posts to a graph: mentions of one entity become one, findings of one fact become one statement with its sources and one score."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from mmre_jax.extraction import KINDS, Extraction
from mmre_jax.graph import iris, names
from mmre_jax.graph.model import Area, Entity, Graph, Place, Source, Statement, characters, combined, text_of
from mmre_jax.graph.relations import Rules
from mmre_jax.records import Mention, Record, RecordError, Relation, Triple, as_number, check_box
from mmre_jax.text_files import checked

NONE = ("None",)
DIGITS = 6  # of a score, behind the point: rdflib writes no more of a double
_Key = tuple[str, str | None]  # an entity's normalised name and type
_Places = dict[tuple[str, int, int], Place]  # by post and characters
_Ends = tuple[_Key | Area, str, _Key | Area]


def build(
    records: Iterable[Record | Extraction],
    *,
    ids: names.Ids | None = None,
    rules: Rules | None = None,
    none: Collection[str] = NONE,
    min_score: float = 0.0,
    base: str = iris.BASE,
    images: Mapping[str, str] | None = None,
) -> Graph:
    """The graph of what records hold, or of what was extracted from them.

    Args:
      records: posts. Several of one id are one post, whose findings are put together.
      ids: the id of an entity, an absolute IRI, of its name and its type (None if it has none), or None for one that has no id. It is asked
        for the forms that a name has, the most frequent first, until one has an id. Entities of one id are one entity.
      rules: what is known of relations and types.
      none: labels that say that there is no relation.
      min_score: findings with a lower score are left out, each by itself: that several posts say so does not lift one over it. A mention
        that a statement needs stays.
      base: what IRIs made here begin with.
      images: {folder: IRI}: what pictures in a folder are called (`iris.image`).

    Returns:
      Its entities, areas and statements are sorted by id; their order and ids depend on nothing but what was found.

    Raises:
      RecordError: two posts of one id, or a score that is no probability; names the records.
      ValueError: an id or a base that is no IRI.
    """
    rules, base, folders = rules or Rules(), iris.check(base, "base", begins=True), dict(images or {})
    for folder, iri in folders.items():
        iris.check(iri, f"images of {folder}", begins=True)
    posts = unite(_record(record) for record in records)
    image_of = functools.cache(lambda file: iris.image(base, file, folders))
    left_out: collections.Counter[str] = collections.Counter()
    places: dict[_Key, _Places] = {}
    found: dict[_Ends, dict[Source, None]] = {}
    for post in posts:
        checked([post.id, post.words, post.string or "", [found.label or "" for found in (*post.relations, *post.triples)]], _where(post))
        types = _types(post)
        for fact in (*post.relations, *post.triples):
            if reason := _why_not(fact, post, none, min_score):
                left_out[reason] += 1
                continue
            head = _place(places, post, fact.head if isinstance(fact, Relation) else fact.mention, types)
            if isinstance(fact, Relation):
                tail: _Key | Area = _place(places, post, fact.tail, types)
            else:
                image = image_of(post.image)
                box = check_box(fact.box, _where(post))
                tail = Area(iris.area(image, box), image, post.image, box)
            relation, turned, _ = rules.canonical(fact.label)
            ends = (tail, relation, head) if turned else (head, relation, tail)
            found.setdefault(ends, {})[_source(post, fact)] = None
        for mention in dict.fromkeys(_given(post)):
            at = characters(post, mention.span)
            weak = _score_of(mention, post, "a mention") < min_score
            if weak and (post.id, *at) not in places.get(_key(post, mention, types), {}):
                left_out["mentions below the lowest score"] += 1
            elif not weak:
                _place(places, post, mention, types)
    entities, id_of = _entities(places, base, ids)
    statements = _statements(found, id_of, base, rules, posts)
    areas = {end.id: end for head, _, tail in found for end in (head, tail) if isinstance(end, Area)}
    return Graph(
        base=base,
        posts=tuple(posts),
        entities=entities,
        areas=tuple(areas[name] for name in sorted(areas)),
        statements=statements,
        classes={type_: rules.types.get(type_) or iris.type_class(base, type_) for type_ in sorted({t for e in entities for t in e.types})},
        images={post.image: image_of(post.image) for post in posts if post.image is not None},
        left_out=dict(left_out),
    )


def unite(records: Iterable[Record]) -> list[Record]:
    """Records of one id as one record, in the order in which the ids come first: with all that was found in any of them.

    Raises:
      RecordError: their words or their pictures differ; names both and what differs.
    """
    found: dict[str, Record] = {}
    for record in records:
        first = found.setdefault(record.id, record)
        if first is record:
            continue
        for field, one, other in (("words", first.words, record.words), ("image", _file(first), _file(record))):
            if one != other:
                here, there = record.origin or "records", first.origin or "the records before it"
                raise RecordError(
                    f"{here}: {record.id!r} is also in {there}, with {'other words' if field == 'words' else 'another image'}"
                )
        known = first if first.string is not None else record
        found[record.id] = dataclasses.replace(
            first,
            string=known.string,
            places=known.places,
            **{kind: tuple(dict.fromkeys((*getattr(first, kind), *getattr(record, kind)))) for kind in set(KINDS.values())},
        )
    return list(found.values())


def _record(item: Record | Extraction) -> Record:
    return item.as_record() if isinstance(item, Extraction) else item


def _file(record: Record) -> str | None:
    return None if record.image is None else os.path.realpath(record.image)


def _where(post: Record) -> str:
    return post.origin or f"record {post.id}"


def _given(post: Record) -> list[Mention]:
    """The mentions that stand for themselves: those of a triple are a part of what was found there."""
    return [*post.mentions, *(end for relation in post.relations for end in (relation.head, relation.tail))]


def _types(post: Record) -> dict[tuple[int, int], str]:
    """{span: the type of the mention there that has one}, of several the one of the highest score, and of those the first."""
    best: dict[tuple[int, int], Mention] = {}
    for mention in (*_given(post), *(triple.mention for triple in post.triples)):
        if mention.type is not None:
            before = best.setdefault(mention.span, mention)
            if (mention.score or 0.0) > (before.score or 0.0):
                best[mention.span] = mention
    return {span: mention.type for span, mention in best.items() if mention.type is not None}


def _why_not(fact: Relation | Triple, post: Record, none: Collection[str], min_score: float) -> str:
    """Why a finding is no statement; '' if it is one. Raises RecordError for a score that is no probability."""
    if fact.label is None:
        return "pairs without a label"
    if fact.label in none:
        return f"labelled {fact.label}"
    if _score_of(fact, post, repr(fact.label)) < min_score:
        return "below the lowest score"
    if isinstance(fact, Triple) and (fact.box is None or post.image is None):
        return "triples without a part of a picture"
    return ""


def _score_of(fact: Relation | Triple | Mention, post: Record, what: str) -> float:
    """A finding's score, 1 where it has none. Raises RecordError for one that is no probability."""
    score = 1.0 if fact.score is None else fact.score
    if not 0.0 <= score <= 1.0:
        raise RecordError(f"{_where(post)}: {what} has the score {score}, which is no probability")
    return score


def _place(places: dict[_Key, _Places], post: Record, mention: Mention, types: Mapping[tuple[int, int], str]) -> _Key:
    """Notes where an entity is mentioned, once with the highest score, and returns which entity it is."""
    key = _key(post, mention, types)
    start, end = characters(post, mention.span)
    place = Place(post.id, start, end, text_of(post)[start:end], key[1], _rounded(mention.score))
    before = places.setdefault(key, {}).setdefault((post.id, start, end), place)
    if mention.score is not None and (before.score is None or mention.score > before.score):
        places[key][post.id, start, end] = place
    return key


def _key(post: Record, mention: Mention, types: Mapping[tuple[int, int], str]) -> _Key:
    start, end = characters(post, mention.span)
    return _normalised(text_of(post)[start:end]), mention.type if mention.type is not None else types.get(mention.span)


_normalised = functools.lru_cache(maxsize=65536)(names.normalised)


def _rounded(score: float | None) -> float | None:
    found = as_number(score)
    return None if found is None else round(found, DIGITS)


def _source(post: Record, fact: Relation | Triple) -> Source:
    score = _rounded(fact.score)
    if isinstance(fact, Triple):
        return Source(post.id, fact.label, characters(post, fact.mention.span), box=check_box(fact.box, _where(post)), score=score)
    head, tail = (characters(post, end.span) for end in (fact.head, fact.tail))
    return Source(post.id, fact.label or "", head, tail, score=score)


def _entities(places: Mapping[_Key, _Places], base: str, ids: names.Ids | None) -> tuple[tuple[Entity, ...], dict[_Key, str]]:
    """(the entities, {normalised name and type: id})."""
    id_of, members = {}, collections.defaultdict(list)
    for (name, type_), at in places.items():
        forms = _by_frequency(place.text for place in at.values())
        own = next((own for form in forms if (own := ids(form, type_)) is not None), None) if ids is not None else None
        id_of[name, type_] = iris.entity(base, type_, name) if own is None else iris.check(own, f"id of {forms[0]!r:.80}")
        members[id_of[name, type_]].extend(at.values())
    entities = []
    for iri in sorted(members):
        found = members[iri]
        name = _by_frequency(names.trimmed(place.text) for place in found)[0]
        types = _by_frequency(place.type for place in found if place.type is not None)
        entities.append(Entity(iri, name, types, _by_frequency(place.text for place in found), tuple(found)))
    return tuple(entities), id_of


def _by_frequency(items: Iterable[str]) -> tuple[str, ...]:
    """Each once, the most frequent first; of equals those in capitals, or without any, come last."""
    counts = collections.Counter(items)
    return tuple(sorted(counts, key=lambda item: (-counts[item], item == item.upper(), item == item.lower(), item)))


def _statements(
    found: Mapping[_Ends, Mapping[Source, None]], id_of: Mapping[_Key, str], base: str, rules: Rules, posts: Sequence[Record]
) -> tuple[Statement, ...]:
    sources: dict[tuple[str, str, str], list[Source]] = collections.defaultdict(list)
    for (head, relation, tail), there in found.items():
        subject, object_ = (end.id if isinstance(end, Area) else id_of[end] for end in (head, tail))
        if rules.canonical(relation)[2].symmetric and object_ < subject:
            subject, object_ = object_, subject
        sources[subject, relation, object_].extend(there)
    evidence = {post.id: (post.words, _file(post)) for post in posts}
    order = {post.id: number for number, post in enumerate(posts)}
    statements = []
    for (subject, relation, object_), there in sources.items():
        rule = rules.canonical(relation)[2]
        property_ = rule.property or iris.relation(base, relation)
        name = iris.statement(base, subject, property_, object_)
        there.sort(key=lambda source: order[source.post])  # stable: within a post as found
        score = _score(there, evidence)
        statements.append(Statement(name, subject, relation, property_, object_, tuple(there), score, rule.symmetric))
    return tuple(sorted(statements, key=lambda statement: (statement.subject, statement.property, statement.object)))


def _score(sources: Sequence[Source], evidence: Mapping[str, object]) -> float | None:
    """`combined`, of posts of the same words and picture the highest score: they are one piece of evidence."""
    best: dict[object, float | None] = {}
    for source in sources:
        key = evidence[source.post]
        before = best.setdefault(key, source.score)
        best[key] = None if before is None or source.score is None else max(before, source.score)
    return _rounded(combined(list(best.values())))
