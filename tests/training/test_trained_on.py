"""What a run leaves of its training examples: worked by hand, read back, and an evaluation with it and without."""

import shutil

import pytest

from mmre_jax import evaluate
from mmre_jax.data import datasets
from mmre_jax.records import Mention, Record, RecordError, Relation
from mmre_jax.training import trained_on
from mmre_jax.training.trained_on import TrainedOn, key

ADA, BOB = Mention(0, 1, "PER"), Mention(1, 3, "PER")


def example(number, words, label="knows"):
    return Record(id=f"x{number}", words=words, relations=(Relation(ADA, BOB, label),), mentions=(ADA, BOB))


EXAMPLES = [example(0, ("Ada", "Bob", "Ray")), example(1, ("ADA", "bob", "ray"), "owns"), example(2, ("Eve", "Bob", "Ray"))]


def test_by_hand():
    assert TrainedOn.of("relation", EXAMPLES) == TrainedOn(
        frozenset({key("ada", "bob ray"), key("eve", "bob ray")}), {"knows": 2, "owns": 1}
    )
    assert TrainedOn.of("entities", EXAMPLES) == TrainedOn(frozenset(map(key, ("ada", "eve", "bob ray"))))
    assert TrainedOn.of("triples", EXAMPLES) == TrainedOn.of("objects", EXAMPLES) == TrainedOn()


def test_texts_are_told_apart_by_where_one_ends():
    assert len({key("a", "bc"), key("ab", "c"), key("abc"), key("bc", "a")}) == 4
    assert key("ada", "paris") == key("ada", "paris") and len(key("")) == 16


def test_a_record_without_its_one_relation_is_named():
    with pytest.raises(ValueError, match="record x: expected exactly one relation, found 0"):
        trained_on.entity_pair(Record(id="x", words=("a", "b")))


@pytest.mark.parametrize("kind", ["relation", "entities", "triples"])
def test_what_is_left_is_read_and_holds_no_text(tmp_path, kind):
    known = TrainedOn.of(kind, EXAMPLES)
    known.write(tmp_path)
    assert trained_on.read(tmp_path) == known
    assert not any(name in (tmp_path / trained_on.FILE).read_text().lower() for name in ("eve", "bob", "ray"))
    assert trained_on.read(tmp_path / "other") is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[]", "seen"),
        ('{"counts": {}}', "seen"),
        ('{"seen": [1], "counts": {}}', "seen"),
        ('{"seen": [], "counts": {"knows": 0}}', "counts"),
        ('{"seen": [], "counts": ["knows"]}', "counts"),
        ('{"seen": [], "counts": {"knows": true}}', "counts"),
        ('{"seen": [', "damaged"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, field):
    (tmp_path / trained_on.FILE).write_text(text)
    with pytest.raises(RecordError, match=f"{trained_on.FILE}.*{field}"):
        trained_on.read(tmp_path)


@pytest.fixture
def opened(monkeypatch):
    """The splits that are opened from now on, in their order."""
    found, plain = [], datasets.open_records

    def open_records(data, split, dataset=None):
        found.append(split)
        return plain(data, split, dataset)

    monkeypatch.setattr(datasets, "open_records", open_records)
    return found


def test_an_evaluation_says_the_same_with_what_the_run_left_and_with_the_split_itself(trained, tmp_path, opened):
    shutil.copytree(trained, tmp_path / "before")
    (tmp_path / "before" / trained_on.FILE).unlink()
    steps = shutil.copytree(trained / "checkpoints", tmp_path / "steps")
    step = next(path for path in steps.iterdir() if path.name.isdigit())
    own = evaluate.checkpoint(trained, "test")
    assert opened == ["test"], "the training split is left alone"
    read = evaluate.checkpoint(tmp_path / "before", "test")
    assert opened == ["test", "train", "test"]
    assert own.to_json() == read.to_json()
    assert own.known == read.known and len(own.known.seen) and sum(own.known.counts.values()) == 64
    assert evaluate.checkpoint(step, "test").known == own.known, "a step that was copied elsewhere has nothing beside it"


def test_of_triples_and_objects_nothing_is_asked(untrained, opened):
    for kind in ("triples", "objects"):
        assert evaluate.checkpoint(untrained[kind], "test").known == TrainedOn()
    assert opened == ["test", "test"]
    assert evaluate.checkpoint(untrained["entities"], "test").known.seen, "of a run from before it left anything"
    assert opened[2:] == ["train", "test"]
