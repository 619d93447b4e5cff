"""What runs leave, which of them goes on, and with which one a run is compared."""

import pytest

from mmre_jax.benchmark import kept

ABOUT = {"commits": {"ours": "abc"}, "machine": "m", "cores": 2, "sizes": {"batch": 8}, "settings": {"rounds": 3}}


def part(**seconds):
    return {"timed": {"step": {side: [value] for side, value in seconds.items()}}}


def run(root, about, parts):
    """The folder of a run, and what it told of each part."""
    folder, told = kept.open_run(root, about), {}
    kept.measure(folder, {name: lambda found=found: found for name, found in parts.items()}, told.__setitem__)
    return folder, told


def test_a_stopped_run_goes_on_with_what_it_has(tmp_path):
    def stopped():
        raise KeyboardInterrupt

    folder = kept.open_run(tmp_path, ABOUT)
    with pytest.raises(KeyboardInterrupt):
        kept.measure(folder, {"a": lambda: part(ours=1.0), "b": stopped}, lambda *_: None)
    assert run(tmp_path, ABOUT, {"a": part(ours=9.0), "b": part(ours=2.0)}) == (folder, {"a": part(ours=1.0), "b": part(ours=2.0)})
    assert kept.open_run(tmp_path, ABOUT).name == "0002", "one that has ended does not"
    assert kept.open_run(tmp_path, {**ABOUT, "cores": 4}).name == "0003", "nor one about something else"
    changed = {**ABOUT, "commits": {"ours": "abc+"}}
    assert [kept.open_run(tmp_path, changed).name for _ in range(2)] == ["0004", "0005"], "nor one of files that may have changed since"


def test_a_run_is_compared_with_the_last_one_of_its_machine_and_sizes(tmp_path):
    run(tmp_path, ABOUT, {"a": part(ours=2.0, eager=1.0)})
    run(tmp_path, {**ABOUT, "sizes": {"batch": 256}}, {"a": part(ours=50.0)})
    folder, told = run(tmp_path, {**ABOUT, "commits": {"ours": "def"}}, {"a": part(ours=1.0, eager=1.0), "b": part(ours=1.0)})
    assert kept.last(tmp_path, folder, "b") is None
    name, before = kept.last(tmp_path, folder, "a")
    assert name == "0001" and kept.against(told["a"], before) == {"step": {"ours": 0.5, "eager": 1.0}}
    assert kept.against(told["a"], {"timed": {"infer": {"ours": [1.0]}}}) == {}
