"""Two checkpoints behind each other: the same as by hand, for one post, for many, and from a dictionary."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

import mmre_jax
from mmre_jax.analysis.evaluation import read_predictions
from mmre_jax.data.decode import PictureError
from mmre_jax.data.readers import jsonl, scenes
from mmre_jax.records import Mention, Record, RecordError

TEXT = "Ada meets Grace near the old Ada Bridge"


@pytest.fixture(scope="module")
def chain(untrained, trained):
    return mmre_jax.load(entities=untrained["entities"], relations=trained)


@pytest.fixture
def tagging(chain, monkeypatch):
    """The chain with a tagger that finds these spans, PER the first and LOC the others, in posts of these words."""

    def make(spans, score=0.5):
        found = tuple(Mention(*span, "LOC" if i else "PER", score) for i, span in enumerate(spans))
        task = type(chain.entities.job.task)
        monkeypatch.setattr(task, "decode", lambda self, outputs, record, encoded=None: found)
        return chain

    return make


def test_every_ordered_pair_of_what_the_tagger_finds_is_classified(tagging, photo):
    spans = [(0, 1), (2, 3), (6, 8)]
    box = (0.0, 0.0, 0.5, 1.0)
    chain = tagging(spans)
    extraction = chain.extract(text=TEXT, image=photo, boxes=[box], id="p", meta={"n": 1})
    assert [(m.span, m.type, m.score) for m in extraction.mentions] == [((0, 1), "PER", 0.5), ((2, 3), "LOC", 0.5), ((6, 8), "LOC", 0.5)]
    assert [(r.head.span, r.tail.span) for r in extraction.relations] == list(itertools.permutations(spans, 2))
    assert extraction.relations[0].head == extraction.mentions[0] and extraction.task == "relation"
    assert extraction.notes == ("entities: trained without object crops: boxes are not looked at",)
    by_hand = chain.relations.extract(text=TEXT, image=photo, boxes=[box], mentions=spans)
    assert [r.label for r in extraction.relations] == [r.label for r in by_hand.relations]
    np.testing.assert_allclose([r.score for r in extraction.relations], [r.score for r in by_hand.relations], atol=1e-5)
    assert (extraction.record.id, extraction.record.meta) == ("p", {"n": 1})
    written = extraction.to_json()
    assert [row["type"] for row in written["mentions"]] == ["PER", "LOC", "LOC"] and len(written["relations"]) == 6
    assert len(chain.extract(text=TEXT, top=2).relations[0].alternatives) == 2


def test_every_line_has_the_same_keys_and_is_read_back(tagging, photo, tmp_path):
    """Where no mention was found that is said: such lines are scored as a tagger's, too."""
    posts = [Record(f"p{n}", tuple(TEXT.split()), image=str(photo), mentions=(Mention(0, 1, "PER"),)) for n in range(3)]
    lines, found = [], []
    for post, spans in zip(posts, ([], [(2, 3)], [(0, 1), (2, 3)]), strict=True):
        found.append(tagging(spans).extract_records([post])[0])
        lines.append(json.dumps(found[-1].to_json(tmp_path)))
    assert len({tuple(sorted(json.loads(line))) for line in lines}) == 1
    (tmp_path / "extracted.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for record, extraction in zip(jsonl.read(tmp_path / "extracted.jsonl", posts=True), found, strict=True):
        assert dataclasses.replace(record, origin="") == extraction.as_record()
    task = tagging([]).entities.job.task
    scored = read_predictions(tmp_path / "extracted.jsonl", "entities", task, posts)
    assert [[mention.span for mention in each] for each in scored] == [[], [(2, 3)], [(0, 1), (2, 3)]]


@pytest.mark.parametrize("spans", [[], [(2, 3)]])
def test_fewer_than_two_mentions_are_mentions_without_relations(tagging, spans):
    chain = tagging(spans)
    extraction = chain.extract(text=TEXT)
    assert extraction.relations == () and len(extraction.mentions) == len(spans) and extraction.task == "relation"
    assert extraction.to_json()["relations"] == []


def test_more_pairs_than_are_tried_are_told(tagging):
    words = [f"w{i}" for i in range(14)]
    chain = dataclasses.replace(tagging([(i, i + 1) for i in range(14)]), pairs=11)
    extraction = chain.extract(text=words)
    assert len(extraction.mentions) == 14 and len(extraction.relations) == 6
    assert "entities: of 14 mentions the 3 most certain ones are paired, 6 pairs" in extraction.notes
    sure = [Mention(i, i + 1, "PER", i % 5 / 5) for i in range(14)]
    assert [m.start for m in chain._paired(sure)[0]] == [3, 4, 9], "the most certain, in their order"


def test_many_posts_are_as_each_alone(chain, photo):
    records = scenes.read("entities", "test", 12)
    together = list(chain.extract_many(iter(records)))
    assert [extraction.record.id for extraction in together] == [record.id for record in records]
    assert any(extraction.relations for extraction in together) and all(extraction.record.regions for extraction in together)
    for record, extraction in zip(records[:4], together, strict=False):
        alone = chain.extract_records([record])[0]
        assert [len(alone.mentions), len(alone.relations)] == [len(extraction.mentions), len(extraction.relations)]
    [named, other] = chain.extract_many([{"text": TEXT, "image": photo, "id": "a"}, {"text": TEXT}])
    assert (named.record.id, other.record.id) == ("a", "post-2") and "no picture: masked" in other.notes


def test_a_missing_picture_is_told_once(chain, tagging):
    chain = tagging([(0, 1), (2, 3)])
    extraction = chain.extract(text=TEXT, image="gone.png", strict=False)
    assert len(extraction.masked) == len(set(extraction.masked)) == 1 and extraction.notes.count(extraction.masked[0]) == 1
    with pytest.raises(PictureError, match="gone.png: no such file"):
        chain.extract(text=TEXT, image="gone.png")
    with pytest.raises(RecordError, match="words"):
        chain.extract_records([dataclasses.replace(extraction.record, words=("\ud83d",))])


def test_what_a_stream_cannot_take_ends_it_when_its_turn_comes(tagging):
    chain = tagging([(0, 1), (2, 3)])
    good, lost = {"text": TEXT}, {"text": TEXT, "image": "gone.png"}
    for last, error in ((lost, PictureError), ({"text": 3}, RecordError)):
        stream = chain.extract_many([good, good, last], strict=True)
        assert [len(next(stream).relations) for _ in range(2)] == [2, 2]
        with pytest.raises(error, match="^post-3: "):
            next(stream)


def test_what_is_no_chain_is_refused(untrained, trained):
    with pytest.raises(ValueError, match="give a checkpoint, or entities=RUN and relations=RUN"):
        mmre_jax.load(entities=untrained["entities"])
    with pytest.raises(ValueError, match="give a checkpoint, or"):
        mmre_jax.load(trained, entities=untrained["entities"], relations=trained)
    with pytest.raises(ValueError, match=r"entities=.*: the task of this checkpoint is 'relation', not 'entities'"):
        mmre_jax.load(entities=trained, relations=trained)
