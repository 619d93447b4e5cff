"""What a server says to posts, those of strangers among them."""

import dataclasses
import io
import json
import threading
import time

import numpy as np
import pytest
from PIL import Image

import mmre_jax
from launch.drawing import figure_of
from launch.extract import as_text
from mmre_jax.extraction import Extraction
from mmre_jax.records import Mention, Record, Region, Relation, Triple
from mmre_jax.serve.answers import Answers, Limits, Refused, columns, names_of, notes, rows

TEXT = "Ada meets Grace near the old bridge"


def picture(width: int = 60, height: int = 40) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def answers(trained, untrained):
    extractors = {
        "relation": mmre_jax.load(trained),
        **{name: mmre_jax.load(untrained[name]) for name in ("entities", "triples", "objects")},
    }
    return Answers(extractors, figure_of, Limits(bytes=20_000, pixels=10_000, characters=100, mentions=3))


@pytest.mark.parametrize("task", ["relation", "entities", "triples", "objects"])
def test_a_post_is_answered_as_by_the_extractor(task, answers):
    mentions = "Ada\n\n [2,3] \n" if task == "relation" else ""
    found = answers.extract(task, TEXT, picture(), mentions)
    post = {} if task == "objects" else {"text": TEXT}
    post |= {"mentions": ["Ada", (2, 3)]} if task == "relation" else {}
    assert found == answers.extractors[task].extract(**post, image=picture(), id="post")
    table = rows(found)
    assert len(table) == len(found.found) and all(len(row) == len(columns(task)) for row in table)
    if task == "relation":
        assert {row[0] for row in table} == {"Ada", "Grace"}
        scores = [float(row[-1]) for row in table]
        assert scores == sorted(scores, reverse=True)
        assert notes(found) == "trained with detected object crops, none given: masked"
    drawn = answers.drawn(task, found)
    assert drawn.mode == "RGB" and min(drawn.size) > 100
    value = json.loads(json.dumps(found.to_json()))
    assert "image" not in value, "no file of the server is named"


REFUSED = {
    "no such checkpoint": (("gone", TEXT, None, ""), "There is no checkpoint 'gone': choose one of relation, entities, triples, objects."),
    "a long text": (("entities", "x" * 101, None, ""), "The text has 101 characters, more than 100 are not read."),
    "no text": (("entities", "", None, ""), "ive a text: the checkpoint's task is 'entities', which reads words."),
    "no picture": (("objects", "", None, ""), "Give a picture: this checkpoint finds objects in pictures."),
    "a large file": (("entities", TEXT, b"x" * 20_001, ""), "The picture has 20,001 bytes, more than 20,000 are not read."),
    "a damaged one": (("entities", TEXT, picture()[:90], ""), "The picture: "),
    "an empty one": (("entities", TEXT, b"", ""), "The picture: "),
    "no picture at all": (("entities", TEXT, b"<svg/>", ""), "The picture: "),
    "one mention": (("relation", TEXT, None, "Ada"), "Give two or more mentions, one a line"),
    "many mentions": (("relation", TEXT, None, "a\nb\nc\nd"), "There are 4 mentions, more than 3 are not tried."),
    "long mentions": (("relation", TEXT, None, "x" * 101), "The mentions have 101 characters"),
    "a mention that is not there": (("relation", TEXT, None, "Ada\nOslo"), "entions[1]: 'Oslo' is not in the text"),
    "a span that is not there": (("relation", TEXT, None, "[0, 1]\n[7, 9]"), "entions[1]: span [7, 9) does not lie inside"),
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_is_not_answered_is_told_why_in_a_sentence(given, answers):
    post, message = REFUSED[given]
    with pytest.raises(Refused) as refusal:
        answers.extract(*post)
    said = str(refusal.value)
    assert message in said and said.endswith(".") and "\n" not in said and said[0].isupper()


def test_a_picture_of_many_pixels_is_refused_though_its_file_is_small(answers):
    data = io.BytesIO()
    Image.new("1", (200, 200)).save(data, "PNG")
    with pytest.raises(Refused, match="The picture: .*200 x 200"):
        answers.extract("entities", TEXT, data.getvalue())


def test_what_fails_inside_is_logged_and_not_told(answers, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("secret/path")

    monkeypatch.setattr(type(answers.extractors["entities"]), "extract", broken)
    with pytest.raises(Refused) as refusal, caplog.at_level("ERROR", "mmre_jax"):
        answers.extract("entities", TEXT, None)
    assert str(refusal.value) == "The post could not be extracted from. The server's log says why." and "secret/path" in caplog.text


def test_a_checkpoint_reads_one_post_at_a_time_and_two_read_at_once(answers, monkeypatch):
    at_once = {"most": 0, "now": 0}
    lock, both = threading.Lock(), threading.Barrier(2, timeout=10)

    def slow(self, **post):
        with lock:
            at_once["now"] += 1
            at_once["most"] = max(at_once["most"], at_once["now"])
        if post["text"] == "together":
            both.wait()
        time.sleep(0.02)
        with lock:
            at_once["now"] -= 1

    monkeypatch.setattr(type(answers.extractors["entities"]), "extract", slow)

    def ask(*posts):
        threads = [threading.Thread(target=answers.extract, args=(model, text, None)) for model, text in posts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    ask(*[("entities", "one")] * 4)
    assert at_once["most"] == 1
    ask(("entities", "together"), ("triples", "together"))
    assert at_once["most"] == 2


def test_two_checkpoints_behind_each_other_ask_for_no_mentions(trained, untrained, answers):
    """The table has the pairs with a relation; the JSON has all."""
    chain = mmre_jax.load(entities=untrained["entities"], relations=trained)
    both = Answers({"both": chain}, figure_of)
    assert not both.asks("both") and answers.asks("relation") and not answers.asks("entities") and both.task("both") == "relation"
    found = both.extract("both", TEXT, picture(), "not looked at")
    assert found == chain.extract(text=TEXT, image=picture(), id="post")
    related = [relation for relation in found.relations if relation.label != chain.none]
    assert len(both.rows("both", found)) == len(related)
    blank = dataclasses.replace(found, found=tuple(dataclasses.replace(relation, label=chain.none) for relation in found.relations))
    assert both.rows("both", blank) == [] and len(rows(blank)) == len(found.relations)
    assert both.drawn("both", found).mode == "RGB"


def test_runs_are_called_by_their_folders_or_as_they_are_to_be():
    assert names_of(["runs/a", "other/b/"], []) == ["a", "b"] and names_of(["x/a", "y/a"], ["one", "two"]) == ["one", "two"]
    assert names_of(["runs/a+other/b/"], []) == ["a+b"]
    for paths, names, message in [
        (["x/a", "y/a"], [], "two runs are called a: give each a name of its own by --names"),
        (["x/a"], ["one", "two"], "1 runs need as many names, found 2: one, two"),
    ]:
        with pytest.raises(ValueError, match=message):
            names_of(paths, names)


def test_what_was_found_stands_in_words_in_a_table_and_in_a_terminal():
    record = Record("p", ("Ada", "meets", "Bo"))
    ada, bo, box = Mention(0, 1, "PER", 0.5), Mention(2, 3), (0.0, 0.25, 0.5, 1.0)
    wanted = [
        ("relation", Relation(ada, bo, "knows", 0.75), ["Ada", "knows", "Bo", "0.750"], "    0.75  Ada -> Bo: knows"),
        ("entities", ada, ["Ada", "PER", "0.500"], "    0.50  Ada: PER"),
        ("triples", Triple(bo, "is", box), ["Bo", "is", "0.00, 0.25, 0.50, 1.00", ""], "          Bo: is at 0.00, 0.25, 0.50, 1.00"),
        ("triples", Triple(bo, "is", None, 0.125), ["Bo", "is", "", "0.125"], "    0.12  Bo: is"),
        (
            "objects",
            Region(box, label="car", score=1.0),
            ["car", "0.00, 0.25, 0.50, 1.00", "1.000"],
            "    1.00  car at 0.00, 0.25, 0.50, 1.00",
        ),
    ]
    for task, found, row, line in wanted:
        extraction = Extraction(record, (found,), task=task)
        assert rows(extraction) == [row] and len(row) == len(columns(task)) and as_text(extraction) == ["p: Ada meets Bo", line]
