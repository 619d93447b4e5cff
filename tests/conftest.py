"""Strict JAX for the whole suite: two simulated devices, no silent dtype or rank promotion; and small runs for all tests."""

import importlib.metadata
import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Much is compiled and little computed, so compiling is to be fast; a flag that is given outside comes later and wins. XLA refuses to start
# with a flag that it does not know, so the second one is for the versions that are known to have it.
FLAGS = ["--xla_force_host_platform_device_count=2", "--xla_backend_optimization_level=0"]
if importlib.metadata.version("jaxlib").startswith(("0.10.", "0.12.")):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*FLAGS, os.environ.get("XLA_FLAGS", "")])
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# Property tests draw the same examples each time, so that a suite that passed passes again; `make fuzz` draws others, and more.
hypothesis.settings.register_profile("same", max_examples=50, derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("fuzz", max_examples=int(os.environ.get("EXAMPLES", "1000")), deadline=None, print_blob=True)
hypothesis.settings.load_profile("same")


def pytest_report_header(config):
    """What it takes to draw the same examples again."""
    if hypothesis.settings.get_current_profile_name() == "same":
        return "property tests: the same examples each time"
    return f"property tests: {hypothesis.settings.default.max_examples} examples, --hypothesis-seed={config.getoption('--hypothesis-seed')}"


jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests compile the same small programs over and over. A worker has its own cache: one might read what another is just writing.
CACHE = pathlib.Path(__file__).parent.parent / ".pytest_cache" / "xla" / os.environ.get("PYTEST_XDIST_WORKER", "main")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The workdir of a run of seconds, HVFormer with object crops on 64 scenes. Its checkpoints are to be left as they are."""
    from configs import hvformer
    from mmre_jax.training.train import train

    config = hvformer.get_config("quickstart").unlock()
    small = {"width": 16, "layers": 1, "heads": 2, "mlp": 32}
    config.text.update(small)
    config.vision.update({**small, "side": 32, "crop_side": 16, "crops": 2})
    config.system.heads = 2
    config.data.update({"counts": (64, 16, 16), "buckets": (32,), "objects": "detected"})
    config.optim.lr = 1e-2
    config.train.update({"epochs": 4, "batch": 16, "eval_batch": 16, "compilation_cache": ""})
    workdir = tmp_path_factory.mktemp("trained")
    train(config.lock(), workdir)
    return workdir


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """Workdirs of a run for entities (IFAformer), one for triples (QEOT) and one for objects (a detector) on scenes, with a checkpoint of
    random parameters each."""
    from configs import detector, ifaformer, qeot
    from mmre_jax.data import datasets
    from mmre_jax.training.checkpoint import Checkpoints
    from mmre_jax.training.job import new_job
    from mmre_jax.training.splits import make_split
    from mmre_jax.training.starting import initial_state

    workdirs = {}
    small = {"width": 16, "layers": 2, "heads": 2, "mlp": 32}
    for config in (ifaformer.get_config("quickstart_entities"), qeot.get_config("quickstart"), detector.get_config("quickstart")):
        config = config.unlock()
        config.text.update(small)
        config.vision.update({**small, "side": 32, "stem": 8, "groups": 2})
        config.data.update({"counts": (16, 4, 4), "buckets": (32,)})
        config.train.update({"eval_batch": 4, "compilation_cache": ""})
        train = datasets.open_records(config.data, "train")
        job = new_job(config.lock(), train)
        workdirs[config.task.name] = tmp_path_factory.mktemp(config.task.name)
        with Checkpoints(workdirs[config.task.name] / "checkpoints") as checkpoints:
            checkpoints.save(1, initial_state(job, make_split(job, train), 1), job.meta())
    return workdirs


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    """A picture file of noise, 80 x 48 pixels."""
    import numpy as np
    from PIL import Image

    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def bucket(monkeypatch):
    """The class of a bucket in memory, empty, which is s3://bucket as long as the test runs."""
    import importlib

    from etils.epath import backend

    from mmre_jax import storage

    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))
    from bucket import Bucket

    monkeypatch.setattr(Bucket, "objects", {})
    monkeypatch.setattr(Bucket, "asked", [])
    monkeypatch.setitem(storage.CLIENTS, "s3", "fsspec")  # which is there, s3fs need not be
    monkeypatch.setitem(importlib.import_module("fsspec.registry")._registry, "s3", Bucket)
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield Bucket
    backend.fsspec_backend._get_filesystem.cache_clear()


@pytest.fixture
def server(monkeypatch):
    """A folder of a bucket of a real server."""
    import importlib.util

    address, lacking = os.environ.get("MMRE_S3"), importlib.util.find_spec("s3fs") is None
    if address is None or lacking:
        pytest.skip("needs mmre_jax[bucket], and MMRE_S3=http://HOST:PORT of a server to write to, such as python -m moto.server")
    import uuid

    import s3fs

    from mmre_jax import storage

    for name, value in {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    files = s3fs.S3FileSystem()
    if not files.exists("mmre-jax-tests"):
        files.mkdir("mmre-jax-tests")
    folder = f"s3://mmre-jax-tests/{uuid.uuid4()}"
    yield storage.path(folder)
    files.rm(folder, recursive=True)
