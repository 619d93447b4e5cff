"""Whether a tokenizer lower-cases words: what its directory says, or, where it does not, what its vocabulary can only mean."""

from __future__ import annotations

import logging
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mmre_jax.text_files import read_json, read_text

logger = logging.getLogger(__name__)


def keeps(directory: pathlib.Path) -> bool:
    """Whether a tokenizer with a vocab.txt keeps capitals: as tokenizer_config.json says, else as its vocabulary has any.

    Raises:
      ValueError: tokenizer_config.json is not valid JSON, or a file is not UTF-8 text.
    """
    settings = directory / "tokenizer_config.json"
    said = read_json(settings, ValueError) if settings.is_file() else {}
    if isinstance(said, dict) and isinstance(said.get("do_lower_case"), bool):
        return not said["do_lower_case"]
    capitals, entries = _capitals(read_text(directory / "vocab.txt", ValueError).splitlines())
    cased = _is_cased(capitals, entries)
    done = "words keep their capitals" if cased else "words are lower-cased"
    logger.info("%s: do_lower_case is not said; %d of %d entries of vocab.txt have capitals: %s", directory, capitals, entries, done)
    return cased


def check(directory: pathlib.Path, tokenizer: Mapping[str, Any]) -> None:
    """A log line where a tokenizer lower-cases words and its vocabulary has capitals, or the other way round."""
    vocabulary = tokenizer.get("model", {}).get("vocab", ())
    capitals, entries = _capitals([entry if isinstance(entry, str) else entry[0] for entry in vocabulary])
    if not entries:
        return
    lowers = _lower_cases(tokenizer.get("normalizer"))
    if lowers and _is_cased(capitals, entries):
        text = "%s: words are lower-cased, as it says, though %d of %d entries of the vocabulary have capitals and are not reached"
        logger.warning(text, directory, capitals, entries)
    elif not lowers and not capitals:
        logger.warning("%s: words keep their capitals, as it says, though none of %d entries of the vocabulary has any", directory, entries)


def _capitals(vocabulary: Iterable[str]) -> tuple[int, int]:
    """(entries with capitals, entries with letters), but for special tokens such as [CLS] and <s>."""
    words = [entry for entry in vocabulary if not re.fullmatch(r"\[.*\]|<.*>", entry) and entry.upper() != entry.lower()]
    return sum(entry != entry.lower() for entry in words), len(words)


def _is_cased(capitals: int, entries: int) -> bool:
    """By more than one in a hundred: a few that someone added to an uncased vocabulary (URL, USER) do not make it cased."""
    return capitals > entries / 100


def _lower_cases(step: Mapping[str, Any] | None) -> bool:
    """Whether a normalizer of tokenizer.json lower-cases."""
    if step is None:
        return False
    if step.get("type") == "Sequence":
        return any(_lower_cases(part) for part in step["normalizers"])
    return step.get("type") == "Lowercase" or (step.get("type") == "BertNormalizer" and bool(step.get("lowercase")))
