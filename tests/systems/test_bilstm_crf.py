"""BiLSTM-CRF and CNN-BiLSTM-CRF: a second implementation in PyTorch, padding, letters, and settings that contradict each other."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small import gradients_of, outputs_of

from configs import text_baselines as configs
from mmre_jax import systems, tasks
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.records import Mention, Record
from mmre_jax.weights.pretrained import resolve

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SENTENCES = (
    (("Ada", "Lovelace", "meets", "@Grace", "in", "Oslo"), ((0, 2, "PER"), (3, 4, "PER"), (5, 6, "LOC"))),
    (("in", "N.Y.", "!"), ((1, 2, "LOC"),)),
    (("é",), ()),
    (("Oslo", "and", "Paris-sur-Seine", "meet"), ((0, 1, "LOC"), (2, 3, "LOC"))),
)
ENCODER = TextEncoder(train_tokenizer([words for words, _ in SENTENCES[:2]], 30, "whole"), 40, markers=False)


def tiny(**system):
    config = configs.get_config("quickstart_cnn_bilstm_crf").copy_and_resolve_references().unlock()
    config.text.update({"width": 6, "max_tokens": 40})
    config.system.update({"width": 5, "letters": 7, "letter_width": 4, "letter_filters": 3, **system})
    return config.lock()


def batch_of(config, sentences, length=None):
    task = tasks.build(config, ENCODER, TAGS, "O")
    records = [Record(id=str(n), words=words, mentions=tuple(Mention(*m) for m in found)) for n, (words, found) in enumerate(sentences)]
    encoded = task.encode(records)
    longest = max(map(len, encoded)) if length is None else length
    rows = [task.features(record, longest, each) for record, each in zip(records, encoded, strict=True)]
    more = {"valid": np.ones(len(rows), bool), "index": np.arange(len(rows), dtype=np.int32), "present": {}, "pictures": {}}
    return {**jax.tree.map(lambda *x: np.stack(x), *rows), **more}


def made(**system):
    config = tiny(**system)
    built, batch = systems.build(resolve(config), vocab_size=ENCODER.vocab_size, labels=TAGS), batch_of(config, SENTENCES)
    shapes = jax.eval_shape(built.init, jax.random.key(0), batch)
    rng = np.random.default_rng(0)
    return built, batch, jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32) * np.float32(0.5), shapes)


def lstm_of(params, inputs):
    """torch's LSTM of one layer with a cell's parameters: of both directions, whose gates stand in the order i, f, g, o."""
    width = params["forwards"]["hi"]["kernel"].shape[0]
    lstm = torch.nn.LSTM(inputs, width, batch_first=True, bidirectional=True)
    values = {}
    for ours, suffix in (("forwards", ""), ("backwards", "_reverse")):
        cell = params[ours]
        values[f"weight_ih_l0{suffix}"] = np.concatenate([cell[f"i{gate}"]["kernel"].T for gate in "ifgo"])
        values[f"weight_hh_l0{suffix}"] = np.concatenate([cell[f"h{gate}"]["kernel"].T for gate in "ifgo"])
        values[f"bias_ih_l0{suffix}"] = np.zeros(4 * width, np.float32)
        values[f"bias_hh_l0{suffix}"] = np.concatenate([cell[f"h{gate}"]["bias"] for gate in "ifgo"])
    lstm.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return lstm


def in_torch(params, batch, layers):
    """(emissions [B, L, K], the tensors and modules that have gradients) of packed sentences, and words letter by letter."""
    leaf = {k: jax.tree.map(lambda x: torch.tensor(np.asarray(x), requires_grad=True), v) for k, v in params.items() if "lstm" not in k}
    x = leaf["text"]["word"][torch.tensor(batch["text"]["ids"]).long()]
    if "letters" in params:
        p, written = leaf["letters"], batch["text"]["letters"]
        rows = []
        for letters in written.reshape(-1, written.shape[-1]):
            own = p["byte"]["embedding"][torch.tensor(letters[letters > 0]).long()]
            kernel = p["convolution"]["kernel"].permute(2, 1, 0)
            found = torch.tanh(torch.nn.functional.conv1d(own.T[None], kernel, p["convolution"]["bias"], padding=1)) if len(own) else None
            rows.append(torch.zeros(kernel.shape[0]) if found is None else found[0].max(dim=1).values)
        x = torch.cat([x, torch.stack(rows).reshape(*written.shape[:2], -1)], dim=-1)
    lengths, lstms = torch.tensor(batch["text"]["mask"].sum(axis=1)), []
    for n in range(layers):
        lstms.append(lstm_of(params[f"lstm_{n}"], x.shape[-1]))
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        x, _ = torch.nn.utils.rnn.pad_packed_sequence(lstms[-1](packed)[0], batch_first=True, total_length=x.shape[1])
    head = leaf["head"]["classifier"]
    return x @ head["kernel"] + head["bias"], leaf, lstms


@pytest.mark.parametrize(("letters", "layers"), [(7, 1), (0, 2)])
def test_states_and_gradients_are_those_of_a_second_implementation(letters, layers):
    system, batch, variables = made(letters=letters, layers=layers)
    params, mask = variables["params"], batch["text"]["mask"][..., None]
    assert ("letters" in params) == bool(letters)
    emissions, leaf, lstms = in_torch(params, batch, layers)
    np.testing.assert_allclose(outputs_of(system, variables, batch), np.where(mask, emissions.detach().numpy(), 0), atol=1e-5)

    weights = np.random.default_rng(1).standard_normal(emissions.shape).astype(np.float32)
    (emissions * torch.tensor(weights * mask)).sum().backward()
    ours = jax.jit(jax.grad(lambda p: (outputs_of(system, {"params": p}, batch) * weights).sum()))(params)
    for name, tree in leaf.items():
        flat = dict(jax.tree_util.tree_leaves_with_path(ours[name]))
        for path, tensor in jax.tree_util.tree_leaves_with_path(tree):
            if tensor.grad is not None:  # the chain's scores are no part of the emissions
                np.testing.assert_allclose(flat[path], tensor.grad.numpy(), atol=1e-4, err_msg=f"{name} {path}")
    for n, lstm in enumerate(lstms):
        for side, suffix in (("forwards", ""), ("backwards", "_reverse")):
            cell, theirs = ours[f"lstm_{n}"][side], {name: value.grad.numpy() for name, value in lstm.named_parameters()}
            np.testing.assert_allclose(
                np.concatenate([cell[f"i{g}"]["kernel"].T for g in "ifgo"]), theirs[f"weight_ih_l0{suffix}"], atol=1e-4
            )
            np.testing.assert_allclose(
                np.concatenate([cell[f"h{g}"]["kernel"].T for g in "ifgo"]), theirs[f"weight_hh_l0{suffix}"], atol=1e-4
            )
            np.testing.assert_allclose(np.concatenate([cell[f"h{g}"]["bias"] for g in "ifgo"]), theirs[f"bias_hh_l0{suffix}"], atol=1e-4)


def test_every_parameter_has_a_gradient():
    system, batch, variables = made()
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients_of(system, batch, variables)):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-7, path


def test_padding_and_other_sentences_change_nothing():
    system, _, variables = made()
    config = tiny()
    together = jax.jit(system.predict)(variables, batch_of(config, SENTENCES, 20))
    alone = batch_of(config, SENTENCES[1:2])
    found, length = jax.jit(system.predict)(variables, alone), alone["text"]["ids"].shape[1]
    np.testing.assert_array_equal(together["tags"][1, :length], found["tags"][0])
    np.testing.assert_allclose(together["mention"][1, :length], found["mention"][0], atol=1e-5)
    assert not together["tags"][1, length:].any()


def test_words_that_are_not_known_are_told_apart_by_their_letters_alone():
    _, _, variables = made()
    config = tiny()
    shown = [(("in", word, "meets"), ()) for word in ("Berlin", "berlin", "Bergen", "Berlin-Mitte", "Berlin-Moabit")]
    batch = batch_of(config, shown)
    assert len({tuple(row) for row in batch["text"]["ids"].tolist()}) == 1
    system = systems.build(resolve(config), vocab_size=ENCODER.vocab_size, labels=TAGS)
    found = outputs_of(system, variables, batch)
    near = [np.abs(found[0] - other).max() < 1e-6 for other in found]
    assert near == [True, False, False, False, False] and np.allclose(found[3], found[4], atol=1e-6), "of seven bytes they are the same"
    assert "letters" not in batch_of(tiny(letters=0), shown)["text"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task.name": "relation"}, "system 'bilstm_crf' has the task entities, found task.name='relation'"),
        ({"text.kind": "bert", "text.heads": 2}, "this system reads vectors of words: text.kind=vectors, found 'bert'"),
        ({"system.layers": 0}, "system.layers=0 is not a whole number of at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_told(changes, message):
    config = tiny().copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        systems.build(resolve(config), vocab_size=ENCODER.vocab_size, labels=TAGS)
