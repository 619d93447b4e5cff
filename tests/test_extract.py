"""A trained checkpoint as a Python object: what it answers, what it says it could not see, and what it refuses."""

import dataclasses
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import mmre_jax
from mmre_jax.analysis.seen import what_was_seen
from mmre_jax.data import datasets
from mmre_jax.data.decode import PictureError
from mmre_jax.data.readers import jsonl, scenes
from mmre_jax.extraction import Chars, Extraction, all_pairs, find, placed, post, record_of
from mmre_jax.records import Mention, Record, RecordError, Region, Triple
from mmre_jax.training.checkpoint import CheckpointError, Checkpoints
from mmre_jax.training.job import new_job
from mmre_jax.training.splits import make_split
from mmre_jax.training.starting import initial_state
from mmre_jax.training.step import make_predict_step
from mmre_jax.training.stream import BatchShapes

ROOT = pathlib.Path(__file__).parents[1]
TEXT = "Ada meets Grace near the old Ada Bridge"
NO_CROPS = "trained with detected object crops, none given: masked"


@pytest.fixture(scope="module")
def extractor(trained):
    return mmre_jax.load(trained)


@pytest.fixture(scope="module")
def records():
    return scenes.read("relations", "test", 16)


@pytest.fixture
def variation(trained, tmp_path):
    """Makes a workdir with a checkpoint of random parameters, from the trained run's configuration with changes."""

    def make(**changes):
        config = mmre_jax.load(trained).job.config.copy_and_resolve_references().unlock()
        config.update_from_flattened_dict(changes)
        train = datasets.open_records(config.data, "train")
        job = new_job(config.lock(), train)
        with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
            checkpoints.save(1, initial_state(job, make_split(job, train), 1), job.meta())
        return tmp_path / "run"

    return make


def scored(extraction):
    return [(relation.head.span, relation.tail.span, relation.label, relation.score) for relation in extraction.relations]


def assert_close(found, expected):
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3] for row in found], [row[3] for row in expected], atol=1e-5)


def test_spans_and_strings_are_the_same_pair(extractor, photo):
    by_span = extractor.extract(text=TEXT, image=photo, head=(2, 3), tail=(6, 8))
    by_words = extractor.extract(text=TEXT.split(), image=str(photo), head="Grace", tail="Ada Bridge")
    by_string = extractor.extract(text=TEXT, image=photo, head="Grace", tail="Ada Bridge")
    by_chars = extractor.extract(text=TEXT, image=photo, head=Chars(10, 15), tail=Chars(29, 39))
    assert by_span == by_string == by_chars and by_span.found == by_words.found
    assert by_span.record.string == TEXT and by_words.record.string is None
    [relation] = by_span.relations
    assert (relation.head, relation.tail) == (Mention(2, 3), Mention(6, 8))
    assert relation.label in extractor.job.task.labels and 1 / len(extractor.job.task.labels) <= relation.score <= 1


def test_mentions_are_tried_in_all_ordered_pairs(extractor, photo):
    found = scored(extractor.extract(text=TEXT, image=photo, mentions=[(0, 1), "Grace", "Ada Bridge"]))
    assert [row[:2] for row in found] == list(itertools.permutations([(0, 1), (2, 3), (6, 8)], 2))
    alone = [scored(extractor.extract(text=TEXT, image=photo, head=head, tail=tail))[0] for head, tail, _, _ in found]
    assert_close(found, alone)


def test_probabilities_of_the_likeliest_labels_where_asked_for(extractor, photo):
    asked = {"text": TEXT, "image": photo, "mentions": [(0, 1), "Grace"]}
    plain, two, every = (extractor.extract(**asked, top=top) for top in (0, 2, 99))
    for bare, some, all_of_them in zip(plain.relations, two.relations, every.relations, strict=True):
        assert bare.alternatives == () and bare == dataclasses.replace(some, alternatives=())
        assert some.alternatives == all_of_them.alternatives[:2] and some.alternatives[0] == (bare.label, bare.score)
        assert sorted(label for label, _ in all_of_them.alternatives) == sorted(extractor.job.task.labels)
        assert sum(p for _, p in all_of_them.alternatives) == pytest.approx(1, abs=1e-5)
    assert two.to_json()["relations"][0]["alternatives"] == dict(two.relations[0].alternatives)


FOUND = "RT @ada: Grace's friend (Ada) is in 北京, Obama-led #AdaLovelace"


@pytest.mark.parametrize(
    ("named", "words", "characters"),
    [
        ("Grace", "Grace", (9, 14)),
        ("@ada", "@ ada", (3, 7)),
        ("ada", "ada", (4, 7)),
        ("Ada", "Ada", (25, 28)),
        ("北京", "北 京", (36, 38)),
        ("Obama", "Obama", (40, 45)),
        ("Lovelace", "Lovelace", (54, 62)),
        (Chars(41, 44), "bam", (41, 44)),
        (Chars(54, 58), "Love", (54, 58)),
    ],
)
def test_strings_are_found_wherever_they_stand_and_any_characters_can_be_a_mention(named, words, characters):
    text, spans = placed(FOUND, {"head": named, "tail": "friend"})
    assert " ".join(text.words[slice(*spans["head"])]) == words and text.words[slice(*spans["tail"])] == ("friend",)
    assert text.string == FOUND
    assert (text.places[spans["head"][0]][0], text.places[spans["head"][1] - 1][1]) == characters


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"id": 5}, "id: expected a string that is not empty, found 5"),
        ({"id": ""}, "id: expected a string"),
        ({"caption": 5}, "caption: expected a string, found 5"),
        ({"meta": [("a", 1)]}, "meta: expected a dictionary"),
        ({"head": Chars(10**5000, 3), "tail": "b"}, "chars .a number of 16610 bits, 3. do not lie inside"),
        ({"head": (10**5000, 3), "tail": "b"}, "span .a number of 16610 bits, 3. does not lie inside"),
    ],
)
def test_a_post_is_one_that_can_be_read_back(said, message):
    with pytest.raises(RecordError, match=message):
        post("relation", text="a b", **{"head": "a", "tail": "b", **said})


def test_what_is_none_in_a_post_is_left_out(tmp_path):
    record = record_of("entities", (), {"id": None, "text": "a b", "caption": "", "meta": None}, "post-1")
    assert record.id == "post-1" and record.caption is None
    assert jsonl.parse(jsonl.format_record(record, tmp_path), tmp_path, where="", default_id="x") == record


def test_what_the_package_offers():
    assert mmre_jax.Chars is Chars and set(mmre_jax.__all__) <= set(dir(mmre_jax))


def test_given_words_stay_and_spans_of_words_count_those_between_white_space():
    assert placed(FOUND.split(), {"head": "Grace's"})[0].words == tuple(FOUND.split())
    text, spans = placed(FOUND, {"head": (1, 2), "tail": "friend"})
    assert text.words == tuple(FOUND.split()) and spans == {"head": (1, 2), "tail": (3, 4)}
    assert placed(["@", "ADA", "x"], {"head": "ada"})[1] == {"head": (1, 2)}, "without regard to case, where it is nowhere as written"
    with pytest.raises(RecordError, match=r"tail: 'Grace' begins or ends inside of a word of \[\"Grace's\"\]: beside spans of words"):
        placed(FOUND, {"head": (1, 2), "tail": "Grace"})


def test_as_json(extractor, photo):
    extraction = extractor.extract(text=f" {TEXT}", image=photo, head="Grace", tail="old")
    [relation] = extraction.relations
    line = {
        "id": "text",
        "text": f" {TEXT}",
        "words": TEXT.split(),
        "image": str(photo),
        "relations": [
            {
                "head": {"start": 2, "end": 3, "chars": [11, 16], "text": "Grace"},
                "tail": {"start": 5, "end": 6, "chars": [26, 29], "text": "old"},
                "label": relation.label,
                "score": relation.score,
            }
        ],
        "notes": [NO_CROPS],
        "masked": [],
    }
    assert json.loads(json.dumps(extraction.to_json())) == line
    assert extraction.to_json(photo.parent)["image"] == photo.name
    assert "image" not in extractor.extract(text=TEXT, image=photo.read_bytes(), head="Grace", tail="old").to_json()


def test_what_was_found_is_read_back_and_fed_to_the_next_checkpoint(extractor, untrained, records, photo, tmp_path):
    tagged = mmre_jax.load(untrained["entities"]).extract_records([dataclasses.replace(records[0], meta={"a": [1]}), records[1]])
    one, other = (dataclasses.replace(each, found=(Mention(0, 1, "PER", 0.25), Mention(2, 3, "LOC", 0.5))) for each in tagged)
    lines = [json.dumps(found.to_json(tmp_path)) for found in (one, other)]
    (tmp_path / "extracted.jsonl").write_text("".join(f"{line}\n" for line in lines))
    read = jsonl.read(tmp_path / "extracted.jsonl", posts=True)
    assert [dataclasses.replace(record, origin="") for record in read] == [
        dataclasses.replace(found.as_record(), origin="") for found in (one, other)
    ]
    assert read[0].meta == {"a": [1]} and read[0].image == records[0].image
    pairs = [dataclasses.replace(record, relations=all_pairs(record.mentions, "x")) for record in read]
    for found in extractor.extract_records(pairs):
        assert [each.head for each in found.relations] == [Mention(0, 1, "PER", 0.25), Mention(2, 3, "LOC", 0.5)]
        stale = dataclasses.replace(found.relations[0], alternatives=(("x", 1.0),))
        assert extractor.extract_records([dataclasses.replace(found.as_record(), relations=(stale,))])[0].relations[0].alternatives == ()
        again = jsonl.from_json(json.loads(json.dumps(found.to_json())), tmp_path, where="", default_id="x", posts=True)
        assert again == dataclasses.replace(found.as_record(), origin="") and again.relations == found.relations


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"head": "Ada", "tail": "old"},
            r"head: 'Ada' is in the text 2 times.*Chars\(0, 3\) in 'Ada meets Grace'.*Chars\(29, 32\) in 'ear the old Ada B",
        ),
        ({"head": "Grace", "tail": "Paris"}, r"tail: 'Paris' is not in the text, whose words are 'Ada', 'meets'"),
        ({"head": "Grac", "tail": "old"}, "head: 'Grac' is not in the text"),
        ({"head": "", "tail": "old"}, "head: '' is not in the text"),
        ({"head": Chars(30, 99), "tail": "old"}, r"head: chars \[30, 99\) do not lie inside the text's 39 characters"),
        ({"head": Chars(3, 9), "tail": "old"}, r"head: chars \[3, 9\), ' meets', begin or end with white space"),
        ({"head": Chars(0, 2.5), "tail": "old"}, "head: chars are two integers"),
        ({"head": (0, 1), "tail": (7, 9)}, r"tail: span \[7, 9\) does not lie inside the record's 8 words"),
        ({"head": (1, 1), "tail": (7, 8)}, "head: span"),
        (
            {"head": (0, 1, 2), "tail": (7, 8)},
            r"head: expected a word span \(start, end\), Chars\(start, end\) or words of the text, found \(0, 1, 2\)",
        ),
        ({"head": 3, "tail": (7, 8)}, "head: expected a word span"),
        ({}, "give either head and tail, or two or more mentions"),
        ({"mentions": "near"}, "a list of mentions, found the string 'near'"),
        ({"head": "Grace"}, "give either head and tail"),
        ({"head": "Grace", "tail": "old", "mentions": ["near", "old"]}, "give either head and tail, or"),
        ({"mentions": ["Grace"]}, "mentions: two or more mentions make pairs, found 1"),
        ({"mentions": ["Grace", "old", (2, 3)]}, r"mentions: two mentions have the span \[2, 3\)"),
        ({"mentions": ["Grace", "Ada"]}, r"mentions\[1\]: 'Ada' is in the text 2 times"),
        ({"head": "Grace", "tail": "old", "boxes": [(0, 0, 1, 1), (0.5, 0, 1.5, 1)]}, r"boxes\[1\]: box \(0.5, 0, 1.5, 1\)"),
        ({"head": "Grace", "tail": "old", "id": 17}, "id: expected a string that is not empty, found 17"),
        ({"head": "Grace", "tail": "old", "id": ""}, "id: expected a string that is not empty, found ''"),
        ({"head": "Grace", "tail": "old", "caption": 1.5}, "caption: expected a string, found 1.5"),
        ({"head": "Grace", "tail": "old", "meta": [("a", 1)]}, r"meta: expected a dictionary, found \[\('a', 1\)\]"),
    ],
)
def test_what_cannot_be_meant_is_refused(extractor, asked, message):
    with pytest.raises(RecordError, match=message):
        extractor.extract(text=TEXT, **asked)
    with pytest.raises(ValueError, match="top=1.5: it is how many labels"):
        extractor.extract(text=TEXT, head="Grace", tail="old", top=1.5)


def test_a_record_without_a_pair_is_refused(extractor):
    with pytest.raises(RecordError, match="posts:3: no pair"):
        extractor.extract_records([Record("a", ("b",), origin="posts:3")])
    assert extractor.extract_records([]) == []


def test_damaged_pictures_are_errors(extractor, photo, tmp_path):
    pair = {"text": TEXT, "head": "Grace", "tail": "old"}
    with pytest.raises(PictureError, match=r"text: image: .*nowhere\.png: no such file"):
        extractor.extract(**pair, image=tmp_path / "nowhere.png")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:3000])
    with pytest.raises(PictureError, match=r"cut\.png: damaged picture"):
        extractor.extract(**pair, image=tmp_path / "cut.png")
    (tmp_path / "page.jpg").write_text("<html></html>")
    with pytest.raises(PictureError, match=r"page\.jpg: not a picture"):
        extractor.extract(**pair, image=tmp_path / "page.jpg")
    for url in ("https://a.org/b.jpg", "az://photos/b.jpg", "data:image/png;base64,AAAA"):
        with pytest.raises(PictureError, match=r"text: image: .* is a URL, and pictures are read from files: fetch it first"):
            extractor.extract(**pair, image=url)
    extraction = extractor.extract(**pair)
    crop = Region(file=str(tmp_path / "crop.png"))
    with pytest.raises(PictureError, match=r"text: detected crop: .*crop\.png: no such file"):
        extractor.extract_records([dataclasses.replace(extraction.record, regions=(crop,))], strict=True)


def test_a_picture_may_be_given_in_any_way(extractor, photo):
    pair = {"text": TEXT, "head": "Grace", "tail": "old"}
    with Image.open(photo) as image, photo.open("rb") as file:
        ways = [photo.read_bytes(), file, image, np.asarray(image)]
        by_path, *others = [extractor.extract(**pair, image=way, boxes=[(0, 0, 0.5, 1)]) for way in (photo, *ways)]
    assert all(scored(other) == scored(by_path) and other.notes == () for other in others)
    assert scored(by_path) != scored(extractor.extract(**pair))
    with pytest.raises(PictureError, match=r"^text: image: <picture \w+>: not a picture"):
        extractor.extract(**pair, image=b"<html></html>")
    masked = extractor.extract(**pair, image=b"<html></html>", strict=False)
    assert len(masked.masked) == 1 and scored(masked) == scored(extractor.extract(**pair))


def test_one_of_many_posts_is_a_record_or_what_extract_takes(extractor, photo):
    said = {"text": TEXT, "image": photo.read_bytes(), "head": "Grace", "tail": "old", "meta": {"a": 1}}
    record = extractor.record_of(said, "post 3")
    assert record.id == "post 3" and record.meta == {"a": 1} and extractor.record_of(record, "x") is record
    assert extractor.record_of({**said, "id": None, "caption": None, "boxes": None, "mentions": None}, "post 3") == record
    assert extractor.extract_records([record])[0] == extractor.extract(**said, id="post 3")
    for wrong, message in (
        ({**said, "id": "b", "tail": "Bo"}, "^b: tail: 'Bo' is not in the text"),
        ({**said, "photo": 1}, "^post 3: unknown key 'photo'; valid are id, text, image"),
        ({**said, "text": 3}, "^post 3: text: expected a string"),
        ({**said, "id": ""}, "^post 3: id: expected a string that is not empty, found ''"),
        (TEXT, "^post 3: expected a Record, or a dictionary of id, text"),
    ):
        with pytest.raises(RecordError, match=message):
            extractor.record_of(wrong, "post 3")
    with pytest.raises(PictureError, match="^post 3: image: 'http://a.org/b.png' is a URL"):
        extractor.record_of({**said, "image": "http://a.org/b.png"}, "post 3")


def test_of_many_records_those_with_damaged_pictures_are_masked_and_noted(extractor, records, photo, tmp_path):
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:3000])
    lost, cut = (dataclasses.replace(records[0], image=str(tmp_path / name)) for name in ("nowhere.png", "cut.png"))
    blind = dataclasses.replace(records[0], image=None)
    whole, missing, damaged, without = extractor.extract_records([records[0], lost, cut, blind])
    assert whole.masked == () and without.masked == ()
    for extraction, name in ((missing, r"nowhere\.png: no such file: masked"), (damaged, r"cut\.png: damaged picture .*: masked")):
        assert len(extraction.masked) >= 1 and set(extraction.masked) <= set(extraction.notes)
        assert re.search(f"^image: .*{name}$", extraction.masked[0])
        assert_close(scored(extraction), scored(without))
    pair = {"text": TEXT, "head": "Grace", "tail": "old"}
    alone = extractor.extract(**pair, image=tmp_path / "nowhere.png", strict=False)
    assert len(alone.masked) == 1 and scored(alone) == scored(extractor.extract(**pair))


def test_loading_prints_nothing(trained):
    """In a program that has not asked for messages, as a user's."""
    script = f"import mmre_jax; mmre_jax.load({str(trained)!r})"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert (result.stdout, result.stderr) == ("", "")


def test_what_is_not_given_is_masked_and_said(extractor, photo):
    pair = {"text": TEXT, "head": "Grace", "tail": "old"}
    assert extractor.extract(**pair).notes == ("no picture: masked", NO_CROPS)
    assert extractor.extract(**pair, boxes=[(0, 0, 1, 1)]).notes == ("no picture: masked", NO_CROPS), "a box of no picture shows nothing"
    assert extractor.extract(**pair, image=photo).notes == (NO_CROPS,)
    assert extractor.extract(**pair, image=photo, boxes=[(0, 0, 1, 1)]).notes == ()
    said = extractor.extract(**pair, image=photo, boxes=[(0, 0, 1, 1)], caption="two women").notes
    assert said == ("trained without captions: the caption is not read",)


def test_pictures_and_boxes_are_looked_at(extractor, records):
    record = records[0]
    pair = {"text": record.words, "head": record.relations[0].head.span, "tail": record.relations[0].tail.span}
    boxes = [region.box for region in record.regions]
    asked = [
        {},
        {"image": record.image},
        {"image": records[1].image},
        {"image": record.image, "boxes": boxes[:1]},
        {"image": record.image, "boxes": boxes[:2]},
        {"image": record.image, "boxes": boxes[1::-1]},
    ]
    scores = [extractor.extract(**pair, **more).relations[0].score for more in asked]
    assert len({round(score, 7) for score in scores}) == len(asked)
    more = extractor.extract(**pair, image=record.image, boxes=[*boxes[:2], (0, 0, 0.5, 0.5)])
    assert more.relations[0].score == pytest.approx(scores[4], abs=1e-6), "the system has two crops: a third box is left out"


def test_a_batch_of_records_is_predicted_as_each_alone_and_as_in_evaluation(extractor, records):
    together = extractor.extract_records(records)
    assert [extraction.record.id for extraction in together] == [record.id for record in records]
    assert_close(scored(extractor.extract_records([records[5]])[0]), scored(together[5]))
    split = make_split(extractor.job, records)
    predicted = extractor.predictor.predict(extractor.variables, split)
    evaluated = [(r.head.span, r.tail.span, r.label, r.score) for p in predicted for r in p.found]
    assert_close([row for extraction in together for row in scored(extraction)], evaluated)


def test_labels_are_not_looked_at(extractor, records):
    record = records[0]
    wrong = dataclasses.replace(record, relations=tuple(dataclasses.replace(r, label="no such relation") for r in record.relations))
    assert scored(extractor.extract_records([wrong])[0]) == scored(extractor.extract_records([record])[0])


def test_more_devices_find_the_same(trained, extractor, records):
    for number in (-1, 3):
        with pytest.raises(ValueError, match=f"parallel.devices={number}, but this process has 2"):
            mmre_jax.load(trained, devices=number)
    both = mmre_jax.load(trained, devices=0)
    assert both.predictor.devices.count == 2
    for one, two in zip(extractor.extract_records(records[:3]), both.extract_records(records[:3]), strict=True):
        assert_close(scored(one), scored(two))


def test_a_checkpoint_is_self_contained(trained, extractor, records, tmp_path):
    """Moved elsewhere, a workdir and a step's directory load and predict as before."""
    moved = tmp_path / "elsewhere"
    shutil.copytree(trained / "checkpoints", moved / "checkpoints")
    expected = scored(extractor.extract_records(records[:1])[0])
    step = moved / "checkpoints" / str(extractor.step)
    for place in (moved, step):
        found = mmre_jax.load(place)
        assert found.step == extractor.step
        assert scored(found.extract_records(records[:1])[0]) == expected


def test_where_there_is_no_checkpoint(trained, extractor, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere: neither a run's workdir nor the directory of a step"):
        mmre_jax.load(tmp_path / "nowhere")
    (tmp_path / "early" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="no complete checkpoint yet"):
        mmre_jax.load(tmp_path / "early")
    with pytest.raises(CheckpointError, match="99"):
        mmre_jax.load(trained / "checkpoints" / "99")


@pytest.mark.parametrize("lost", ["meta", "variables"])
def test_an_incomplete_checkpoint_is_refused(trained, extractor, tmp_path, lost):
    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    shutil.rmtree(tmp_path / "checkpoints" / str(extractor.step) / lost)
    with pytest.raises(CheckpointError, match=f"checkpoints/{extractor.step}: incomplete checkpoint: {lost} missing"):
        mmre_jax.load(tmp_path)


def test_a_system_without_object_crops_says_that_boxes_are_not_looked_at(variation, photo):
    found = mmre_jax.load(variation(**{"data.objects": "none"}))
    pair = {"text": TEXT, "head": "Grace", "tail": "old", "image": photo}
    without, given = found.extract(**pair), found.extract(**pair, boxes=[(0, 0, 0.5, 0.5)])
    assert without.notes == () and given.notes == ("trained without object crops: boxes are not looked at",)
    assert scored(without) == scored(given)


def test_a_system_of_text_alone_opens_no_picture(variation):
    found = mmre_jax.load(variation(**{"system.modalities": "text"}))
    extraction = found.extract(text=TEXT, head="Grace", tail="old", image="nowhere.png", boxes=[(0, 0, 1, 1)])
    assert extraction.notes == ("trained on text alone: the picture is not looked at",)
    assert what_was_seen(extraction.record, found.job.system.plan).photo is None


@pytest.fixture(scope="module", params=["entities", "triples"])
def finder(request, untrained):
    """An extractor of random parameters that is not asked about pairs."""
    return mmre_jax.load(untrained[request.param])


@pytest.fixture(scope="module")
def posts(finder):
    return scenes.read(finder.task, "test", 4)


def test_entities_and_triples_need_words_alone(finder, photo):
    extraction = finder.extract(text=TEXT, image=photo)
    by_words = finder.extract(text=TEXT.split(), image=str(photo))
    assert extraction.found == by_words.found and extraction.record.words == by_words.record.words
    assert extraction.found == getattr(extraction, {"entities": "mentions", "triples": "triples"}[finder.task])
    assert extraction.relations == () and extraction.notes == ()
    assert finder.extract(text=TEXT).notes[0] == "no picture: masked"
    for asked in ({"head": "Grace", "tail": "old"}, {"mentions": ["Grace", "old"]}):
        with pytest.raises(RecordError, match=f"the checkpoint's task is '{finder.task}', which takes no head, tail or mentions"):
            finder.extract(text=TEXT, **asked)


def test_without_a_picture_there_is_no_box(finder, photo):
    seen, blind = (finder.extract(text=TEXT, image=image, strict=False) for image in (photo, "nowhere.png"))
    assert seen.found and blind.found and all(0 <= x.score <= 1 for x in (*seen.found, *blind.found))
    assert all(triple.box is not None for triple in seen.triples) and all(triple.box is None for triple in blind.triples)
    assert all("box" not in row for row in blind.to_json().get("triples", ()))
    with pytest.raises(ValueError, match="top=3: it is how many labels of a relation"):
        finder.extract(text=TEXT, top=3)


def test_annotation_is_not_looked_at(finder, posts):
    bare = [dataclasses.replace(post, mentions=(), triples=()) for post in posts]
    assert [extraction.record for extraction in finder.extract_records(posts)] == bare
    assert finder.extract_records(bare) == finder.extract_records(posts)
    assert finder.extract_records([]) == []


def test_entities_and_triples_are_those_of_evaluation(finder, posts):
    together = finder.extract_records(posts)
    predicted = finder.predictor.predict(finder.variables, make_split(finder.job, posts))
    alone = [finder.extract_records([post])[0] for post in posts]
    # Random parameters: a box or a span that hangs on the last digit may differ between batch sizes; which were found may not.
    assert [len(each.found) for each in together] == [len(each.found) for each in predicted] == [len(each.found) for each in alone]
    assert any(each.found for each in together), "nothing was found, and so nothing tested"


def test_entities_and_triples_as_json(finder, photo):
    mentions = (Mention(0, 2, "PER"), Mention(2, 3, "LOC", 0.25))
    triples = (Triple(Mention(6, 8, score=0.5), "person", (0.0, 1 / 3, 0.5, 1.0), 0.125),)
    extraction = finder.extract(text=TEXT, image=photo)
    extraction = dataclasses.replace(extraction, found=mentions if finder.task == "entities" else triples)
    first = {"start": 0, "end": 2, "type": "PER", "chars": [0, 9], "text": "Ada meets"}
    expected = {
        "mentions": [first, {"start": 2, "end": 3, "type": "LOC", "score": 0.25, "chars": [10, 15], "text": "Grace"}],
        "triples": [
            {
                "mention": {"start": 6, "end": 8, "score": 0.5, "chars": [29, 39], "text": "Ada Bridge"},
                "label": "person",
                "box": [0.0, 1 / 3, 0.5, 1.0],
                "score": 0.125,
            }
        ],
    }
    kind = {"entities": "mentions", "triples": "triples"}[finder.task]
    post = {"id": "text", "text": TEXT, "words": TEXT.split(), "image": str(photo), "notes": [], "masked": []}
    assert json.loads(json.dumps(extraction.to_json())) == {**post, kind: expected[kind]}
    assert dataclasses.replace(extraction, found=()).to_json()[kind] == [], "that nothing was found is said"


def test_what_an_owner_keeps_with_a_post_comes_back_with_it():
    record = Record("r", ("Ada", "meets", "Bo"), mentions=(Mention(0, 1),), meta={"tweet": 17, "tags": ["a"]})
    found = (Mention(np.int64(0), np.int64(1), "PER", np.float32(0.5)),)
    written = json.loads(json.dumps(Extraction(record, found, task="entities").to_json()))
    assert written["meta"] == {"tweet": 17, "tags": ["a"]}
    assert written["mentions"] == [{"start": 0, "end": 1, "type": "PER", "score": 0.5, "text": "Ada"}]
    assert "meta" not in Extraction(dataclasses.replace(record, meta={}), found, task="entities").to_json()


def test_numbers_of_any_kind_and_words_of_whole_characters(extractor, photo):
    box = np.array([0.125, 0.25, 0.5, 1.0000001], np.float32)
    plain = extractor.extract(text=TEXT, image=photo, head=(0, 1), tail=(2, 3), boxes=[(0.125, 0.25, 0.5, 1.0)])
    found = extractor.extract(text=TEXT, image=photo, head=(np.int64(0), np.int32(1)), tail=np.array([2, 3]), boxes=box[None])
    assert found == plain
    with pytest.raises(RecordError, match=r"text: words\[1\]: half of a surrogate pair"):
        extractor.extract(text="Ada \ud83d Bo", image=photo, head=(0, 1), tail=(2, 3))
    with pytest.raises(RecordError, match=r"boxes\[0\]: .* looks like pixels"):
        extractor.extract(text=TEXT, image=photo, head=(0, 1), tail=(2, 3), boxes=[(10, 20, 30, 40)])


def test_places_of_words():
    words = ("a", "b", "a", "b", "a")
    with pytest.raises(RecordError, match="2 times"):
        find(words, "a b a", "head")
    assert find(words, "b a b", "head") == (1, 4)
    assert find(words, " b  a b ", "head") == (1, 4)
    assert find(words, [1, 4], "head") == (1, 4)


@pytest.mark.parametrize("task", ["entities", "triples"])
def test_words_that_are_cut_off_are_told(untrained, task):
    extractor = mmre_jax.load(untrained[task])
    room = extractor.job.config.text.max_tokens - 2
    assert "cut off" not in str(extractor.extract(text="Ada " * room).notes)
    assert f"5 of {room + 5} words are cut off: too long" in extractor.extract(text="Ada " * (room + 5)).notes


def test_a_detector_needs_no_words_and_is_not_shown_what_is_annotated(untrained, photo):
    detector = mmre_jax.load(untrained["objects"])
    found = detector.extract(image=photo)
    assert found.task == "objects" and found.record.words == () and found.regions and found.regions == found.found and not found.notes
    assert all(region.source == "detected" and region.label != "background" and region.score > 0.05 for region in found.regions)
    gold = Record("x", (), image=str(photo), regions=(Region((0.0, 0.0, 0.5, 0.5), source="gold", label="car"),))
    assert detector.extract_records([gold])[0].found == found.found
    row = found.to_json()
    assert [set(each) for each in row["regions"]] == [{"box", "label", "score", "source"}] * len(found.found)
    blind = detector.extract(text="a picture", image=None)
    assert not blind.found and blind.notes == ("no picture: masked",)
    with pytest.raises(RecordError, match="takes no head, tail or mentions"):
        detector.extract(image=photo, mentions=[(0, 1)])


def test_a_stream_is_lazy_in_order_and_as_each_alone(extractor, records):
    """A window of examples is looked ahead at, and the one behind it is begun; never the whole input."""
    asked = []

    def endless():
        for number in itertools.count():
            asked.append(number)
            yield dataclasses.replace(records[number % 16], id=str(number))

    stream = extractor.extract_many(endless())
    assert not asked, "nothing is read before the first is asked for"
    some = list(itertools.islice(stream, 100))
    stream.close()
    assert [extraction.record.id for extraction in some] == [str(number) for number in range(100)]
    assert len(asked) <= 100 + 3 * BatchShapes.of(extractor.job, 1).ahead
    alone = [scored(extractor.extract_records([record])[0]) for record in records]
    for number, extraction in enumerate(some):
        assert_close(scored(extraction), alone[number % 16])


def test_what_a_stream_cannot_take_ends_it_when_its_turn_comes(extractor, records):
    def posts():
        yield from records[:3]
        yield Record("a", ("b",), origin="posts:3")

    stream = extractor.extract_many(posts())
    assert [next(stream).record.id for _ in range(3)] == [record.id for record in records[:3]]
    with pytest.raises(RecordError, match="posts:3: no pair"):
        next(stream)
    lost = dataclasses.replace(records[0], image="nowhere.png", origin="posts:9")
    stream = extractor.extract_many([*records[:3], lost], strict=True)
    assert [next(stream).record.id for _ in range(3)] == [record.id for record in records[:3]]
    with pytest.raises(PictureError, match=r"posts:9: image: nowhere\.png: no such file"):
        next(stream)


def test_warm_compiles_all_that_comes_later(trained, records, monkeypatch):
    shapes, made = set(), make_predict_step

    def told(system):
        step = made(system)

        def traced(variables, batch):
            shapes.add(batch["text"]["ids"].shape)
            return step(variables, batch)

        return traced

    monkeypatch.setattr("mmre_jax.training.evaluate.make_predict_step", told)
    extractor = mmre_jax.load(trained, warm=True)
    assert shapes == {(size, 32) for size in (1, 16)}
    shapes.clear()
    for some in (records, records[:1], records[:5]):
        extractor.extract_records(some)
    assert not shapes, "nothing is traced, and so nothing compiled"
