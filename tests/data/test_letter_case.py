"""Capitals are kept or lowered as a tokenizer's directory says; where it says nothing, as its vocabulary has them; a log line says so."""

import json
import logging

import pytest
import tokenizers
import transformers
from tokenizers import models, normalizers, pre_tokenizers

from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.data.tokenizer_files import load_tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"]
CASED, UNCASED = [*SPECIALS, "Anna", "anna", "lives", "Os", "##lo"], [*SPECIALS, "anna", "lives", "os", "##lo"]
WORDS = ("Anna", "lives", "OSLO")


@pytest.fixture
def bert(tmp_path):
    """A function that makes a BERT directory of a vocabulary and, if any, what tokenizer_config.json says."""

    def make(vocabulary, said=None, **files):
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        if said is not None:
            (tmp_path / "tokenizer_config.json").write_text(said if isinstance(said, str) else json.dumps(said))
        for name, text in files.items():
            (tmp_path / f"{name}.json").write_text(text)
        return tmp_path

    return make


def pieces(directory):
    encoder = TextEncoder(load_tokenizer(directory))
    return [encoder.tokenizer.id_to_token(i) for i in encoder.pieces(WORDS)[0]]


@pytest.mark.parametrize("said", [None, {}, {"model_max_length": 512}, {"do_lower_case": None}])
@pytest.mark.parametrize("vocabulary, kept", [(CASED, True), (UNCASED, False), ([*UNCASED, *(f"w{i}" for i in range(300)), "URL"], False)])
def test_the_vocabulary_decides_where_nothing_is_said(bert, caplog, said, vocabulary, kept):
    caplog.set_level(logging.INFO)
    directory = bert(vocabulary, said)
    assert pieces(directory) == (["Anna", "lives", "[UNK]"] if kept else ["anna", "lives", "os", "##lo"])
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("mmre_jax")]
    assert line.startswith(f"{directory}: do_lower_case is not said; ")
    assert line.endswith("words keep their capitals" if kept else "words are lower-cased")


@pytest.mark.parametrize("vocabulary", [CASED, UNCASED])
@pytest.mark.parametrize("lower", [True, False])
def test_what_is_said_counts_and_a_contradiction_is_logged(bert, caplog, vocabulary, lower):
    directory = bert(vocabulary, {"do_lower_case": lower})
    theirs = transformers.BertTokenizer.from_pretrained(str(directory), do_lower_case=lower)
    assert pieces(directory) == [piece for word in WORDS for piece in theirs.tokenize(word)]
    said = [record.getMessage() for record in caplog.records if record.name.startswith("mmre_jax")]
    if lower == (vocabulary is UNCASED):
        assert not said
    else:
        assert len(said) == 1 and ("words are lower-cased" if lower else "words keep their capitals") in said[0]


@pytest.mark.parametrize("lower", [True, False])
def test_a_tokenizer_json_is_taken_as_it_is(bert, caplog, lower):
    vocabulary = {entry: i for i, entry in enumerate(CASED)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.BertNormalizer(lowercase=lower)])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    directory = bert(CASED, {"do_lower_case": not lower}, tokenizer=tokenizer.to_str())
    assert pieces(directory) == (["anna", "lives", "[UNK]"] if lower else ["Anna", "lives", "[UNK]"])
    assert ["words are lower-cased, as it says" in record.getMessage() for record in caplog.records] == [True] * lower


def test_own_tokenizers_and_byte_level_ones_are_no_contradiction(tmp_path, caplog):
    (tmp_path / "tokenizer.json").write_text(train_tokenizer([("Anna", "lives", "in", "Oslo")], 60))
    load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    letters = {entry: i for i, entry in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "A", "a", "n", "Ġ"])}
    (tmp_path / "vocab.json").write_text(json.dumps(letters), "utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na n\n", "utf-8")
    (tmp_path / "vocab.json").write_text(json.dumps({**letters, "an": len(letters)}), "utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    encoder = TextEncoder(load_tokenizer(tmp_path))
    assert [encoder.tokenizer.id_to_token(i) for i in encoder.pieces(("Anan",))[0]] == ["Ġ", "A", "n", "an"]
    assert not [record for record in caplog.records if record.name.startswith("mmre_jax")]


def test_damaged_settings_are_named(bert):
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: not a JSON file"):
        load_tokenizer(bert(CASED, "{"))
