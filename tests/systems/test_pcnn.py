"""PCNN and CNN: a second implementation in PyTorch, pieces by hand and by brute force, padding, and settings that contradict each other."""

import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small import gradients_of, outputs_of

from configs import text_baselines as configs
from mmre_jax import systems
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record, Relation
from mmre_jax.systems import pcnn
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.weights.pretrained import resolve

WORDS = tuple("abcdefghij")
ENCODER = TextEncoder(train_tokenizer([WORDS], 30, "whole"), 40)
SIDES = ("from_head", "from_tail")
LABELS = ("None", "x", "y", "z")
TASK = RelationTask(ENCODER, LABELS, "None")
PAIRS = {  # (words, head, tail)
    "apart": (WORDS[:8], (1, 3), (5, 6)),
    "tail first": (WORDS[:9], (6, 8), (0, 2)),
    "at both ends": (WORDS[:5], (0, 1), (4, 5)),
    "adjacent": (WORDS[2:8], (2, 4), (4, 5)),
    "overlapping": (WORDS[:7], (1, 4), (3, 6)),
    "nested": (WORDS[:6], (1, 5), (2, 3)),
    "one span": (WORDS[:4], (1, 3), (1, 3)),
    "nothing else": (WORDS[:2], (0, 1), (1, 2)),
}


def tiny(**system):
    config = configs.get_config("quickstart_pcnn").copy_and_resolve_references().unlock()
    config.text.update({"width": 6, "max_tokens": 40})
    config.system.update({"filters": 7, "place_width": 3, "dropout": 0.0, **system})
    return config.lock()


def batch_of(pairs, length=None):
    """Examples of (words, head, tail), padded."""
    records = [
        Record(id=str(n), words=words, relations=(Relation(Mention(*head), Mention(*tail), LABELS[n % len(LABELS)]),))
        for n, (words, head, tail) in enumerate(pairs)
    ]
    encoded = TASK.encode(records)
    longest = max(map(len, encoded)) if length is None else length
    rows = [TASK.features(record, longest, each) for record, each in zip(records, encoded, strict=True)]
    more = {"valid": np.ones(len(rows), bool), "index": np.arange(len(rows), dtype=np.int32), "present": {}, "pictures": {}}
    return {**jax.tree.map(lambda *x: np.stack(x), *rows), **more}


def made(**system):
    built = systems.build(resolve(tiny(**system)), vocab_size=ENCODER.vocab_size, labels=LABELS)
    shapes = jax.eval_shape(built.init, jax.random.key(0), batch_of([PAIRS["apart"]]))
    rng = np.random.default_rng(0)
    return built, jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32) * np.float32(0.5), shapes)


def parts_by_hand(count, head, tail):
    """Which of three parts each word is in."""
    first, second = sorted((head[1], tail[1]))
    return [0 if word < first else 1 if word < second else 2 for word in range(count)]


def far_by_hand(word, span):
    return min((word - inside for inside in range(*span)), key=abs)


def in_torch(params, pairs, pooling, hidden, farthest):
    """Logits [B, R] of PCNN, sentence by sentence, from words and spans without any markers."""
    p = jax.tree.map(lambda x: torch.tensor(np.asarray(x), requires_grad=True), params)
    known, rows = ENCODER.words, []
    for words, head, tail in pairs:
        ids = torch.tensor([known[word] for word in words])
        far = [[int(np.clip(far_by_hand(n, span), -farthest, farthest)) + farthest for n in range(len(words))] for span in (head, tail)]
        x = torch.cat([p["text"]["word"][ids], *(p[side]["embedding"][n] for side, n in zip(SIDES, far, strict=True))], dim=1)
        kernel = p["convolution"]["kernel"].permute(2, 1, 0)  # [window, in, out] -> [out, in, window]
        found = torch.nn.functional.conv1d(x.T[None], kernel, p["convolution"]["bias"], padding=kernel.shape[2] // 2)[0]  # [F, n]
        parts = torch.tensor(parts_by_hand(len(words), head, tail) if pooling == "pieces" else [0] * len(words))
        count = 3 if pooling == "pieces" else 1
        pooled = [found[:, parts == n].max(dim=1).values if (parts == n).any() else torch.zeros(len(found)) for n in range(count)]
        flat = torch.cat(pooled)
        if hidden:
            flat = flat @ p["hidden"]["kernel"] + p["hidden"]["bias"]
        rows.append(torch.tanh(flat) @ p["head"]["classifier"]["kernel"] + p["head"]["classifier"]["bias"])
    return torch.stack(rows), p


@pytest.mark.parametrize(("pooling", "hidden", "farthest"), [("pieces", 0, 80), ("sentence", 5, 2)])
def test_logits_and_gradients_are_those_of_a_second_implementation(pooling, hidden, farthest):
    system, variables = made(pooling=pooling, hidden=hidden, farthest=farthest)
    pairs, batch = list(PAIRS.values()), batch_of(PAIRS.values())
    expected, theirs = in_torch(variables["params"], pairs, pooling, hidden, farthest)
    found = outputs_of(system, variables, batch)
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)

    torch.nn.functional.cross_entropy(expected, torch.tensor(batch["label"]).long()).backward()
    ours = gradients_of(system, batch, variables)
    for path, gradient in jax.tree_util.tree_leaves_with_path(ours):
        other = theirs
        for key in path:
            other = other[key.key]
        np.testing.assert_allclose(gradient, other.grad.numpy(), atol=1e-5, err_msg=jax.tree_util.keystr(path))
        assert np.abs(gradient).max() > 1e-6, path


@pytest.mark.parametrize("name", PAIRS)
def test_words_without_markers_are_those_of_the_record(name):
    words, head, tail = PAIRS[name]
    batch = batch_of([PAIRS[name], PAIRS["tail first"]], 25)
    found = jax.tree.map(np.asarray, pcnn.unmarked(batch["text"]["ids"], batch["text"]["mask"], ENCODER.vocab_size - 4))
    assert found.ids[0, : len(words)].tolist() == [ENCODER.words[word] for word in words]
    assert found.mask[0].tolist() == [n < len(words) for n in range(25)]
    assert [int(x[0, 0]) for x in (*found.head, *found.tail)] == [*head, *tail]
    assert np.asarray(pcnn.pieces(pcnn.Sentence(*found)))[0].argmax(axis=1)[: len(words)].tolist() == parts_by_hand(len(words), head, tail)


def test_distances_and_pieces_of_all_spans_are_those_counted_by_hand():
    """Zeng et al. 2015, section 3.1: how far a word is from an entity, on either side."""
    spans = [(start, end) for start in range(6) for end in range(start + 1, 7)]
    start, end = (np.array(x, np.int32)[:, None] for x in zip(*spans, strict=True))
    far = np.asarray(pcnn.distances(jnp.asarray(start), jnp.asarray(end), 6))
    assert far.tolist() == [[far_by_hand(word, span) for word in range(6)] for span in spans]
    assert far[spans.index((2, 4))].tolist() == [-2, -1, 0, 0, 1, 2]
    both = list(itertools.product(spans, spans))
    sides = [tuple(jnp.asarray([[span[side][k]] for span in both], jnp.int32) for k in (0, 1)) for side in (0, 1)]
    there = jnp.ones((len(both), 6), bool)
    parts = np.asarray(pcnn.pieces(pcnn.Sentence(there.astype(jnp.int32), there, *sides)))
    assert (parts.sum(axis=2) == 1).all()
    assert parts.argmax(axis=2).tolist() == [parts_by_hand(6, *pair) for pair in both]


def test_a_part_without_words_is_zero():
    x = jnp.asarray([[[-3.0, 1.0], [-2.0, 0.5], [-5.0, 7.0]]])
    parts = jnp.asarray([[[True, False, False], [True, False, False], [False, False, True]]])
    assert pcnn.pool(x, parts).tolist() == [[-2.0, 1.0, 0.0, 0.0, -5.0, 7.0]]
    gradient = jax.grad(lambda x: pcnn.pool(x, parts).sum())(x)
    assert gradient.tolist() == [[[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]]


@pytest.mark.parametrize("pooling", pcnn.POOLINGS)
def test_padding_and_other_sentences_change_nothing(pooling):
    system, variables = made(pooling=pooling)
    together = batch_of([*PAIRS.values()], 40)
    found = outputs_of(system, variables, together)
    for name in ("overlapping", "nothing else"):
        n, alone = [*PAIRS].index(name), batch_of([PAIRS[name]])
        np.testing.assert_allclose(found[n : n + 1], outputs_of(system, variables, alone), atol=1e-5)


def test_what_the_markers_are_called_is_not_read():
    system, variables = made()
    batch = batch_of(PAIRS.values())
    other = jax.tree.map(np.array, variables)
    special = [*range(ENCODER.vocab_size - 4, ENCODER.vocab_size), *ENCODER.special_ids.values()]
    other["params"]["text"]["word"][special] += 9.0
    outputs = [outputs_of(system, v, batch) for v in (variables, other)]
    np.testing.assert_array_equal(*outputs)


def test_dropout_of_words_reads_the_unknown_one_in_training_alone():
    config = tiny().copy_and_resolve_references().unlock()
    config.text.word_dropout = 0.99
    system = systems.build(resolve(config), vocab_size=ENCODER.vocab_size, labels=LABELS)
    _, variables = made()
    batch, plain = batch_of(PAIRS.values()), made()[0]
    outputs = [outputs_of(s, variables, batch) for s in (system, plain)]
    np.testing.assert_array_equal(*outputs)
    gradient = gradients_of(system, batch, variables)
    table = np.abs(gradient["text"]["word"]).sum(axis=1)
    assert table[ENCODER.special_ids["unk"]] > 0 and (table > 0).sum() < 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task.name": "entities"}, "system 'pcnn' has the task relation, found task.name='entities'"),
        ({"text.kind": "bert", "text.heads": 2}, "this system reads vectors of words: text.kind=vectors, found 'bert'"),
        ({"system.pooling": "mean"}, "system.pooling='mean' is not one of pieces, sentence"),
        ({"system.modalities": "both"}, "system.modalities='both' is not one of text"),
    ],
)
def test_settings_that_contradict_each_other_are_told(changes, message):
    config = tiny().copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        systems.build(resolve(config), vocab_size=ENCODER.vocab_size, labels=LABELS)
