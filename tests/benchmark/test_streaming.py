"""Extraction one by one and streamed, timed on a small run."""

from mmre_jax.benchmark import streaming


def test_both_are_timed_and_told(trained):
    result = streaming.measure(trained, posts=20, rounds=1)
    [row] = result["rounds"]
    assert result["ratio"] == row["streamed"] / row["one_by_one"] > 0
    assert streaming.text(result).endswith(f"streamed is {result['ratio']:.1f} times as fast (median of 1 rounds)")
