"""A name that comes from data stays inside its folder, whatever it looks like and wherever links lead."""

import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax import paths
from mmre_jax.records import RecordError

ESCAPES = ["", " ", "/etc/passwd", "../a.jpg", "a/../../b.jpg", "..\\a.jpg", "C:\\a.jpg", "\\\\host\\a", "a\0.jpg", "..", "a/..", "ab:c"]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(RecordError, match="posts.jsonl:3: .* is not a path inside"):
        paths.inside(tmp_path, name, "posts.jsonl:3")
    with pytest.raises(KeyError):
        paths.inside(tmp_path, name, "posts.jsonl:3", KeyError)


@given(st.text("ab./\\:", max_size=9))
def test_whatever_is_let_through_lies_inside(name):
    root = pathlib.Path("somewhere")
    try:
        found = paths.inside(root, name, "w")
    except RecordError:
        return
    normal = os.path.normpath(found)
    assert normal == str(root) or normal.startswith(f"{root}{os.sep}")
    if ":" not in name and normal != str(root):
        assert paths.inside(root, paths.relative(root, found, "w"), "w") == found


@pytest.fixture
def linked(tmp_path):
    """A folder with links in it; `place` is a link to the folder itself."""
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "real").mkdir(parents=True), other.mkdir()
    for folder in (root / "real", other):
        (folder / "a.jpg").write_bytes(b"")
    (root / "within").symlink_to("real")
    (root / "file.jpg").symlink_to(root / "real" / "a.jpg")
    (root / "out").symlink_to(other)
    (root / "out.jpg").symlink_to("../other/a.jpg")
    (root / "real" / "chain").symlink_to("../out")
    (root / "nowhere").symlink_to(tmp_path / "none")
    (root / "loop").symlink_to("loop")
    (tmp_path / "place").symlink_to(root)
    (tmp_path / "root2").symlink_to(other)  # begins as the root does
    (root / "near").symlink_to(tmp_path / "root2")
    return root


@pytest.mark.parametrize("name", ["within/a.jpg", "file.jpg", "within/none.jpg", "real/a.jpg"])
def test_links_that_stay_inside_are_followed(linked, name):
    for root in (linked, linked.parent / "place"):
        assert paths.inside(root, name, "w") == str(root / name)


@pytest.mark.parametrize("name", ["out/a.jpg", "out.jpg", "real/chain/a.jpg", "within/chain/a", "nowhere/a.jpg", "out/none", "near/a"])
def test_links_that_lead_out_are_refused(linked, name):
    for root in (linked, linked.parent / "place"):
        with pytest.raises(RecordError, match="w: .* is not a path inside .*: a symbolic link leads to "):
            paths.inside(root, name, "w")


def test_a_link_to_itself_leads_nowhere(linked):
    assert paths.inside(linked, "loop/a.jpg", "w") == str(linked / "loop" / "a.jpg")


def test_relative_is_the_name_that_inside_takes():
    assert paths.relative("/data/set", "/data/set/x/a.jpg", "w") == "x/a.jpg"
    for file in ("/data/other/a.jpg", "/data/set/../a.jpg", "/data/set2/a.jpg", "a.jpg"):
        with pytest.raises(RecordError, match="w: .*a.jpg does not lie in /data/set"):
            paths.relative("/data/set", file, "w")


def test_a_terminal_obeys_no_name():
    """Of the file that does not lie there, control characters are escaped."""
    with pytest.raises(RecordError) as error:
        paths.relative("/data/set", f"/data/\x1b[2J{'x' * 300}/a.jpg", "w")
    said = str(error.value)
    assert "\x1b" not in said and r"w: /data/\x1b[2Jxx" in said and "characters) does not lie in" in said
