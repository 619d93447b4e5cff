"""Answers to requests: perfect, random, malformed, out of order, twice, missing."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.prompts import answers
from mmre_jax.prompts.manifest import Asked, Manifest
from mmre_jax.prompts.questions import Question
from mmre_jax.records import Mention, Record, RecordError, Relation

LABELS = ("None", "peer", "couple")
RECORDS = [
    Record(f"r{i}", ("Ada", "meets", "Bo", str(i)), relations=(Relation(Mention(0, 1), Mention(2, 3), LABELS[i % 3]),)) for i in range(6)
]
ASKED = [Asked(f"{i:06d}-ab", f"r{i}", "missing") for i in range(6)]
MANIFEST = Manifest("test", {}, "", Question("relation", LABELS, "None"), {}, ASKED, (), ())


def line(i, said="peer", *, status=200, error=None, usage=(400, 6), model="m-1", finish="stop", **message):
    choice = {"index": 0, "message": {"role": "assistant", "content": said, **message}, "finish_reason": finish}
    body = {"model": model, "choices": [choice]}
    body |= {} if usage is None else {"usage": dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))}
    response = {"status_code": status, "request_id": "x", "body": body}
    return {"id": f"b{i}", "custom_id": f"{i:06d}-ab", "response": response, "error": error}


def read(tmp_path, *files, price=None):
    paths = [tmp_path / f"{i}.jsonl" for i in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines))
    return answers.read(paths, MANIFEST, RECORDS, price)


def labels(found):
    return [each[0].label for each in found.found]


def test_perfect_ones_in_any_order(tmp_path):
    lines = [line(i, record.relations[0].label) for i, record in enumerate(RECORDS)]
    random.Random(3).shuffle(lines)
    found = read(tmp_path, lines[:2], lines[2:])
    assert labels(found) == [record.relations[0].label for record in RECORDS]
    assert found.outcomes == {"answered": 6, "unreadable": 0, "errored": 0, "missing": 0} and not found.unread and not found.reasons
    assert found.models == {"m-1": 6} and found.model() == "m-1"


def test_what_is_no_answer_is_the_empty_relation_and_counted(tmp_path):
    """r3 is not answered at all."""
    cut = line(1, "the relation is pe", finish="length", model="m-2")
    failed = {**line(4), "response": None, "error": {"code": "batch_expired", "message": "late"}}
    found = read(tmp_path, [line(0, "PEER "), cut, line(2, None, refusal="I cannot"), failed, line(5, status=429)])
    assert labels(found) == ["peer", *["None"] * 5]
    assert found.outcomes == {"answered": 1, "unreadable": 2, "errored": 2, "missing": 1}
    assert found.reasons == {
        "unreadable: no label, cut off at max_tokens": 1,
        "unreadable: refused": 1,
        "errored: error batch_expired": 1,
        "errored: status 429": 1,
    }
    assert [(each["id"], each["outcome"], each["said"]) for each in found.unread] == [
        ("r1", "unreadable", "the relation is pe"),
        ("r2", "unreadable", None),
        ("r3", "missing", None),
        ("r4", "errored", None),
        ("r5", "errored", None),
    ]
    assert found.model() == "m-1, m-2"
    assert "  unreadable: refused" in found.text() and "batch_expired" in found.text()
    [path] = found.write(tmp_path)
    assert [json.loads(each) for each in path.read_text().splitlines()] == list(found.unread)


def test_of_several_lines_the_first_with_an_answer_counts(tmp_path):
    found = read(tmp_path, [line(0, status=500), line(1, "couple"), line(2, "peer")], [line(0, "peer"), line(1, "peer"), line(2, "peer")])
    assert labels(found)[:3] == ["peer", "couple", "peer"]
    assert (found.repeated, found.contradictory) == (3, 1) and found.outcomes["errored"] == 0


def test_what_a_thousand_records_cost(tmp_path):
    found = read(tmp_path, [line(0, usage=(300, 5)), line(1, usage=(500, 15)), line(2, usage=None), line(3, status=500)], price=(2.0, 10.0))
    assert found.cost() == {"records": 2, "prompt_tokens": 400_000.0, "completion_tokens": 10_000.0, "money": pytest.approx(0.9)}
    assert found.to_json()["price_per_million"] == [2.0, 10.0] and "money" in found.text()
    unknown = read(tmp_path, [line(0, usage=None), line(1, usage=(-1, 2)), line(2, usage=(True, 2))], price=(2.0, 10.0))
    assert unknown.cost() == {"records": 0, "prompt_tokens": None, "completion_tokens": None, "money": None}
    assert read(tmp_path, [line(0, usage=(10**400, 2))]).cost()["records"] == 0, "no count of tokens"
    assert "money" not in read(tmp_path, []).cost()


def test_an_error_is_told_by_what_it_says_of_itself(tmp_path):
    errors = [{"code": None, "type": "rate", "message": "slow"}, {"message": "slow down"}, {}, "gone"]
    found = read(tmp_path, [{**line(i), "error": error} for i, error in enumerate(errors)])
    assert list(found.reasons) == [f"errored: error {said}" for said in ("rate", "slow down", "None", "gone")]


def test_a_table_of_reasons_stays_short():
    reasons = {f"errored: error {i}": 2 for i in range(50)}
    found = answers.Answers((), dict.fromkeys(answers.OUTCOMES, 0), reasons, {}, 0, 0, {}, (), ())
    assert "30 other reasons, see unread.jsonl" in found.text() and "60" in found.text() and len(found.text().splitlines()) < 40


def test_a_batch_that_gave_nothing(tmp_path):
    found = read(tmp_path, ["", " "])
    assert found.outcomes["missing"] == 6 and labels(found) == ["None"] * 6 and found.model() == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('{"custom_id": "000000-ab", ', "0.jsonl:2: not a JSON value"),
        ('["000000-ab"]', "0.jsonl:2: expected an object with 'custom_id'"),
        ('{"custom_id": 3}', "0.jsonl:2: expected an object with 'custom_id'"),
        ('{"custom_id": "000000-ab"}', "0.jsonl:2: neither 'response' nor 'error': no answer"),
        ('{"custom_id": "000000-ab", "body": {}}', "0.jsonl:2: neither 'response' nor 'error': no answer but a request"),
        ('{"custom_id": "000000-ac", "error": null}', "0.jsonl:2: field 'custom_id': '000000-ac' is none of the requests in the manifest"),
    ],
)
def test_files_that_are_no_answers_to_these_requests(tmp_path, wrong, said):
    with pytest.raises(RecordError) as error:
        read(tmp_path, [line(0), wrong])
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"response": "x"},
        {"response": {}},
        {"response": {"status_code": 200, "body": []}},
        {"response": {"status_code": "200", "body": {}}},
        {"response": {"status_code": 200, "body": {"choices": []}}},
        {"response": {"status_code": 200, "body": {"choices": [3]}}},
        {"response": {"status_code": 200, "body": {"choices": [{"message": None}]}}},
        {"error": "boom"},
        {"error": {"code": ["x"]}},
    ],
)
def test_lines_without_a_message_are_errors_of_their_request(tmp_path, change):
    found = read(tmp_path, [{**line(0), **change}])
    assert found.outcomes["errored"] == 1 and labels(found)[0] == "None"


def test_half_a_character_in_an_answer_harms_nothing(tmp_path):
    found = read(tmp_path, [line(0, "\ud83d", model="\ud83d"), line(1)])
    assert found.outcomes["unreadable"] == 1 and found.models == {"?": 1, "m-1": 1}
    found.write(tmp_path)
    json.dumps(found.to_json(), ensure_ascii=False).encode("utf-8")


KEYS = ["custom_id", "response", "error", "body", "status_code", "choices", "message", "content", "usage", "model", "prompt_tokens", "code"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["000000-ab", "peer", 200]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@given(VALUES | st.builds(lambda value: {"custom_id": "000000-ab", "response": value}, VALUES) | st.text(max_size=20))
def test_any_json_line_is_read_or_an_error_that_names_it(value):
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        name, reply = answers.parse(text, "here")
    except RecordError as error:
        assert str(error).startswith("here: ")
        return
    assert isinstance(name, str) and (reply.said is None) == bool(reply.why) and not (reply.errored and reply.said)
