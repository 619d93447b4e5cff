"""Parameters of another run: rows of labels, tags and words by their names, parts that fit, and what is said of the others."""

import logging

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs import dgf_pt
from mmre_jax.data import datasets
from mmre_jax.data.text import train_tokenizer
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.training.evaluate import make_predictor
from mmre_jax.training.initialise import EMPTY, LABELS, Source, _merged, check_tokenizer, initialise, label_axes, open_source
from mmre_jax.training.job import make_job, new_job
from mmre_jax.training.parallel import local_devices
from mmre_jax.training.splits import make_split
from mmre_jax.training.starting import example

pytestmark = pytest.mark.thorough


def another(source, labels=None, **changes):
    """The job of a source with other labels or settings, and its own start, all of it -7."""
    config = ConfigDict(source.job.config.to_dict())
    config.update_from_flattened_dict(changes)
    task = source.job.task
    job = make_job(config.lock(), task.labels if labels is None else labels, task.none, task.encoder.tokenizer_json)
    records = datasets.open_records(source.job.config.data, "train")
    split = make_split(source.job, records)
    batch = example(source.job, split)
    batch.get("text", {}).setdefault("markers", np.array([[1, 2]], np.int32))
    shapes = jax.eval_shape(job.system.init, jax.random.key(0), batch)
    return job, batch, jax.tree.map(lambda x: np.full(x.shape, -7, x.dtype), shapes)


def by_name(array, *names):
    """{names along all axes: number}."""
    return {tuple(axis[i] for axis, i in zip(names, index, strict=True)): x for index, x in np.ndenumerate(np.asarray(array))}


def test_permuted_labels_predict_as_before(trained):
    source = open_source(str(trained))
    labels = source.job.task.labels
    assert len(labels) > 2
    job, batch, fresh = another(source, labels[1:][::-1] + labels[:1])
    variables = initialise(source, job, fresh, batch, ())
    split = make_split(source.job, datasets.open_records(source.job.config.data, "test"))
    devices = local_devices(1)
    before, after = (
        make_predictor(j, devices).predict(devices.replicate(v), split) for j, v in ((source.job, source.variables), (job, variables))
    )
    assert len({p.found[0].label for p in before}) > 1
    for a, b in zip(before, after, strict=True):
        assert a.found[0].label == b.found[0].label
        assert a.found[0].score == pytest.approx(b.found[0].score, abs=1e-6)


def test_labels_that_both_have_are_taken_and_the_others_start_fresh(trained, caplog):
    source = open_source(str(trained))
    labels = source.job.task.labels
    mine = ("a new one", labels[2], labels[0], "another")
    job, batch, fresh = another(source, mine)
    with caplog.at_level(logging.INFO):
        head = initialise(source, job, fresh, batch, ())["params"]["head"]["classifier"]
    theirs = source.variables["params"]["head"]["classifier"]
    for i, label in enumerate(mine):
        if label in labels:
            np.testing.assert_array_equal(head["kernel"][:, i], theirs["kernel"][:, labels.index(label)])
            assert head["bias"][i] == theirs["bias"][labels.index(label)]
        else:
            assert (head["kernel"][:, i] == -7).all() and head["bias"][i] == -7
    assert f"labels taken: {labels[2]}, {labels[0]}; fresh: a new one, another; left behind: {labels[1]}" in caplog.text
    assert "text is the checkpoint's\n" in caplog.text


def test_tags_of_a_crf_are_matched_by_name(untrained):
    source = open_source(str(untrained["entities"]))
    tags = source.job.task.labels
    mine = ("O", "B-NEW", "I-NEW", *tags[1:][::-1])
    job, batch, fresh = another(source, mine)
    head, theirs = (v["params"]["head"] for v in (initialise(source, job, fresh, batch, ()), source.variables))
    for name, axes in (("start", 1), ("end", 1), ("transitions", 2)):
        known = by_name(theirs[name], *[tags] * axes)
        assert by_name(head[name], *[mine] * axes) == {k: known.get(k, -7) for k in by_name(head[name], *[mine] * axes)}
    for i, tag in enumerate(mine):
        expected = theirs["classifier"]["kernel"][:, tags.index(tag)] if tag in tags else -7
        np.testing.assert_array_equal(head["classifier"]["kernel"][:, i], np.broadcast_to(expected, len(head["classifier"]["kernel"])))


def test_the_empty_relation_of_queries_stays_last(untrained):
    source = open_source(str(untrained["triples"]))
    labels = source.job.task.labels
    mine = ("near", *labels[::-1])
    job, batch, fresh = another(source, mine)
    variables = initialise(source, job, fresh, batch, ("head", "decoder"))
    head, theirs = variables["params"]["head"], source.variables["params"]["head"]
    known = by_name(theirs["relation"]["bias"], (*labels, EMPTY))
    assert by_name(head["relation"]["bias"], (*mine, EMPTY)) == {**known, ("near",): -7}
    np.testing.assert_array_equal(head["relation"]["kernel"][:, -1], theirs["relation"]["kernel"][:, -1])
    np.testing.assert_array_equal(head["relation"]["kernel"][:, 1], theirs["relation"]["kernel"][:, len(labels) - 1])
    np.testing.assert_array_equal(head["box_0"]["kernel"], theirs["box_0"]["kernel"])
    assert all((x == -7).all() for x in jax.tree.leaves(variables["params"]["text"])), "a part that is not named starts fresh"


def test_another_tasks_head_starts_fresh_and_the_words_are_taken(untrained, caplog):
    source = open_source(str(untrained["entities"]))
    changes = {"task.name": "relation"}
    config = ConfigDict(source.job.config.to_dict())
    config.update_from_flattened_dict(changes)
    job = make_job(config.lock(), ("None", "O"), "None", source.tokenizer)
    _, batch, _ = another(source)
    fresh = jax.tree.map(lambda x: np.full(x.shape, -7, x.dtype), jax.eval_shape(job.system.init, jax.random.key(0), batch))
    with caplog.at_level(logging.INFO):
        params = initialise(source, job, fresh, batch, ())["params"]
    assert all((x == -7).all() for x in jax.tree.leaves(params["head"]))
    words = source.variables["params"]["text"]["embeddings"]["word"]
    np.testing.assert_array_equal(params["text"]["embeddings"]["word"][: len(words)], words)
    assert (params["text"]["embeddings"]["word"][len(words) :] == -7).all() and len(params["text"]["embeddings"]["word"]) == len(words) + 4
    assert "head starts fresh: it is a head of task entities, here relation" in caplog.text
    assert "rows of words that start fresh: <s>, </s>, <o>, </o>" in caplog.text
    with pytest.raises(CheckpointError, match="head does not fit: it is a head of task entities, here relation"):
        initialise(source, job, fresh, batch, ("text", "head"))


def test_a_part_of_other_sizes_starts_fresh_or_is_refused_where_it_is_named(trained, caplog):
    source = open_source(str(trained))
    job, batch, fresh = another(source, **{"text.mlp": 24})
    with caplog.at_level(logging.INFO):
        params = initialise(source, job, fresh, batch, ())["params"]
    assert all((x == -7).all() for x in jax.tree.leaves(params["text"]))
    np.testing.assert_array_equal(params["head"]["classifier"]["bias"], source.variables["params"]["head"]["classifier"]["bias"])
    assert "text starts fresh: text/layer_0/" in caplog.text and "in the checkpoint, " in caplog.text
    with pytest.raises(CheckpointError, match=r"text does not fit: text/layer_0/.* is \(16, 32\) in the checkpoint, \(16, 24\) here"):
        initialise(source, job, fresh, batch, ("text",))
    with pytest.raises(CheckpointError, match="train.init_parts names tower; the parts of this system are "):
        initialise(source, job, fresh, batch, ("tower",))


def test_axes_are_found_by_what_makes_them_grow(untrained):
    source = open_source(str(untrained["entities"]))
    _, batch, _ = another(source)
    found = {path: axes for path, axes in label_axes(source.job, batch).items() if any(axes)}
    head, text = ("params", "head"), ("params", "text", "embeddings", "word")
    assert found == {
        (*head, "classifier", "kernel"): ("", LABELS),
        (*head, "classifier", "bias"): (LABELS,),
        (*head, "transitions"): (LABELS, LABELS),
        (*head, "start"): (LABELS,),
        (*head, "end"): (LABELS,),
        text: ("words", ""),
    }


def test_entity_types_are_matched_by_name(caplog):
    """As many types as the checkpoint has, in another order, one of them another: rows of DGF-PT's decoder."""
    config = dgf_pt.get_config("quickstart").unlock()
    config.text.update({"width": 16, "layers": 1, "heads": 2, "mlp": 32})
    config.data.update({"counts": (32, 2, 2)})
    config.system.types = ("loc", "org", "per")
    records = datasets.open_records(config.data, "train")
    job = new_job(config.lock(), records)
    batch = example(job, make_split(job, records))
    shapes = jax.eval_shape(job.system.init, jax.random.key(0), batch)
    random = np.random.default_rng(0)
    source = Source("a run", 1, job, jax.tree.map(lambda x: random.normal(size=x.shape).astype(x.dtype), shapes))
    other = config.copy_and_resolve_references().unlock()
    other.system.types = ("per", "event", "loc")
    mine = new_job(other.lock(), records)
    with caplog.at_level(logging.INFO):
        found = initialise(source, mine, jax.tree.map(lambda x: np.full(x.shape, -7, x.dtype), shapes), batch, ())
    ours, theirs = (variables["params"]["decoder"] for variables in (found, source.variables))
    for name, rows, before in (
        ("embedding", ours["embedding"], theirs["embedding"]),
        ("kernel", ours["type"]["kernel"].T, theirs["type"]["kernel"].T),
        ("bias", ours["type"]["bias"][:, None], theirs["type"]["bias"][:, None]),
    ):
        np.testing.assert_array_equal(rows, [before[2], np.full_like(before[0], -7), before[0]], name)
    np.testing.assert_array_equal(ours["start"], theirs["start"])
    assert "decoder is the checkpoint's (entity types that start fresh: event)" in caplog.text


def test_another_tokenizer_is_refused(trained):
    source = open_source(str(trained))
    task = source.job.task
    job = make_job(source.job.config, task.labels, task.none, train_tokenizer([("other", "words")], 40, "word"))
    with pytest.raises(CheckpointError, match=r"has another tokenizer \(of \d+ entries, the checkpoint's of \d+\) than train.init_from="):
        check_tokenizer(source, job)
    check_tokenizer(source, source.job)


LABEL = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5, unique=True)


@given(LABEL, LABEL, st.booleans())
def test_rows_by_name_against_a_dictionary(ours, theirs, empty):
    here, there = ([*x, EMPTY] if empty else x for x in (ours, theirs))
    rng = np.random.default_rng(0)
    a, b = rng.random((len(here), 2, len(here))), rng.random((len(there), 2, len(there)))
    merged = _merged(a, b, (LABELS, "", LABELS), {LABELS: ours}, {LABELS: theirs})
    known = by_name(b, there, range(2), there)
    assert by_name(merged, here, range(2), here) == {k: known.get(k, x) for k, x in by_name(a, here, range(2), here).items()}


def test_no_run_there(tmp_path):
    with pytest.raises(CheckpointError, match="not the workdir of a run: there is no folder checkpoints"):
        open_source(str(tmp_path))


def test_a_detectors_offsets_are_four_to_a_class_and_go_with_it(untrained, caplog):
    source = open_source(str(untrained["objects"]))
    labels = ("background", "zebra", "car", "kite")
    job, batch, fresh = another(source, labels)
    axes = label_axes(job, batch)
    assert {axes["params", "head", "offsets", name][-1] for name in ("kernel", "bias")} == {"labels x 4"}
    with caplog.at_level(logging.INFO):
        head = initialise(source, job, fresh, batch, ("head",))["params"]["head"]
    before = source.variables["params"]["head"]
    np.testing.assert_array_equal(head["fc6"]["kernel"], before["fc6"]["kernel"])
    for layer in ("classes", "offsets"):
        for name in ("kernel", "bias"):
            ours = np.reshape(head[layer][name], (-1, len(labels), 4 if layer == "offsets" else 1))
            theirs = np.reshape(before[layer][name], (len(ours), len(source.job.task.labels), -1))
            for at, label in enumerate(labels):
                expected = -7 if label == "zebra" else theirs[:, source.job.task.labels.index(label)]
                np.testing.assert_array_equal(ours[:, at], np.broadcast_to(expected, ours[:, at].shape))
    assert "labels taken: background, car, kite; fresh: zebra; left behind: person, ball, house, tree" in caplog.text
