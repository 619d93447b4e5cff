"""A mesh computes what pmap does, on any number of devices, and its checkpoints are those of pmap."""

import json
import logging
import os
import pathlib
import re
import shutil
import subprocess
import sys

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from on_devices import SYSTEMS, Plain
from toy import ToyNet, ToySystem

from configs import hvformer
from mmre_jax import systems
from mmre_jax.training.checkpoint import FOLDER, Checkpoints
from mmre_jax.training.interrupt import Interrupted
from mmre_jax.training.log import read_rows
from mmre_jax.training.mesh import WHOLE, MeshDevices, mesh_devices
from mmre_jax.training.parallel import open_devices
from mmre_jax.training.step import mapped_step
from mmre_jax.training.train import NonFiniteError, train

pytestmark = pytest.mark.thorough

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
TOLERANCE = 1e-5
VARIATIONS = {"qeot", "qeot_frozen", "detector_global"}  # of systems that take part with global statistics, or without


def on_devices(folder, names, *mappings, processes=1, devices=8):
    """What on_devices.py prints in so many processes, each of so many simulated devices."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=2", f"device_count={devices}")
    launcher = ["-m", "launch.local", f"--processes={processes}", f"--devices={devices}", "--"] if processes > 1 else []
    command = [sys.executable, *launcher, str(HERE / "on_devices.py"), str(folder), ",".join(names), *mappings]
    environment = {**os.environ, "XLA_FLAGS": flags}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in re.findall(r"^(?:\[0\] )?(\{.*\})$", result.stdout, re.M)]  # gloo talks, too


def assert_same(found, names, mappings):
    assert [(row.pop("system"), row.pop("mapping")) for row in found] == [(name, mapping) for name in names for mapping in mappings]
    for mapping, row in zip([*mappings] * len(names), found, strict=True):
        held = row.pop("held")
        fsdp = int(mapping.partition("x")[2] or 1)
        assert 1 / fsdp <= held < 1 / fsdp + 0.05, "a device holds its part of the parameters, and no more"
        assert max(row.values()) <= TOLERANCE, (mapping, row)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["toy", "toy_statistics"])
def test_a_toy_has_the_same_gradients_however_it_is_mapped(tmp_path, name):
    # With statistics of the batch there is dropout, too, and that differs by device.
    mappings = ["pmap:8", "mesh:2x1", "mesh:8x1", "mesh:4x2", "mesh:2x4", "mesh:1x8"]
    first = "pmap:1"
    if name == "toy_statistics":
        mappings, first = ["mesh:8x1", "mesh:2x4", "mesh:1x8"], "pmap:8"
    assert_same(on_devices(tmp_path, [name], first, *mappings), [name], mappings)


@pytest.mark.processes
def test_every_system_has_the_same_gradients_in_two_processes(tmp_path):
    """Each system and task, QEOT with its callback and statistics of all devices; `make processes`."""
    names, mappings = [name for name in SYSTEMS if name not in VARIATIONS], ["pmap:4", "mesh:2x2"]
    assert on_devices(tmp_path, names, "pmap:1", devices=1) == []
    assert_same(on_devices(tmp_path, names, *mappings, processes=2, devices=2), names, mappings)


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_each_system_has_the_same_gradients_however_it_is_mapped(tmp_path, name):
    mappings = ["pmap:2", "pmap:4", "pmap:8", "mesh:2x1", "mesh:2x2", "mesh:2x4"]
    assert_same(on_devices(tmp_path, [name], "pmap:1", *mappings), [name], mappings)
    mappings = ["pmap:4", "mesh:2x2"]
    assert_same(on_devices(tmp_path, [name], *mappings, processes=2, devices=2), [name], mappings)


@pytest.mark.slow
def test_a_mesh_saves_memory():
    """By what XLA plans for each of eight devices; the sizes of the papers are in memory.py's reach, and take minutes to compile."""
    sizes = {"text.width": 128, "text.layers": 3, "text.heads": 4, "text.mlp": 512, "text.dropout": 0, "text.attention_dropout": 0}
    sizes |= {"vision.width": 128, "vision.layers": 3, "vision.heads": 4, "vision.mlp": 512, "system.heads": 4}
    changes = [f"--set={name}={value}" for name, value in sizes.items()]
    flags = os.environ["XLA_FLAGS"].replace("device_count=2", "device_count=8")
    command = [sys.executable, str(HERE / "memory.py"), "hvformer:mnre", "--tokens=48", "--words=2000", "--remat=none", *changes]
    result = subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True, timeout=600, check=True)
    found = {(row["fsdp"], row["remat"]): row for row in map(json.loads, result.stdout.splitlines())}
    assert found[8, "none"]["arguments"] < found[1, "none"]["arguments"] / 4, found


def config(**changes):
    found = hvformer.get_config("quickstart").copy_and_resolve_references()
    with found.unlocked():
        found.system.name = "toy"
        found.data.update({"counts": (48, 12, 10), "buckets": (32,), "threads": 1})
        found.vision.update({"width": 16, "heads": 2, "layers": 1, "mlp": 16})
        found.train.update({"batch": 8, "eval_batch": 8, "epochs": 2, "log_every": 2, "compilation_cache": ""})
        found.update_from_flattened_dict(changes)
    return found.lock()


MESH = {"parallel.mapping": "mesh", "parallel.mesh.fsdp": 2}


@pytest.fixture(autouse=True)
def toy_system(monkeypatch):
    """Under the name 'toy', with dropout and batch statistics."""
    monkeypatch.setitem(systems.BUILDERS, "toy", lambda config, *, vocab_size, labels, dtype: ToySystem(ToyNet(len(labels))))


def arrays(workdir, step):
    with Checkpoints(workdir / FOLDER, read_only=True) as checkpoints:
        restored = checkpoints._manager.restore(step)
    return jax.tree.map(np.asarray, (restored["variables"], restored["optimiser"]))


def equal(a, b, tolerance=0.0):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def losses(workdir):
    return [row["train"]["loss"] for row in read_rows(workdir) if "train" in row]


def test_a_run_on_a_mesh_resumes_bit_identically_and_changes_to_pmap_and_back(tmp_path):
    whole = train(config(**MESH), tmp_path / "whole")
    train(config(), tmp_path / "pmap")
    np.testing.assert_allclose(losses(tmp_path / "whole"), losses(tmp_path / "pmap"), rtol=TOLERANCE)
    with pytest.raises(Interrupted):
        train(config(**MESH, **{"train.max_steps": 6}), tmp_path / "stopped")
    equal(arrays(tmp_path / "stopped", 6), arrays_of_resumed(tmp_path, config()))
    assert train(config(**MESH), tmp_path / "stopped")["test"] == whole["test"]
    equal(arrays(tmp_path / "stopped", 12), arrays(tmp_path / "whole", 12))
    np.testing.assert_allclose(losses(tmp_path / "changed"), losses(tmp_path / "pmap"), rtol=TOLERANCE)


@pytest.mark.parametrize(
    ("first", "then", "devices"),
    [
        ({}, MESH, 2),
        (MESH, {"parallel.devices": 1}, 1),
        ({}, {"parallel.mapping": "mesh", "parallel.devices": 1}, 1),
    ],
    ids=["pmap to mesh", "mesh to one device", "pmap to a mesh of one device"],
)
def test_without_dropout_a_run_goes_on_on_other_devices_with_the_same_losses(tmp_path, caplog, monkeypatch, first, then, devices):
    monkeypatch.setitem(systems.BUILDERS, "toy", lambda config, *, vocab_size, labels, dtype: Plain(ToyNet(len(labels))))
    whole = train(config(**first), tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config(**first, **{"train.max_steps": 7}), tmp_path / "run")
    with caplog.at_level(logging.INFO, "mmre_jax"):
        found = train(config(**then), tmp_path / "run")
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(tmp_path / "whole"), rtol=TOLERANCE)
    equal(arrays(tmp_path / "run", 12)[0], arrays(tmp_path / "whole", 12)[0], TOLERANCE)
    assert found["test"]["micro"] == whole["test"]["micro"]
    assert ("its losses stay those of an unchanged run to 1e-5" in caplog.text) == (devices != 2)


def arrays_of_resumed(tmp_path, other):
    """A copy of the stopped run that goes on in another mapping to its end; returns the state that it went on from."""
    shutil.copytree(tmp_path / "stopped", tmp_path / "changed")
    seen = []

    def watched(job, devices, state, total_steps):
        seen.append(jax.tree.map(np.array, devices.first(state)))
        return mapped_step(job, devices, state, total_steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmre_jax.training.train.mapped_step", watched)
        train(other, tmp_path / "changed")
    state = flax.serialization.to_state_dict(seen[0])
    return flax.serialization.to_state_dict(seen[0].variables()), {name: state[name] for name in ("step", "failed", "opt_state")}


def test_a_state_that_failed_on_a_mesh_is_saved_for_inspection(tmp_path):
    with pytest.raises(NonFiniteError, match=r"step \d: the loss or its gradient is not finite"):
        train(config(**MESH, **{"optim.lr": 1e30, "optim.clip": 0.0, "optim.warmup": 0.0}), tmp_path)
    with Checkpoints(tmp_path / "non_finite", read_only=True) as checkpoints:
        variables = checkpoints.read_variables(checkpoints.latest())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


def test_the_longest_axis_that_divides_is_split():
    devices = mesh_devices(2, 1, 2, least=4)
    axes = devices.layout({"params": {"a": {"x": np.zeros((3, 4, 6)), "y": np.zeros((3, 5)), "z": np.zeros(2), "s": np.zeros(())}}}).axes
    assert axes == {"a": {"x": 2, "y": WHOLE, "z": WHOLE, "s": WHOLE}}
    assert mesh_devices(2, 2, 1).layout({"params": {"a": np.zeros((64, 64))}}).axes == {"a": WHOLE}


def test_a_mesh_that_there_are_no_devices_for_is_refused(tmp_path):
    assert isinstance(open_devices(config(**MESH).parallel), MeshDevices) and open_devices(config(**MESH).parallel).count == 2
    for changes, message in (
        ({"parallel.mesh.fsdp": 4}, r"parallel.mesh: data=as many as fit times fsdp=4 are not the 2 devices there are"),
        ({"parallel.mesh.data": 2}, r"parallel.mesh: data=2 times fsdp=2 are not the 2 devices"),
        ({"parallel.devices": 3}, "parallel.devices=3, but process 0 has 2"),
        ({"train.batch": 7}, r"train.batch=7 does not divide over 2 device\(s\)"),
    ):
        with pytest.raises(ValueError, match=message):
            train(config(**{**MESH, **changes}), tmp_path)
    with pytest.raises(ValueError, match="7 records does not divide over 2"):
        mesh_devices(2).shard({"x": np.zeros((7, 2))})


def count(jaxpr, name):
    """Equations of a primitive in a program and in those inside it."""
    found = 0
    for equation in jaxpr.eqns:
        found += equation.primitive.name == name
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            found += count(inner, name) if hasattr(inner, "eqns") else 0
    return found


def test_the_backward_pass_gathers_again_what_it_needs():
    devices = mesh_devices(2, 1, 2, least=8)
    params = {"a": {"kernel": np.ones((4, 8), np.float32)}, "b": {"kernel": np.ones((8, 4), np.float32), "bias": np.ones(4, np.float32)}}

    layout = devices.layout({"params": params})
    assert layout.axes == {"a": {"kernel": 1}, "b": {"kernel": 0, "bias": WHOLE}}

    def gradient(variables, x):
        def loss(params):
            whole = layout.gather({"params": params})["params"]
            return jnp.sum(jnp.tanh(x @ whole["a"]["kernel"]) @ whole["b"]["kernel"] + whole["b"]["bias"][None])

        return {"params": jax.grad(layout.regathering(loss))(variables["params"])}

    mapped = devices.map(gradient, takes=("state", "records"), gives="state")
    program = jax.make_jaxpr(mapped)({"params": params}, np.ones((2, 4), np.float32))
    assert count(program.jaxpr, "all_gather") == 3, "both kernels once, and the second, which the gradient passes, once more"
    assert count(program.jaxpr, "reduce_scatter") == 2
