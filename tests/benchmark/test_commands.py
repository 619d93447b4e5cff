"""What the processor worked for a command, as the system tells it."""

import os
import time

import pytest

from mmre_jax.benchmark import commands
from mmre_jax.benchmark.lines import SideError
from mmre_jax.benchmark.parts import BEFORE, OURS, Trees


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the system has no /proc")
def test_the_work_of_a_process_is_that_which_it_counts_itself():
    before = time.process_time()
    found = commands._worked(os.getpid())
    assert before - 0.05 <= found <= time.process_time() + 0.05


def test_where_nothing_is_told_of_a_process_nothing_is_said():
    assert commands._worked(2**30) is None


def test_both_checkouts_train_with_the_settings_and_only_this_one_with_its_changes(tmp_path, monkeypatch):
    asked = {}

    class Ended:
        def poll(self):
            return 1

        kill = poll

    def begin(checkout, arguments, log):
        asked[checkout] = arguments
        return Ended()

    monkeypatch.setattr(commands, "_begin", begin)
    trees = Trees("here", "there", {"text.layers": 2})
    for side in (OURS, BEFORE):
        with pytest.raises(SideError, match="before its first step"):
            commands.first_step(trees, side, "hvformer:minilm", tmp_path, {"data.root": "DIR"})
    for checkout, changed in (("here", True), ("there", False)):
        assert {"--config=hvformer:minilm", "--config.data.root=DIR", "--config.train.max_steps=2"} <= set(asked[checkout])
        assert ("--config.text.layers=2" in asked[checkout]) == changed
