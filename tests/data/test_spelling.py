"""How words are written, as bytes."""

import numpy as np

from mmre_jax.data.spelling import BYTES, spelled


def test_each_token_has_the_bytes_of_its_word():
    found = spelled(("Ab", "é", ""), np.array([-1, 0, 1, 1, 2, -1]), 8, 4)
    assert found.shape == (8, 4) and found.dtype == np.int32
    letters, accent = [66, 99, 0, 0], [0xC3 + 1, 0xA9 + 1, 0, 0]
    assert found.tolist() == [[0] * 4, letters, accent, accent, *[[0] * 4] * 4]


def test_a_long_word_is_its_first_bytes_and_no_byte_is_out_of_the_table():
    every = "".join(map(chr, range(0x20, 0x3000)))
    found = spelled((every, "\ud800"), np.array([0, 1]), 2, 50_000)
    assert found.max() < BYTES and found[0].min() == 0 and (found[1] > 0).sum() == 3
    assert spelled(("Oslo",), np.array([0]), 1, 2).tolist() == [[80, 116]]
