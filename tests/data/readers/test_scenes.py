"""`scenes`: deterministic, disjoint, solvable from both modalities and not from one, boxes that fit what is painted."""

import collections
import dataclasses
import hashlib
import itertools
import string

import numpy as np
import pytest
from PIL import Image

from configs import common
from mmre_jax.data import datasets
from mmre_jax.data.readers import jsonl, scenes
from mmre_jax.data.scenes import compose, language
from mmre_jax.data.scenes.draw import GLYPHS, Thing, render
from mmre_jax.records import RecordError, check_box, check_span

SPLITS = ("train", "val", "test")


def composed(task, split, count, seed=0):
    return [compose.compose(task, seed, split, index) for index in range(count)]


def names_of(record):
    return {word for mention in record.mentions for word in record.words[mention.start : mention.end]}


@pytest.mark.parametrize("task", compose.TASKS)
def test_same_again_and_a_larger_count_begins_alike(task):
    few, many = scenes.read(task, "val", 5), scenes.read(task, "val", 9)
    assert many[:5] == few
    for record in few:
        picture = scenes.draw(record.image)
        assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, scenes.draw(record.image))
    assert scenes.read(task, "val", 5, seed=1) != few


def test_side_changes_pixels_only():
    small, large = scenes.read("triples", "train", 6), scenes.read("triples", "train", 6, side=96)
    for a, b in zip(small, large, strict=True):
        assert dataclasses.replace(a, image=None) == dataclasses.replace(b, image=None)
        assert scenes.draw(b.image).shape == (96, 96, 3)


@pytest.mark.parametrize("task", compose.TASKS)
def test_splits_share_no_name_and_no_picture(task):
    names, pictures = {}, {}
    for split in SPLITS:
        records = scenes.read(task, split, 400)
        names[split] = set().union(*(names_of(record) for record in records))
        pictures[split] = [hashlib.sha256(scenes.draw(record.image).tobytes()).digest() for record in records[:60]]
        assert len(set(pictures[split])) == 60
    for a, b in itertools.combinations(SPLITS, 2):
        assert not names[a] & names[b]
        assert not set(pictures[a]) & set(pictures[b])


def test_names_are_no_words_of_the_language():
    frames = [*itertools.chain(*language.PHRASES.values()), *language.ENTITY_FRAMES, *language.GROUNDED_FRAMES]
    words = {word for frame in frames for word in frame.split()} | set(compose.COLOURS) | set(language.PLACES)
    for record in scenes.read("relations", "train", 300):
        for name in names_of(record):
            assert name[0] in string.ascii_uppercase and name.lower() not in words


@pytest.mark.parametrize("task", compose.TASKS)
def test_records_are_valid(task):
    for record in scenes.read(task, "test", 200):
        spans = [m.span for m in record.mentions] + [m.span for r in record.relations for m in (r.head, r.tail)]
        for start, end in spans:
            check_span(start, end, len(record.words), record.id)
        taken = [i for mention in record.mentions for i in range(mention.start, mention.end)]
        assert len(taken) == len(set(taken))
        for box in [region.box for region in record.regions] + [triple.box for triple in record.triples]:
            check_box(box, record.id)
        assert {r.label for r in record.relations} <= set(scenes.relations(task))
        assert {t.label for t in record.triples} <= set(scenes.triple_relations())
        if task == "entities":
            assert {m.type for m in record.mentions} <= set(scenes.entity_types())


def test_relations_are_sixteen_and_all_cells_are_as_likely():
    assert len(scenes.relations()) == len(set(scenes.relations())) == 17 and scenes.relations()[0] == "None"
    families = collections.Counter(family for family, _ in compose.RELATIONS)
    assert set(families.values()) == {4} and set(families) == set(language.PHRASES)
    made = collections.Counter(scene.factors for scene in composed("relations", "train", 4000))
    assert len(made) == 20 and min(made.values()) > 140 and max(made.values()) < 260


def test_phrases_have_the_same_lengths_in_every_family():
    lengths = {tuple(sorted(len(phrase.split()) for phrase in phrases)) for phrases in language.PHRASES.values()}
    assert len(lengths) == 1
    assert all(5 <= len(record.words) <= 8 for record in scenes.read("relations", "train", 300))


@pytest.mark.parametrize("task", ["relations", "entities"])
def test_label_is_a_function_of_words_and_picture(task):
    seen = {}
    for scene in composed(task, "train", 2000):
        assert seen.setdefault(scene.factors, scene.labels[0]) == scene.labels[0]
        if task == "relations":
            family, prop = scene.factors
            sentence = " ".join(scene.words)
            assert [f for f, phrases in language.PHRASES.items() if any(f" {phrase} " in f" {sentence} " for phrase in phrases)] == [family]
            assert {thing.kind for thing in scene.things} - {"person", "tree"} == {prop} - {"nothing"}
        else:
            assert [t.kind for t in scene.things if t.kind in compose.ENTITY_TYPE_OF] == [scene.factors[1]]


def best_micro_f1(views, labels, none):
    """Micro-F1 over labels that are not `none`, of whoever sees only `views` and knows the data by heart. Brute force over answers.

    A view's answers matter only through the hits and the predictions they add, so that the best F1 is found by trying how much a
    prediction must hit to be worth it: Dinkelbach's iteration on 2 hits / (predictions + golds).
    """
    table = collections.defaultdict(collections.Counter)
    for view, label in zip(views, labels, strict=True):
        table[view][label] += 1
    gold, best = sum(label != none for label in labels), 0.0
    for _ in range(50):
        hits = predictions = 0
        for counts in table.values():
            hit = max((count for label, count in counts.items() if label != none), default=0)
            if 2 * hit > best * counts.total():
                hits, predictions = hits + hit, predictions + counts.total()
        best = 2 * hits / (predictions + gold)
    return best


def best_accuracy(views, labels):
    table = collections.defaultdict(collections.Counter)
    for view, label in zip(views, labels, strict=True):
        table[view][label] += 1
    return sum(max(counts.values()) for counts in table.values()) / len(labels)


def test_one_modality_alone_stays_at_its_ceiling():
    made = composed("relations", "train", 20000)
    labels = [scene.labels[0] for scene in made]
    text, picture = [scene.factors[0] for scene in made], [scene.factors[1] for scene in made]
    assert best_micro_f1([scene.factors for scene in made], labels, "None") == 1
    assert best_micro_f1(text, labels, "None") == pytest.approx(8 / 36, abs=0.015)
    assert best_micro_f1(picture, labels, "None") == pytest.approx(10 / 36, abs=0.015)
    some = [label != "None" for label in labels]
    share = max(sum(some), len(some) - sum(some)) / len(some)
    assert share == pytest.approx(0.8, abs=0.015)
    for views in (text, picture, [len(scene.things) for scene in made], [(len(s.words), *s.spans) for s in made]):
        assert best_accuracy(views, some) == pytest.approx(share, abs=0.002)


def test_entity_types_need_the_picture():
    made = composed("entities", "train", 4000)
    words = [" ".join(word for i, word in enumerate(s.words) if all(not a <= i < b for a, b in s.spans)) for s in made]
    assert best_accuracy(words, [s.labels[0] for s in made]) < 0.30
    assert any(b - a == 2 for s in made for a, b in s.spans) and any(b - a == 1 for s in made for a, b in s.spans)


def test_triples_name_the_thing_at_their_place():
    counts = collections.Counter()
    for record in scenes.read("triples", "train", 400):
        kinds = {thing.box: thing.kind for thing in compose.compose("triples", 0, "train", int(record.id.split(":")[-1])).things}
        assert len(kinds) == 4
        counts[len(record.triples)] += 1
        clauses = " ".join(record.words).split(" , ")
        assert len(clauses) == len(record.triples)
        for clause, triple in zip(clauses, record.triples, strict=True):
            name, place = clause.split()[0], clause.split()[-1]
            assert record.text(triple.mention.span) == name and kinds[triple.box] == triple.label
            x0, y0, x1, y1 = triple.box
            assert (y1 <= 0.5) == place.startswith("north") and (y0 >= 0.5) == place.startswith("south")
            assert (x1 <= 0.5) == place.endswith("west") and (x0 >= 0.5) == place.endswith("east")
    assert set(counts) == {1, 2, 3, 4}


def test_grounded_says_who_stands_left():
    def nearest(colour):
        return min(compose.COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(colour, compose.COLOURS[name], strict=True)))

    labels = collections.Counter()
    for scene in composed("grounded", "train", 500):
        where = {nearest(thing.colour): (thing.box[0] + thing.box[2]) / 2 for thing in scene.things}
        head, tail = (word for word in scene.words if word in compose.COLOURS)
        expected = "None" if not {head, tail} <= set(where) else compose.LEFT if where[head] < where[tail] else compose.RIGHT
        assert len(where) == 3 and scene.labels == (expected,)
        labels[expected] += 1
    assert min(labels.values()) > 70


@pytest.mark.parametrize("task", compose.TASKS)
def test_things_do_not_overlap(task):
    for scene in composed(task, "train", 200):
        for a, b in itertools.combinations([thing.box for thing in scene.things], 2):
            assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]
        assert all(0 < thing.box[0] and 0 < thing.box[1] and thing.box[2] < 1 and thing.box[3] < 1 for thing in scene.things)


@pytest.mark.parametrize("kind", GLYPHS)
def test_box_is_tight_around_the_painted_pixels(kind):
    side, found = 128, 0
    for index in range(40):
        scene = compose.compose("triples", 0, "train", index)
        for i, thing in enumerate(scene.things):
            if thing.kind != kind:
                continue
            others = scene.things[:i] + scene.things[i + 1 :]
            with_it, without = (render(t, np.random.default_rng(0), side).astype(int) for t in (scene.things, others))
            rows, columns = np.nonzero(np.abs(with_it - without).max(axis=2) > 0)
            painted = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            # Slack: a pixel cut by the box's edge, and one more where a tip covers less of a pixel than can be seen.
            np.testing.assert_allclose(painted, np.array(thing.box) * side, atol=2)
            found += 1
    assert found > 5


def test_a_thing_keeps_its_looks_at_every_place():
    """Painting is translation covariant: the same box one whole pixel further paints the same pixels one pixel further."""
    thing = Thing("car", (10 / 64, 12 / 64, 30 / 64, 24 / 64), (0.9, 0.1, 0.1))
    moved = dataclasses.replace(thing, box=(11 / 64, 13 / 64, 31 / 64, 25 / 64))
    ground = render((), np.random.default_rng(3), 64).astype(int)
    a, b = (render((t,), np.random.default_rng(3), 64).astype(int) - ground for t in (thing, moved))
    np.testing.assert_array_equal(a[11:25, 9:31].any(axis=2), b[12:26, 10:32].any(axis=2))


def test_export_writes_files_that_can_be_read(tmp_path):
    records = scenes.export(tmp_path / "out", "relations", "test", 3)
    for record, source in zip(records, scenes.read("relations", "test", 3), strict=True):
        assert dataclasses.replace(record, image=source.image) == source
        with Image.open(record.image) as picture:
            np.testing.assert_array_equal(np.asarray(picture), scenes.draw(source.image))
    read_back = jsonl.read(tmp_path / "out" / "test.jsonl")
    assert [r.relations[0].label for r in read_back] == [r.relations[0].label for r in records]
    assert [r.image for r in read_back] == [r.image for r in records]


WRONG_KEYS = """
photo.jpg
scenes:relations:0:train:1
scenes:relations:0:train:1:64:9
scenes:poems:0:train:1:64
scenes:relations:0:dev:1:64
scenes:relations:-1:train:1:64
scenes:relations:0:train:x:64
scenes:relations:0:train:1:8
scenes:relations:0:train:1:100000
""".split()


@pytest.mark.parametrize("key", ["", *WRONG_KEYS])
def test_a_wrong_key_is_named(key):
    with pytest.raises(RecordError, match="is not the key of a picture"):
        scenes.draw(key)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("poems", "train", 1), "no task 'poems'"), (("triples", "dev", 1), "no split 'dev'"), (("triples", "val", -1), "count=-1")],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        scenes.read(*arguments)


def test_a_folder_is_no_place_to_read_scenes_from(tmp_path):
    """A forgotten data.name would otherwise train on made records, and nothing would say so."""
    data = common.section("data")
    data.update({"root": str(tmp_path), "counts": (2, 2, 2)})
    with pytest.raises(RecordError, match=r"data.root=.*: scenes is made, not read: name what is there with data.name"):
        datasets.open_records(data, "train")


def test_everything_in_a_picture_of_objects_is_annotated_and_nothing_is_detected():
    records = scenes.read("objects", "train", 60)
    for record, scene in zip(records, composed("objects", "train", 60), strict=True):
        assert [(region.box, region.label, region.source) for region in record.regions] == [
            (thing.box, thing.kind, "gold") for thing in scene.things
        ]
        assert 1 <= len(record.regions) <= 5 and not record.relations + record.mentions + record.triples
    assert {region.label for record in records for region in record.regions} == set(compose.KINDS)
    data = common.section("data")
    data.scene = "objects"
    assert datasets.labels(data, "objects", records) == (("background", *compose.KINDS), "background")
    assert not any(
        region.source == "gold"
        for task in ("relations", "entities", "grounded")
        for r in scenes.read(task, "train", 5)
        for region in r.regions
    )
