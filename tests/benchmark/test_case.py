"""An open case, and PyTorch's side on the same weights and batch."""

import pathlib
import sys

import jax
import numpy as np
import optax
import pytest

from mmre_jax.benchmark.case import Case
from mmre_jax.benchmark.lines import Side
from mmre_jax.benchmark.parts import KINDS, ONE_DEVICE, config_of
from mmre_jax.benchmark.worker import load_config
from mmre_jax.training.optim import decay_mask

pytestmark = pytest.mark.thorough

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = {"width": 32, "layers": 2, "heads": 2, "mlp": 40}


def small(kind, more=()):
    name, fixed, _ = KINDS[kind]
    changes = {**fixed, **ONE_DEVICE, **{f"text.{name}": value for name, value in SMALL.items()}, "text.positions": 96}
    if kind in ("hvpnet", "rsrnet"):
        changes |= {"vision.depths": [1, 2, 1, 1], "vision.stem": 16}
    else:
        changes |= {f"vision.{name}": value for name, value in SMALL.items()}
    if kind == "hvformer":
        changes["system.heads"] = 2
    return load_config(config_of(ROOT, name), {**changes, **dict(more)})


@pytest.fixture(scope="module")
def torch():
    with Side("eager", [sys.executable, str(ROOT / "tests" / "benchmark" / "rival.py")]) as side:
        yield side


@pytest.mark.parametrize("kind", ["hvformer", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "hvformer")])
def test_both_sides_do_the_same(kind, torch, tmp_path):
    case = Case.of(small(kind), batch=2, tokens=16, labels=5, words=60)
    case.write(tmp_path, f"{kind}_re")
    about = case.about()
    theirs = torch.ask("open", kind=kind, folder=str(tmp_path), about=about)
    assert theirs["trained"] == about["trained"] < about["parameters"] + (kind in ("ifaformer", "mkgformer"))
    torch.ask("logits", file=str(tmp_path / "theirs.npy"))
    logits = case.logits()
    np.testing.assert_allclose(np.load(tmp_path / "theirs.npy"), logits, atol=1e-5 * max(1.0, np.abs(logits).max()))

    for what in ("step", *(("cached",) if about["cached"] else ())):
        timed, told = case.compile(what)
        before = jax.tree.map(np.asarray, case.state.params)
        assert timed.seconds(2) > 0 and told["flops"] > 0 and told["callbacks"] == 0
        moved = jax.tree.map(lambda a, b: bool(np.any(a != np.asarray(b))), before, case.state.params)
        assert any(jax.tree.leaves(moved)), what
    assert torch.ask("prepare", what="step") > 0 and torch.ask("time", what="step") > 0


def test_an_update_alone_is_optaxs():
    """Where nothing is clipped and the rate is constant, two steps with given gradients are two of optax.adamw."""
    plain = {"optim.warmup": 0.0, "optim.schedule": "constant", "optim.clip": 0.0, "optim.lr": 1e-2}
    case = Case.of(small("hvformer", plain), batch=2, tokens=16, labels=5, words=60)
    whole = jax.tree.map(lambda x: x[0], (case.state.params, case.given()))
    (params, gradients), optim = jax.tree.map(lambda x: np.asarray(x).copy(), whole), case.job.config.optim
    timed, told = case.compile("update")
    timed.seconds(2)
    assert told["flops"] == 0, "no product is in it"

    with jax.numpy_dtype_promotion("standard"):
        tx = optax.adamw(optim.lr, optim.b1, optim.b2, optim.eps, weight_decay=optim.weight_decay, mask=decay_mask)
        state, gradients = tx.init(params), jax.tree.map(lambda g: g[0], gradients)
        for _ in range(2):
            updates, state = tx.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-6), case.state.params, params)
