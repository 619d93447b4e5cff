"""Text from files: the mark at its head is no part of it, and what is no text or no plain value is told by file, line and field."""

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.records import RecordError
from mmre_jax.text_files import check_words, checked, parse_json, read_json, read_text, shown, without_marks

ROOT = pathlib.Path(__file__).parents[1]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("mark", ["", "\ufeff", "\ufeff\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_ends_of_lines_are_no_text(tmp_path, mark, end):
    path = tmp_path / "a.txt"
    path.write_bytes(f"{mark}ä{end}b\ufeff{end}".encode())
    assert read_text(path) == "ä\nb\ufeff\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("\ufeffa\nb".encode("utf-16-le"), "a.txt: not UTF-8 text but UTF-16: save it as UTF-8"),
        ("\ufeffa\nb".encode("utf-16-be"), "not UTF-8 text but UTF-16"),
        ("a\nb".encode("utf-16-le"), "not UTF-8 text but UTF-16"),
        ("a\nb".encode("utf-16-be"), "not UTF-8 text but UTF-16"),
        (b"a\nb\nc\xff\n", r"a\.txt:3: not UTF-8 text"),
        ("a\nb \ud83d".encode("utf-8", "surrogatepass"), r"a\.txt:2: not UTF-8 text"),
    ],
)
def test_what_is_no_text_is_told_by_line(tmp_path, data, message):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(RecordError, match=message):
        read_text(tmp_path / "a.txt")
    with pytest.raises(KeyError, match="UTF"):
        read_text(tmp_path / "a.txt", KeyError)


@given(VALUE)
def test_what_json_writes_is_read(value):
    assert parse_json(json.dumps(value), "x") == value
    assert parse_json(json.dumps(value, ensure_ascii=False), "x") == value


@given(VALUE, st.sampled_from(["\ud83d", "a\ude00b", "\ude00\ud83d"]))
def test_half_a_pair_is_found_wherever_it_stands(value, half):
    for bad in ([value, half], {"a": [value], "b": {"c": half}}, {"a": value, half: 1}, half):
        with pytest.raises(RecordError, match="half of a surrogate pair"):
            parse_json(json.dumps(bad), "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [{"b": "c \\ud83d"}]}', r"f:3, field 'a\[0\].b': half of a surrogate pair, '\\ud83d' \(character 3 of 'c \\ud83d'\)"),
        ('{"a\\udc00": 1}', r"f:3: half of a surrogate pair, '\\udc00'"),
        ('{"a": 1, "b": 2, "a": 3}', r"f:3: not a JSON value \(the key 'a' stands there twice\)"),
        ('{"a": [0, NaN]}', r"f:3, field 'a\[1\]': nan is not a finite number"),
        ('{"a": -Infinity}', "f:3, field 'a': -inf is not a finite number"),
        ('{"a": 1e999}', "f:3, field 'a': inf is not a finite number"),
        (f'{{"a": {"9" * 400}}}', "f:3, field 'a': inf is not a finite number"),
        (f'{{"a": {"9" * 9999}}}', "f:3, field 'a': inf is not a finite number"),
        ("[" * 99999, "f:3: not a JSON value"),
        ("{", "f:3: not a JSON value"),
        ('{"a": "\x1b[2J\x00"}', r"f:3: not a JSON value \(Invalid control .*\): \{\"a\": \" \[2J \"\}$"),
    ],
)
def test_what_is_no_plain_value_is_told_by_field(text, message):
    with pytest.raises(RecordError, match=message) as caught:
        parse_json(text, "f:3")
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)
    str(caught.value).encode()  # the message itself can be written


def test_whole_numbers_stay_whole():
    assert parse_json(str(10**300), "x") == 10**300 and parse_json("1" * 19, "x") == int("1" * 19)
    assert parse_json('"\\ud83d\\ude00"', "x") == "\U0001f600", "two halves beside each other are one character"


def test_tuples_and_words_are_looked_through():
    assert checked({"a": ("b", 1)}, "x") == {"a": ("b", 1)}
    with pytest.raises(RecordError, match=r"x, field 'a\[1\]'"):
        checked({"a": ("b", "\ud83d")}, "x")
    with pytest.raises(RecordError, match=r"text\[1\]: half"):
        check_words(["a", "\ud83d"], "text")


def test_deeper_than_calls_can_be_nested_is_told():
    deep: list[object] = ["\ud83d"]
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RecordError, match="more than 100 deep") as caught:
        checked(deep, "x")
    assert len(str(caught.value)) < 300
    for _ in range(4901):
        (deep,) = deep  # type: ignore[assignment]
    with pytest.raises(RecordError, match="half of a surrogate pair"):
        checked(deep, "x")


def test_files_of_json(tmp_path):
    (tmp_path / "a.json").write_text('\ufeff{"a": 1}', "utf-8")
    assert read_json(tmp_path / "a.json") == {"a": 1}
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(RecordError, match=r"b\.json: not a JSON file"):
        read_json(tmp_path / "b.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "c.json")


def test_a_folder_is_copied_without_marks_only_where_there_are_some(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)))
    with without_marks(tmp_path) as plain:
        assert plain == tmp_path
    (tmp_path / "vocab.txt").write_bytes("\ufeff[PAD]\n[UNK]\n".encode())
    with without_marks(tmp_path) as plain:
        assert plain != tmp_path
        assert (plain / "vocab.txt").read_text("utf-8") == "[PAD]\n[UNK]\n"
        assert (plain / "config.json").read_text() == "{}" and (plain / "weights.bin").read_bytes() == bytes(range(256))
    assert not plain.exists() and (tmp_path / "vocab.txt").read_bytes().startswith(b"\xef\xbb\xbf"), "the folder itself is left as it is"


def test_what_comes_from_data_is_shown_on_one_line_and_cut_in_the_middle():
    assert shown("a.b") == "a.b" and shown(pathlib.Path("a/b")) == "a/b"
    assert shown("x" * 200 + "y" * 200) == f"{'x' * 120}...{'y' * 120} (400 characters)"
    assert shown("a\nb\x1b\u202e\udcff") == r"a\nb\x1b\u202e\udcff"


def test_no_other_place_reads_text():
    """One that reads by itself takes a mark for a part of the first word."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("mmre_jax", "launch", "configs")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "text_files.py"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if ".read_text(" in line or "utf-8-sig" in line
    ]
    assert not found, found
