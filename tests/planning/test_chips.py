"""Names of topologies and meshes, and the published rates."""

import pytest

from mmre_jax.planning.chips import GPUS, TPUS, PlanError, read_mesh, read_topology


def test_a_topology_says_its_chips():
    found = read_topology("v5p:2x2x2")
    assert (found.platform, found.count, [chip.name for chip in found.chips]) == ("tpu", 8, ["v5p"])
    assert read_topology("v5e:4x4").count == 16
    assert (read_topology("cuda:8").count, read_topology("cuda:8").chips) == (8, GPUS)


@pytest.mark.parametrize("written", ["v5e", "v5e:", "v5e:16", "v5e:2x2x2", "v5p:4x4", "v5e:0x4", "cuda:2x2", "cuda:0", "v7:2x2", "tpu:4"])
def test_another_topology_is_told_the_known_ones(written):
    with pytest.raises(PlanError, match="known are v4:AxBxC, v5e:AxB, v5p:AxBxC and v6e:AxB") as error:
        read_topology(written)
    assert "\n" not in str(error.value) and written in str(error.value)


def test_a_mesh_has_as_many_places_as_there_are_chips():
    assert read_mesh("4,4", 16) == (4, 4)
    assert read_mesh("0,2", 16) == (8, 2)
    with pytest.raises(PlanError, match="data=4 times fsdp=2 are not the 16 chips"):
        read_mesh("4,2", 16)
    with pytest.raises(PlanError, match="data=as many as fit times fsdp=3"):
        read_mesh("0,3", 16)
    with pytest.raises(PlanError, match="is not DATA,FSDP"):
        read_mesh("16", 16)


def test_flops_by_dtype_and_precision():
    """A TPU makes 3 and 6 passes of bfloat16 for float32 products of high and highest precision; a GPU has units of its own."""
    v5e, h100 = TPUS["v5e"], GPUS[1]
    assert v5e.flops("float32", "default") == v5e.flops("bfloat16", "highest") == 197e12
    assert v5e.flops("float32", "high") == 197e12 / 3
    assert v5e.flops("float32", "highest") == 197e12 / 6
    assert [h100.flops("float32", precision) for precision in ("default", "high", "highest")] == [494.7e12, 494.7e12, 66.9e12]
    assert TPUS["v5p"].flops("float32", "default") == 459e12
    assert all(chip.flops("bfloat16", "default") > 0 and chip.source for chip in (*TPUS.values(), *GPUS))
