"""What a run writes to follow it by: rows and events, once each, though the run was stopped and resumed."""

import errno
import pathlib
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from mmre_jax.records import RecordError
from mmre_jax.training.events import Board, forget
from mmre_jax.training.log import MetricLog, read_json, read_rows, scalars, write_json


def events(folder):
    """(step, {tag: value}) of every event of a folder's files, checksums verified."""
    found = []
    for path in sorted(folder.iterdir()):
        data, start = path.read_bytes(), 0
        while start < len(data):
            header = data[start : start + 8]
            (length,) = struct.unpack("<Q", header)
            body = data[start + 12 : start + 12 + length]
            checks = data[start + 8 : start + 12], data[start + 12 + length : start + 16 + length]
            assert checks == tuple(struct.pack("<I", masked_crc32c(part)) for part in (header, body))
            event = Event.FromString(body)
            if event.summary.value:
                found.append((event.step, {v.tag: v.simple_value for v in event.summary.value}))
            start += 16 + length
        assert start == len(data)
    return found


def test_a_resumed_run_writes_no_step_twice(tmp_path):
    for start, last in ((0, 7), (4, 9), (2, 5)):
        with MetricLog(tmp_path) as log:
            log.truncate(start)
            for step in range(start + 1, last):
                log.write(step, {"train": {"loss": step + start / 16}, "name": "x"})
    expected = [(1, 1.0), (2, 2.0), (3, 3.125), (4, 4.125)]
    assert [(row["step"], row["train"]["loss"]) for row in read_rows(tmp_path)] == expected
    assert events(tmp_path / "tensorboard") == [(step, {"train/loss": loss}) for step, loss in expected]


def test_a_run_that_begins_anew_leaves_nothing_of_one_without_a_checkpoint(tmp_path):
    with MetricLog(tmp_path) as log:
        log.write(1, {"loss": 1.0})
    with MetricLog(tmp_path) as log:
        log.truncate(0)
    assert read_rows(tmp_path) == [] == events(tmp_path / "tensorboard")


@pytest.mark.parametrize("lost", [1, 4, 13])
def test_an_event_that_a_crash_cut_off_is_removed(tmp_path, lost):
    board = Board(tmp_path)
    for step in (1, 2, 3):
        board.write(step, {"a": step})
    board.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-lost])
    forget(tmp_path, 9)
    assert [step for step, _ in events(tmp_path)] == [1, 2]


def test_a_file_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def full(path, *_, **__):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*metrics.jsonl"):
        MetricLog(tmp_path).write(1, {})
    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*metrics.json"):
        write_json(tmp_path / "metrics.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"], "nothing half-written is left"


def test_scalars_are_named_by_their_path():
    assert scalars({"a": {"b": 1, "per_relation": {"x": 2}}, "c": 0.5, "d": "x"}) == {"a/b": 1.0, "c": 0.5}


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "metrics.json"
    assert read_json(path) is None
    write_json(path, {"minutes": float("nan")})
    assert list(read_json(path)) == ["minutes"]
    path.write_text(path.read_text()[:12])
    with pytest.raises(RecordError, match=f"{path}: damaged"):
        read_json(path)
