"""Tokenizers as transformers' directories have them: old ones made into JSON, and where that JSON adds spaces."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from mmre_jax.data import letter_case
from mmre_jax.data.torch_pickle import is_lfs_pointer, lfs_message
from mmre_jax.text_files import read_text, without_marks


def load_tokenizer(directory: str | pathlib.Path) -> str:
    """The tokenizer of a transformers directory, as the JSON of the tokenizers library.

    Records have words, not text, and those of a byte-level BPE (RoBERTa, GPT-2) or a SentencePiece model (XLM-R) are encoded as in running
    text, each behind its space: whatever the directory says of the first word, the result adds a space to every word that it is given.
    Whether a BERT's words are lower-cased, tokenizer.json says, or do_lower_case in tokenizer_config.json; where neither is there, the
    vocabulary does by having capitals or none, and a log line says what it was. Another one says where the files contradict each other.

    Args:
      directory: with tokenizer.json; or with vocab.txt (BERT), vocab.json and merges.txt (RoBERTa, GPT-2, GPT-1) or
        sentencepiece.bpe.model (XLM-R), and config.json or tokenizer_config.json beside it.

    Raises:
      FileNotFoundError: if the directory lacks one of these files.
      ValueError: for a damaged tokenizer.json, or a Git LFS pointer instead of a file; for a sentencepiece.bpe.model, if the packages
        that it takes are not installed.
    """
    path = pathlib.Path(directory) / "tokenizer.json"
    for name in ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model"):
        if is_lfs_pointer(path.with_name(name)):
            raise ValueError(lfs_message(path.with_name(name)))
    text = read_text(path, ValueError) if path.is_file() else converted(path.parent)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    letter_case.check(path.parent, found)
    spaced = {**found, "pre_tokenizer": behind_space(found.get("pre_tokenizer"))}
    return text if spaced == found else json.dumps(spaced, ensure_ascii=False)


def converted(directory: pathlib.Path) -> str:
    """The JSON that transformers makes of an old directory's files.

    Raises:
      FileNotFoundError: if a file is not there without which they say nothing.
      ValueError: for a sentencepiece.bpe.model, if the packages that it takes are not installed.
    """
    vocabularies = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model")
    found = next((name for name in vocabularies if (directory / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{directory}: no tokenizer.json, vocab.txt, vocab.json or sentencepiece.bpe.model: not a tokenizer's directory"
        )
    if found == "vocab.json" and not (directory / "merges.txt").is_file():
        raise FileNotFoundError(f"{directory}: vocab.json without its merges.txt")
    if not any((directory / name).is_file() for name in ("config.json", "tokenizer_config.json")):
        raise FileNotFoundError(f"{directory}: neither config.json nor tokenizer_config.json, to say what tokenizer {found} belongs to")
    import transformers  # slow to import, and only needed for old directories

    available = {"sentencepiece": transformers.utils.is_sentencepiece_available, "protobuf": transformers.utils.is_protobuf_available}
    if found == "sentencepiece.bpe.model" and not all(there() for there in available.values()):
        raise ValueError(f"{directory}: {found} takes two packages to read: pip install sentencepiece protobuf, or save a tokenizer.json")
    case = {"do_lower_case": not letter_case.keeps(directory)} if found == "vocab.txt" else {}
    with without_marks(directory) as plain:
        return transformers.AutoTokenizer.from_pretrained(str(plain), local_files_only=True, **case).backend_tokenizer.to_str()


def behind_space(step: Mapping[str, Any] | None, space: bool = True) -> Mapping[str, Any] | None:
    """A pre-tokenizer of tokenizer.json, made to add a space to every word where it knows spaces at all; to none in a ByteLevel's text."""
    if step is None:
        return None
    if step["type"] == "ByteLevel":
        return {**step, "add_prefix_space": space}
    if step["type"] == "Metaspace":  # older files say it with add_prefix_space
        return {**{name: value for name, value in step.items() if name != "add_prefix_space"}, "prepend_scheme": "always"}
    if step["type"] == "Sequence":
        steps = step["pretokenizers"]
        # Behind any other step it would no longer be words that get a space.
        first = next((i for i, part in enumerate(steps) if part["type"] != "WhitespaceSplit"), len(steps))
        return {**step, "pretokenizers": [behind_space(part, space) if i == first else part for i, part in enumerate(steps)]}
    return step
