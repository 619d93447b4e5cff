"""A pipeline of parts that are asked what they should be asked, and whose answers are put together as they should be."""

import dataclasses
import types

import pytest

from configs import pipeline, qeot
from mmre_jax import systems
from mmre_jax.data import views
from mmre_jax.data.readers import scenes
from mmre_jax.data.text import TextEncoder, train_tokenizer
from mmre_jax.extraction import Extraction
from mmre_jax.pipelines import Pipeline, PipelineError
from mmre_jax.records import Mention, Record, Region, Relation, Triple
from mmre_jax.tasks.triples import TriplesTask
from mmre_jax.weights import pretrained

LABELS = ("None", *scenes.triple_relations())
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
ADA, BOB = Mention(0, 1, "PER"), Mention(2, 3, "PER", 0.5)
POST = Record("post", ("Ada", "and", "Bob"), image="a.jpg", triples=(Triple(ADA, "ball", LEFT),))


class Part:
    """An extractor that answers a record by a function of it, and remembers what it was shown."""

    def __init__(self, task, labels, answer, crops=()):
        self.task, self.object_sources, self.answer = task, crops, answer
        self.job = types.SimpleNamespace(task=types.SimpleNamespace(labels=labels, none=labels[0] if task == "relation" else "None"))
        self.shown = []

    def extract_records(self, records, progress="", *, strict=False):
        self.shown += records
        return [Extraction(record, self.answer(record), ("a note",), self.task) for record in records]


def parts(tags, objects, relation):
    """The three parts, by functions (record) -> mentions, (record) -> [(box, score)], (record id, span, box) -> (label, score)."""

    def boxes(record):
        return tuple(Region(box, source="detected", label="thing", score=score) for box, score in objects(record))

    def relations(record):
        answers = [relation(record.id, pair.head.span, record.regions[0].box) for pair in record.relations]
        return tuple(dataclasses.replace(p, label=x, score=s) for p, (x, s) in zip(record.relations, answers, strict=True))

    return (
        Part("entities", ("O", "B-PER", "I-PER"), tags),
        Part("objects", ("background", "thing"), boxes),
        Part("relation", LABELS, relations, ("detected",)),
    )


def test_perfect_parts_find_every_triple():
    records = scenes.read("triples", "test", 60)
    gold = {record.id: record for record in records}
    said = {(r.id, t.mention.span, t.box): (t.label, 1.0) for r in records for t in r.triples}
    perfect = parts(
        lambda record: gold[record.id].mentions,
        lambda record: [(box, 1.0) for box in views.boxes_of(gold[record.id])],
        lambda *pair: said.get(pair, ("None", 1.0)),
    )
    task = TriplesTask(TextEncoder(train_tokenizer([], 8, "word")), LABELS[1:], "None", max_targets=4)
    scores = task.metrics(records, [found.found for found in Pipeline(*perfect).extract_records(records)])
    assert scores["triple"]["strict"]["f1"] == scores["pair"]["f1"] == scores["relation"]["accuracy"] == 1.0


def test_a_triple_is_a_pair_that_is_not_empty_and_its_score_a_product():
    said = {((0, 1), LEFT): ("ball", 0.5), ((2, 3), LEFT): ("None", 0.9), ((2, 3), RIGHT): ("kite", 0.25), ((0, 1), RIGHT): ("None", 1.0)}
    made = parts(lambda record: (ADA, BOB), lambda record: [(LEFT, 0.5), (RIGHT, 0.75)], lambda name, *pair: said[pair])
    [found] = Pipeline(*made).extract_records([POST])
    assert found.triples == (
        Triple(Mention(0, 1), "ball", LEFT, 0.25),  # a mention without a score is certain
        Triple(Mention(2, 3, score=0.5), "kite", RIGHT, 0.5 * 0.75 * 0.25),
    )
    assert found.task == "triples" and found.notes == ("a note",)
    assert found.to_json()["triples"][0]["mention"] == {"start": 0, "end": 1, "text": "Ada"}


def test_each_part_is_shown_its_own_and_no_annotation():
    made = parts(lambda record: (ADA, BOB), lambda record: [(LEFT, 0.5), (RIGHT, 0.75)], lambda *pair: ("None", 1.0))
    [found] = Pipeline(*made).extract_records([POST])
    assert found.triples == ()
    detector, classifier = made[1:]
    assert detector.shown == [Record("post", (), image="a.jpg")]
    assert [record.regions[0].box for record in classifier.shown] == [LEFT, RIGHT]
    assert all(record.relations == (Relation(ADA, ADA), Relation(BOB, BOB)) and not record.triples for record in classifier.shown)


def test_regions_of_a_low_score_are_not_looked_at():
    made = parts(lambda record: (ADA,), lambda record: [(LEFT, 0.3), (RIGHT, 0.75)], lambda *pair: ("ball", 1.0))
    assert [[triple.box for triple in Pipeline(*made, least=least).extract_records([POST])[0].triples] for least in (0.5, 0.3, 0.8)] == [
        [RIGHT],
        [RIGHT, LEFT],
        [],
    ]


def test_boxes_of_one_object_make_one_triple():
    close = (0.0, 0.0, 0.5, 0.95)  # IoU 0.95
    made = parts(lambda record: (ADA,), lambda record: [(close, 0.5), (LEFT, 0.75)], lambda *pair: ("ball", 1.0))
    [found] = Pipeline(*made).extract_records([POST])
    assert [triple.box for triple in found.triples] == [LEFT]
    [found] = Pipeline(*made, merge_iou=0.96).extract_records([POST])
    assert [triple.box for triple in found.triples] == [LEFT, close]


@pytest.mark.parametrize(("tags", "objects"), [((), [(LEFT, 1.0)]), ((ADA,), []), ((), [])])
def test_nothing_is_asked_where_there_is_no_pair(tags, objects):
    made = parts(lambda record: tags, lambda record: objects, lambda *pair: ("ball", 1.0))
    assert [found.triples for found in Pipeline(*made).extract_records([POST, POST])] == [(), ()]
    assert not made[2].shown
    assert Pipeline(*made).extract_records([]) == []


@pytest.mark.parametrize(
    ("place", "part", "message"),
    [
        (0, Part("relation", LABELS, None), "tagger: trained for task 'relation', not 'entities' .data.view='mentions'."),
        (1, Part("entities", ("O",), None), r"detector: trained for task 'entities', not 'objects' \(data.view='regions'\)$"),
        (2, Part("triples", ("object",), None), "classifier: trained for task 'triples', not 'relation'"),
        (1, Part("triples", ("object",), None), "detector: trained for task 'triples', not 'objects' .*is to be trained again"),
        (2, Part("relation", LABELS, None), "classifier: looks at no object crops, not at detected ones"),
        (2, Part("relation", LABELS, None, ("grounded", "detected")), "looks at grounded and detected object crops"),
    ],
)
def test_parts_that_do_not_fit_are_named(place, part, message):
    made = list(parts(None, None, None))
    made[place] = part
    with pytest.raises(PipelineError, match=message):
        Pipeline(*made)


def test_relations_that_are_not_the_data_sets_are_named():
    pipeline = Pipeline(*parts(None, None, None))
    pipeline.check_labels(sorted(LABELS[1:]))
    with pytest.raises(PipelineError, match="only it or only the data set has: kite, owns"):
        pipeline.check_labels(["owns", *(label for label in LABELS[1:] if label != "kite")])


@pytest.mark.parametrize("variant", ["quickstart", "quickstart_rcnn", "more"])
def test_the_parts_of_a_configuration_are_systems_of_its_encoders_and_data(variant):
    config = qeot.get_config(variant).unlock()
    config.data.root = "where it is"
    config.vision.depths = (3, 4, 23, 3)[: len(config.vision.depths)]  # Pipeline-R101
    parts = {part: pretrained.resolve(found) for part, found in pipeline.components(config.lock()).items()}
    assert {part: (found.task.name, found.data.view) for part, found in parts.items()} == {
        "tagger": ("entities", "mentions"),
        "detector": ("objects", "regions"),
        "classifier": ("relation", "pairs"),
    }
    names = {"tagger": ("O", "B-ENTITY", "I-ENTITY"), "detector": ("background", "object"), "classifier": LABELS}
    built = {part: systems.build(found, vocab_size=50, labels=names[part]) for part, found in parts.items()}
    seen = {part: [(slot.source, slot.count, slot.side) for slot in system.plan] for part, system in built.items()}
    photo = ("photo", 1, config.vision.side)
    assert seen == {"tagger": [], "detector": [photo], "classifier": [photo, ("detected", 1, config.vision.side)]}
    seen_by = built["classifier"].net.config.vision
    backbones = (built["detector"].net.config.backbone, seen_by if config.vision.kind == "resnet" else seen_by.backbone)
    assert all(found.depths == config.vision.depths for found in backbones)
    assert all(found.data.root == "where it is" and found.optim.to_dict() == config.optim.to_dict() for found in parts.values())
    assert all(parts[part].text.to_dict() == config.text.to_dict() for part in ("tagger", "classifier"))


def test_a_detector_starts_from_a_run_by_its_parts_and_the_classifier_from_its_backbone(tmp_path):
    config = qeot.get_config("quickstart_rcnn").unlock()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    config.vision.weights = str(tmp_path / "run")
    config.optim.update({"frozen": ("vision",), "multipliers": {"vision": 0.1}})
    parts = pipeline.components(config.lock())
    detector = parts["detector"]
    assert (detector.vision.weights, detector.train.init_from) == ("", config.vision.weights)
    assert detector.optim.frozen == ("backbone",) and detector.optim.multipliers.to_dict() == {"backbone": 0.1}
    assert parts["classifier"].vision.weights == config.vision.weights and not parts["classifier"].train.init_from
    with config.unlocked():
        config.vision.weights = "detector.pth"
    detector = pipeline.components(config)["detector"]
    assert (detector.vision.weights, detector.train.init_from) == ("detector.pth", "")


def test_a_pipeline_over_a_transformer_is_refused():
    config = qeot.get_config("more").unlock()
    config.vision.kind = "vit"
    with pytest.raises(ValueError, match="stands on a ResNet: vision.kind=resnet or rcnn, found 'vit'"):
        pipeline.components(config)
