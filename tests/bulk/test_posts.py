"""Lines of posts: what cannot be read is told with its place and reason, and all else is read as by the reader."""

import os

import pytest

from mmre_jax.bulk import posts
from mmre_jax.data.readers import jsonl
from mmre_jax.records import RecordError


def told(found):
    return [(line.number, line.record.id if line.record else line.reason) for line in found]


def test_every_line_is_a_post_or_rejected_with_its_reason(tmp_path):
    path = tmp_path / "p.jsonl"
    lines = [
        b'\xef\xbb\xbf{"text": "a b"}',
        b"",
        b'{"text": "a b", "relations": [',
        b'{"id": "x", "words": ["\xff"]}',
        b'{"id": "p-1", "text": "c"}',
        b'{"text": "a", "image": "https://a.org/b.jpg"}',
        b'{"id": "\xc3\xa9", "text": "d"}\r',
        b'{"text": "a", "colour": 1}',
    ]
    path.write_bytes(b"\n".join(lines))
    found = list(posts.find(path))
    assert [line.number for line in found] == [1, 3, 4, 5, 6, 7, 8]
    assert [line.record.id for line in found if line.record] == ["p-1", "é"]
    reasons = {line.number: line.reason for line in found if line.reason}
    assert f"{path}:3: not a JSON value" in reasons[3] and f"{path}:4: not UTF-8 text (" in reasons[4]
    assert reasons[5] == f"{path}:5, field 'id': 'p-1' is also the id of a line before"
    assert "is a URL, and pictures are read from files: fetch it first" in reasons[6] and "unknown key 'colour'" in reasons[8]
    assert found[1].text == '{"text": "a b", "relations": [' and found[2].text == '{"id": "x", "words": ["\ufffd"]}'
    assert posts.find(path).look()[1] == 8, "lines, for progress"


def test_whole_files_are_read_as_by_the_reader(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"text": "a b", "image": "x/1.png"}\r\n{"words": ["c"], "meta": {"n": 1}}\r{"text": "d"}')
    assert [line.record for line in posts.find(path)] == jsonl.read(path)


def test_a_folder_is_all_its_files_by_name(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{name}"}}\n{{"id": "same", "text": "{name}"}}\n')
    (tmp_path / "c.txt").write_text("no")
    assert told(posts.find(tmp_path)) == [
        (1, "a-1"),
        (2, "same"),
        (1, "b-1"),
        (2, f"{tmp_path / 'b.jsonl'}:2, field 'id': 'same' is also the id of a line before"),
    ]
    checksum, lines = posts.find(tmp_path).look()
    assert lines == 4
    (tmp_path / "b.jsonl").write_text('{"text": "b"}\n{"id": "other", "text": "b"}')
    assert posts.find(tmp_path).look() != (checksum, 4) and posts.find(tmp_path).look()[1] == 4


def test_inputs_that_are_none_are_told(tmp_path):
    with pytest.raises(RecordError, match=r"no \*\.jsonl is in this folder"):
        posts.find(tmp_path)
    (tmp_path / "there.jsonl").touch()
    with pytest.raises(RecordError, match=r"gone\.jsonl: no such file; JSON lines there are: there\.jsonl"):
        posts.find(tmp_path / "gone.jsonl")
    for coding in ("utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "wide.jsonl").write_text('{"text": "a"}\n{"text": "b"}', coding)
        first, second = posts.find(tmp_path / "wide.jsonl")
        assert first.reason.endswith("wide.jsonl:1: not UTF-8 text but UTF-16: save it as UTF-8")
        assert second.reason.endswith("wide.jsonl:2: not UTF-8 text but UTF-16: save it as UTF-8")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(RecordError, match=r"pipe\.jsonl: posts are read more than once, and this is no file"):
        posts.find(tmp_path / "pipe.jsonl")
