"""The arithmetic, by examples worked by hand."""

import dataclasses

import pytest

from mmre_jax.planning.bounds import Work, bound, scaled, seconds
from mmre_jax.planning.chips import Chip
from mmre_jax.planning.hlo import Collective

CHIP = Chip("toy", "toy", hbm=16, bandwidth=100.0, link=10.0, source="made up")
BOX = dataclasses.replace(CHIP, node=8, beyond=1.0)


def test_each_kind_of_collective():
    """800 bytes on each of 4 chips that send 10 bytes a second."""
    found = {kind: seconds(Collective(kind, 1, 800, 4, True), 4, CHIP) for kind in ("all-reduce", "all-gather", "reduce-scatter")}
    assert found == {"all-reduce": 120.0, "all-gather": 240.0, "reduce-scatter": 60.0}
    assert seconds(Collective("collective-permute", 1, 800, 4, True), 4, CHIP) == 80.0
    assert seconds(Collective("all-to-all", 1, 800, 4, True), 4, CHIP) == 60.0
    assert seconds(Collective("all-reduce", 1, 800, 4, True), 1, CHIP) == 0.0


def test_a_gather_and_a_scatter_are_a_reduce():
    """An all-reduce is a reduce-scatter of S and an all-gather of the parts, S / n each."""
    whole = seconds(Collective("all-reduce", 1, 800, 4, True), 4, CHIP)
    parts = seconds(Collective("reduce-scatter", 1, 800, 4, True), 4, CHIP) + seconds(Collective("all-gather", 1, 200, 4, True), 4, CHIP)
    assert whole == parts


def test_beyond_a_machine_its_adapters_count():
    """16 chips are 2 machines of 8 whose adapters send 8 bytes a second together: 2 * 800 * (1/2) / 8 = 100 s for an all-reduce, less than
    the 2 * 800 * (7/8) / 10 = 140 s inside. Of an all-gather a machine sends 8 * 800 bytes to the other: 800 s, more than 560."""
    assert seconds(Collective("all-reduce", 1, 800, 16, True), 16, BOX) == 140.0
    assert seconds(Collective("all-reduce", 1, 800, 16, True), 16, dataclasses.replace(BOX, beyond=0.5)) == 200.0
    assert seconds(Collective("all-gather", 1, 800, 16, True), 16, BOX) == 800.0


def test_the_longest_of_the_three_bounds_a_step():
    """10 s of compute, 4 s of memory, 5 s of links, when planned for 2 chips; an all-reduce among 8 takes 8.75 s."""
    work = Work(flops=1000.0, moved=400.0, collectives=[Collective("all-reduce", 3, 50, 2, True)], chips=2, fsdp=1, records=4)
    two = bound(work, CHIP, 2, flops=100.0)
    assert (two.compute, two.memory, two.links) == (10.0, 4.0, 5.0)
    assert (two.steps_per_second, two.records_per_second) == (0.1, 0.8)
    assert two.efficiency == pytest.approx(10 / 15)
    eight = bound(work, CHIP, 8, flops=100.0)
    assert (eight.links, eight.records_per_second) == (8.75, 3.2)
    assert eight.efficiency == pytest.approx(10 / 18.75)
    slow = bound(work, dataclasses.replace(CHIP, link=1.0), 2, flops=100.0)
    assert (slow.links, slow.steps_per_second) == (50.0, 0.02)


def test_groups_along_fsdp_do_not_grow():
    gathered = Collective("all-gather", 1, 100, 4, False)
    reduced = Collective("all-reduce", 1, 100, 2, True)
    assert (scaled(gathered, 8, 64), scaled(reduced, 8, 64), scaled(reduced, 8, 8)) == (4, 16, 2)
    work = Work(1.0, 1.0, [gathered, reduced], chips=8, fsdp=4, records=1)
    assert bound(work, CHIP, 6, flops=1.0) is None
    assert bound(work, CHIP, 64, flops=1.0).links == pytest.approx(30.0 + 2 * 100 * 15 / 16 / 10)
