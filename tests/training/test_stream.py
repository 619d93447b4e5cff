"""Batches of examples that come one after the other: each example once, few shapes, little padding."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from configs import hvformer
from mmre_jax.data import datasets
from mmre_jax.training.job import new_job
from mmre_jax.training.stream import BatchShapes

SHAPES = BatchShapes((1, 16, 128), (8, 16, 32))


@hypothesis.given(st.lists(st.integers(1, 32), min_size=1, max_size=600))
def test_every_example_stands_in_one_batch_that_is_long_enough(lengths):
    lengths = np.array(lengths)
    batches = SHAPES.batches(lengths)
    rows = np.concatenate([rows for rows, _ in batches])
    assert sorted(rows[rows >= 0].tolist()) == list(range(len(lengths)))
    for rows, length in batches:
        longest = lengths[rows[rows >= 0]].max()
        assert len(rows) in SHAPES.sizes and length in SHAPES.lengths
        assert length == min(each for each in SHAPES.lengths if each >= longest)
    padded = [length for _, length in batches]
    assert padded == sorted(padded), "of like length together"


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (3, [1] * 3), (6, [16]), (16, [16]), (50, [16] * 3 + [1] * 2), (72, [128]), (128, [128]), (300, [128] * 2 + [16] * 3)],
)
def test_rows_that_fill_up_are_few(count, sizes):
    assert [len(rows) for rows, _ in SHAPES.batches(np.full(count, 5))] == sizes


@pytest.mark.parametrize(
    ("buckets", "longest", "lengths"),
    [((16, 32), 32, (16, 32)), ((), 32, (8, 16, 24, 32)), ((), 28, (8, 16, 24, 28)), ((), 16, (8, 16)), ((40,), 24, (40,))],
)
def test_shapes_are_those_of_the_configuration(buckets, longest, lengths):
    config = hvformer.get_config("quickstart").unlock()
    config.data.update({"buckets": buckets, "counts": (4, 2, 2)})
    config.text.max_tokens = longest
    config.train.eval_batch = 24
    job = new_job(config.lock(), datasets.open_records(config.data, "train"))
    assert BatchShapes.of(job, 1) == BatchShapes((1, 16, 24), lengths)
    assert BatchShapes.of(job, 8) == BatchShapes((8, 16, 24), lengths), "every size divides over the devices"
    assert BatchShapes.of(job, 5).sizes == (5, 20, 25)
