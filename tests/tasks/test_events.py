"""Which predictions are right, by hand, for every task that has scores."""

import dataclasses

import numpy as np
import pytest

from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, Region, Relation, Triple
from mmre_jax.tasks.calibration import CalibrationError, fit_distribution, fit_events
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.events import Events, events, fit
from mmre_jax.tasks.objects import ObjectsTask
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.tasks.triples import TriplesTask

ENCODER = TextEncoder(train_tokenizer([], 8, "word"))
WORDS = ("ada", "meets", "bo")
PAIR = Relation(Mention(0, 1), Mention(2, 3))
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def told(found: Events | None) -> list[tuple[float, bool, bool]]:
    assert found is not None
    return list(zip(found.score.tolist(), found.right.tolist(), found.something.tolist(), strict=True))


def test_relations() -> None:
    task = RelationTask(ENCODER, ("none", "knows", "is"), "none")
    records = [
        Record(str(n), WORDS, relations=(dataclasses.replace(PAIR, label=label),)) for n, label in enumerate(("none", "knows", "is"))
    ]
    said = [(dataclasses.replace(PAIR, label=label, score=score),) for label, score in (("none", 0.5), ("is", 0.25), ("is", 1.0))]
    found = events(task, records, said)
    assert told(found) == [(0.5, True, False), (0.25, False, True), (1.0, True, True)]
    assert found is not None and found.annotated == 2 and found.chances is None
    chances = np.array([[0.5, 0.3, 0.2], [0.25, 0.25, 0.5], [0.1, 0.0, 0.9]])
    whole = events(task, records, said, [{"probabilities": row} for row in chances])
    assert whole is not None and whole.gold is not None and whole.gold.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(whole.chances, chances)
    assert fit(whole) == fit_distribution(chances, whole.gold)
    assert fit(found) == fit_events(found.score, found.right)
    np.testing.assert_allclose(whole.calibrated(fit(whole)).score, fit(whole).distribution(chances).max(axis=1))


def test_mentions() -> None:
    task = EntitiesTask(ENCODER, ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    records = [Record("a", WORDS, mentions=(Mention(0, 1, "PER"), Mention(2, 3, "PER"))), Record("b", WORDS)]
    said = [(Mention(0, 1, "PER", 0.75), Mention(2, 3, "LOC", 0.5)), (Mention(0, 2, "PER", 0.25),)]
    found = events(task, records, said)
    assert told(found) == [(0.75, True, True), (0.5, False, True), (0.25, False, True)]
    assert found is not None and found.annotated == 2
    twice = events(task, records, [(Mention(0, 1, "PER", 0.75), Mention(0, 1, "PER", 0.5)), ()])
    assert told(twice) == [(0.75, True, True)], "as the measures count it: else more than all would be found"
    nothing = events(task, records, [(), ()])
    assert nothing is not None
    with pytest.raises(CalibrationError, match="nothing was found"):
        fit(nothing)


def test_triples_with_and_without_a_box() -> None:
    task = TriplesTask(ENCODER, ("holds", "near"), "none", 3)
    gold = (Triple(Mention(0, 1), "holds", LEFT), Triple(Mention(2, 3), "near", RIGHT))
    said = (
        Triple(Mention(0, 1), "holds", LEFT, 0.9),
        Triple(Mention(2, 3), "near", LEFT, 0.8),
        Triple(Mention(0, 1), "holds", (0.0, 0.0, 0.45, 1.0), 0.7),  # a second one for the same
    )
    blind = (Triple(Mention(2, 3), "near", None, 0.6), Triple(Mention(0, 1), "near", None, 0.5))
    records = [Record(name, WORDS, triples=gold) for name in "ab"]
    found = events(task, records, [said, blind])
    assert told(found) == [(0.9, True, True), (0.8, False, True), (0.7, False, True), (0.6, True, True), (0.5, False, True)]
    assert found is not None and found.annotated == 4
    assert told(events(task, records[:1], [(blind[0], blind[0])])) == [(0.6, True, True), (0.6, False, True)]


def test_what_is_no_probability_is_no_event() -> None:
    task = EntitiesTask(ENCODER, ("O", "B-PER", "I-PER"))
    for score in (None, 1.5, -0.1, float("nan")):
        assert events(task, [Record("a", WORDS)], [(Mention(0, 1, "PER", 0.5), Mention(2, 3, "PER", score))]) is None
    detector = ObjectsTask(ENCODER, ("background", "car"), "background", 3)
    assert events(detector, [Record("a", ())], [(Region(LEFT, label="car", score=0.5),)]) is None
