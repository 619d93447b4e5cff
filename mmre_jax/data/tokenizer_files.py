"""Tokenizers as transformers' directories have them: old ones made into JSON, and where that JSON adds spaces."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from mmre_jax.data import letter_case
from mmre_jax.text_files import without_marks


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
