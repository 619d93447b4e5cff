"""The benchmark of the matching: that its figures hang together and describe real steps; never how large they are."""

import json
from typing import Any

import numpy as np
import pytest

from configs import hvformer, qeot
from mmre_jax.analysis import matching_speed
from mmre_jax.matching import MATCHERS

pytestmark = pytest.mark.thorough


def tiny() -> Any:
    config = qeot.get_config("quickstart").copy_and_resolve_references()
    with config.unlocked():
        config.text.update({"width": 8, "layers": 1, "heads": 2, "mlp": 16})
        config.system.update({"modalities": "text", "encoder_layers": 0, "decoder_layers": 2, "heads": 2, "mlp": 16, "queries": 3})
        config.data.update({"counts": (24, 2, 2), "buckets": (32,)})
        config.train.update({"batch": 4, "epochs": 2})
    return config.lock()


class FakeTrainer:
    """Takes no time to compile, half a second a step with scipy and a quarter with optax."""

    def __init__(self, setup: Any, dtype: str, start: Any, examples: Any) -> None:
        self.taken = {"scipy": 0.5, "optax": 0.25}[setup.job.config.system.matcher]

    def seconds(self, batch: Any, steps: int) -> float:
        return self.taken


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching_speed, "Trainer", FakeTrainer)
        share = matching_speed.step_share(tiny(), 2)
    return {**matching_speed.measure([(2, 3, 4), (1, 5, 2)], calls=3), "share": share}


def test_a_row_for_every_size(result: dict[str, Any]) -> None:
    assert [(row["batch"], row["queries"], row["targets"]) for row in result["calls"]] == [(2, 3, 4), (1, 5, 2)]
    for row in result["calls"]:
        assert all(row[f"{name}_ms"] > 0 for name in MATCHERS)
        assert 0 < row["low"] <= row["times"] <= row["high"]


def test_the_share_is_of_the_step_with_that_matcher(result: dict[str, Any]) -> None:
    about, rows = result["share"]["about"], result["share"]["steps"]
    expected = {"devices": 2, "global_batch": 4, "tokens": 32, "layers": 2, "batch": 2, "queries": 3, "targets": 4}
    assert {name: about[name] for name in expected} == expected
    assert [row["matcher"] for row in rows] == list(MATCHERS)
    for row, taken in zip(rows, (500.0, 250.0), strict=True):
        assert row["step_ms"] == taken
        assert 0 < row["low"] <= row["share"] <= row["high"]
    assert result["share"]["ratio"] == {"times": 0.5, "low": 0.5, "high": 0.5}


@pytest.mark.slow
def test_real_steps_are_timed() -> None:
    for row in matching_speed.step_share(tiny(), 2)["steps"]:
        assert 0 < row["match_ms"] < row["step_ms"]


def test_the_figures_are_json_and_text(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result)) == result
    text = matching_speed.text(result)
    for part in ("scipy_ms", "optax_ms", "times", "qeot on 2 x cpu", "2 x 2 x 3 queries x 4 targets", "match_ms", "a step with optax"):
        assert part in text
    assert "a step with optax" not in matching_speed.text({name: result[name] for name in ("about", "calls")})


def test_all_take_turns() -> None:
    calls: list[tuple[str, int]] = []

    def fake(name: str, taken: float) -> Any:
        return lambda count: calls.append((name, count)) or taken

    found = matching_speed.in_turns({"a": fake("a", 2.0), "b": fake("b", 1.0)}, 20)
    np.testing.assert_array_equal(found["a"], [2.0] * 5)
    np.testing.assert_array_equal(found["b"], [1.0] * 5)
    assert "".join(name for name, _ in calls) == "ab" + "abbaabbaab"
    assert {count for _, count in calls[2:]} == {4}


def test_ratios_and_shares_by_hand() -> None:
    rounds = {"scipy": np.array([1.0, 2.0, 4.0]), "optax": np.array([2.0, 2.0, 2.0])}
    assert matching_speed._times(rounds) == {"times": 1.0, "low": 0.5, "high": 2.0}
    assert matching_speed._share_row("scipy", np.array([0.5, 0.5, 1.0]), np.array([0.125, 0.25, 0.125])) == {
        **{"matcher": "scipy", "step_ms": 500.0, "match_ms": 125.0},
        **{"share": 0.25, "low": 0.125, "high": 0.5},
    }


@pytest.mark.parametrize("matcher", tuple(MATCHERS))
def test_stress_counts_what_it_matched(matcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = matching_speed.stress(5, matcher, batch=2, queries=3, targets=4)
    assert (found["matcher"], found["devices"], found["steps"]) == (matcher, 2, 5) and found["steps_per_second"] > 0
    match = matching_speed.match
    monkeypatch.setattr(matching_speed, "match", lambda cost, valid, name: match(cost, valid, name).at[0].set(-1))
    with pytest.raises(RuntimeError, match=f"{matcher}: .* targets were matched in 5 steps"):
        matching_speed.stress(5, matcher, batch=2, queries=3, targets=4)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="hvformer does not match anything"):
        matching_speed.step_share(hvformer.get_config("quickstart"))
    with pytest.raises(ValueError, match="at least 1 call"):
        matching_speed.measure(calls=0)
