"""Contradictions, lost mentions, empty labels and test records in training: each counted, told with examples, and only where it is so."""

import dataclasses
import itertools
import pathlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data import annotation, views
from mmre_jax.data.readers import jsonl, scenes
from mmre_jax.records import Mention, Record, RecordError, Region, Relation, Triple

CASES = pathlib.Path(__file__).parents[2].parent / "shared" / "cases"
HEAD, TAIL = Mention(0, 1), Mention(2, 3)
BOX = (0.1, 0.1, 0.5, 0.5)


def pair(name, label, *, words=("Ada", "meets", "Bo"), image=None, regions=(), head=HEAD):
    return Record(name, words, image, relations=(Relation(head, TAIL, label),), regions=regions, origin=f"f.jsonl:{name}")


def tagged(name, *mentions, words=("New", "York", "City", "Hall"), image=None):
    return Record(name, words, image, mentions=tuple(Mention(*mention) for mention in mentions), origin=f"f.jsonl:{name}")


def pairs(count, prefix, label="knows"):
    """Records that have nothing in common with those of another prefix; some are empty."""
    return [pair(f"{prefix}{i}", "None" if i % 3 == 0 else label, words=(prefix, f"{i}", "x")) for i in range(count)]


def look(train, task="relation", test=None, none="None", **more):
    test = [dataclasses.replace(record, words=("other", *record.words[1:])) for record in train] if test is None else test
    return {(f.split, f.name): f for f in annotation.look(task, none, {"train": train, "test": test}, **more)}


def test_nothing_to_tell():
    found = look(pairs(9, "a"), test=pairs(9, "b"))
    assert set(found) == {("test", "in_training_by_text_and_pair"), ("test", "in_training_by_text_pair_and_picture")}
    assert all(f.count == 0 and f.total == 9 and not f.fails and not f.examples for f in found.values())
    assert annotation.warnings(list(found.values())) == []
    for task, scene in (("relation", "relations"), ("relation", "grounded"), ("entities", "entities"), ("triples", "triples")):
        splits = {split: scenes.read(scene, split, 200) for split in ("train", "val", "test")}
        assert annotation.warnings(annotation.look(task, "None", splits)) == []


def test_two_labels_for_one_pair():
    two = dataclasses.replace(pair("2", "knows"), relations=(Relation(HEAD, TAIL, "knows"), Relation(HEAD, TAIL, "at")))
    (found,) = [f for f in look([*pairs(6, "a"), two]).values() if f.split == "train"]
    assert (found.name, found.count, found.total) == ("pairs_with_two_labels", 1, 7)
    assert "(1 within one record, 0 across records" in str(found)
    assert "2 (f.jsonl:2): 'Ada' -> 'Bo': 'knows' and 'at'" in str(found)


@pytest.mark.parametrize(
    ("other", "count"),
    [
        (pair("1", "at"), 1),
        (pair("1", "knows"), 0),  # said twice
        (pair("1", "at", image="a.png"), 0),  # another picture may well say something else
        (pair("1", "at", regions=(Region(BOX),)), 0),  # a view of pairs: another box
        (pair("1", "at", head=Mention(1, 2)), 0),
        (pair("1", "at", words=("Ada", "meets", "Cy")), 0),
        (pair("1", None), 0),
    ],
)
def test_two_labels_across_records(other, count):
    found = look([*pairs(6, "a"), pair("0", "knows"), other]).get(("train", "pairs_with_two_labels"))
    assert (found.count if found else 0) == count
    if found:
        assert "(0 within one record, 1 across records" in str(found) and "0 (f.jsonl:0) and 1 (f.jsonl:1)" in str(found)


def test_directions_are_two_pairs():
    both = dataclasses.replace(pair("0", "knows"), relations=(Relation(HEAD, TAIL, "knows"), Relation(TAIL, HEAD, "at")))
    assert ("train", "pairs_with_two_labels") not in look([*pairs(6, "a"), both])


def test_triples_and_mentions_contradict_themselves_too():
    triples = [
        Triple(HEAD, "holds", BOX),
        Triple(HEAD, "wears", BOX),
        Triple(TAIL, "wears", BOX),
        Triple(HEAD, "wears", (0.0, 0.0, 1.0, 1.0)),
    ]
    found = look([Record("0", ("Ada", "meets", "Bo"), triples=tuple(triples))], "triples")[("train", "pairs_with_two_labels")]
    assert (found.count, found.total) == (1, 3) and "'holds' and 'wears'" in str(found)
    found = look([tagged("0", (0, 2, "LOC"), (0, 2, "ORG"))], "entities")
    assert found[("train", "mentions_with_two_types")].count == 1 and found[("train", "overlapping_mentions")].count == 1


def test_boxes_contradict_themselves_too():
    ball, car = (Region(BOX, source="gold", label=label) for label in ("ball", "car"))
    records = [Record("0", ("Ada",), image="a.png", regions=(ball, car)), Record("1", ("Bo",), image="b.png", regions=(ball,))]
    found = look([*records, Record("2", ("Cy",), image="b.png", regions=(car,))], "objects")[("train", "boxes_with_two_labels")]
    assert (found.count, found.total) == (2, 2) and "boxes have two labels or more (1 within one record, 1 across" in str(found)
    others = [dataclasses.replace(record, image=None) for record in records[1:]]
    assert ("train", "boxes_with_two_labels") not in look([*others, Record("2", ("Bo",), regions=(car,))], "objects")


def test_pairs_of_a_mention_with_itself():
    itself = [
        dataclasses.replace(pair(f"{i}", "knows"), relations=(Relation(HEAD, HEAD, "knows"), Relation(HEAD, TAIL, "at"))) for i in "12"
    ]
    unknown = dataclasses.replace(pair("3", "knows"), relations=(Relation(TAIL, TAIL), Relation(HEAD, TAIL, "at")))
    train = look([*pairs(6, "a"), *itself, unknown])[("train", "pairs_of_one_mention")]
    assert (train.count, train.total) == (2, 11)
    assert str(train).endswith("Such as 1 (f.jsonl:1): 'Ada' (knows); 2 (f.jsonl:2): 'Ada' (knows)")
    records = views.pairs(scenes.read("triples", "train", 20), "None")
    assert not [name for _, name in look(records, view="pairs") if name == "pairs_of_one_mention"]
    assert ("train", "pairs_of_one_mention") in look(records), "nobody said that they are a view"


def test_nested_mentions():
    nested = [tagged(f"{i}", (0, 4, "ORG"), (0, 2, "LOC")) for i in range(5)]
    found = look([*nested, tagged("5", (0, 2, "LOC"), (2, 4, "ORG"))], "entities")
    train = found[("train", "overlapping_mentions")]
    assert (train.count, train.total) == (5, 12)
    assert str(train).endswith("Such as 0 (f.jsonl:0): 'New York' (LOC); 1 (f.jsonl:1): 'New York' (LOC); 2 (f.jsonl:2): 'New York' (LOC)")
    assert found[("test", "overlapping_mentions")].count == 5


SPANS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 3), st.sampled_from("AB")).map(lambda s: (s[0], s[0] + s[1], s[2])), max_size=5
)


@given(SPANS)
def test_what_is_not_flat_is_what_flat_leaves_out(spans):
    mentions = [Mention(*span) for span in spans]
    kept, lost = annotation.flat(mentions), annotation.not_flat(mentions)
    assert len(lost) == len(set(spans)) - len(kept) and len(lost) == len(set(lost))
    assert all(a.end <= b.start for a, b in itertools.pairwise(kept))
    assert all(any(one[0] < k.end and k.start < one[1] for k in kept) for one in lost)
    assert (not lost) == all(a == b or a[1] <= b[0] or b[1] <= a[0] for a, b in itertools.combinations(spans, 2))


@pytest.mark.parametrize("name", ["no_relation", "NA", "N/A", "Other", "none", "null", "NULL", "No Relation", "no-relation", "NIL", "/na/"])
def test_labels_that_look_empty(name):
    assert annotation.looks_empty(name)
    train = pairs(9, "a")
    renamed = [
        dataclasses.replace(r, relations=(dataclasses.replace(p, label={"None": name}.get(p.label, p.label)),))
        for r in train
        for p in r.relations
    ]
    found = look(renamed, none="Empty")
    assert set(found) - set(look(train)) == {("train", "without_the_empty_label")}
    told = str(found[("train", "without_the_empty_label")])
    assert "'Empty', which never occurs: micro-F1 is over all pairs, as accuracy is" in told and f"what looks empty: {name!r}" in told


@pytest.mark.parametrize("name", ["/per/per/peer", "per:other_family", "nationality", "knows", "at", "Nona", "another"])
def test_labels_that_do_not_look_empty(name):
    assert not annotation.looks_empty(name)


def test_a_second_empty_label_is_told():
    train = [*pairs(6, "a"), pair("x", "NA")]
    found = look(train)[("train", "labels_that_look_empty")]
    assert (found.count, found.total) == (1, 7) and "'NA', and are learnt and scored as relations: the empty label is 'None'" in str(found)
    assert look([*pairs(6, "a"), pair("x", "OTHER")]).keys() == look(pairs(6, "a")).keys(), "a class of its own"
    triples = Record("0", ("Ada",), triples=(Triple(HEAD, "none", BOX), Triple(HEAD, "holds", (0.0, 0.0, 1.0, 1.0))))
    assert look([triples], "triples")[("train", "labels_that_look_empty")].count == 1


def test_a_split_with_the_empty_label_alone():
    found = look(pairs(6, "a"), test=pairs(4, "b", "None"))[("test", "only_the_empty_label")]
    assert found.count == 4 and "micro-F1 is 0 whatever is predicted" in str(found)


@pytest.mark.parametrize("task", ["relation", "entities", "triples"])
def test_a_split_without_annotation_is_refused(task):
    train = [
        Record(
            "0", ("a", "b", "c"), relations=(Relation(HEAD, TAIL, "x"),), mentions=(Mention(0, 1, "X"),), triples=(Triple(HEAD, "x", BOX),)
        )
    ]
    for bare in ([Record("1", ("a", "b", "c"), origin="v.jsonl:1")], []):
        with pytest.raises(RecordError, match=f"split 'test': none of its {len(bare)} records.* so task '{task}' is empty"):
            look(train, task, bare)
    with pytest.raises(RecordError, match="none of its 1 records"):
        look(train, test=[pair("1", None)])


def test_records_that_stand_in_training():
    train = pairs(200, "a")
    leaked = [dataclasses.replace(record, id=f"test{i}", origin=f"t.jsonl:{i}") for i, record in enumerate(train[:3])]
    relabelled = dataclasses.replace(leaked[0], relations=(dataclasses.replace(leaked[0].relations[0], label="at"),))
    found = look(train, test=[relabelled, *leaked[1:], *pairs(197, "b")])
    both = found[("test", "in_training_by_text_pair_and_picture")]
    assert (both.count, both.total, both.fails) == (3, 200, True)
    assert both.examples[0] == "test0 (t.jsonl:0) is a0 (f.jsonl:a0)"
    assert [line for line in annotation.warnings(list(found.values())) if "stand in training" in line] == [str(both)], "told once"
    assert not look(train, test=[*leaked[:2], *pairs(198, "b")])[("test", "in_training_by_text_pair_and_picture")].fails, "1 % passes"
    assert look(train, test=[*leaked[:2], *pairs(198, "b")], limit=0.001)[("test", "in_training_by_text_pair_and_picture")].fails


def test_validation_records_are_counted_and_not_judged():
    train = pairs(6, "a")
    found = annotation.look("relation", "None", {"train": train, "val": train, "test": pairs(6, "b")})
    (val,) = [f for f in found if (f.split, f.name) == ("val", "in_training_by_text_pair_and_picture")]
    assert val.count == 6 and not val.fails
    assert annotation.counts(found)["val"] == {"in_training_by_text_and_pair": 6, "in_training_by_text_pair_and_picture": 6}


def test_a_picture_is_the_same_by_path_bytes_or_name(tmp_path):
    for name, data in (("train/a.png", b"one"), ("test/b.png", b"one"), ("test/a.png", b"two"), ("train/c.png", b"three")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)

    def counts(one, other):
        images = [str(tmp_path / name) if name else None for name in (one, other)]
        found = look([*pairs(3, "a"), pair("0", "at", image=images[0])], test=[pair("1", "at", image=images[1])])
        return tuple(found[("test", f"in_training_by_{name}")].count for name in ("text_and_pair", "text_pair_and_picture"))

    assert counts("train/a.png", "train/a.png") == (1, 1)
    assert counts("train/a.png", "test/b.png") == (1, 1), "copied under another name"
    assert counts("train/a.png", "test/a.png") == (1, 0), "another picture of that name"
    assert counts("train/c.png", "test/c.png") == (1, 1), "one is not there: by its name"
    assert counts("train/gone.png", "test/gone.png") == (1, 1)
    assert counts("train/gone.png", "test/other.png") == (1, 0)
    assert counts(None, None) == (1, 1) and counts("train/a.png", None) == (1, 0) and counts(None, "train/a.png") == (1, 0)
    assert counts("train/a.png", "train/c.png") == (1, 0)


def test_pictures_of_one_sentence_are_looked_up_not_gone_through(tmp_path, monkeypatch):
    """A detector's view says one word of every picture. Only files of one size can be the same, and each is read once."""
    train, test = (
        [Record(f"{s}{i}", ("object",), str(tmp_path / f"{s}{i}"), triples=(Triple(HEAD, "x", BOX),)) for i in range(40)] for s in "ab"
    )
    for i, record in enumerate([*train, *test]):
        pathlib.Path(record.image).write_bytes(b"x" * (i + 1))
    pathlib.Path(test[7].image).write_bytes(b"x" * 12)  # as the twelfth of training
    pathlib.Path(test[8].image).write_bytes(b"y" * 12)
    digest, read = annotation._digest, []
    monkeypatch.setattr(annotation, "_digest", lambda image: read.append(pathlib.Path(image).name) or digest(image))
    found = look(train, "triples", test)[("test", "in_training_by_text_and_picture")]
    assert found.count == 1 and found.examples == ("b7 is a11",)
    assert sorted(read) == ["a11", "b7", "b8"]


def test_words_that_all_records_have_tell_nothing():
    """A detector's view of pictures: one word said of each."""
    train, test = ([Record(f"{s}{i}", ("object",), f"{s}{i // 2}.png", triples=(Triple(HEAD, "x", BOX),)) for i in range(4)] for s in "ab")
    for held_out, count in ((test, 0), (train, 4)):
        found = look(train, "triples", held_out)
        assert {f.count for f in found.values()} == {count}


@pytest.mark.parametrize("task", ["entities", "triples"])
def test_records_without_pairs_stand_in_training_by_their_words(task):
    words = [("New", "York", str(i)) for i in range(8)]
    train, test = (
        [Record(f"{name}{i}", words[i], mentions=(Mention(0, 2, "LOC"),), triples=(Triple(HEAD, "x", BOX),)) for i in part]
        for name, part in (("a", range(6)), ("b", range(4, 8)))
    )
    found = look(train, task, test)
    assert found[("test", "in_training_by_text")].count == found[("test", "in_training_by_text_and_picture")].count == 2
    assert found[("test", "in_training_by_text_and_picture")].fails


@given(st.integers(0, 2**32))
def test_overlap_equals_going_through_all_pairs(seed):
    draw = random.Random(seed)

    def make(name):
        words = tuple(draw.choice("ab") for _ in range(3))
        relations = tuple(
            Relation(*draw.choice([(HEAD, TAIL), (TAIL, HEAD)]), draw.choice(["None", "x"])) for _ in range(draw.randint(1, 2))
        )
        return Record(name, words, draw.choice([None, "p", "q"]), relations=relations)

    train, test = ([make(f"{name}{i}") for i in range(6)] for name in "ab")
    train.append(pair("last", "None", words=("z", "z", "z")))
    found = look(train, test=test)

    def known(record, relation):
        same = [t for t in train for r in t.relations if (t.words, r.head, r.tail) == (record.words, relation.head, relation.tail)]
        return bool(same), any(t.image == record.image for t in same)

    wanted = [known(record, relation) for record in test for relation in record.relations]
    assert found[("test", "in_training_by_text_and_pair")].count == sum(text for text, _ in wanted)
    assert found[("test", "in_training_by_text_pair_and_picture")].count == sum(both for _, both in wanted)


@pytest.mark.skipif(not CASES.is_dir(), reason=f"there are no cases at {CASES.name}")
@pytest.mark.parametrize(
    ("case", "task", "name", "split", "count"),
    [
        ("two_labels", "relation", "pairs_with_two_labels", "val", 8),
        ("ner_nested", "entities", "overlapping_mentions", "train", 24),
        ("no_relation", "relation", "without_the_empty_label", "train", 24),
        ("overlap", "relation", "in_training_by_text_pair_and_picture", "test", 60),
    ],
)
def test_cases(case, task, name, split, count):
    splits = {each: jsonl.read(CASES / case / f"{each}.jsonl") for each in ("train", "val", "test")}
    (found,) = [f for f in annotation.look(task, "None", splits) if (f.split, f.name) == (split, name)]
    assert found.count == count and found.fails == (case == "overlap")
