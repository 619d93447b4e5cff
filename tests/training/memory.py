"""Bytes that each device holds in a training step, by how parameters lie and what is computed again. Run by test_mesh.py, and by hand:

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python tests/training/memory.py hvformer:mnre --batch=32 --tokens=80

Nothing is computed: XLA's plan of the compiled program is read. Prints a JSON object for each mapping and train.remat: MiB of a device's
arguments (parameters, optimiser state, its part of the batch) and of its temporaries (activations, gradients, gathered parameters).
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from launch import config_file  # noqa: E402
from mmre_jax.planning.stand_in import stand_in  # noqa: E402
from mmre_jax.training.job import sample, shapes  # noqa: E402
from mmre_jax.training.mesh import mesh_devices  # noqa: E402
from mmre_jax.training.starting import state_of  # noqa: E402
from mmre_jax.training.step import mapped_step  # noqa: E402

STEPS = 100  # of the whole run: the schedule's constants, on which nothing here depends


def compiled(job, devices, batch, tokens):
    """The step on a mesh, of shapes alone."""
    state = jax.eval_shape(lambda variables: state_of(job, variables, STEPS), shapes(job))
    mapped, key = mapped_step(job, devices, state, STEPS)
    records = jax.tree.map(lambda x: jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype), sample(job, tokens))
    return mapped.lower(devices.abstract(state), records, key).compile()


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="NAME:VARIANT of a configuration")
    parser.add_argument("--batch", type=int, default=32, help="records, over all devices")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--words", type=int, default=0, help="rows of the word table; 0: those of the papers' weights")
    parser.add_argument("--remat", default="none,dots")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help="another setting, such as text.layers=2")
    given = parser.parse_args(argv)
    config = ConfigDict(config_file.load(given.config)[1].to_dict())
    config.update_from_flattened_dict({name: json.loads(value) for name, value in (each.split("=") for each in given.set)})
    count = jax.device_count()
    for fsdp in (1, count):
        devices = mesh_devices(count, count // fsdp, fsdp)
        for remat in given.remat.split(","):
            config.train.remat = remat
            job = stand_in(ConfigDict(config.to_dict()).lock(), vocabulary=given.words).job
            found = compiled(job, devices, given.batch, given.tokens).memory_analysis()
            sizes = {"arguments": found.argument_size_in_bytes, "temporaries": found.temp_size_in_bytes}
            print(json.dumps({"fsdp": fsdp, "remat": remat, **{name: round(size / 2**20, 1) for name, size in sizes.items()}}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
