"""What the processor worked for a command, as the system tells it."""

import os
import time

import pytest

from mmre_jax.benchmark import commands


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the system has no /proc")
def test_the_work_of_a_process_is_that_which_it_counts_itself():
    before = time.process_time()
    found = commands._worked(os.getpid())
    assert before - 0.05 <= found <= time.process_time() + 0.05


def test_where_nothing_is_told_of_a_process_nothing_is_said():
    assert commands._worked(2**30) is None
