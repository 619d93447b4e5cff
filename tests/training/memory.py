"""Bytes that each device holds in a training step, by how parameters lie and what is computed again. Run by test_mesh.py, and by hand:

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python tests/training/memory.py hvformer:mnre --batch=32 --tokens=80

Nothing is computed: XLA's plan of the compiled program is read. Prints a JSON object for each mapping and train.remat: MiB of a device's
arguments (parameters, optimiser state, its part of the batch) and of its temporaries (activations, gradients, gathered parameters).
"""

import argparse
import functools
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import numpy as np  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from launch import config_file  # noqa: E402
from mmre_jax import systems  # noqa: E402
from mmre_jax.training.mesh import mesh_devices  # noqa: E402
from mmre_jax.training.optim import make_optimizer  # noqa: E402
from mmre_jax.training.state import create, split_params  # noqa: E402
from mmre_jax.training.step import make_train_step  # noqa: E402

LABELS = tuple(f"relation_{i}" for i in range(23))  # as many as MNRE has


def batch_of(system, size, tokens):
    """A batch for the task relation."""
    return {
        "text": {
            "ids": np.zeros((size, tokens), np.int32),
            "mask": np.ones((size, tokens), bool),
            "markers": np.zeros((size, 2), np.int32),
        },
        "pictures": {slot.name: np.zeros((size, slot.count, slot.side, slot.side, 3), np.uint8) for slot in system.plan},
        "present": {slot.name: np.ones((size, slot.count), bool) for slot in system.plan},
        "label": np.zeros(size, np.int32),
        "valid": np.ones(size, bool),
        "index": np.arange(size, dtype=np.int32),
    }


def compiled(config, system, devices, batch, remat):
    """The step on a mesh, of shapes alone."""

    def state_of(variables):
        trained, _ = split_params(variables["params"], config.optim.frozen)
        return create(variables, config.optim.frozen, make_optimizer(config.optim, trained, 100))

    state = jax.eval_shape(lambda: state_of(system.init(jax.random.key(0), jax.tree.map(lambda x: x[:1], batch))))
    layout = devices.layout(state.variables())
    tx = make_optimizer(config.optim, state.params, 100, layout.norm)
    step = make_train_step(system, tx, axis=layout.axis, layout=layout, remat=remat)
    mapped = devices.map(
        lambda s, b, k: step(s, b, jax.random.wrap_key_data(k)), donate=(0,), takes=("state", "records", "same"), gives=("state", "same")
    )
    key = jax.ShapeDtypeStruct((2,), np.uint32)
    return mapped.lower(devices.abstract(state), jax.eval_shape(functools.partial(jax.tree.map, jax.numpy.asarray), batch), key).compile()


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="NAME:VARIANT of a configuration for the task relation")
    parser.add_argument("--batch", type=int, default=32, help="records, over all devices")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--words", type=int, default=30522, help="rows of the word table")
    parser.add_argument("--remat", default="none,dots")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help="another setting, such as text.layers=2")
    given = parser.parse_args(argv)
    config = ConfigDict(config_file.load(given.config)[1].to_dict())
    config.update_from_flattened_dict({name: json.loads(value) for name, value in (each.split("=") for each in given.set)})
    system = systems.build(config.lock(), vocab_size=given.words, labels=LABELS)
    count = jax.device_count()
    for fsdp in (1, count):
        devices = mesh_devices(count, count // fsdp, fsdp)
        for remat in given.remat.split(","):
            found = compiled(config, system, devices, batch_of(system, given.batch, given.tokens), remat).memory_analysis()
            sizes = {"arguments": found.argument_size_in_bytes, "temporaries": found.temp_size_in_bytes}
            print(json.dumps({"fsdp": fsdp, "remat": remat, **{name: round(size / 2**20, 1) for name, size in sizes.items()}}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
