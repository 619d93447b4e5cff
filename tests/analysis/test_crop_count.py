"""The number of object crops as a predictor: it tells all where the count gives the label away, and the majority where there is none."""

import json

import pytest

from configs import hvformer
from mmre_jax.analysis import crop_count

BOX = [0.1, 0.1, 0.5, 0.5]
LABELS = {0: "None", 1: "peer", 3: "member_of"}


def folder(path, count):
    """`count` records of each label in a split; a record of it has as many crops as LABELS says."""
    for split in ("train", "val", "test"):
        lines = []
        for n in range(count):
            for crops, label in LABELS.items():
                words = ["Ada", "met", "Bob", str(n)]
                relation = {"head": [0, 1], "tail": [2, 3], "label": label}
                regions = [{"box": BOX, "source": "detected"}] * crops
                lines.append({"id": f"{split}-{label}-{n}", "words": words, "image": "a.png", "relations": [relation], "regions": regions})
        (path / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def config(root, objects):
    found = hvformer.get_config("quickstart").copy_and_resolve_references().unlock()
    found.data.update({"name": "jsonl", "root": str(root), "objects": objects})
    return found.lock()


@pytest.mark.parametrize(("objects", "accuracy", "f1"), [("detected", 1.0, 1.0), ("none", 1 / 3, 0.0)])
def test_counts_tell_what_they_give_away(tmp_path, objects, accuracy, f1):
    """Without crops all records look alike: the first of three equally frequent labels, the empty one, is the answer for all."""
    found = crop_count.evaluate(config(folder(tmp_path, 40), objects), "test")
    scores = found.scores()
    assert scores["accuracy"] == pytest.approx(accuracy) and scores["micro"]["f1"] == pytest.approx(f1)
    assert found.protocol["objects"] == objects and found.protocol["predictions"] == "number of crops"
    assert all(len(relations) == 1 and relations[0].score is None for relations in found.predicted)


def test_as_much_is_learnt_from_as_systems_learn_from(tmp_path):
    """data.train_share, which the protocol tells; of the 120 examples of training a tenth are too few for a leaf of each label."""
    changed = config(folder(tmp_path, 40), "detected").copy_and_resolve_references().unlock()
    changed.data.train_share = 0.1
    found = crop_count.evaluate(changed.lock(), "test")
    assert found.protocol["train_share"] == 0.1 and sum(found.known.counts.values()) == 12
    assert found.scores()["accuracy"] < 1


def test_other_tasks_are_refused(tmp_path):
    changed = config(tmp_path, "none").copy_and_resolve_references().unlock()
    changed.task.name = "entities"
    with pytest.raises(ValueError, match="asked of relations, found task.name='entities'"):
        crop_count.evaluate(changed, "test")
