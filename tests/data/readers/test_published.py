"""What the readers share: clipping, and messages for what is missing or damaged."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.readers import published
from mmre_jax.records import RecordError


@given(st.tuples(*[st.floats(-2, 3)] * 4))
def test_a_clipped_box_is_the_part_inside(corners):
    box, cut = published.clip(corners)
    if box is None:
        x0, y0, x1, y1 = corners
        assert min(x1, 1) <= max(x0, 0) or min(y1, 1) <= max(y0, 0)
    else:
        assert 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1
        assert published.clip(box) == (box, False)
        assert cut or box == pytest.approx(corners, abs=1e-5)


def test_rounding_is_no_cut():
    assert published.clip((-1e-9, 0.0, 1.0 + 1e-9, 0.5)) == ((0.0, 0.0, 1.0, 0.5), False)
    assert published.clip((-0.1, 0.0, 1.0, 0.5)) == ((0.0, 0.0, 1.0, 0.5), True)


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
