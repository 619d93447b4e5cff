"""RSRNeT's gates over stages: distributions, photo and crops apart. DGF-PT's are compared with launch.gates in tests/test_evaluate.py."""

import numpy as np
import pytest

from configs import rsrnet
from mmre_jax import analyse
from mmre_jax.analysis.figures import gates
from mmre_jax.data import datasets
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.job import new_job
from mmre_jax.training.splits import make_split
from mmre_jax.training.starting import initial_state

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """Of random parameters, with crops, of which some are not there."""
    config = rsrnet.get_config("quickstart").unlock()
    config.text.update({"width": 16, "layers": 3, "heads": 2, "mlp": 32})
    config.vision.update({"side": 32, "crop_side": 32, "crops": 3, "stem": 8, "groups": 2})
    config.data.update({"counts": (16, 4, 8), "buckets": (32,), "objects": "detected"})
    config.train.update({"eval_batch": 4, "compilation_cache": ""})
    train = datasets.open_records(config.data, "train")
    job = new_job(config.lock(), train)
    workdir = tmp_path_factory.mktemp("rsrnet")
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(1, initial_state(job, make_split(job, train), 1), job.meta())
    return analyse.view(workdir)


def test_gates_over_stages_are_distributions_of_each_picture(view):
    drawn = gates.by_stage(view)
    weights, there = drawn.arrays["gates"], drawn.arrays["there"]
    assert weights.shape[:3] == (8, 4, 3) and there.shape == (8, 4) and there[:, 0].all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
    assert np.ptp(weights[:, 0], axis=0).max() > 0, "they differ from photo to photo"
    np.testing.assert_allclose(drawn.facts["mean"]["photo"], weights[:, 0].mean(axis=0), atol=1e-6)
    crops = next(name for name in drawn.facts["mean"] if name != "photo")
    np.testing.assert_allclose(drawn.facts["mean"][crops], weights[:, 1:][there[:, 1:]].mean(axis=0), atol=1e-6)


def test_attention_to_a_prefix_is_drawn_over_its_cells(view):
    drawn = analyse.draw(view, "text_to_picture")
    assert drawn.facts["sights"] == ["layer 1", "layer 2", "layer 3"] and drawn.facts["records"][0]["places"]["count"] == 16
