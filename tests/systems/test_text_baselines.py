"""BERT, MTB and BERT-CRF are what their configuration says: transformers' BERT with a linear layer on the states that are read."""

import jax
import numpy as np
import pytest
import torch
import transformers

from configs import text_baselines
from mmre_jax import systems
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.data.tokenizer_files import load_tokenizer
from mmre_jax.records import Mention, Record, Relation
from mmre_jax.tasks.entities import EntitiesTask
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.weights import pretrained

WORDS = ("ada", "lovelace", "meets", "grace", "hopper", "in", "oslo", "today")
LABELS = ("None", "x", "y", "z")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
RECORDS = [
    Record(id="a", words=WORDS, relations=(Relation(Mention(0, 2), Mention(3, 5), "x"),), mentions=(Mention(0, 2, "PER"),)),
    Record(id="b", words=WORDS[2:6], relations=(Relation(Mention(3, 4), Mention(1, 2), "z"),), mentions=(Mention(3, 4, "LOC"),)),
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A transformers directory of a small BERT, and the model."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = train_tokenizer([WORDS], 60)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 40}
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=TextEncoder(tokenizer, markers=False).vocab_size, initializer_range=0.3, **sizes)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    return folder, model


@pytest.mark.parametrize("variant", ["minilm_bert_mnre", "minilm_mtb_mnre", "minilm_bert_crf_twitter2017"])
def test_outputs_are_those_of_transformers_with_a_linear_layer(bert, variant):
    folder, model = bert
    config = text_baselines.get_config(variant).copy_and_resolve_references().unlock()
    config.text.update({"weights": str(folder), "max_tokens": 40})
    config = pretrained.resolve(config.lock())
    related, labels = config.task.name == "relation", TAGS if config.task.name == "entities" else LABELS
    encoder = TextEncoder(load_tokenizer(folder), 40, markers=related)
    task = RelationTask(encoder, labels, "None") if related else EntitiesTask(encoder, labels)
    encoded = task.encode(RECORDS)
    rows = [task.features(record, 20, each) for record, each in zip(RECORDS, encoded, strict=True)]
    batch = {**jax.tree.map(lambda *x: np.stack(x), *rows), "present": {}, "pictures": {}}
    system = systems.build(config, vocab_size=encoder.vocab_size, labels=labels)
    assert system.plan == ()
    variables = pretrained.load(config, system.plan, jax.jit(system.init)(jax.random.key(0), batch))
    found = system.net.apply(variables, *system.inputs(batch), train=False)

    ids, mask = (torch.tensor(batch["text"][name]).long() for name in ("ids", "mask"))
    table = torch.tensor(np.asarray(variables["params"]["text"]["embeddings"]["word"]))  # BERT's rows, and those of the markers behind them
    known = model.embeddings.word_embeddings.weight
    torch.testing.assert_close(table[: len(known)], known)
    with torch.no_grad():
        states = model(inputs_embeds=table[ids], attention_mask=mask).last_hidden_state.numpy()
    head = jax.tree.map(np.asarray, variables["params"]["head"]["classifier"])
    if related:
        opened = [[list(each.ids).index(encoder.marker_ids[m]) for m in (0, 2)] for each in encoded]
        places = [[0], [0]] if "_bert_" in variant else opened
        read = np.stack([states[n, place].reshape(-1) for n, place in enumerate(places)])
        np.testing.assert_allclose(found, read @ head["kernel"] + head["bias"], atol=1e-4)
    else:
        there = batch["text"]["mask"]
        np.testing.assert_allclose(found["emissions"][there], (states @ head["kernel"] + head["bias"])[there], atol=1e-4)
        assert set(system.predict(variables, batch)) == {"tags", "mention"}


def test_rows_that_differ_in_one_thing_do():
    bert, mtb = (text_baselines.get_config(f"{name}_mnre").to_dict() for name in ("bert", "mtb"))
    assert bert["system"].pop("pool") == "cls" and mtb["system"].pop("pool") == "markers"
    assert all(bert[name] == mtb[name] for name in ("system", "data", "text", "task"))
    for variant in text_baselines.VARIANTS:
        config = text_baselines.get_config(variant)
        assert config.system.modalities == "text" and config.data.objects == "none", variant
        assert config.task.name == ("entities" if "crf" in variant else "relation"), variant
