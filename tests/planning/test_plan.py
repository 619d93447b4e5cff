"""Whole plans of small systems."""

import importlib.util

import pytest

from configs import hvformer, qeot
from mmre_jax.planning import plan as plan_lib
from mmre_jax.planning import told
from mmre_jax.planning.chips import PlanError
from mmre_jax.planning.plan import out_of_memory, plan

pytestmark = pytest.mark.thorough

SMALL = {"width": 32, "layers": 2, "heads": 2, "mlp": 64}


def small(module):
    config = module.get_config("quickstart").copy_and_resolve_references().unlock()
    config.text.update(SMALL)
    config.vision.update({**SMALL, "side": 32, "stem": 8, "groups": 2})
    config.system.heads = 2
    config.data.update({"counts": (32, 4, 4), "buckets": (32,)})
    return config


@pytest.fixture(scope="module")
def lowered():
    config = small(qeot)
    config.system.matcher = "optax"
    return plan(config.lock(), "cuda:8", mesh="4,2")


def test_a_step_for_gpus_is_lowered_and_its_memory_left_open(lowered):
    about, memory = lowered["about"], lowered["memory"]
    assert (about["chips"], about["mesh"], about["per_chip"]) == (8, {"data": 4, "fsdp": 2}, 4)
    assert memory["fits"] is None and "temporaries" not in memory and lowered["flops"]["compiler"] is None
    assert {row["kind"] for row in lowered["collectives"]} == {"all-reduce", "all-gather", "reduce-scatter"}
    assert [(row["chip"], row["chips"]) for row in lowered["bounds"]] == [(name, n) for name in ("A100", "H100") for n in (8, 64, 256)]
    assert "cannot be known here" in told.text(lowered)


def test_parameters_that_are_split_take_a_share_of_each_chip(lowered):
    """Half of every array of 1024 numbers or more that divides; the optimiser has two numbers for each parameter that is trained."""
    whole = 4 * lowered["parameters"]["all"]
    assert whole / 2 <= lowered["memory"]["parameters"] < 0.55 * whole
    assert lowered["memory"]["optimiser"] == pytest.approx(2 * lowered["memory"]["parameters"], rel=1e-3)
    assert lowered["moved"] == 2 * (lowered["memory"]["parameters"] + lowered["memory"]["optimiser"])


def test_gradients_are_gathered_and_scattered_as_they_lie(lowered):
    """The gradient of each array that is split is scattered once, whole. Its half is gathered in the forward pass, and again in the
    backward one where that needs it, which it does not of biases."""
    sizes = {row["kind"]: row["bytes"] for row in lowered["collectives"] if row["group"] == 2}
    split = 2 * (4 * lowered["parameters"]["all"] - lowered["memory"]["parameters"])
    assert sizes["reduce-scatter"] == split
    assert 0.9 * split < sizes["all-gather"] <= split


def test_a_step_that_calls_the_host_is_not_lowered_for_gpus():
    config = small(qeot)
    with pytest.raises(PlanError, match="system.matcher=optax"):
        plan(config.lock(), "cuda:8")


def test_a_batch_that_does_not_spread():
    config = small(hvformer)
    config.train.batch = 12
    with pytest.raises(PlanError, match="train.batch=12 does not divide over 8 chips: give --config.train.batch, or --per-chip=N") as error:
        plan(config.lock(), "cuda:8")
    assert "\n" not in str(error.value)
    found = plan(config.lock(), "cuda:8", per_chip=4)
    assert found["about"]["batch"] == 32 and found["about"]["batch_is_not_train_batch"] == "train.batch=12 does not divide over 8 chips"
    assert "32, 4 a chip (train.batch=12 does not divide over 8 chips)" in told.text(found)
    config.optim.accumulate = 3
    with pytest.raises(PlanError, match="--per-chip=4 does not divide into optim.accumulate=3 parts"):
        plan(config.lock(), "cuda:8", per_chip=4)


def test_a_length_is_one_of_the_buckets():
    with pytest.raises(PlanError, match=r"--tokens=20 is none of data.buckets=\(32,\)"):
        plan(small(hvformer).lock(), "cuda:8", tokens=20)


def test_accumulated_parts_count_as_often_as_there_are(lowered):
    """Half the batch twice is as many FLOPs."""
    config = small(qeot)
    config.system.matcher, config.optim.accumulate = "optax", 2
    found = plan(config.lock(), "cuda:8", mesh="4,2")
    assert found["flops"]["products"] == pytest.approx(lowered["flops"]["products"], rel=1e-6)


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(plan_lib.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PlanError, match=r"needs the compiler of TPUs, which is not installed: pip install 'mmre_jax\[tpu\]'") as error:
        plan(small(hvformer).lock(), "v5e:2x2")
    assert "\n" not in str(error.value)


def test_running_out_of_memory_is_told_from_other_errors():
    said = (
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20.83G of 15.75G hbm. "
        "Exceeded hbm capacity by 5.08G.\n\nTotal hbm usage >= 21.08G:\n"
    )
    assert out_of_memory(said).endswith("in memory space hbm. Used 20.83G of 15.75G hbm. Exceeded hbm capacity by 5.08G.")
    other = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the memory required for HLO temporaries (362.29G) exceeds available HBM (15.75G)."
    )
    assert out_of_memory(other) == other.partition(": ")[2]
    assert out_of_memory("INTERNAL: something else") is None


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no compiler of TPUs: pip install 'mmre_jax[tpu]'")
def test_a_small_system_compiles_for_a_tpu():
    found = plan(small(hvformer).lock(), "v5e:2x2", mesh="2,2")
    memory = found["memory"]
    assert memory["fits"] and memory["hbm"] == 16 * 2**30 and 0 < memory["total"] < 2**30
    assert memory["program"] > 0 and memory["padding"] >= 0  # so small a program keeps what is temporary beside its units
    assert found["flops"]["compiler"] > 0.5 * found["flops"]["products"] > 0
    assert {"all-gather", "all-reduce"} <= {row["kind"] for row in found["collectives"]}
    assert [(row["chip"], row["chips"]) for row in found["bounds"]] == [("v5e", n) for n in (4, 8, 64, 256)]
    assert "fits: " in told.text(found)
    with pytest.raises(PlanError, match="--topology=v5e:3x7"):
        plan(small(hvformer).lock(), "v5e:3x7", per_chip=1)


def test_several_plans_are_one_table(lowered):
    lines = told.markdown({"one": lowered, "other": lowered}).splitlines()
    assert len(lines) == 4 and len({line.count(" | ") for line in lines}) == 1
    assert lines[2].startswith("| one: qeot, scenes | cuda:8 | 32 (4) | 32 | unknown | ") and lines[3].startswith("| other: qeot")
