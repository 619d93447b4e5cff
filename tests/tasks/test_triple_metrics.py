"""Triple scores: examples worked by hand in which the strict and the printed measure differ, and second implementations by enumeration."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.records import Box, Mention, Triple
from mmre_jax.tasks.triple_metrics import Answers, BoxWeights, assign, metrics, paper_counts, stated, strict_matches

LABELS = ("holds", "near", "on")
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def triple(word: int, label: str, box: Box) -> Triple:
    return Triple(Mention(word, word + 1), label, box)


def scores(gold: list[Triple], predicted: list[Triple], iou: float = 0.5) -> tuple[dict[str, float], dict[str, float]]:
    found = metrics([gold], [predicted], LABELS, iou=iou)["triple"]
    return found["strict"], found["paper"]


# ---- worked by hand: each of these is counted by one measure and overlooked by the other


def test_a_predicted_key_that_is_not_gold():
    gold = [triple(0, "holds", LEFT)]
    strict, paper = scores(gold, [*gold, triple(0, "near", LEFT), triple(3, "holds", LEFT)])
    assert strict == {"precision": 1 / 3, "recall": 1.0, "f1": 0.5}
    assert paper == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_a_surplus_predicted_box():
    gold = [triple(0, "holds", LEFT)]
    strict, paper = scores(gold, [*gold, triple(0, "holds", RIGHT)])
    assert strict == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)}
    assert paper == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_a_surplus_gold_box():
    gold = [triple(0, "holds", LEFT), triple(0, "holds", RIGHT)]
    strict, paper = scores(gold, gold[1:])
    assert strict == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    assert paper == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_a_missing_key_with_several_boxes():
    gold = [triple(0, "holds", LEFT), triple(1, "near", LEFT), triple(1, "near", RIGHT), triple(1, "near", (0.25, 0.0, 0.75, 1.0))]
    strict, paper = scores(gold, gold[:1])
    assert strict["recall"] == 1 / 4
    assert paper["recall"] == 1 / 2, "three missed boxes under one key are one false negative"


def test_the_l1_assignment_can_miss_what_another_finds():
    # Full-height boxes, by x. L1 of (cx, w): [.2,.6]-[0,.7] .05+.3, [0,.7]-[0,1] .15+.3, sum .8, IoU 4/7 and 7/10: both found;
    #                                         [.2,.6]-[0,1]  .1+.6, [0,.7]-[0,.7] 0,      sum .7, IoU 4/10 and 1:   one found.
    gold = [triple(0, "holds", (0.2, 0.0, 0.6, 1.0)), triple(0, "holds", (0.0, 0.0, 0.7, 1.0))]
    predicted = [triple(0, "holds", (0.0, 0.0, 0.7, 1.0)), triple(0, "holds", (0.0, 0.0, 1.0, 1.0))]
    strict, paper = scores(gold, predicted)
    assert strict == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert paper == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3)}


def test_a_box_in_the_wrong_place():
    gold = [triple(0, "holds", LEFT)]
    strict, paper = scores(gold, [triple(0, "holds", RIGHT)])
    assert strict == paper == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert paper_counts(gold, [triple(0, "holds", RIGHT)], 0.5) == (0, 1, 0), "a false positive, but no false negative"


def test_the_threshold_itself_is_not_enough():
    gold, half = [triple(0, "holds", (0.0, 0.0, 1.0, 1.0))], [triple(0, "holds", LEFT)]
    assert scores(gold, half, 0.5)[0]["f1"] == scores(gold, half, 0.5)[1]["f1"] == 0.0
    assert scores(gold, half, 0.49)[0]["f1"] == scores(gold, half, 0.49)[1]["f1"] == 1.0


def test_pairs_are_distinct_within_a_record_and_not_across_records():
    one = [triple(0, "holds", LEFT), triple(0, "holds", RIGHT), triple(1, "near", LEFT)]
    found = metrics([one, one], [[one[1]], [triple(0, "on", LEFT), one[2]]], LABELS)
    assert found["pair"] == {"precision": 2 / 3, "recall": 2 / 4, "f1": pytest.approx(4 / 7)}


def test_accuracies_are_over_all_gold_triples():
    # The box decides between two gold triples with equal mistakes: word 1 said for word 0 at LEFT, "on" for "near" at RIGHT.
    gold = [triple(0, "holds", LEFT), triple(2, "near", RIGHT), triple(4, "on", LEFT)]
    found = metrics([gold], [[triple(1, "holds", LEFT), triple(2, "on", RIGHT)]], LABELS)
    assert found["relation"] == {"accuracy": 1 / 3, "right": 1, "matched": 2, "of": 3}
    assert found["entity"] == {"accuracy": 1 / 3, "right": 1, "matched": 2, "of": 3}


def test_one_of_five_found_is_a_fifth():
    gold = [triple(word, "holds", LEFT) for word in range(5)]
    found = metrics([gold], [gold[3:4]], LABELS)
    assert found["relation"] == found["entity"] == {"accuracy": 0.2, "right": 1, "matched": 1, "of": 5}


def test_records_without_an_answer_count_as_wrong():
    gold = [triple(0, "holds", LEFT)]
    found = metrics([gold, gold], [gold, []], LABELS)
    assert found["entity"] == {"accuracy": 0.5, "right": 1, "matched": 1, "of": 2} and found["answers"] == 1


def answers(entity, relation, right_relation, boxes, right_entity=None) -> Answers:
    """By probabilities [G, Q]; a span counts as said where its probability is above one half."""
    entity, relation = np.array(entity), np.array(relation)
    right = entity > 0.5 if right_entity is None else np.array(right_entity)
    return Answers(entity, relation, right, np.array(right_relation), np.array(boxes, np.float64))


def test_every_query_is_matched_also_one_that_says_nothing():
    # Query 0 has the span of the first triple and no relation (0.4 for the right one, 0.6 for none); query 1 is right in all.
    gold = [triple(0, "holds", LEFT), triple(2, "near", RIGHT)]
    said = answers([[0.9, 0.0], [0.1, 1.0]], [[0.4, 0.0], [0.0, 1.0]], [[False, False], [False, True]], [LEFT, RIGHT])
    found = metrics([gold], [gold[1:]], LABELS, answers=[said])
    assert found["relation"] == {"accuracy": 0.5, "right": 1, "matched": 2, "of": 2}
    assert found["entity"] == {"accuracy": 1.0, "right": 2, "matched": 2, "of": 2}
    assert found["answers"] == 2 and found["predicted"] == 1
    alone = metrics([gold], [gold[1:]], LABELS)
    assert alone["entity"] == alone["relation"] == {"accuracy": 0.5, "right": 1, "matched": 1, "of": 2}


def test_gold_triples_beyond_the_queries_are_wrong():
    gold = [triple(word, "holds", LEFT) for word in range(3)]
    said = answers(np.eye(3)[:, :2], np.ones((3, 2)), np.ones((3, 2), bool), [LEFT] * 2)
    found = metrics([gold], [[]], LABELS, queries=2, answers=[said])
    assert found["relation"] == found["entity"] == {"accuracy": 2 / 3, "right": 2, "matched": 2, "of": 3}
    assert found["beyond_queries"] == 1


def test_boxes_weigh_against_probabilities_by_the_training_weights():
    # Query 0 says the triple 0 at the other side, query 1 nothing at its side. LEFT and RIGHT are 0.5 apart and touch: L1 0.5, GIoU 0.
    gold = [triple(0, "holds", LEFT)]
    said = answers([[1.0, 0.0]], [[1.0, 0.0]], [[True, False]], [RIGHT, LEFT])
    for l1, giou, query in ((3.0, 3.5, 1), (0.0, 2.1, 1), (3.9, 0.0, 0), (4.1, 0.0, 1), (1.0, 1.4, 0)):  # 0.5 l1 + giou against 2
        assert assign(gold, said, BoxWeights(l1, giou)) == [(0, query)]


def test_answers_that_are_no_numbers_come_last():
    gold = [triple(0, "holds", LEFT), triple(1, "holds", LEFT)]
    boxes = [(np.nan,) * 4, RIGHT, LEFT]
    said = answers([[np.nan, 0.1, 0.2], [1.0, 0.0, 0.0]], np.zeros((2, 3)), np.zeros((2, 3), bool), boxes)
    assert {query for _, query in assign(gold, said, BoxWeights())} == {1, 2}


def test_what_is_counted():
    gold = [triple(0, "holds", LEFT), triple(1, "near", LEFT), triple(2, "near", LEFT)]
    found = metrics([gold, [], gold[:1]], [gold[1:], gold[:1], []], LABELS, queries=2, iou=0.25)
    assert (found["count"], found["gold"], found["predicted"], found["iou"], found["beyond_queries"]) == (3, 4, 3, 0.25, 1)
    assert found["per_relation"] == {
        "holds": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2},
        "near": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 2},
        "on": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
    }
    assert "beyond_queries" not in metrics([gold], [gold], LABELS)


def test_nothing_is_zero_and_not_an_error():
    found = metrics([[]], [[]], LABELS)
    assert found["triple"]["strict"]["f1"] == found["triple"]["paper"]["f1"] == found["relation"]["accuracy"] == 0.0


def test_records_are_paired():
    with pytest.raises(ValueError):
        metrics([[], []], [[]], LABELS)


# ---- second implementations. Coordinates are eighths, so that no sum or overlap is rounded and ties are exact.

edges = st.tuples(st.integers(0, 7), st.integers(1, 4)).map(lambda edge: (edge[0] / 8, min(8, edge[0] + edge[1]) / 8))
grid = st.tuples(edges, edges).map(lambda sides: (sides[0][0], sides[1][0], sides[0][1], sides[1][1]))
some = st.lists(st.builds(triple, st.integers(0, 1), st.sampled_from(LABELS[:2]), grid), max_size=5)
thresholds = st.sampled_from((0.0, 0.1, 0.25, 0.5, 0.75))


def area(x0: float, y0: float, x1: float, y1: float) -> float:
    return max(0.0, x1 - x0) * max(0.0, y1 - y0)


def overlap(a: Box, b: Box) -> tuple[float, float]:
    """IoU and generalised IoU."""
    shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    hull = area(min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    union = area(*a) + area(*b) - shared
    return shared / union, shared / union - (hull - union) / hull


def distance(a: Box, b: Box) -> float:
    centres = [((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return sum(abs(i - j) for i, j in zip(*centres, strict=True))


def assignments(rows: int, columns: int) -> list[list[tuple[int, int]]]:
    """Every way to give each of the shorter side one of the longer side."""
    if rows <= columns:
        return [list(enumerate(chosen)) for chosen in itertools.permutations(range(columns), rows)]
    return [[(row, column) for column, row in enumerate(chosen)] for chosen in itertools.permutations(range(rows), columns)]


def key(one: Triple) -> tuple[int, int, str]:
    return one.mention.start, one.mention.end, one.label


@given(some, some, thresholds)
def test_strict_equals_enumeration(gold, predicted, iou):
    fits = [[key(g) == key(p) and overlap(g.box, p.box)[0] > iou for p in predicted] for g in gold]
    hits = max(sum(fits[g][p] for g, p in pairs) for pairs in assignments(len(gold), len(predicted)))
    matches = strict_matches(gold, predicted, iou)
    assert len(matches) == hits == len({g for g, _ in matches}) == len({p for _, p in matches})
    assert all(fits[g][p] for g, p in matches)
    strict = metrics([gold], [predicted], LABELS, iou=iou)["triple"]["strict"]
    assert strict["precision"] == (hits / len(predicted) if predicted else 0)
    assert strict["recall"] == (hits / len(gold) if gold else 0)
    assert strict["f1"] == (2 * hits / (len(gold) + len(predicted)) if gold or predicted else 0)


@given(some, some, thresholds)
def test_paper_equals_enumeration(gold, predicted, iou):
    possible = {(0, 0, 0)}  # equally cheap assignments may differ in what they find
    for one in {key(g) for g in gold}:
        targets, found = ([t.box for t in side if key(t) == one] for side in (gold, predicted))
        if not found:
            outcomes = {(0, 0, 1)}
        else:
            ways = assignments(len(targets), len(found))
            prices = [sum(distance(targets[t], found[p]) for t, p in way) for way in ways]
            cheapest = [way for way, price in zip(ways, prices, strict=True) if price == min(prices)]
            hits = [sum(overlap(targets[t], found[p])[0] > iou for t, p in way) for way in cheapest]
            outcomes = {(right, min(len(targets), len(found)) - right, 0) for right in hits}
        possible = {tuple(a + b for a, b in zip(x, y, strict=True)) for x in possible for y in outcomes}
    assert paper_counts(gold, predicted, iou) in possible


@given(some, some)
def test_answers_are_matched_at_the_least_cost(gold, predicted):
    def price(pairs):
        return sum(
            -1.0 * (gold[g].mention.span == predicted[p].mention.span)
            - 1.0 * (gold[g].label == predicted[p].label)
            + 3.0 * distance(gold[g].box, predicted[p].box)
            + 3.5 * (1 - overlap(gold[g].box, predicted[p].box)[1])
            for g, p in pairs
        )

    found = assign(gold, stated(gold, predicted), BoxWeights())
    ways = assignments(len(gold), len(predicted))
    assert sorted(found) in [sorted(way) for way in ways]
    assert price(found) == pytest.approx(min(map(price, ways)))


@given(some, some, thresholds, thresholds)
def test_a_higher_threshold_never_scores_higher(gold, predicted, one, other):
    lower, higher = (metrics([gold], [predicted], LABELS, iou=iou)["triple"]["strict"]["f1"] for iou in sorted((one, other)))
    assert higher <= lower


@given(st.lists(some, max_size=3))
def test_the_gold_itself_scores_one(gold):
    found = metrics(gold, gold, LABELS, queries=100)
    best = 1.0 if any(gold) else 0.0
    assert all(value == best for part in (*found["triple"].values(), found["pair"]) for value in part.values())
    assert found["relation"]["accuracy"] == found["entity"]["accuracy"] == best and found["beyond_queries"] == 0


@given(st.lists(st.tuples(some, some), min_size=1, max_size=3), thresholds, st.randoms(use_true_random=False))
def test_order_means_nothing(records: list, iou: float, shuffle: random.Random):
    """Neither the order of the records nor that of the triples within one. (`paper` may break a tie of two assignments either way.)"""
    mixed = [tuple(shuffle.sample(side, len(side)) for side in record) for record in shuffle.sample(records, len(records))]
    first, second = (metrics(*zip(*those, strict=True), LABELS, iou=iou) for those in (records, mixed))
    assert first["triple"]["strict"] == second["triple"]["strict"]
    assert all(first[part] == second[part] for part in ("pair", "per_relation", "count", "gold", "predicted"))


def test_a_triple_without_a_box_has_the_right_pair_and_no_right_box():
    gold = [Triple(Mention(0, 1), "holds", (0.0, 0.0, 0.5, 0.5)), Triple(Mention(0, 1), "holds", (0.5, 0.5, 1.0, 1.0))]
    blind = [Triple(Mention(0, 1), "holds", None)]
    found = metrics([gold], [blind], ("holds",))
    assert found["triple"]["strict"]["f1"] == 0 and found["pair"]["f1"] == 1
    assert found["triple"]["paper"]["precision"] == 0 and paper_counts(gold, blind, 0.5) == (0, 1, 0)
    assert metrics([gold], [[*gold[:1], *blind]], ("holds",))["triple"]["strict"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
