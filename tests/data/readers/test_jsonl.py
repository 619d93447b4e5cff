"""Our JSON lines: what is written is read back, what is wrong is named by file, line and field."""

import dataclasses
import json
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmre_jax.data.readers import jsonl
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SCORE = st.none() | st.floats(allow_nan=False, allow_infinity=False)
META = st.recursive(st.none() | st.booleans() | st.integers() | SCORE | TEXT, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
NAME = st.text("abc .é", min_size=1, max_size=6).filter(lambda name: name.strip() and name not in (".", ".."))


@st.composite
def boxes(draw):
    x = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True)))
    y = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True)))
    return x[0], y[0], x[1], y[1]


@st.composite
def records(draw, root):
    words = tuple(draw(st.lists(TEXT, min_size=1, max_size=6)))

    @st.composite
    def mentions(draw):
        start = draw(st.integers(0, len(words) - 1))
        return Mention(start, draw(st.integers(start + 1, len(words))), draw(st.none() | TEXT), draw(SCORE))

    files = st.builds(lambda *parts: str(root.joinpath(*parts)), NAME, NAME)
    region = st.builds(Region, st.none() | boxes(), files, st.sampled_from(jsonl.REGION_SOURCES), st.none() | TEXT, SCORE)
    return Record(
        id=draw(TEXT),
        words=words,
        image=draw(st.none() | files),
        mentions=tuple(draw(st.lists(mentions(), max_size=3))),
        relations=tuple(draw(st.lists(st.builds(Relation, mentions(), mentions(), st.none() | TEXT, SCORE), max_size=3))),
        triples=tuple(draw(st.lists(st.builds(Triple, mentions(), TEXT, boxes(), SCORE), max_size=3))),
        regions=tuple(draw(st.lists(region, max_size=3))),
        caption=draw(st.none() | TEXT),
        meta=draw(st.dictionaries(TEXT, META, max_size=2)),
    )


def without_origin(found):
    return [dataclasses.replace(record, origin="") for record in found]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_round_trip(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("jsonl")
    for root in (None, folder / "elsewhere"):
        wanted = data.draw(st.lists(records(root or folder), max_size=4, unique_by=lambda record: record.id))
        jsonl.write(wanted, folder / "a.jsonl", root=root)
        assert without_origin(jsonl.read(folder / "a.jsonl", root=root)) == wanted


def example():
    """The example in the module's documentation."""
    text = jsonl.__doc__
    return json.loads(text[text.index("{") : text.index("(on one line")])


def test_the_documented_example(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n" + json.dumps(example()) + "\n\n")
    (record,) = jsonl.read(tmp_path / "a.jsonl")
    assert record == Record(
        id="post-17",
        words=("Ada", "meets", "Grace", "in", "Paris"),
        image=str(tmp_path / "photos" / "17.jpg"),
        mentions=(Mention(0, 1), Mention(4, 5, "LOC")),
        relations=(Relation(Mention(0, 1), Mention(2, 3), "/per/per/peer"), Relation(Mention(0, 1), Mention(4, 5))),
        triples=(Triple(Mention(0, 1), "held_by", (0.1, 0.2, 0.4, 0.9)),),
        regions=(
            Region((0.1, 0.2, 0.4, 0.9), None, "detected", "person", 0.98),
            Region(None, str(tmp_path / "crops" / "17_0.png"), "grounded"),
        ),
        caption="two women at a table",
        meta={"tweet": 17, "author": "a42"},
        origin=f"{tmp_path / 'a.jsonl'}:2",
    )
    assert set(jsonl._KEYS) == set(example()) | {"words"}


def test_defaults(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one word", "image": null}\n{"words": ["two words"]}', "utf-8-sig")
    assert without_origin(jsonl.read(tmp_path / "a.jsonl")) == [Record("a-1", ("one", "word")), Record("a-2", ("two words",))]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "not a JSON value"),
        ('{"text": "a", "caption": NaN}', "field 'caption': nan is not a finite number"),
        ('{"text": "a", "mentions": [{"start": 0, "end": 1, "score": 1e999}]}', r"field 'mentions\[0\].score': inf is not a finite number"),
        ("[]", "expected a dictionary with id, text"),
        ({}, "either 'text' or 'words'"),
        ({"text": "a", "words": ["a"]}, "either 'text' or 'words'"),
        ({"text": " "}, "at least one word"),
        ({"text": 3}, "field 'text': expected a string"),
        ({"words": ["a", ""]}, r"field words\[1\]: expected a word that is not empty"),
        ({"text": "a", "entities": []}, "unknown key 'entities'; valid are id, text, words.*what else is known .* under 'meta'"),
        ({"text": "a", "meta": ["b"]}, r"field 'meta': expected a dictionary, found \['b'\]"),
        ('{"text": "a", "text": "b"}', "the key 'text' stands there twice"),
        (
            {"text": "a", "mentions": [{"start": 0, "end": 1, "kind": "PER"}]},
            r"mentions\[0\]: unknown key 'kind'; valid are start, end",
        ),
        ({"text": "a", "regions": [{"box": [0, 0, 1, 1], "name": "x"}]}, r"regions\[0\]: unknown key 'name'; valid are box, file"),
        ({"text": "a", "triples": [{"relation": "x"}]}, r"triples\[0\]: unknown key 'relation'; valid are mention, label, box, score"),
        ({"text": "a", "image": "../b.jpg"}, "field 'image': '../b.jpg' is not a path inside"),
        ({"text": "a", "image": "/b.jpg"}, "field 'image'"),
        ({"text": "a", "mentions": [[0, 2]]}, r"field mentions\[0\]: span \[0, 2\) does not lie inside the record's 1 words"),
        ({"text": "a", "mentions": [[0, 1], [0, 1, 2]]}, r"field mentions\[1\]: a span is \[start, end\]"),
        ({"text": "a", "mentions": [{"start": 0}]}, r"field mentions\[0\]: a span is two integers"),
        ({"text": "a", "mentions": {}}, "field 'mentions': expected a list"),
        ({"text": "a", "relations": [{"head": [0, 1]}]}, r"field relations\[0\]: no key 'tail'"),
        ({"text": "a", "relations": [{"head": [0, 1], "tail": [1, 2]}]}, r"field relations\[0\].tail: span \[1, 2\)"),
        ({"text": "a", "relations": [{"head": [0, 1], "tail": [0, 1], "relation": "x"}]}, r"relations\[0\]: unknown key 'relation'"),
        ({"text": "a", "triples": [{"mention": [0, 1], "label": "x", "box": [0, 0, 200, 1]}]}, r"triples\[0\].box: box .* normalised"),
        ({"text": "a", "triples": [{"mention": [0, 1], "label": "", "box": [0, 0, 1, 1]}]}, r"triples\[0\], field 'label'"),
        ({"text": "a", "regions": [{}]}, r"field regions\[0\]: a region has a 'box', a 'file'"),
        ({"text": "a", "regions": [{"box": [0, 0, 1, 1], "source": "web"}]}, r"regions\[0\].source is one of detected, grounded, gold"),
        ({"text": "a", "regions": [{"box": [0, 0, 1, 1], "score": "1"}]}, r"regions\[0\], field 'score': expected a number"),
        ({"text": "a", "id": "first"}, "field 'id': 'first' is also the id of .*a.jsonl:1"),
    ],
)
def test_damaged_line(tmp_path, value, message):
    lines = [json.dumps({"id": "first", "text": "a"}), value if isinstance(value, str) else json.dumps(value)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(RecordError, match=rf"a\.jsonl:2.*{message}"):
        jsonl.read(tmp_path / "a.jsonl")


def test_missing_file(tmp_path):
    (tmp_path / "val.jsonl").write_text("")
    with pytest.raises(RecordError, match="train.jsonl: no such file; JSON lines there are: val.jsonl"):
        jsonl.read(tmp_path / "train.jsonl")


def test_not_text(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="a.jsonl: not UTF-8"):
        jsonl.read(tmp_path / "a.jsonl")


def test_pictures_outside_the_root_are_not_written(tmp_path):
    with pytest.raises(RecordError, match="record r: .* does not lie in"):
        jsonl.write([Record("r", ("a",), image=str(pathlib.Path("/elsewhere/a.jpg")))], tmp_path / "a.jsonl")
