"""launch.prompts and the answers that launch.evaluate reads, as they are typed: the whole round."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from typed import message, run  # noqa: E402

SCENES = ("--config=configs/hvformer.py:quickstart", "--config.data.counts=(40,4,12)")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(a folder of requests, a file of answers, of which four are None)."""
    folder = tmp_path_factory.mktemp("round")
    ended = run("prompts", *SCENES, "--model=m", "--shots=2", "--file_requests=8", f"--out={folder / 'prompts'}")
    assert ended.returncode == 0, ended.stderr
    names = ["requests-1.jsonl", "requests-2.jsonl", "manifest.json"]
    assert ended.stdout.splitlines() == [str(folder / "prompts" / name) for name in names]
    for said in (
        "test: 12 requests in ",
        "pictures: 12 shown",
        "in 2 files, of at most 8 requests",
        "before each question: scenes:relations:0:train",
    ):
        assert said in ended.stderr
    requests = [json.loads(line) for name in names[:2] for line in (folder / "prompts" / name).read_text().splitlines()]
    lines = []
    for i, request in enumerate(requests):
        body = {"model": "m-7", "choices": [{"message": {"content": "None" if i % 3 else "who knows"}}], "usage": None}
        lines.append({"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None})
    (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:6]))
    (folder / "errors.jsonl").write_text("".join(json.dumps({**line, "error": {"code": "x"}}) + "\n" for line in lines[6:9]))
    return folder


def test_answers_are_scored_and_compared(asked):
    files = f"--answers={asked / 'answers.jsonl'},{asked / 'errors.jsonl'}"
    ended = run("evaluate", files, f"--prompts={asked / 'prompts'}", *SCENES, "--price=1,2", f"--out={asked / 'found'}")
    assert ended.returncode == 0, ended.stderr
    rows = [line.split() for line in ended.stdout.splitlines()]
    counts = (["answered", "4"], ["unreadable", "2"], ["errored", "3"], ["missing", "3"])
    for row in (*counts, ["unreadable:", "no", "label", "2"], ["money", "-"]):
        assert row in rows, ended.stdout
    assert "system prompted" in ended.stderr and "model m-7" in ended.stderr
    assert len((asked / "found" / "unread.jsonl").read_text().splitlines()) == 8
    table = asked / "found" / "predictions.jsonl"
    beside = run("compare", table, table, *SCENES, "--names=one,other", "--resamples=20", f"--out={asked / 'compared'}")
    assert beside.returncode == 0, beside.stderr


def test_mistakes_end_in_one_line(asked, tmp_path):
    out = f"--out={tmp_path / 'new'}"
    assert message(run("prompts", "--model=m", out)).startswith("--config names task and data")
    assert message(run("prompts", *SCENES, out)).startswith("give --model")
    assert message(run("prompts", *SCENES, "--model=m", out, "--body=[]")) == "--body=[]: expected a JSON object"
    assert message(run("prompts", *SCENES, "--model=m", out, "--body={")).startswith("--body: not a JSON value")
    assert "holds manifest.json already" in message(run("prompts", *SCENES, "--model=m", f"--out={asked / 'prompts'}"))
    answers, prompts = f"--answers={asked / 'answers.jsonl'}", f"--prompts={asked / 'prompts'}"
    assert message(run("evaluate", answers, *SCENES)).startswith("--answers needs --prompts")
    assert message(run("evaluate", prompts, "--predictions=x", *SCENES)) == "--prompts needs --answers"
    assert message(run("evaluate", answers, prompts)).startswith("--predictions and --answers need --config")
    assert message(run("evaluate", answers, "--predictions=x", *SCENES)) == "give either --checkpoint, --predictions or --answers"
    for price in ("1", "1,2,3", "1,x", "-1,2", "1,nan"):
        assert message(run("evaluate", answers, prompts, *SCENES, f"--price={price}")).startswith(f"--price={price}: expected IN,OUT")
    assert "ask about split 'test', found --split=val" in message(run("evaluate", answers, prompts, *SCENES, "--split=val"))
