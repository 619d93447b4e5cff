"""What a block makes is passed over in the search for cycles, and is found again behind it."""

import gc
import weakref

import pytest

from mmre_jax.training.lasting import lasting


class Node:
    def __init__(self):
        self.own = self


def test_what_was_made_while_data_were_read_is_searched_again_at_the_end():
    with lasting() as read:
        assert not gc.isenabled()
        cycle = weakref.ref(Node())
        read()
        later = weakref.ref(Node())
        gc.collect()
        assert gc.isenabled() and cycle() is not None and later() is None
    gc.collect()
    assert cycle() is None and not gc.get_freeze_count()


def test_an_error_leaves_the_search_as_it_was():
    with pytest.raises(ValueError), lasting():
        raise ValueError
    assert gc.isenabled() and not gc.get_freeze_count()


def test_who_has_switched_the_search_off_keeps_it_so():
    gc.disable()
    try:
        with lasting() as read:
            read()
        assert not gc.isenabled() and not gc.get_freeze_count()
    finally:
        gc.enable()
