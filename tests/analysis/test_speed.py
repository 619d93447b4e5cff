"""The benchmark: that its figures hang together and describe the real step, loader and loop; never how large they are."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import detector, hvformer
from mmre_jax.analysis import speed, speed_report
from mmre_jax.analysis.peaks import peak_of

pytestmark = pytest.mark.thorough


def tiny() -> Any:
    config = hvformer.get_config("quickstart").copy_and_resolve_references()
    with config.unlocked():
        config.text.update({"width": 8, "layers": 1, "heads": 2, "mlp": 16})
        config.system.modalities = "text"  # compiles in a third of the time
        config.data.update({"counts": (24, 2, 2), "buckets": (12, 32)})
        config.train.update({"batch": 2, "epochs": 2})
    return config.lock()


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return speed.measure(tiny(), steps=6, peak_tflops=0.5)


def test_rates_follow_from_seconds_and_shares(result: dict[str, Any]) -> None:
    about = result["about"]
    assert (about["devices"], about["batch"], about["epoch_steps"], about["objects"]) == (2, 2, 12, "none")
    assert [row["dtype"] for row in result["epoch"]] == about["dtypes"] == ["float32"]
    for epoch in result["epoch"]:
        rows = [row for row in result["steps"] if row["dtype"] == epoch["dtype"]]
        assert len(rows) > 1, "batches of several lengths"
        np.testing.assert_allclose(sum(row["share"] for row in rows), 1)
        np.testing.assert_allclose(epoch["seconds"], sum(row["share"] * row["seconds"] for row in rows))
        np.testing.assert_allclose(epoch["compile_seconds"], sum(row["compile_seconds"] for row in rows))
        for row in [*rows, epoch]:
            np.testing.assert_allclose(row["samples_per_second"], 2 / row["seconds"])
            np.testing.assert_allclose(row["gflops_per_second"], row["flops"] / row["seconds"] / 1e9)
            np.testing.assert_allclose(row["utilisation"], row["gflops_per_second"] / (2 * 500.0))
            assert row["memory_mib"] > 0
        by_length = sorted((row["tokens"], row["flops"]) for row in rows)
        assert [flops for _, flops in by_length] == sorted(flops for _, flops in by_length), "longer batches cost more"


def test_loader_and_loop(result: dict[str, Any]) -> None:
    assert all(rate > 0 for rate in result["loader"].values())
    (row,) = result["loop"]
    np.testing.assert_allclose(row["samples_per_second"], 2 * row["steps_per_second"])
    assert 0 <= row["waiting"] <= 1 and 0 <= row["lost"] < 1


class FakeTrainer:
    """Writes down when it is asked to run, and takes what it is told to take."""

    def __init__(self, dtype: str, taken: float, calls: list[tuple[str, int]]) -> None:
        self.dtype, self.taken, self.calls = dtype, taken, calls

    def seconds(self, batch: Any, steps: int) -> float:
        self.calls.append((self.dtype, steps))
        return self.taken


def test_dtypes_take_turns() -> None:
    calls: list[tuple[str, int]] = []
    found = speed._in_turns([FakeTrainer("a", 2.0, calls), FakeTrainer("b", 1.0, calls)], None, 20)
    assert found == {"a": [2.0] * 5, "b": [1.0] * 5}
    assert "".join(name for name, _ in calls) == "ab" + "abbaabbaab"
    assert {steps for _, steps in calls[2:]} == {4}


def test_ratios_by_hand() -> None:
    rounds = {16: {"a": [2.0, 4.0, 4.0], "b": [1.0, 1.0, 4.0]}, 32: {"a": [8.0, 8.0, 8.0], "b": [4.0, 2.0, 8.0]}}
    assert speed._ratios(("a", "b"), rounds, {16: 0.5, 32: 0.5}) == [
        {"dtype": "b", "tokens": 16, "times": 2.0, "low": 1.0, "high": 4.0},
        {"dtype": "b", "tokens": 32, "times": 2.0, "low": 1.0, "high": 4.0},
        {"dtype": "b", "tokens": "epoch", "times": 2.0, "low": 1.0, "high": 4.0},
    ]
    assert speed._ratios(("a",), rounds, {16: 0.5, 32: 0.5}) == []


def test_the_figures_are_json_and_text(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result)) == result
    text = speed_report.text(result)
    for part in ("cost analysis of the compiled step", "samples/s", "GFLOP/s", "utilisation", "compile s", "loader alone", "waiting"):
        assert part in text
    assert "faster than" not in text
    row = {"dtype": "bfloat16", "tokens": "epoch", "times": 1.5, "low": 1.25, "high": 1.75}
    assert "faster than float32" in speed_report.text({**result, "ratios": [row]})


def test_flops_are_those_of_all_devices() -> None:
    mapped = jax.pmap(lambda a, b: a @ b, axis_name="batch")
    a, b = jnp.ones((2, 16, 32)), jnp.ones((2, 32, 64))
    assert speed._compile(mapped, (a, b), 2, counted=True).flops == pytest.approx(2 * 2 * 16 * 32 * 64, rel=0.01)
    assert speed._compile(mapped, (a, b), 2, counted=False).flops is None


def test_peaks_by_name() -> None:
    assert peak_of("NVIDIA A100-SXM4-80GB", "bfloat16") == 312.0
    assert peak_of("NVIDIA H100 PCIe", "bfloat16") is None, "another clock than the one that is listed"
    assert peak_of("cpu", "float32") is None


def test_too_few_steps_and_unknown_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 steps"):
        speed.measure(tiny(), steps=1)
    with pytest.raises(ValueError, match="dtypes are float32, bfloat16, found float16"):
        speed.measure(tiny(), dtypes=("float16",), steps=2)


def test_a_system_without_words_is_timed() -> None:
    config = detector.get_config("quickstart").copy_and_resolve_references().unlock()
    config.vision.update({"width": 16, "layers": 1, "heads": 2, "mlp": 32, "side": 32, "stem": 8, "groups": 2})
    config.data.update({"counts": (8, 4, 4)})
    config.train.update({"batch": 4, "compilation_cache": ""})
    found = speed.measure(config.lock(), steps=2)
    assert len(found["steps"]) == len(found["loop"]) == 1 and found["loop"][0]["samples_per_second"] > 0
