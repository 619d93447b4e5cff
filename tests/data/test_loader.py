"""The order of records is a pure function of (seed, step), and every record is evaluated exactly once."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.encoded import Encoded
from mmre_jax.data.loader import Order, batches
from mmre_jax.data.split import Split
from mmre_jax.records import Record, Region

BUCKETS = (8, 16)


def order_of(count, batch, train, **more):
    lengths = np.random.default_rng(count).integers(3, 17, count)
    return Order(lengths, batch, BUCKETS, train, **more)


def features(record, length, encoded):
    return {"text": np.full(length, int(record.id), np.int32)}


def split_of(lengths, records, features=features, pictures=None, picture_of=None):
    """A split whose records have these lengths."""
    nothing = np.zeros(0, np.int32)
    tokens = [Encoded(np.zeros(n, np.int32), nothing, nothing, caption=np.array([i], np.int32)) for i, n in enumerate(lengths)]
    return Split(records, tokens, features, pictures, picture_of)


RECORDS = [Record(id=str(i), words=("a",)) for i in range(23)]


def pixels_of(record):
    return {"photo": np.full((1, 2, 2, 3), int(record.id), np.uint8)}, {"photo": np.ones(1, bool)}


def shown_of(record):
    number = 255 if record.image is None else int(record.image)
    return {"photo": np.full(1, number, np.uint8)}, {"photo": np.ones(1, bool)}


@given(st.integers(1, 60), st.integers(1, 16))
def test_evaluation_holds_every_record_once(count, batch):
    order = order_of(count, batch, train=False)
    indices, lengths = order.epoch(0)
    assert sorted(indices[indices >= 0]) == list(range(count))
    assert (np.where(indices >= 0, order.lengths[indices], 0).max(1) <= lengths).all()


@given(st.integers(16, 80), st.sampled_from([1, 3]))
def test_training_epochs_differ_and_repeat_no_record(count, window):
    order = order_of(count, 8, train=True, seed=1, window=window)
    first, second = order.epoch(0)[0], order.epoch(1)[0]
    assert len(np.unique(first)) == first.size == count // 8 * 8
    assert not np.array_equal(first, second)
    again = order_of(count, 8, train=True, seed=1, window=window)
    np.testing.assert_array_equal(again.epoch(1)[0], second)


def test_windows_save_padding():
    order, sorted_order = (order_of(512, 8, train=True, window=window) for window in (1, 16))
    assert sorted_order.epoch(0)[1].sum() < order.epoch(0)[1].sum()


@pytest.mark.parametrize("workers", [0, 2])
def test_stream_follows_the_order_from_any_step(workers):
    order = order_of(23, 4, train=True, seed=3)
    found = list(batches(order, split_of(order.lengths, RECORDS, pictures=pixels_of), first=7, last=12, workers=workers))
    assert len(found) == 5
    for step, batch in zip(range(7, 12), found, strict=True):
        np.testing.assert_array_equal(batch["index"], order.at(step))
        assert batch["text"].shape[1] in BUCKETS
        np.testing.assert_array_equal(batch["text"][:, 0], order.at(step))
        np.testing.assert_array_equal(batch["pictures"]["photo"][:, 0, 0, 0, 0], order.at(step))


def test_processes_share_the_global_batch():
    order = order_of(23, 4, train=False)
    parts = [list(batches(order, split_of(order.lengths, RECORDS), process=p, processes=2)) for p in range(2)]
    joined = [np.concatenate([a["index"], b["index"]]) for a, b in zip(*parts, strict=True)]
    np.testing.assert_array_equal(np.stack(joined), order.epoch(0)[0])
    valid = np.concatenate([batch["valid"] for part in parts for batch in part])
    assert valid.sum() == 23 and valid.size == 24


def test_pictures_of_other_records_and_none():
    records = [dataclasses.replace(record, image=record.id) for record in RECORDS]
    picture_of = np.roll(np.arange(23), 1)
    picture_of[4] = -1
    found = {}
    order = order_of(23, 4, train=False)
    for batch in batches(order, split_of(order.lengths, records, pictures=shown_of, picture_of=picture_of)):
        found |= dict(zip(batch["index"].tolist(), batch["pictures"]["photo"][:, 0].tolist(), strict=True))
    assert found.pop(-1)
    assert found == {i: 255 if i == 4 else picture_of[i] for i in range(23)}


def test_what_is_known_of_a_picture_goes_with_it():
    """Regions and caption, tokens included, are those of the picture that is shown, words those of the record."""
    known = {str(i): Region((0.0, 0.0, (i + 1) / 23, 1.0)) for i in range(23)}
    records = [dataclasses.replace(r, image=r.id, regions=(known[r.id],), caption=f"picture {r.id}") for r in RECORDS]
    picture_of = np.roll(np.arange(23), 1)
    picture_of[4] = -1

    def seen(record, length, encoded):
        of = [] if record.image is None else [int(record.image)]
        assert record.regions == tuple(known[str(i)] for i in of)
        assert record.caption == (f"picture {of[0]}" if of else None)
        assert (encoded.caption is None) if not of else (encoded.caption.tolist() == of)
        return {"text": np.int32(record.id), "picture": np.int32(of[0] if of else -1)}

    order = order_of(23, 4, train=False)
    for batch in batches(order, split_of(order.lengths, records, seen, picture_of=picture_of)):
        np.testing.assert_array_equal(batch["picture"][batch["valid"]], picture_of[batch["text"][batch["valid"]]])


def test_what_cannot_be_ordered_is_refused():
    with pytest.raises(ValueError, match="do not fill one batch of 32"):
        order_of(5, 32, train=True)
    with pytest.raises(ValueError, match="more than the largest length bucket 16"):
        Order(np.array([17]), 1, BUCKETS, False)
    with pytest.raises(ValueError, match="does not divide over 3 processes"):
        next(batches(order_of(23, 4, train=False), split_of(np.ones(23, int), RECORDS), processes=3))
