"""Strict JAX for the whole suite: two simulated devices, no silent dtype or rank promotion; and one small trained run for all tests."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def tiny_config(**changes):
    """HVFormer on 64 scenes, one epoch: seconds to train. `changes` are flattened keys such as `data.objects`."""
    from configs import hvformer

    config = hvformer.get_config("quickstart").unlock()
    small = {"width": 16, "layers": 1, "heads": 2, "mlp": 32}
    config.text.update(small)
    config.vision.update({**small, "side": 32, "crop_side": 16, "crops": 2})
    config.system.heads = 2
    config.data.update({"counts": (64, 16, 16), "buckets": (32,)})
    config.train.update({"epochs": 1, "batch": 16, "eval_batch": 16, "compilation_cache": ""})
    config.update_from_flattened_dict(changes)
    return config.lock()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The workdir of a trained run; read it only."""
    from mmre_jax.training import loop

    workdir = tmp_path_factory.mktemp("trained")
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam raises a float to an integer power
        loop.train(tiny_config(), workdir)
    return workdir
