"""Our JSON lines: what is written is read back, what is wrong is named by file, line and field."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.readers import jsonl
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple

CASES = pathlib.Path(__file__).parents[4] / "shared" / "cases"
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


@given(st.data())
def test_round_trip(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("jsonl")
    for root in (None, folder / "elsewhere"):
        wanted = data.draw(st.lists(records(root or folder), max_size=4, unique_by=lambda record: record.id))
        jsonl.write(wanted, folder / "a.jsonl", root=root)
        assert without_origin(jsonl.read(folder / "a.jsonl", root=root)) == wanted


def test_a_picture_alone_is_a_record(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"image": "a.png", "regions": [{"box": [0, 0, 1, 0.5], "source": "gold", "label": "car"}]}\n')
    (record,) = jsonl.read(tmp_path / "a.jsonl")
    assert record.words == () and record.image == str(tmp_path / "a.png") and record.regions[0].label == "car"
    jsonl.write([record], tmp_path / "b.jsonl")
    assert without_origin(jsonl.read(tmp_path / "b.jsonl")) == without_origin([record])


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
        ({"text": "a", "image": "https://a.org/b.jpg"}, "field 'image': 'https://a.org/b.jpg' is a URL, .* fetch it first"),
        ({"text": "a", "regions": [{"file": "data:image/png;base64,AAAA"}]}, r"field regions\[0\].*is a URL"),
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


def test_a_mark_at_the_head_of_a_file_is_no_text(tmp_path, mark_all):
    (tmp_path / "a.jsonl").write_text(json.dumps(example()))
    before = jsonl.read(tmp_path / "a.jsonl")
    assert mark_all(tmp_path) == 1
    assert jsonl.read(tmp_path / "a.jsonl") == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"text": "a \ud83d b"}, "text"),
        ({"text": None, "words": ["a", "b\ude00"]}, "words[1]"),
        ({"id": "\ud83d"}, "id"),
        ({"image": "p\ud83d.jpg"}, "image"),
        ({"caption": "\ud83d\ud83d\ude00"}, "caption"),
        ({"mentions": [{"start": 0, "end": 1, "type": "\ud83d"}]}, "mentions[0].type"),
        ({"relations": [{"head": [0, 1], "tail": [2, 3], "label": "\ud83d"}]}, "relations[0].label"),
        ({"relations": [{"head": {"start": 0, "end": 1, "type": "\ud83d"}, "tail": [2, 3]}]}, "relations[0].head.type"),
        ({"triples": [{"mention": [0, 1], "label": "\ud83d", "box": [0, 0, 1, 1]}]}, "triples[0].label"),
        ({"regions": [{"file": "a.png"}, {"file": "\ud83d.png"}]}, "regions[1].file"),
        ({"regions": [{"box": [0, 0, 1, 1], "label": "\ud83d"}]}, "regions[0].label"),
        ({"meta": {"who": [{"name": "\ud83d"}]}}, "meta.who[0].name"),
    ],
)
def test_half_a_character_is_told_by_line_and_field(tmp_path, change, field):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Ada meets Bo"}) + "\n" + json.dumps({"text": "Ada meets Bo", **change}))
    with pytest.raises(RecordError, match=rf"a\.jsonl:2, field '{re.escape(field)}': half of a surrogate pair"):
        jsonl.read(tmp_path / "a.jsonl")


def test_what_rounding_explains_is_cut_off(tmp_path):
    box = [0.6265270002186298, -1e-8, 0.700299333781004, 1.000000024214387]
    value = {"text": "a", "regions": [{"box": box}], "triples": [{"mention": [0, 1], "label": "x", "box": box}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(value))
    (record,) = jsonl.read(tmp_path / "a.jsonl")
    assert record.regions[0].box == record.triples[0].box == (box[0], 0.0, box[2], 1.0)


def test_records_from_python_are_written(tmp_path):
    """Numbers of NumPy as numbers; what JSON or a file cannot hold is refused by the record's id."""
    box, meta = tuple(np.array([0.0, 0.25, 0.5, 1.0], np.float32)), {"rows": np.arange(2), "n": np.int64(3)}
    mention = Mention(np.int64(0), np.int64(1), "X", np.float32(0.5))
    record = Record("r", ("a",), mentions=(mention,), triples=(Triple(mention, "x", box),), regions=(Region(box),), meta=meta)
    jsonl.write([record], tmp_path / "a.jsonl")
    (again,) = jsonl.read(tmp_path / "a.jsonl")
    assert again.triples[0] == Triple(Mention(0, 1, "X", 0.5), "x", (0.0, 0.25, 0.5, 1.0)) and again.meta == {"rows": [0, 1], "n": 3}
    for change in ({"meta": {"a": {1}}}, {"meta": {"a": float("nan")}}, {"words": ("\ud83d",)}, {"id": "r\ud83d"}):
        with pytest.raises(RecordError, match="record r"):
            jsonl.write([dataclasses.replace(record, **change)], tmp_path / "b.jsonl")
    assert not (tmp_path / "b.jsonl").exists()


@pytest.mark.skipif(not CASES.is_dir(), reason=f"there are no cases at {CASES.name}")
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("surrogate/id", "id.jsonl:1, field 'id': half"),
        ("surrogate/posts", "posts.jsonl:1, field 'text': half"),
        ("surrogate/image", "image.jsonl:1, field 'image': half"),
        ("surrogate_train/train", "train.jsonl:4, field 'text': half"),
        ("boxes/int_huge", r"int_huge.jsonl:1, field 'regions\[0\].box\[2\]': inf is not a finite number"),
        ("boxes/pixel", "looks like pixels"),
        ("boxes/swapped", "corners are swapped"),
        ("boxes/over_rounding", ""),
    ],
)
def test_cases(case, message):
    if message:
        with pytest.raises(RecordError, match=message):
            jsonl.read(CASES / f"{case}.jsonl")
    else:
        assert jsonl.read(CASES / f"{case}.jsonl")[0].regions[0].box[3] == 1.0
