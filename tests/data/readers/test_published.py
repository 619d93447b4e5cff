"""What the readers share: lines, tables, and messages for what is missing or damaged."""

import pickle

import pytest

from mmre_jax.data.readers import published
from mmre_jax.records import RecordError


def test_files(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntw\x85o\n".encode())
    assert published.text_lines(tmp_path / "a.txt") == ["one", "tw\x85o", ""]
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match=r"b\.txt: not UTF-8"):
        published.text_lines(tmp_path / "b.txt")
    (tmp_path / "c.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(RecordError, match=r"c\.pth: names builtins.print"):
        published.torch_table(tmp_path / "c.pth")
    message = str(published.missing(tmp_path, "x.txt", "x.txt and y/"))
    assert message == f"{tmp_path}: no x.txt; expected a folder that holds x.txt and y/; there is: a.txt, b.txt, c.pth"
    assert "no such folder" in str(published.missing(tmp_path / "none", "x.txt", "x.txt"))
