"""One training step of small systems in several mappings, on as many simulated devices as XLA_FLAGS says: run by test_mesh.py.

    python on_devices.py [--distributed=HOST:PORT,PROCESSES,ID] FOLDER SYSTEM,SYSTEM,... MAPPING MAPPING ...

A mapping is pmap:DEVICES or mesh:DATAxFSDP, devices of all processes. Prints a JSON object for each system and mapping: how much its
gradients, metrics and predictions differ from those in FOLDER, relative to the largest number of each array. What is not there is written
first, from the first mapping, which is compared with nothing.
"""

import json
import pathlib
import pickle
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(pathlib.Path(__file__).parent)]

import jax  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from toy import ToyNet, ToySystem  # noqa: E402

from configs import adapted, detector, dgf_pt, hvformer, ifaformer, mkgformer, qeot, rsrnet, visualbert  # noqa: E402
from mmre_jax.data import datasets  # noqa: E402
from mmre_jax.data.lengths import buckets_of  # noqa: E402
from mmre_jax.data.loader import Order  # noqa: E402
from mmre_jax.training import processes  # noqa: E402
from mmre_jax.training.job import new_job  # noqa: E402
from mmre_jax.training.mesh import mesh_devices  # noqa: E402
from mmre_jax.training.optim import clip  # noqa: E402
from mmre_jax.training.parallel import local_devices  # noqa: E402
from mmre_jax.training.splits import batches_of, make_split  # noqa: E402
from mmre_jax.training.starting import initial_state  # noqa: E402
from mmre_jax.training.state import create  # noqa: E402
from mmre_jax.training.step import make_predict_step, make_train_step  # noqa: E402

RECORDS, CLIP = 8, 0.5
# Few regions, of which not all are drawn; no two overlap so much alike that rounding decides which of them stays.
DETECTOR = {
    "vision.pyramid_width": 8,
    "system.hidden": 12,
    "system.before_nms": 16,
    "system.after_nms": 8,
    "system.detections": 5,
    "system.sampling.anchors": 16,
    "system.sampling.proposals": 6,
}
SYSTEMS = {  # configuration, its variant, what is changed
    "hvformer": (hvformer, "quickstart", {"optim.frozen": ("text",)}),
    "ifaformer": (ifaformer, "quickstart", {}),
    "ifaformer_entities": (ifaformer, "quickstart_entities", {}),
    "mkgformer": (mkgformer, "quickstart", {}),
    "rsrnet": (rsrnet, "quickstart", {}),  # whose image encoder has group normalisation, as QEOT's
    "rsrnet_entities": (rsrnet, "quickstart_entities", {"vision.norm": "global"}),
    "qeot": (qeot, "quickstart", {}),
    "qeot_global": (qeot, "quickstart", {"vision.norm": "global"}),
    "qeot_frozen": (qeot, "quickstart", {"vision.norm": "frozen"}),
    "visualbert": (visualbert, "quickstart", {"system.cells": 2}),
    "adapted": (adapted, "hvpnet_quickstart", {}),
    "dgf_pt": (dgf_pt, "quickstart", {}),
    "detector": (detector, "quickstart", DETECTOR),
    "detector_global": (detector, "quickstart", {**DETECTOR, "vision.norm": "global"}),
}


def real(name):
    """(system, batch, variables, frozen parts) of a quickstart, smaller and without dropout; the batch is this process's part."""
    module, variant, changes = SYSTEMS[name]
    config = module.get_config(variant).copy_and_resolve_references().unlock()
    config.text.update({"width": 16, "layers": 2, "heads": 2, "mlp": 32})
    config.vision.update({"width": 16, "layers": 2, "heads": 2, "mlp": 32, "side": 32, "crop_side": 32, "stem": 8, "groups": 2})
    config.data.update({"counts": (RECORDS + 4, 4, 4), "buckets": (32,), "threads": 1})
    for section in (config.text, config.vision, config.system):
        section.update({key: 0.0 for key in section if key.endswith("dropout")})
    if "heads" in config.system:
        config.system.heads = 2
    config.update_from_flattened_dict(changes)
    records = datasets.open_records(config.data, "train")
    job = new_job(config.lock(), records)
    split = make_split(job, records, train=True)
    order = Order(split.lengths, RECORDS, buckets_of(job.config), True)
    batch = next(batches_of(job, order, split, 0, 1))
    return job.system, batch, initial_state(job, split, 1).variables(), tuple(job.config.optim.frozen)


class Plain(ToySystem):
    """Without dropout and batch statistics."""

    def loss(self, variables, batch, key, *, axis, train):
        share, metrics, _ = super().loss(variables, batch, key, axis=axis, train=False)
        return share, metrics, {}


def toy(system):
    """(system, batch, variables, frozen parts) of the toy; of its records one is padding."""
    rng = np.random.default_rng(0)
    mask = rng.random((RECORDS, 6)) < 0.8
    mask[:, 0] = True
    batch = {
        "text": {"ids": rng.integers(1, 64, (RECORDS, 6)).astype(np.int32), "mask": mask},
        "label": rng.integers(0, 3, RECORDS).astype(np.int32),
        "valid": np.arange(RECORDS) != 5,
        "index": np.arange(RECORDS, dtype=np.int32),
    }
    own = RECORDS // jax.process_count()
    part = slice(jax.process_index() * own, (jax.process_index() + 1) * own)
    return system, jax.tree.map(lambda x: x[part], batch), system.init(jax.random.key(1), batch), ()


def devices_of(written):
    """The devices that 'pmap:4' or 'mesh:2x2' names; of a mesh all arrays are split that can be."""
    kind, _, size = written.partition(":")
    if kind == "pmap":
        return local_devices(int(size) // jax.process_count())
    data, fsdp = map(int, size.split("x"))
    return mesh_devices(data * fsdp // jax.process_count(), data, fsdp, least=1)


def outcome(devices, system, batch, variables, frozen):
    """Gradients after clipping, metrics, and predictions, on the host; and the share of the parameters that one device holds."""
    layout = devices.layout(variables)
    tx = optax.chain(clip(CLIP), optax.sgd(1.0, momentum=0.5))  # whose trace is, after one step, the gradient
    step = make_train_step(system, tx, axis=layout.axis, layout=layout)
    key = np.asarray(jax.random.key_data(jax.random.key(0)))
    state = create(variables, frozen, tx)
    mapped = devices.map(
        lambda s, b, k: step(s, b, jax.random.wrap_key_data(k)), donate=(0,), takes=("state", "records", "same"), gives=("state", "same")
    )
    placed, shard = devices.replicate(state), devices.shard(batch)
    sizes = [x.addressable_shards[0].data.size for x in jax.tree.leaves(placed.variables())]
    held = sum(sizes) / sum(map(np.size, jax.tree.leaves(variables)))
    new, metrics = mapped(placed, shard, devices.replicate(key))
    new = devices.first(new)
    predict = devices.map(make_predict_step(system), takes=("variables", "records"), gives="records")
    predictions = devices.collect(predict(devices.replicate(variables), shard))
    found = {"gradients": optax.tree.get(new.opt_state, "trace"), "parameters": new.params, "statistics": new.stats}
    return {**found, "metrics": devices.first(metrics), "predictions": predictions}, held


def difference(found, wanted):
    """The largest difference of two trees, relative to the largest number of each array, or to a thousandth of the tree's.

    Of attention's key biases it is relative to the tree's: a shift of all keys cancels under the softmax, so that their gradient is 0 but
    for rounding.
    """
    named = [(jax.tree_util.keystr(path), np.asarray(b, np.float64)) for path, b in jax.tree_util.tree_leaves_with_path(wanted)]
    largest, most = max((np.abs(b).max() for _, b in named), default=0.0), 0.0
    for a, (name, b) in zip(jax.tree.leaves(found), named, strict=True):
        least = largest if name.endswith("['key']['bias']") else largest / 1e3
        most = max(most, float(np.abs(np.asarray(a, np.float64) - b).max() / max(np.abs(b).max(), least, 1e-30)))
    return most


def main(folder, names, *mappings):
    for name in names.split(","):
        parts = toy({"toy": Plain, "toy_statistics": ToySystem}[name](ToyNet(3))) if name.startswith("toy") else real(name)
        path, others = pathlib.Path(folder) / f"{name}.pickle", mappings
        if not path.is_file():
            wanted, _ = outcome(devices_of(mappings[0]), *parts)
            path.write_bytes(pickle.dumps(jax.tree.map(np.asarray, wanted)))
            others = mappings[1:]
        wanted = pickle.loads(path.read_bytes())
        assert difference(wanted["gradients"], jax.tree.map(np.zeros_like, wanted["gradients"])) > 0
        for written in others:
            found, held = outcome(devices_of(written), *parts)
            differences = {part: difference(found[part], wanted[part]) for part in wanted}
            if processes.is_first():
                print(json.dumps({"system": name, "mapping": written, "held": held, **differences}), flush=True)


if __name__ == "__main__":
    place = sys.argv.pop(1) if sys.argv[1].startswith("--distributed=") else "--distributed=off"
    processes.start(place.partition("=")[2])
    main(*sys.argv[1:])
