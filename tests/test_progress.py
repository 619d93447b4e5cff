"""Progress: a bar on a terminal, lines in the log elsewhere, neither too many nor too few."""

from __future__ import annotations

import io
import logging
import re

import pytest

from mmre_jax.progress import LULL, TENTH, Progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(caplog: pytest.LogCaptureFixture, total: int, seconds: float, start: int = 0, name: str = "train") -> list[tuple[float, str]]:
    """(when, what) was logged by `total` steps that take so many seconds each."""
    clock, stream, found = Clock(), io.StringIO(), []
    with caplog.at_level(logging.INFO, "mmre_jax.progress"), Progress(name, total, start=start, stream=stream, clock=clock) as progress:
        for _ in range(start, total):
            clock.now += seconds
            progress.advance("loss 0.5")
            found += [(clock.now, entry.getMessage()) for entry in caplog.records]
            caplog.clear()
    assert stream.getvalue() == "", "no bar"
    return found


def test_elsewhere_each_tenth_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    found = lines(caplog, 1000, 0.1)
    assert [re.findall(r"\((\d+) %\)", line) for _, line in found] == [[str(share)] for share in range(10, 101, 10)]
    assert found[1][1] == "train: 200 of 1,000 (20 %), 10.0 it/s, 01:20 left, loss 0.5"


def test_long_tenths_have_lines_between(caplog: pytest.LogCaptureFixture) -> None:
    found = lines(caplog, 100, 60.0)
    assert len(found) == 100 and found[0][1] == "train: 1 of 100 (1 %), 60.0 s/it, 1:39:00 left, loss 0.5"
    gaps = [later - sooner for (sooner, _), (later, _) in zip(found, found[1:], strict=False)]
    assert all(TENTH <= gap <= LULL + 60 for gap in gaps)


def test_what_is_over_in_seconds_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, 1000, 0.001) == []
    assert lines(caplog, 1000, 0.1, name="") == []
    assert lines(caplog, 0, 1.0) == []


def test_a_resumed_task_has_its_own_speed(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, 100, 1.0, start=80)[0][1] == "train: 90 of 100 (90 %), 1.0 it/s, 00:10 left, loss 0.5"


def test_what_is_done_once_says_nothing_of_speed(caplog: pytest.LogCaptureFixture) -> None:
    """Two minutes of compilation, and then a group of posts each second; so on a terminal, too."""
    clock, said = Clock(), Terminal()
    with Progress("extract", 100, unit="post", cold=True, stream=said) as bar:
        assert bar._bar is not None
        for _ in range(10):
            bar._bar.start_t -= 120.0
            bar._bar.last_print_t -= 120.0
            bar.advance()
        bar.warm()
        bar._bar.start_t -= 1.0
        for _ in range(10):
            bar.advance()
        assert bar._bar.format_dict["elapsed"] == pytest.approx(1.0, abs=0.5) and bar._bar.format_dict["initial"] == 10
    with (
        caplog.at_level(logging.INFO, "mmre_jax.progress"),
        Progress("extract", 100, unit="post", cold=True, stream=io.StringIO(), clock=clock) as bar,
    ):
        for group in range(10):
            clock.now += 120.0 if not group else 1.0
            for _ in range(10):
                bar.advance()
            bar.warm()
    assert [entry.getMessage() for entry in caplog.records] == [
        "extract: 1 of 100 (1 %)",
        "extract: 51 of 100 (51 %), 8.2 post/s, 00:05 left",
    ]


def test_a_terminal_gets_a_bar_and_no_lines(caplog: pytest.LogCaptureFixture) -> None:
    stream = Terminal()
    with caplog.at_level(logging.INFO, "mmre_jax.progress"), Progress("draw", 3, stream=stream) as progress:
        for _ in range(3):
            progress.advance("loss 0.5")
    assert re.search(r"draw: 100%\|.*3/3", stream.getvalue()) and not caplog.records


def test_tracked_items_are_all_there() -> None:
    assert list(track(iter("abc"), "letters", 3)) == ["a", "b", "c"]


def test_a_program_without_standard_error_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert list(track("ab", "letters", 2)) == ["a", "b"]
