"""What was extracted is scored as predictions are, though its words may be others than the examples'."""

import dataclasses
import json
import logging
import sys
from pathlib import Path

import pytest

from mmre_jax.analysis.evaluation import Evaluation, read_predictions
from mmre_jax.data import words as words_lib
from mmre_jax.extraction import Extraction
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple
from mmre_jax.tasks import relation
from mmre_jax.tasks.events import events
from mmre_jax.training.trained_on import TrainedOn, key

sys.path.insert(0, str(Path(__file__).parent))
from test_evaluation import ADA, BALL, EXAMPLES, FOUND, LEFT, MENTIONS, OBJECTS, POSTS, TASKS, TRIPLES

ALL = {"relation": (EXAMPLES, FOUND), "entities": (POSTS, MENTIONS), "triples": (POSTS, TRIPLES), "objects": (POSTS, OBJECTS)}


def read(tmp_path, kind, lines, examples):
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return read_predictions(tmp_path / "p.jsonl", kind, TASKS[kind], examples)


def lines_of(kind, records, found):
    return [Extraction(*each, ("blind",), kind).to_json() for each in zip(records, found, strict=True)]


@pytest.mark.parametrize("kind", TASKS)
def test_extracted_lines_are_predictions(tmp_path, kind):
    examples, found = ALL[kind]
    bare = [dataclasses.replace(record, image="/elsewhere/a.png") for record in examples]
    assert read(tmp_path, kind, lines_of(kind, bare, found), examples) == [tuple(each) for each in found]


def test_lines_of_both_kinds_may_stand_together(tmp_path):
    lines = lines_of("relation", EXAMPLES, FOUND)
    lines[1] = {"id": "x1", "relation": "owns", "score": 0.5, "text": "which is not looked at"}
    assert read(tmp_path, "relation", lines, EXAMPLES) == FOUND
    old = [{"id": record.id, "text": "x", "mentions": [{"span": [0, 1], "type": "PER"}]} for record in POSTS]
    assert read(tmp_path, "entities", old, POSTS) == [(Mention(0, 1, "PER"),)] * 3


def test_a_record_of_several_pairs_is_one_line_and_others_of_its_pairs_are_passed_over(tmp_path):
    a, b, c = Mention(0, 1), Mention(1, 2), Mention(2, 3)
    record = Record("x", ("a", "b", "c"), relations=(Relation(a, b, "knows"), Relation(b, c, "owns")))
    examples = relation.examples([record])
    assert [example.id for example in examples] == ["x#0", "x#1"]
    found = (Relation(b, a, "knows", 0.1), Relation(b, c, "knows", 0.2), Relation(a, b, "owns", 0.3, (("owns", 0.3),)))
    (line,) = lines_of("relation", [record], [found])
    assert read(tmp_path, "relation", [line], examples) == [(found[2],), (found[1],)]
    several = "there are several relations of the pair 'a' .0, 1. and 'b' .1, 2."
    with pytest.raises(RecordError, match=rf"p\.jsonl:1: {several} of example 'x#0'"):
        read(tmp_path, "relation", lines_of("relation", [record], [(*found, found[2])]), examples)
    with pytest.raises(RecordError, match=r"p\.jsonl:2: field 'id': 'x#0' was predicted before"):
        read(tmp_path, "relation", [line, line], examples)


def test_a_pair_that_was_left_out_has_no_relation(tmp_path, caplog):
    """As of an extraction with --min_score or --skip_none; its score is not known, and so it is no event."""
    kept = [FOUND[0], (), FOUND[2], FOUND[3], ()]
    with caplog.at_level(logging.INFO):
        found = read(tmp_path, "relation", lines_of("relation", EXAMPLES, kept), EXAMPLES)
    assert "nothing is said of 2 of 5 pairs: they count as 'None'" in caplog.text
    assert [each[0].label for each in found] == ["knows", "None", "owns", "knows", "None"]
    assert found[0] == FOUND[0] and found[1][0].score is None and found[1][0].head == EXAMPLES[1].relations[0].head
    task = TASKS["relation"]
    assert task.metrics(EXAMPLES, found)["micro"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})
    judged = events(task, EXAMPLES, found)
    assert judged.score.tolist() == [0.9, 0.75, 0.4] and judged.right.tolist() == [True, True, False] and judged.annotated == 3
    assert events(task, EXAMPLES, [(dataclasses.replace(FOUND[1][0], label="None", score=None),)] * 5) is None


def test_a_record_may_be_called_as_a_pair_of_another(tmp_path):
    a, b = Mention(0, 1), Mention(1, 2)
    records = [Record(name, ("a", "b"), relations=(Relation(a, b, "knows"),)) for name in ("x#0", "x#1", "y")]
    found = [(dataclasses.replace(record.relations[0], label="owns", score=0.5),) for record in records]
    assert read(tmp_path, "relation", lines_of("relation", records, found), relation.examples(records)) == found


TEXT = "Ada, Bob's @paris"


@pytest.mark.parametrize("kind", ["entities", "triples"])
def test_what_was_found_on_none_of_the_words_is_wrong(tmp_path, kind, caplog):
    """Of "Ada, Bob's @paris" the example has three words alone: what was found at the comma and at the sign is two mistakes."""
    places = words_lib.split(TEXT)
    gold = Record("p", ("Ada", "Bob", "paris"), mentions=(ADA,), triples=(Triple(ADA, "holds", LEFT),))
    seen = Record("p", words_lib.words_at(TEXT, places), string=TEXT, places=places)
    spans = (Mention(0, 1, "PER"), Mention(1, 2, "PER"), Mention(4, 5, "PER", 0.5))
    found = spans if kind == "entities" else tuple(Triple(dataclasses.replace(each, type=None), "holds", LEFT) for each in spans)
    with caplog.at_level(logging.INFO):
        (said,) = read(tmp_path, kind, lines_of(kind, [seen], [found]), [gold])
    assert "2 mentions stand on none of their examples' words: they count as wrong" in caplog.text
    assert said[0] == found[0] and len(set(said)) == 3
    evaluation = Evaluation("test", kind, TASKS[kind], [gold], [said], frozenset(), TrainedOn(frozenset({key("ada")})), {})
    for again in (evaluation, _read_again(tmp_path, evaluation)):
        score = again.headline()
        name = "entity.micro" if kind == "entities" else "triple.strict"
        assert (score[f"{name}.precision"], score[f"{name}.recall"]) == (pytest.approx(1 / 3), 1)
        assert again.text().count("\n")
        if kind == "entities":
            rows = {row["slice"]: row["entity.micro.precision"] for row in again.slices()}
            assert rows["mention text seen in training"] == 1 and rows["mention text not seen"] == 0


def _read_again(tmp_path, evaluation):
    evaluation.write(tmp_path / "written")
    found = read_predictions(tmp_path / "written" / "predictions.jsonl", evaluation.kind, evaluation.task, evaluation.records)
    return dataclasses.replace(evaluation, predicted=found)


@pytest.mark.parametrize("string", [None, TEXT])
def test_other_words_of_the_same_text(tmp_path, string):
    """Found in the tokenizer's words, scored in those between white space, whether or not the example knows its text."""
    spaces, places = words_lib.at_spaces(TEXT), words_lib.split(TEXT)
    gold = Record("p", words_lib.words_at(TEXT, spaces), string=string, places=spaces if string else ())
    seen = Record("p", words_lib.words_at(TEXT, places), string=TEXT, places=places)
    assert seen.words == ("Ada", ",", "Bob", "'s", "@", "paris")
    (line,) = lines_of("entities", [seen], [(Mention(0, 1, "PER"), Mention(2, 3, "PER", 0.5), Mention(4, 6, "LOC"))])
    assert read(tmp_path, "entities", [line], [gold]) == [(Mention(0, 1, "PER"), Mention(1, 2, "PER", 0.5), Mention(2, 3, "LOC"))]


def test_only_what_was_found_counts_as_an_object(tmp_path):
    records = [dataclasses.replace(POSTS[0], regions=(Region((0.0, 0.0, 1.0, 1.0), source="grounded"), Region(BALL.box)))]
    found = (Region(BALL.box, label="ball", score=0.5),)
    (line,) = lines_of("objects", records, [found])
    assert len(line["regions"]) == 2 and read(tmp_path, "objects", [line], records) == [found]


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("entities", {"mentions": [{"start": 0, "end": 1, "type": "person"}]}, "field 'type': 'person' is not one of LOC, PER"),
        ("entities", {"mentions": [[0, 1]]}, "field 'type': None is not one of LOC, PER"),
        ("entities", {"mentions": [{"start": 0, "end": 9, "type": "PER"}]}, r"field mentions\[0\]: span \[0, 9\) does not lie inside"),
        ("entities", {"id": "p9"}, "field 'id': 'p9' is not an example of this split"),
        (
            "entities",
            {"words": ["Eve", "here"], "mentions": [{"start": 0, "end": 1, "type": "PER"}]},
            "its words are not those of example 'p0', which do not stand in its text: 'Ada and Bob in Paris'",
        ),
        ("triples", {"triples": [{"mention": [0, 1], "label": "likes", "box": [0, 0, 1, 1]}]}, "field 'label': 'likes' is not one of"),
        ("objects", {"regions": [{"box": [0, 0, 1, 1], "label": "tree"}]}, "field 'label': 'tree' is not one of ball, car"),
        ("relation", {"relations": [{"head": [0, 1], "tail": [2, 3]}]}, "field 'label': None is not one of None, knows, owns"),
    ],
)
def test_what_cannot_be_scored_is_named(tmp_path, kind, change, message):
    examples, found = ALL[kind]
    lines = lines_of(kind, examples, found)
    with pytest.raises(RecordError, match=rf"p\.jsonl:1[:,] {message}"):
        read(tmp_path, kind, [{**lines[0], **change}, *lines[1:]], examples)
