"""Counts of parameters, by part, and of those that train."""

import json
import logging

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs import ifaformer
from mmre_jax.training import parameters, state
from mmre_jax.training.train import train

VARIABLES = {
    "params": {
        "text": {"word": np.zeros((30, 4)), "layer_0": {"kernel": np.zeros((4, 4)), "bias": np.zeros(4)}},
        "vision": {"kernel": np.zeros((5, 4))},
        "head": {"bias": np.zeros(3)},
    },
    "batch_stats": {"vision": {"mean": np.zeros(7)}},
}


def counts(frozen=(), multipliers=None):
    optim = ConfigDict({"frozen": frozen, "multipliers": multipliers or {}})
    return parameters.count(state.create(VARIABLES, frozen, optax.identity()), optim)


def test_counts_by_hand():
    found = counts()
    assert (found["all"], found["trained"], found["share"], found["statistics"]) == (163, 163, 1.0, 7)
    assert parameters.told(found) == "163 parameters, 163 of them train (100.0%): text 140; vision 20; head 3"
    found = counts(frozen=("text",), multipliers={"vision": 0.0, "head": 2.0})
    assert found["parts"] == {
        "head": {"all": 3, "trained": 3},
        "text": {"all": 140, "trained": 0},
        "vision": {"all": 20, "trained": 0},
    }
    assert found["share"] == pytest.approx(3 / 163)
    assert parameters.told(found) == "163 parameters, 3 of them train (1.8%): text 140, frozen; vision 20, frozen; head 3"


def test_a_run_says_it_before_it_trains_and_keeps_it(tmp_path, caplog):
    config = ifaformer.get_config("quickstart").unlock()
    small = {"width": 16, "layers": 1, "heads": 2, "mlp": 16}
    config.text.update(small)
    config.vision.update({**small, "side": 32})
    config.data.counts = (32, 8, 8)
    config.optim.frozen = ("vision",)
    config.train.update({"epochs": 1, "batch": 16, "eval_batch": 8, "compilation_cache": ""})
    with caplog.at_level(logging.INFO):
        train(config.lock(), tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "metrics.json").read_text())["parameters"]
    lines = [record.getMessage() for record in caplog.records]
    assert lines.index(parameters.told(kept)) < next(i for i, line in enumerate(lines) if line.startswith("epoch 1"))
    assert kept["parts"]["vision"]["trained"] == 0 < kept["parts"]["vision"]["all"]
    assert kept["trained"] == kept["all"] - kept["parts"]["vision"]["all"] and kept["share"] == kept["trained"] / kept["all"]
    job_state = jax.eval_shape(lambda: VARIABLES)
    assert (
        parameters.count(state.TrainState(0, job_state["params"], {}, {}, (), 0), ConfigDict({"frozen": (), "multipliers": {}}))["all"]
        == 163
    )
