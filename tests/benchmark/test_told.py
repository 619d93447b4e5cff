"""The text of a part."""

from mmre_jax.benchmark import told

MACHINE = {"device": "cpu", "threads": 2, "subnormals": "flushed"}
PART = {
    "about": {"ours": {**MACHINE, "versions": {"jax": "1"}}, "eager": {**MACHINE, "versions": {"torch": "2"}}},
    "case": {"records": 8, "tokens": 80, "parameters": 1234, "trained": 1000, "dtype": "float32"},
    "timed": {
        "step": {"ours": [2.0, 4.0, 3.0], "eager": [4.0, 4.0, 4.0]},
        "step cached": {"ours": [1.0, 1.0, 1.0], "eager": [4.0, 4.0, 4.0]},
    },
    "compile": {"step": {"ours": 20.0, "eager": 5.0}},
    "memory_mib": {"ours": 100.0, "eager": 200.0},
    "failed": {"step": "no compiler"},
}


def rows(text):
    """{(what, side): the row's other cells}."""
    cells = [line.replace("step cached", "step-cached").split() for line in text.splitlines()]
    return {(line[0], line[1]): line[2:] for line in cells if len(line) == 9 and line[0].startswith("step")}


def test_a_released_kind():
    text = told.text("hvformer", PART, ("0001", {"timed": {"step": {"ours": [6.0]}}}))
    found = rows(text)
    assert found["step", "ours"] == ["3000.000", "0.333", "-", "-", "-", "20.000", "100.000"]
    assert found["step", "eager"] == ["4000.000", "0.250", "0.750", "0.500", "1.000", "5.000", "200.000"]
    assert found["step-cached", "eager"][2:] == ["0.250", "0.250", "0.250", "-", "-"]
    assert "torch 2 on cpu, 2 threads, subnormals flushed" in text and "2.23 s a step" in text and "no compiler" in text
    assert text.endswith("times as long as in run 0001: step ours 0.50")


def test_a_system_and_its_loader():
    part = {
        "timed": {"step": {"ours": [0.5]}},
        "case": {"ours": {"records": 8, "tokens": None, "parameters": 10, "trained": 10, "dtype": "float32"}},
        "flops": {"ours": 1e10},
        "callbacks": {"ours": 0.125},
        "peak_gflops": 40.0,
        "loop": {"samples_per_second": 12.0, "waiting": 0.25},
    }
    text = told.text("qeot-quickstart", part)
    assert "16.0 samples/s, 20.0 model GFLOP/s (products of the traced program), 50.0% of 40, 12.5% of a step in callbacks" in text
    assert "12.0 samples/s, 25.0% of the time waiting for data" in text
    assert "nothing" in told.text("x", part, ("0001", {"timed": {}}))
