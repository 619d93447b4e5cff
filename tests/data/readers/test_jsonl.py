"""Our JSON lines: what is written is read back, what is wrong is named by file, line and field."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data import words as words_lib
from mmre_jax.data.given import given as picture
from mmre_jax.data.readers import jsonl
from mmre_jax.extraction import Chars, placed
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple

CASES = pathlib.Path(__file__).parents[4] / "shared" / "cases"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
LONG = "a" * 5000
SCORE = st.none() | st.floats(allow_nan=False, allow_infinity=False)
META = st.recursive(st.none() | st.booleans() | st.integers() | SCORE | TEXT, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
NAME = st.text("abc .é", min_size=1, max_size=6).filter(lambda name: name.strip() and name not in (".", ".."))


@st.composite
def boxes(draw):
    x = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True)))
    y = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True)))
    return x[0], y[0], x[1], y[1]


@st.composite
def texts(draw):
    """(words, the text that they stand in, their places)."""
    if draw(st.booleans()):
        string = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
        places = words_lib.split(string) if draw(st.booleans()) else words_lib.at_spaces(string)
        return words_lib.words_at(string, places), string, places
    return tuple(draw(st.lists(TEXT, min_size=1, max_size=6))), None, ()


@st.composite
def records(draw, root, posts=False):
    words, string, places = draw(texts())

    @st.composite
    def mentions(draw):
        start = draw(st.integers(0, len(words) - 1))
        return Mention(start, draw(st.integers(start + 1, len(words))), draw(st.none() | TEXT), draw(SCORE))

    files = st.builds(lambda *parts: str(root.joinpath(*parts)), NAME, NAME)
    if posts:
        files |= st.builds(lambda *parts: str(pathlib.Path("/elsewhere").joinpath(*parts)), NAME, NAME)
        files |= st.sampled_from(["s3://bucket/photo.jpg", "scenes:relations:0:test:3:64"])
    alternatives = st.dictionaries(TEXT, st.floats(0, 1), max_size=2).map(lambda found: tuple(found.items()))
    relation = st.builds(Relation, mentions(), mentions(), st.none() | TEXT, SCORE, alternatives)
    region = st.builds(Region, st.none() | boxes(), files, st.sampled_from(jsonl.REGION_SOURCES), st.none() | TEXT, SCORE)
    return Record(
        id=draw(TEXT),
        words=words,
        image=draw(st.none() | files),
        mentions=tuple(draw(st.lists(mentions(), max_size=3))),
        relations=tuple(draw(st.lists(relation, max_size=3))),
        triples=tuple(draw(st.lists(st.builds(Triple, mentions(), TEXT, boxes() | st.none() if posts else boxes(), SCORE), max_size=3))),
        regions=tuple(draw(st.lists(region, max_size=3))),
        caption=draw(st.none() | TEXT),
        meta=draw(st.dictionaries(TEXT, META, max_size=2)),
        string=string,
        places=places,
    )


def without_origin(found):
    return [dataclasses.replace(record, origin="") for record in found]


@pytest.mark.thorough
@given(st.data())
def test_round_trip(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("jsonl")
    for root in (None, folder / "elsewhere"):
        wanted = data.draw(st.lists(records(root or folder), max_size=4, unique_by=lambda record: record.id))
        jsonl.write(wanted, folder / "a.jsonl", root=root)
        assert without_origin(jsonl.read(folder / "a.jsonl", root=root)) == wanted


@pytest.mark.thorough
@given(st.data())
def test_round_trip_of_what_was_extracted(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("jsonl")
    wanted = data.draw(st.lists(records(folder, posts=True), max_size=3, unique_by=lambda record: record.id))
    for root in (folder, None):
        lines = [json.dumps({**jsonl.to_json(record, root, posts=True), "notes": ["blind"], "masked": []}) for record in wanted]
        (folder / "a.jsonl").write_text("".join(line + "\n" for line in lines), "utf-8")
        assert without_origin(jsonl.read(folder / "a.jsonl", posts=True)) == wanted


def one(tmp_path, value, **how):
    (tmp_path / "a.jsonl").write_text(json.dumps(value), "utf-8")
    return jsonl.read(tmp_path / "a.jsonl", **how)[0]


ADA = "Ada's friend @grace, in 北京!"


def test_spans_in_characters(tmp_path):
    value = {"text": ADA, "relations": [{"head": {"chars": [0, 3]}, "tail": {"chars": [14, 19], "type": "PER", "score": 0.5}}]}
    record = one(tmp_path, value)
    (relation,) = record.relations
    assert record.words == ("Ada", "'s", "friend", "@", "grace", ",", "in", "北", "京", "!")
    assert (relation.head, relation.tail) == (Mention(0, 1), Mention(4, 5, "PER", 0.5))
    assert record.string == ADA and record.characters((7, 9)) == (24, 26) and ADA[24:26] == "北京"
    inside = one(tmp_path, {"text": "the Obama-led team", "mentions": [{"chars": [4, 9]}]})
    assert inside.words == ("the", "Obama", "-", "led", "team") and inside.mentions == (Mention(1, 2),)


def test_how_a_text_is_split(tmp_path):
    words, spaces = tuple(words_lib.words_at(ADA, words_lib.split(ADA))), tuple(ADA.split())
    for posts in (False, True):
        assert one(tmp_path, {"text": ADA, "mentions": [[0, 1]]}, posts=posts).words == spaces, "spans of words: at white space, as ever"
        assert one(tmp_path, {"text": ADA, "mentions": [{"chars": [0, 3]}]}, posts=posts).words == words
        assert one(tmp_path, {"text": ADA}, posts=posts).words == (words if posts else spaces)
        given_words = one(
            tmp_path, {"text": ADA, "words": ["Ada", "grace"], "mentions": [{"start": 1, "end": 2, "chars": [14, 19]}]}, posts=posts
        )
        assert given_words.words == ("Ada", "grace") and given_words.places == ((0, 3), (14, 19))
        both = one(tmp_path, {"text": ADA, "mentions": [[0, 1], {"chars": [6, 12]}]}, posts=posts)
        assert both.words == spaces and both.mentions == (Mention(0, 1), Mention(1, 2))


def test_a_mention_may_be_what_stands_in_the_text(tmp_path):
    named = {"mentions": ["Ada", "@grace", "北京"], "relations": [{"head": "grace", "tail": {"chars": [32, 36]}}]}
    record = one(tmp_path, {"text": f"{ADA} Annually", **named})
    assert [record.text(mention.span) for mention in record.mentions] == ["Ada", "@grace", "北京"]
    assert [record.text(side.span) for side in (record.relations[0].head, record.relations[0].tail)] == ["grace", "ally"]
    given_words = one(tmp_path, {"words": ["@", "grace", "and", "Ada"], "mentions": ["@ grace", "ada"]})
    assert given_words.mentions == (Mention(0, 2), Mention(3, 4))
    spaces = one(tmp_path, {"text": ADA, "mentions": [[0, 1], "friend"]})
    assert spaces.words == tuple(ADA.split()) and spaces.mentions == (Mention(0, 1), Mention(1, 2))


def test_lines_and_python_find_the_same(tmp_path):
    """What is a mention of a line is one of `extract`, and what is refused of one is refused of the other."""
    for spans in (["Ada", "@grace"], [(0, 1), "friend"], [Chars(1, 3), "京"], [(0, 1), "Ada"], [(0, 1), Chars(1, 3)], ["a", (0, 1)], ["e"]):
        lines = [{"chars": [span.start, span.end]} if isinstance(span, Chars) else span for span in spans]
        try:
            text, found = placed(ADA, {f"mentions[{n}]": span for n, span in enumerate(spans)})
        except RecordError:
            with pytest.raises(RecordError, match=r"a\.jsonl:1, field mentions\["):
                one(tmp_path, {"text": ADA, "mentions": lines}, posts=True)
        else:
            record = one(tmp_path, {"text": ADA, "mentions": lines}, posts=True)
            assert record.words == text.words and [mention.span for mention in record.mentions] == list(found.values())


def test_a_null_is_left_out_of_a_span(tmp_path):
    nulls = {"start": None, "end": None, "chars": [1, 3]}
    assert one(tmp_path, {"text": ADA, "mentions": [nulls]}) == one(tmp_path, {"text": ADA, "mentions": [{"chars": [1, 3]}]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"mentions": ["Bob"]}, r"mentions\[0\]: 'Bob' is not in the text, whose words are 'Ada', .*is given as \"chars\": \[start, end\]"),
        ({"mentions": [""]}, r"mentions\[0\]: '' is not in the text"),
        (
            {"text": "a b a", "mentions": ["a"]},
            r"'a' is in the text 2 times: .* one of \"chars\": \[0, 1\] in 'a b a', \"chars\": \[4, 5\] in",
        ),
        ({"mentions": [[0, 1], "Ada"]}, r"mentions\[1\]: chars \[0, 3\], 'Ada', begin or end inside of a word"),
        ({"words": ["Ada's"], "mentions": ["Ada"]}, r"mentions\[0\]: chars \[0, 3\], 'Ada', begin or end inside of a word"),
        ({"text": None, "words": ["a", "b", "a"], "mentions": ["a"]}, r"mentions\[0\]: 'a' is in the text 2 times: give a word span"),
        ({"mentions": [{"chars": [0, 99]}]}, r"mentions\[0\]: chars \[0, 99\) do not lie inside the text's 27 characters"),
        ({"mentions": [{"chars": [3, 3]}]}, r"mentions\[0\]: chars \[3, 3\)"),
        ({"mentions": [{"chars": [0, 6]}]}, r"mentions\[0\]: chars \[0, 6\), \"Ada's \", begin or end with white space"),
        ({"mentions": [{"chars": [0, 3.0]}]}, r"mentions\[0\]: chars are two integers"),
        ({"mentions": [{"chars": [True, 3]}]}, r"mentions\[0\]: chars are two integers"),
        ({"mentions": [{"chars": 3}]}, r"mentions\[0\]: chars are \[start, end\], found 3"),
        ({"mentions": [{"type": "PER"}]}, r"mentions\[0\]: a span is two integers"),
        (
            {"mentions": [[0, 1], {"chars": [0, 3]}]},
            r"mentions\[1\]: chars \[0, 3\], 'Ada', begin or end inside of a word of \[\"Ada's\"\]: words that are given",
        ),
        (
            {"mentions": [{"start": 0, "end": 1, "chars": [0, 3]}]},
            r"mentions\[0\]: chars \[0, 3\] and words \[0, 1\), whose characters are \[0, 5\]",
        ),
        (
            {"mentions": [{"chars": [0, 3], "text": "Adam"}]},
            r"mentions\[0\], field 'text': 'Adam' is not what stands there, which is 'Ada'",
        ),
        (
            {"text": None, "words": ["Ada"], "mentions": [{"chars": [0, 3]}]},
            r"mentions\[0\]: chars are places in 'text', which is not there",
        ),
        ({"words": ["grace", "Ada"]}, "the 'words' do not stand in the 'text' in their order"),
        ({"words": []}, "field 'words': no word in it"),
        ({"notes": "blind"}, "field 'notes': expected a list"),
        ({"masked": [3]}, r"field masked\[0\]: expected a word"),
        (
            {"relations": [{"head": [0, 1], "tail": [1, 2], "alternatives": {"x": "1"}}]},
            r"relations\[0\].alternatives, field 'x': expected a number",
        ),
        (
            {"relations": [{"head": [0, 1], "tail": [1, 2], "alternatives": {"x": None}}]},
            r"relations\[0\].alternatives.*a label and its probability|expected a number",
        ),
        ({"image": "/a/../b.jpg"}, "field 'image': '/a/../b.jpg' is not a whole path"),
        ({"image": "../b.jpg"}, "field 'image': '../b.jpg' is not a path inside"),
        ({"image": "https://a.org/b.jpg"}, "field 'image'.*is a URL.*fetch it first"),
        ({"regions": [{"file": "/a//b.jpg"}]}, r"regions\[0\], field 'file': '/a//b.jpg' is not a whole path"),
    ],
)
def test_damaged_line_of_posts(tmp_path, value, message):
    with pytest.raises(RecordError, match=rf"a\.jsonl:1.*{message}"):
        one(tmp_path, {"text": ADA, **value}, posts=True)


def test_pictures_elsewhere_are_read_of_posts_alone(tmp_path):
    value = {"text": ADA, "image": "/elsewhere/a.jpg"}
    assert one(tmp_path, value, posts=True).image == "/elsewhere/a.jpg"
    with pytest.raises(RecordError, match="'/elsewhere/a.jpg' is not a path inside .*: a data set's files lie in its folder"):
        one(tmp_path, value)
    for name in ("s3://bucket/a.jpg", "scenes:relations:0:test:3:64"):
        assert one(tmp_path, {**value, "image": name}, posts=True).image == name
        with pytest.raises(RecordError, match="field 'image'"):
            one(tmp_path, {**value, "image": name})


def test_a_triple_without_a_box_is_no_data_set_s(tmp_path):
    value = {"text": ADA, "triples": [{"mention": [0, 1], "label": "x"}]}
    assert one(tmp_path, value, posts=True).triples == (Triple(Mention(0, 1), "x", None),)
    with pytest.raises(RecordError, match=r"triples\[0\]: no key 'box'"):
        one(tmp_path, value)


def test_what_cannot_be_written_is_told(tmp_path):
    held = Record("r", ("a",), image=picture(np.zeros((2, 2, 3), np.uint8), "x"))
    with pytest.raises(RecordError, match="record r: its picture was given as itself and is no file: save it"):
        jsonl.write([held], tmp_path / "a.jsonl")
    assert "image" not in jsonl.to_json(held, None, posts=True)
    moved = Record("r", ("a",), string="b a a", places=((4, 5),))
    with pytest.raises(RecordError, match="record r: its words do not stand at their places"):
        jsonl.write([moved], tmp_path / "a.jsonl")


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
        string="Ada meets Grace in Paris",
        places=((0, 3), (4, 9), (10, 15), (16, 18), (19, 24)),
        image=str(tmp_path / "photos" / "17.jpg"),
        mentions=(Mention(0, 1), Mention(2, 3), Mention(4, 5, "LOC")),
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
    assert set(jsonl._KEYS) == set(example()) | {"words", "notes", "masked"}


def test_defaults(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one word", "image": null}\n{"words": ["two words"]}', "utf-8-sig")
    assert without_origin(jsonl.read(tmp_path / "a.jsonl")) == [
        Record("a-1", ("one", "word"), string="one word", places=((0, 3), (4, 8))),
        Record("a-2", ("two words",)),
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "not a JSON value"),
        (
            f'{{"text": "a", "meta": {{"b": {"[" * 600}{"]" * 600}}}}}',
            r"field 'meta.b\[0\].*: lists and dictionaries in each other, more than 100",
        ),
        ('{"text": "a", "caption": NaN}', "field 'caption': nan is not a finite number"),
        ('{"text": "a", "mentions": [{"start": 0, "end": 1, "score": 1e999}]}', r"field 'mentions\[0\].score': inf is not a finite number"),
        ("[]", "expected a dictionary with id, text"),
        ({}, "has 'text' or 'words', or is an 'image' alone"),
        ({"text": "a", "words": ["b"]}, "the 'words' do not stand in the 'text'"),
        ({"text": " "}, "field 'text': no word in it"),
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


@pytest.mark.parametrize(
    "value",
    [
        {"image": f"/{LONG}/../b"},
        {"image": f"../{LONG}"},
        {LONG: 1},
        {"mentions": [{LONG: 1}]},
        {"mentions": [LONG]},
        {"words": ["a", {"b": LONG}]},
        {"mentions": [[10**300, 3]]},
        {"relations": [{"head": [0, 1], "tail": [0, 1], "alternatives": {LONG: "x"}}]},
        {"regions": [{"box": [0, 0, 1, 1], "source": LONG}]},
        f'{{"{LONG}": 1, "{LONG}": 2}}',
    ],
)
@pytest.mark.parametrize("posts", [False, True])
def test_what_is_wrong_is_told_in_short(value, posts):
    line = value if isinstance(value, str) else json.dumps({"text": "a", **value})
    with pytest.raises(RecordError) as caught:
        jsonl.parse(line, "root", where="w", default_id="x", posts=posts)
    assert len(str(caught.value)) < 420 and str(caught.value).startswith("w")


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
