"""The order of markers, and which pieces stay beside the entities."""

from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.markers import nearest, nested_order, released_order

spans = st.integers(0, 11).flatmap(lambda a: st.integers(a + 1, 12).map(lambda b: (a, b)))


@given(head=spans, tail=spans)
def test_nested_order_closes_what_was_opened_last_unless_the_spans_cross(head, tail):
    crossing = head[0] < tail[0] < head[1] < tail[1] or tail[0] < head[0] < tail[1] < head[1]
    stack = []
    for marker, _ in nested_order(head, tail):
        if marker % 2 == 0:
            stack.append(marker)
        elif not crossing:
            assert stack.pop() == marker - 1


@given(head=spans, tail=spans)
def test_every_order_has_each_marker_once_at_its_boundary(head, tail):
    for order in (nested_order(head, tail), released_order(head, tail)):
        assert sorted(order) == list(enumerate((*head, *tail)))
        assert [boundary for _, boundary in order] == sorted(boundary for _, boundary in order)


@given(head=spans, tail=spans, room=st.integers(2, 36))
def test_the_pieces_that_stay_are_as_near_as_any_that_go(head, tail, room):
    owners = [word for word in range(12) for _ in range(3)]
    kept = nearest(owners, head, tail, room)
    assert kept == sorted(set(kept)) and len(kept) == min(room, len(owners))

    def distance(word):
        return min(0 if start <= word < end else start - word if word < start else word - end + 1 for start, end in (head, tail))

    gone = set(range(len(owners))) - set(kept)
    assert not gone or max(distance(owners[i]) for i in kept) <= min(distance(owners[i]) for i in gone)
    assert {3 * head[0], 3 * tail[0]} <= set(kept), "both keep their first piece"
