"""What comes out of a network is what it computed: against a second computation from its own states and parameters."""

import jax
import numpy as np
import pytest

import mmre_jax
from mmre_jax import analyse
from mmre_jax.analysis.attention_maps import attended, layers, row_names, sights, states, to_itself, to_picture, word_rows
from mmre_jax.analysis.tokens import token_names
from mmre_jax.analysis.watching import chosen, sown_shapes, watch


@pytest.fixture(scope="module")
def view(trained):
    return analyse.view(trained)


@pytest.fixture(scope="module")
def seen(view):
    """All that is sown for each of the split's 16 records, and what stands in the batch."""
    pick = lambda arrays, batch: {**arrays, "rows": word_rows(arrays["tva_1/attention/attention"], batch), **batch["text"]}  # noqa: E731
    found = [each for watched in view.watch(pick) for each in watched.each()]
    return sorted(found, key=lambda watched: watched.index[0])


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_every_record_comes_once_with_its_own(view, seen):
    assert [watched.index[0] for watched in seen] == list(range(16))
    assert [watched.records[0].id for watched in seen] == [record.id for record in view.split.records]


def test_cross_attention_by_hand(view, seen):
    """eq. 4 from the text's last state, a level of the image and the layer's own kernels."""
    net, params = view.job.system.net.config, view.devices.first(view.variables)["params"]
    for watched in (seen[0], seen[9]):
        text = watched.picked[f"text/hidden/{net.text.layers}"][0].astype(np.float64)
        for level in net.levels:
            patches, own = watched.picked[f"vision/hidden/{level}"][0].astype(np.float64), params[f"tva_{level}"]["attention"]
            q, k = (
                (x @ own[name]["kernel"] + own[name]["bias"]).reshape(len(x), net.heads, -1)
                for x, name in ((text, "query"), (patches, "key"))
            )
            scores = np.einsum("lhd,phd->hlp", q, k) / q.shape[-1] ** 0.5
            there = attended_by_hand(view, watched)
            expected = softmax(np.where(there, scores, -np.inf))
            found = watched.picked[f"tva_{level}/attention/attention"][0]
            np.testing.assert_allclose(found, expected, atol=1e-5)
            np.testing.assert_array_equal((found > 0).any(axis=(0, 1)), there)
        for row, place in zip(watched.picked["rows"][0], watched.picked["markers"][0], strict=True):
            np.testing.assert_array_equal(row, watched.picked["tva_1/attention/attention"][0, :, place])


def attended_by_hand(view, watched):
    """CLS, the photo's four patches and one for each crop that the record has."""
    crops = sum(region.source == "detected" for region in watched.records[0].regions)
    return np.array([True] * 5 + [number < crops for number in range(2)])


def test_expert_weights_are_those_that_training_is_told(view, seen):
    for watched in (seen[0], seen[5]):
        weights, markers = watched.picked["mome/expert_weights"][0], watched.picked["markers"][0]
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
        told = jax.jit(view.job.system.predict)(view.devices.first(view.variables), batch_of(view, watched.index[0]))
        expected = {f"told/expert_{name}": weights[markers, e].mean() for e, name in enumerate(("text", "0", "1"))}
        assert {name for name in told if name.startswith("told/")} == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(told[name][0], value, atol=1e-5)


def batch_of(view, place):
    split = view.split
    pictures, present = split.pictures(split.records[place])
    features = view.job.task.features(split.records[place], 32)
    batch = {**features, "pictures": pictures, "present": present, "index": np.int32(0), "valid": np.True_}
    return jax.tree.map(lambda x: np.asarray(x)[None], batch)


def test_what_a_network_sows_is_known_beforehand(view, seen):
    shapes = sown_shapes(view.job)
    assert set(shapes) == set(seen[0].picked) - {"rows", "ids", "mask", "markers"}
    assert states(shapes, "vision") == ("vision/hidden/0", "vision/hidden/1")
    assert layers(shapes, "text") == ("text/layer_0/attention/attention",)
    assert [(sight.label, sight.level, sight.prefix) for sight in sights(shapes)] == [("level 0", 0, False), ("level 1", 1, False)]


def test_a_few_records_keep_their_order_and_hidden_pictures_stay_hidden(view):
    split = chosen(view.split, [7, 2])
    pick = lambda arrays, batch: {"there": attended(to_picture(arrays, sights(view.shapes)[0])), "mask": batch["text"]["mask"]}  # noqa: E731
    found = {w.records[0].id: w for watched in watch(view.job, view.devices, view.variables, split, pick) for w in watched.each()}
    assert [record.id for record in split.records] == [view.split.records[place].id for place in (7, 2)]
    for record in split.records:
        there = found[record.id].picked["there"][0]
        np.testing.assert_array_equal(there, attended_by_hand(view, found[record.id]))
        assert len(token_names(view.job, record)) == found[record.id].picked["mask"].sum()
    names = token_names(view.job, split.records[0])
    assert [name for name in names if "s>" in name or "o>" in name] == ["<s>", "</s>", "<o>", "</o>"]
    assert set(split.records[0].words) <= set(names)


def test_keys_before_the_words_own_are_the_picture(untrained):
    """IFAformer, for entities: rows of the prefix and of the rest sum to 1 together; there are no markers."""
    job = mmre_jax.load(untrained["entities"]).job
    view = analyse.view(untrained["entities"])
    first, second = view.sights
    assert (first.label, first.level, first.prefix, second.level) == ("layer 1", 0, True, 1)

    def pick(arrays, batch):
        assert row_names(batch) == ("all words",)
        cross, own = to_picture(arrays, first), to_itself(arrays, (first.name,))[:, 0]
        return {"cross": cross, "own": own, "rows": word_rows(cross, batch), "mask": batch["text"]["mask"]}

    for watched in view.watch(pick):
        both = watched.picked["cross"].sum(-1) + watched.picked["own"].sum(-1)
        np.testing.assert_allclose(both, 1, atol=1e-5)
        assert watched.picked["cross"].shape[-1] == job.system.net.config.vision.length
        for rows, cross, mask in zip(*(watched.picked[name] for name in ("rows", "cross", "mask")), strict=True):
            np.testing.assert_allclose(rows[0], cross[:, mask].mean(axis=1), atol=1e-6)
