"""Answers as batches give them back: JSON lines {"custom_id", "response": {"status_code", "body"}, "error"}, in any order.

A line that is no JSON object, has neither response nor error, or whose custom id is none of the requests', is an error: the file is not
what it should be. All else is counted. Of several lines for one request the first that did not fail counts, so that those of requests that
were sent again can be given behind the first ones; an answer that cannot be read counts, too, and so does a refusal.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mmre_jax.analysis import report
from mmre_jax.prompts import reading
from mmre_jax.prompts.manifest import Manifest
from mmre_jax.prompts.pictures import SHOWN
from mmre_jax.records import Record, RecordError
from mmre_jax.tasks.task import Found
from mmre_jax.text_files import read_text
from mmre_jax.training.log import write_text

_MOST = 10**9  # tokens of a request; more is no count of tokens
_REASONS = 20  # rows of a table: an error may say something new of each request
OUTCOMES = ("answered", "unreadable", "errored", "missing")  # of a request, exactly one


@dataclasses.dataclass(frozen=True)
class Reply:
    """A line for a request: what was said, or why there is nothing; whether it was cut off; where they are known, the model, and the tokens
    of prompt and answer."""

    said: str | None
    why: str = ""
    errored: bool = False
    cut: bool = False
    model: str | None = None
    usage: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came back.

    found: of each example, in their order.
    outcomes: how many requests ended in each of OUTCOMES.  reasons: why, of those that were not answered.
    lost: of mentions or triples in readable answers, those that are not, by reason.
    repeated: lines for a request that had one already.  contradictory: requests with answers that are not the same.
    models: how many answers each model gave.
    usage: tokens of (prompt, answer) of each request that told them.
    unread: {id, custom_id, outcome, why, said} of each request without a readable answer.
    price: of a million tokens of prompts and of answers.
    """

    found: Sequence[Found]
    outcomes: Mapping[str, int]
    reasons: Mapping[str, int]
    lost: Mapping[str, int]
    repeated: int
    contradictory: int
    models: Mapping[str, int]
    usage: Sequence[tuple[int, int]]
    unread: Sequence[Mapping[str, Any]]
    price: tuple[float, float] | None = None

    def cost(self) -> dict[str, float | int | None]:
        """What a thousand records cost: tokens, and with `price` the money; None where no answer told its tokens.

        Returns:
          records: of which it is known.  prompt_tokens, completion_tokens, with a price also money: for a thousand of them.
        """
        count = len(self.usage)
        each = [1000 * sum(both[i] for both in self.usage) / count if count else None for i in range(2)]
        found: dict[str, float | int | None] = {"records": count, "prompt_tokens": each[0], "completion_tokens": each[1]}
        if self.price is not None:
            known = [tokens for tokens in each if tokens is not None]
            found["money"] = sum(tokens * price / 1e6 for tokens, price in zip(known, self.price, strict=True)) if known else None
        return found

    def to_json(self) -> dict[str, Any]:
        """All of it but what was found, as plain JSON values."""
        return {
            "requests": len(self.found),
            **self.outcomes,
            "reasons": dict(self.reasons),
            "items_unreadable": dict(self.lost),
            "repeated": self.repeated,
            "contradictory": self.contradictory,
            "models": dict(self.models),
            "per_thousand": self.cost(),
            **({} if self.price is None else {"price_per_million": list(self.price)}),
        }

    def text(self) -> str:
        """How requests ended, and what a thousand cost, as tables for a terminal."""
        rows: list[dict[str, str | int | float | None]] = [{"requests": name, "count": self.outcomes[name]} for name in OUTCOMES]
        reasons = list(self.reasons.items())
        rows += [{"requests": f"  {why}", "count": count} for why, count in reasons[:_REASONS]]
        rest = sum(count for _, count in reasons[_REASONS:])
        rows += [{"requests": f"  {len(reasons) - _REASONS} other reasons, see unread.jsonl", "count": rest}] if rest else []
        rows += [{"requests": f"left out of answers: {why}", "count": count} for why, count in self.lost.items()]
        extra = (("lines beside the first of a request", self.repeated), ("requests with different answers", self.contradictory))
        rows += [{"requests": name, "count": count} for name, count in extra if count]
        cost = [{"per thousand records": name, "": value} for name, value in self.cost().items() if name != "records"]
        return "\n\n".join([report.table(rows, ["requests", "count"]), report.table(cost, ["per thousand records", ""])])

    def write(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """Writes unread.jsonl into a folder that is there: a line for each request without a readable answer, none where all have one.
        Returns what it wrote."""
        path = folder / "unread.jsonl"
        write_text(path, "".join(f"{json.dumps(each)}\n" for each in self.unread))  # in ASCII: an answer may hold half a character
        return [path]

    def model(self) -> str:
        """The model that answered, as it calls itself; several joined; '' where no answer names one."""
        return ", ".join(sorted(self.models))


def read(
    paths: Sequence[str | os.PathLike[str]], manifest: Manifest, examples: Sequence[Record], price: tuple[float, float] | None = None
) -> Answers:
    """The answers in some files, of the requests of a manifest, which has been checked to be that of the examples.

    Raises:
      RecordError: naming file and line, for a line that is no JSON object, or whose custom id is none of the requests'.
      OSError: a file cannot be read.
    """
    replies = _lines(paths, frozenset(each.custom_id for each in manifest.asked))
    outcomes = Counter(dict.fromkeys(OUTCOMES, 0))
    reasons, lost, models = Counter[str](), Counter[str](), Counter[str]()
    found: list[Found] = []
    usage: list[tuple[int, int]] = []
    unread = []
    for asked, example in zip(manifest.asked, examples, strict=True):
        here = replies.get(asked.custom_id, ())
        reply = next((each for each in here if not each.errored), here[0] if here else None)
        said = reading.nothing(manifest.question, example)
        outcome, why = ("missing", "") if reply is None else ("errored", reply.why) if reply.errored else ("unreadable", reply.why)
        if reply is not None and reply.said is not None:
            try:
                said, part = reading.read(manifest.question, reply.said, example, asked.picture == SHOWN)
                outcome = "answered"
                lost += part
            except reading.Unreadable as error:
                why = f"{error}{', cut off at max_tokens' if reply.cut else ''}"
        if reply is not None:
            models.update([reply.model] if reply.model is not None else [])
            usage += [] if reply.usage is None else [reply.usage]
        outcomes[outcome] += 1
        found.append(said)
        if outcome != "answered":
            reasons.update([f"{outcome}: {why}"] if why else [])
            said_so = None if reply is None else reply.said
            unread.append({"id": asked.id, "custom_id": asked.custom_id, "outcome": outcome, "why": why, "said": said_so})
    repeated = sum(len(here) - 1 for here in replies.values())
    different = sum(len({each.said for each in here if not each.errored}) > 1 for here in replies.values())
    counted = (dict(each.most_common()) for each in (reasons, lost))
    return Answers(found, dict(outcomes), *counted, repeated, different, dict(models), usage, unread, price)


def _lines(paths: Sequence[str | os.PathLike[str]], known: frozenset[str]) -> dict[str, list[Reply]]:
    """{custom id: its replies, in the order of the lines}. Raises as `read`."""
    found: dict[str, list[Reply]] = defaultdict(list)
    for path in paths:
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if not line.strip():
                continue
            where = f"{os.fspath(path)}:{number}"
            name, reply = parse(line, where)
            if name not in known:
                raise RecordError(
                    f"{where}: field 'custom_id': {name!r:.80} is none of the requests in the manifest: whose answers are these?"
                )
            found[name].append(reply)
    return dict(found)


def parse(line: str, where: str) -> tuple[str, Reply]:
    """(custom id, what is said) of a line.

    Raises:
      RecordError: naming `where`, for what is no JSON object with a custom id, and with a response or an error.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not a JSON value ({error}): {line.strip():.80}") from error
    if not isinstance(value, dict) or not isinstance(value.get("custom_id"), str):
        raise RecordError(f"{where}: expected an object with 'custom_id', found {line.strip():.120}")
    if not {"response", "error"} & value.keys():
        raise RecordError(f"{where}: neither 'response' nor 'error': no answer{' but a request' if 'body' in value else ''}")
    return value["custom_id"], _reply(value)


def _reply(value: Mapping[str, Any]) -> Reply:
    response = value.get("response")
    if value.get("error") is not None:
        return Reply(None, f"error {_code(value['error'])}", errored=True)
    if not isinstance(response, dict):
        return Reply(None, "no response", errored=True)
    status = response.get("status_code", 200)
    if status != 200:
        return Reply(None, f"status {_short(status)}", errored=True)
    body = response.get("body")
    if not isinstance(body, dict):
        return Reply(None, "no body", errored=True)
    model = _short(body["model"], 120) if isinstance(body.get("model"), str) else None
    about = {"model": model, "usage": _usage(body.get("usage"))}
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return Reply(None, "no message", errored=True, **about)
    finish = choice.get("finish_reason")
    if isinstance(said := message.get("content"), str) and said.strip():
        return Reply(said, cut=finish == "length", **about)
    return Reply(None, "refused" if message.get("refusal") else f"no text, ended by {_short(finish)}", **about)


def _usage(value: Any) -> tuple[int, int] | None:
    tokens = [value.get(name) for name in ("prompt_tokens", "completion_tokens")] if isinstance(value, dict) else []
    return (tokens[0], tokens[1]) if tokens and all(type(each) is int and 0 <= each < _MOST for each in tokens) else None


def _code(error: Any) -> str:
    """What an error calls itself: its code, else its type, else what it says."""
    names = ("code", "type", "message") if isinstance(error, dict) else ()
    return _short(next((error[name] for name in names if error.get(name) is not None), None if names else error))


def _short(value: Any, longest: int = 40) -> str:
    """A value from elsewhere as it may stand in a table."""
    said = str(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in said[:longest])
