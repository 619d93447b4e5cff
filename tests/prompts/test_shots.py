"""Examples before a question, from training alone."""

from collections import Counter

import pytest

from mmre_jax.prompts import shots
from mmre_jax.records import Mention, Record, Relation


class Task:
    """As much of a task as a draw looks at."""

    def stratum(self, record):
        return record.relations[0].label


def record(name, label, words):
    return Record(name, tuple(words.split()), relations=(Relation(Mention(0, 1), Mention(1, 2), label),))


TRAIN = [record(f"t{i}", "often" if i % 10 else "rare" if i % 20 else "other", f"word {i}") for i in range(60)]


def test_balanced_takes_labels_in_turn():
    found = shots.draw(Task(), TRAIN, [], 6, "balanced", 0)
    labels = [each.relations[0].label for each in found]
    assert Counter(labels) == {"often": 2, "rare": 2, "other": 2} and labels[:3] == labels[3:]
    everything = shots.draw(Task(), TRAIN, [], 60, "balanced", 0)
    assert sorted(each.id for each in everything) == sorted(each.id for each in TRAIN)


def test_uniform_takes_labels_as_often_as_they_are():
    counts = Counter(each.relations[0].label for seed in range(100) for each in shots.draw(Task(), TRAIN, [], 10, "uniform", seed))
    assert abs(counts["often"] / 1000 - 0.9) < 0.04, "54 of 60 are; 1,000 draws have a deviation of 0.01"


@pytest.mark.parametrize("how", shots.DRAWS)
def test_the_seed_decides(how):
    draws = [[each.id for each in shots.draw(Task(), TRAIN, [], 5, how, seed)] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    longer = [each.id for each in shots.draw(Task(), TRAIN, [], 6, how, 0)]
    assert longer[:5] == draws[0], "more examples are the same ones and others"


def test_words_that_are_asked_about_are_never_shown():
    asked = [record("q", "x", "WORD 3"), record("q", "x", "\"word\" , 4 !")]
    found = shots.draw(Task(), TRAIN, asked, 58, "balanced", 0)
    assert {"t3", "t4"}.isdisjoint(each.id for each in found)
    with pytest.raises(ValueError, match="59 examples are to be drawn, and 58 of 60 training examples"):
        shots.draw(Task(), TRAIN, asked, 59, "uniform", 0)
