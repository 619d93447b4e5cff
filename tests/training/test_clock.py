"""How fast a run trains, on a clock that the test turns."""

from __future__ import annotations

import pytest

from mmre_jax.training.clock import Clock


def test_steps_and_waiting_are_timed_but_for_those_skipped(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("mmre_jax.training.clock.time.perf_counter", lambda: now[0])
    clock = Clock(skip=2)
    for waited, worked in ((5.0, 60.0), (5.0, 60.0), (1.0, 1.0), (0.5, 2.5), (0.0, 3.0)):
        with clock.step():
            with clock.waiting():
                now[0] += waited
            now[0] += worked
        now[0] += 100.0  # evaluating and saving are no part of a step
    speed = {"steps_per_second": 3 / 8, "records_per_second": 6.0, "waiting_for_data": 1.5 / 8}
    assert clock.speed(16) == pytest.approx(speed)


def test_of_a_run_that_only_compiled_there_is_no_speed():
    clock = Clock(skip=2)
    with clock.step():
        pass
    assert clock.speed(16) == {}
