"""Every figure of the table can be drawn of a small run, says what its arrays are, and is refused where the system lacks it."""

import dataclasses
import json

import numpy as np
import pytest

from configs import adapted, dgf_pt, hvformer, ifaformer, mkgformer, qeot, rsrnet, text_baselines, visualbert
from mmre_jax import analyse, extraction
from mmre_jax.analysis.figures import FIGURES, attention, experts, tracked
from mmre_jax.analysis.sharpness import kurtosis
from mmre_jax.analysis.watching import sown_shapes
from mmre_jax.data import datasets
from mmre_jax.training.job import new_job
from mmre_jax.training.log import read_rows

pytestmark = pytest.mark.thorough

CONFIGS = {"hvformer": hvformer, "ifaformer": ifaformer, "mkgformer": mkgformer, "rsrnet": rsrnet, "qeot": qeot, "dgf_pt": dgf_pt}
CONFIGS |= {"visualbert": visualbert, "adapted": adapted}
NAMES = tuple(name for name, entry in FIGURES.items() if "hvformer" in entry.systems)


@pytest.fixture(scope="module")
def view(trained):
    return analyse.view(trained)


def with_more_heads(weights, places, records):
    """A second layer, that the network does not have."""
    squared = weights[:, ::-1] ** 2
    return np.concatenate([weights, squared / squared.sum(axis=-1, keepdims=True)]), places, records


@pytest.fixture(scope="module")
def drawn(view, tmp_path_factory):
    """{name: (what was drawn, the files that were written)}; of `heads` with three more heads than the network has."""
    out, found = tmp_path_factory.mktemp("figures"), {}
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            if name == "heads":
                found_by_head = view.once(attention.mean_vision)
                patch.setattr(attention, "mean_vision", lambda _, found=found_by_head: with_more_heads(*found))
            figure = analyse.draw(view, name)
            found[name] = (figure, analyse.write(figure, name, out))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_written_as_arrays_facts_and_pictures(drawn, name):
    figure, written = drawn[name]
    arrays, facts, *pages = (path for path in written if path.suffix != ".md")
    with np.load(arrays, allow_pickle=False) as kept:
        assert set(kept) == set(figure.arrays) and all(np.array_equal(kept[key], figure.arrays[key]) for key in kept)
    told = json.loads(facts.read_text(encoding="utf-8"))
    assert told["figure"] == name and told["split"] == "test" and set(told["arrays"]) == set(figure.arrays)
    assert len(pages) == len(figure.pages) >= 1 and all(page.stat().st_size > 5_000 for page in pages)
    numbers = [array for array in figure.arrays.values() if array.dtype.kind == "f"]
    assert all(np.isfinite(array).all() for array in numbers)


def test_means_are_distributions_and_numbers_follow_from_them(drawn):
    by_head = drawn["cross_attention_heads"][0].arrays["attention"]
    np.testing.assert_allclose(by_head.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(drawn["cross_attention"][0].arrays["attention"], by_head.mean(axis=2))
    np.testing.assert_allclose(drawn["kurtosis"][0].arrays["kurtosis"], kurtosis(by_head).sum(axis=2))
    for name, key in (("self_attention", "attention"), ("patch_tracking", "tracking"), ("token_tracking", "tracking")):
        np.testing.assert_allclose(drawn[name][0].arrays[key].sum(-1), 1, atol=1e-5)
    assert [row["head"] for row in drawn["heads"][0].facts["heads"]] == list(attention.HEADS)
    assert len({(row["layer"], row["number"]) for row in drawn["heads"][0].facts["heads"]}) == 3


def test_experts_over_training_are_the_logs_and_the_checkpoints(view, trained, drawn):
    arrays = drawn["experts"][0].arrays
    rows = [row for row in read_rows(trained) if "val" in row]
    assert arrays["steps"].tolist() == [row["step"] for row in rows]
    np.testing.assert_allclose(arrays["history"].sum(axis=1), 1, atol=1e-5)
    assert set(rows[0]["val"]["told"]) == {"expert_text", "expert_0", "expert_1"}
    assert arrays["weights"].shape == (16, 2, 3) and arrays["ids"].tolist() == [record.id for record in view.split.records]
    again = analyse.view(trained, "val")
    weights, _, _ = experts.weights_of(again)
    of_step = dict(zip(arrays["steps"].tolist(), arrays["history"], strict=True))[view.step]
    np.testing.assert_allclose(weights.mean(axis=(0, 1)), of_step, atol=1e-5)


def test_records_that_are_named_are_shown(trained, view):
    wanted = [view.split.records[place].id for place in (3, 1)]
    figure = tracked.over_photo(analyse.view(trained, ids=wanted))
    assert [record["id"] for record in figure.facts["records"]] == wanted
    assert set(figure.pages) == {"0", "1"} and figure.arrays["tracking_1"].shape == (2, 2, 7)
    figure = analyse.draw(analyse.view(trained, ids=wanted), "experts_relations")
    assert figure.facts["records"] == 2, "means are over these alone"
    with pytest.raises(ValueError, match="--records: test has no record 'nobody'; its 16 are scenes:relations:0:test:0"):
        tracked.over_photo(analyse.view(trained, ids=["nobody"]))


@pytest.mark.parametrize("system", [*CONFIGS, "pcnn", "bilstm_crf"])
def test_a_figures_systems_are_those_that_have_what_it_needs(system):
    """Of their quickstarts."""
    module, variant = (CONFIGS[system], "quickstart") if system in CONFIGS else (text_baselines, f"quickstart_{system}")
    config = module.get_config("visualbert_quickstart" if system == "adapted" else variant).unlock()
    config.data.counts = (8, 4, 4)
    train = datasets.open_records(config.data, "train")
    job = new_job(config.lock(), train)
    shapes = sown_shapes(job)
    able = {name for name, entry in FIGURES.items() if not entry.lacking(job, shapes)}
    assert able == {name for name, entry in FIGURES.items() if system in entry.systems}


def test_what_cannot_be_drawn_is_refused(view, untrained):
    with pytest.raises(ValueError, match="there is no figure 'kurtosi'; did you mean kurtosis?"):
        analyse.draw(view, "kurtosi")
    with pytest.raises(ValueError, match="this figure shows three heads: the image encoder has 2"):
        analyse.draw(view, "heads")
    triples = analyse.view(untrained["triples"])
    with pytest.raises(ValueError, match="'experts' shows weights of experts, which this checkpoint of 'qeot' does not have; what can be"):
        analyse.draw(triples, "experts")
    bare = dataclasses.replace(view.split, picture_of=np.full(16, -1))
    with pytest.raises(ValueError, match="no record of test has a picture that can be read"):
        analyse.draw(dataclasses.replace(view, split=bare), "cross_attention")
    with pytest.raises(ValueError, match="metrics.jsonl has no experts' weights"):
        experts.history(dataclasses.replace(view, workdir=view.workdir / "nowhere"))
    assert extraction.KINDS and all(name in analyse.listed() for name in FIGURES)
