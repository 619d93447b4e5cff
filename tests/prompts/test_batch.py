"""Lines of requests, and the files that they go into."""

import hashlib
import json

import pytest

from mmre_jax.prompts import batch


def test_a_line():
    body = batch.dumps({"model": "m", "messages": [{"role": "user", "content": "é\u2028🙂"}]})
    name, line = batch.line(7, body)
    value = json.loads(line)
    assert list(value) == ["custom_id", "method", "url", "body"]
    assert value["custom_id"] == name == f"000007-{hashlib.sha256(body.encode()).hexdigest()[:16]}" and len(name) <= 64
    assert (value["method"], value["url"]) == ("POST", "/v1/chat/completions")
    assert value["body"]["messages"][0]["content"] == "é\u2028🙂" and len(line.decode().splitlines()) == 1


@pytest.mark.parametrize(("requests", "size", "counts"), [(3, 1000, [3, 3, 1]), (9, 25, [2, 2, 2, 1]), (9, 70, [7])])
def test_files_are_filled_up_to_either_bound(tmp_path, requests, size, counts):
    files = batch.Files(tmp_path, requests, size)
    for i in range(7):
        files.add(f"line {i} xx\n".encode(), f"r{i}")  # 10 bytes
    written = files.close()
    assert [file["requests"] for file in written] == counts and [file["file"] for file in written] == [
        f"requests-{i + 1}.jsonl" for i in range(len(counts))
    ]
    data = [(tmp_path / file["file"]).read_bytes() for file in written]
    assert b"".join(data) == b"".join(f"line {i} xx\n".encode() for i in range(7))
    assert [(file["bytes"], file["sha256"]) for file in written] == [(len(each), hashlib.sha256(each).hexdigest()) for each in data]
    assert files.close() == written


def test_a_request_that_no_file_takes(tmp_path):
    with pytest.raises(ValueError, match="r: its request has 11 bytes, and a file at most 10"):
        batch.Files(tmp_path, 5, 10).add(b"x" * 11, "r")
    assert not list(tmp_path.iterdir())
