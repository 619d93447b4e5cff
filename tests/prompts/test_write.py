"""Requests of a split: all of them, of what they are made, and that no label of the split is in them."""

import hashlib
import json
import pathlib
import re

import pytest

from configs import hvformer, ifaformer, qeot
from mmre_jax import evaluate
from mmre_jax.data import datasets
from mmre_jax.data.readers import scenes
from mmre_jax.prompts import manifest
from mmre_jax.prompts.write import Way, settled, write
from mmre_jax.records import RecordError

CONFIGS = {
    "relation": (hvformer, "quickstart", "relations"),
    "entities": (ifaformer, "quickstart_entities", "entities"),
    "triples": (qeot, "quickstart", "triples"),
}
WAYS = {
    "relation": Way("some/model", shots=4),
    "entities": Way("some/model", shots=4),
    "triples": Way("some/model", shots=4, shot_pictures=True),
}


def config_of(kind, **data):
    module, variant, _ = CONFIGS[kind]
    config = module.get_config(variant).unlock()
    config.data.update({"counts": (40, 4, 12), **data})
    return config


def lines_of(folder):
    return [json.loads(line) for path in sorted(folder.glob("requests-*.jsonl")) for line in path.read_text().splitlines()]


def text_of(message):
    content = message["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def answer_all(folder, said):
    """A file of answers: said: (number of the example) -> the answer."""
    asked = manifest.read(folder).asked
    body = {"model": "test-1", "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    replies = [{**body, "choices": [{"message": {"content": said(i)}, "finish_reason": "stop"}]} for i in range(len(asked))]
    lines = [
        {"custom_id": a.custom_id, "response": {"status_code": 200, "body": r}, "error": None} for a, r in zip(asked, replies, strict=True)
    ]
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    return path


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_request_for_each_example(tmp_path, kind):
    config = config_of(kind)
    found = write(config, "test", tmp_path, WAYS[kind])
    records, lines = datasets.open_records(config.data, "test"), lines_of(tmp_path)
    assert [line["custom_id"] for line in lines] == [each.custom_id for each in found.asked]
    assert [each.id for each in found.asked] == [record.id for record in records] and {each.picture for each in found.asked} == {"shown"}
    for line, record in zip(lines, records, strict=True):
        body = line["body"]
        assert (line["method"], line["url"], body["model"], body["temperature"]) == ("POST", "/v1/chat/completions", "some/model", 0.0)
        roles = [message["role"] for message in body["messages"]]
        assert roles == ["system", *["user", "assistant"] * 4, "user"]
        image, text = body["messages"][-1]["content"]
        assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
        said = re.sub("</?(head|tail)>", "", text["text"].split("\n</text>")[0].removeprefix("<text>\n"))
        assert said == " ".join(record.words)
    assert len(found.shots) == 4 and all("train" in name for name in found.shots)
    for file in found.files:
        assert hashlib.sha256((tmp_path / file["file"]).read_bytes()).hexdigest() == file["sha256"]
    assert manifest.read(tmp_path).asked == tuple(found.asked) and manifest.read(tmp_path).question == found.question


@pytest.mark.parametrize("kind", CONFIGS)
def test_perfect_answers_are_scored_as_such_and_no_answer_as_nothing(tmp_path, kind):
    config = config_of(kind)
    found = write(config, "test", tmp_path, Way("m"))
    records = datasets.open_records(config.data, "test")
    perfect = answer_all(tmp_path, lambda i: found.question.say(records[i], "shown"))
    scored, read = evaluate.answers([perfect], tmp_path, config, "test", price=(1.0, 1.0))
    assert set(list(scored.headline().values())[:3]) == {1.0} and read.outcomes["answered"] == 12
    written = {path.name: path for path in [*scored.write(tmp_path / "out"), *read.write(tmp_path / "out")]}
    metrics = json.loads(written["metrics.json"].read_text())
    about = metrics["protocol"]
    assert (about["task"], about["system"], about["model"], about["objects"]) == (kind, "prompted", "test-1", "none")
    assert metrics["answers"]["answered"] == 12 and metrics["answers"]["per_thousand"]["money"] == pytest.approx(0.11)
    again = evaluate.predictions(written["predictions.jsonl"], config, "test")
    assert again.headline() == scored.headline(), "what is written is what launch.compare takes"
    silent, read = evaluate.answers([answer_all(tmp_path, lambda i: "I do not know")], tmp_path, config, "test")
    assert list(silent.headline().values())[0] == 0.0 and read.outcomes["unreadable"] == 12


def test_wrong_answers_are_scored_as_by_hand(tmp_path):
    config = config_of("relation")
    found = write(config, "test", tmp_path, Way("m"))
    labels, records = found.question.labels, datasets.open_records(config.data, "test")
    said = [labels[i % len(labels)] for i in range(12)]
    scored, _ = evaluate.answers([answer_all(tmp_path, lambda i: said[i])], tmp_path, config, "test")
    gold = [records[i].relations[0].label for i in range(12)]
    hits = sum(a == b != "None" for a, b in zip(gold, said, strict=True))
    f1 = 2 * hits / (sum(x != "None" for x in gold) + sum(x != "None" for x in said))
    assert scored.headline()["micro.f1"] == pytest.approx(f1) and scored.headline()["accuracy"] == sum(map(str.__eq__, gold, said)) / 12


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """{scene: a folder of its JSON lines}."""
    folders = {}
    for _, _, scene in CONFIGS.values():
        folders[scene] = tmp_path_factory.mktemp(scene)
        for split, count in (("train", 150 if scene == "relations" else 20), ("val", 2), ("test", 8)):
            scenes.export(folders[scene], scene, split, count, side=32)
    return folders


@pytest.mark.parametrize("kind", CONFIGS)
def test_no_label_of_the_split_is_in_what_is_written(exported, tmp_path, kind):
    """Every gold label of the split is made another one: the bytes stay as they were. Of training they do not."""
    folder = exported[CONFIGS[kind][2]]
    config = config_of(kind, name="jsonl", root=str(folder))

    def written(name):
        write(config, "test", tmp_path / name, WAYS[kind])
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    def change(split):
        path = folder / f"{split}.jsonl"
        before = path.read_text()
        records = [json.loads(line) for line in before.splitlines()]
        named = {"relation": ("relations", "label"), "entities": ("mentions", "type"), "triples": ("triples", "label")}[kind]
        known = sorted({item[named[1]] for record in records for item in record[named[0]]})
        for record in records:
            for item in record[named[0]]:
                item[named[1]] = known[(known.index(item[named[1]]) + 1) % len(known)]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        assert path.read_text() != before
        return lambda: path.write_text(before)

    first = written("first")
    back = change("test")
    assert written("second") == first
    back()
    back = change("train")
    assert written("third") != first
    back()


def test_annotation_beside_the_task_is_not_in_it_either(exported, tmp_path):
    """Mentions and regions of a split that is asked for relations, ids and captions."""
    folder = exported["relations"]
    config = config_of("relation", name="jsonl", root=str(folder))
    write(config, "test", tmp_path / "a", Way("m"))
    path, before = folder / "test.jsonl", (folder / "test.jsonl").read_text()
    records = [json.loads(line) for line in before.splitlines()]
    for i, record in enumerate(records):
        record |= {"id": f"other-{i}", "mentions": [], "regions": [], "caption": "a caption", "meta": {"x": 1}}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    write(config, "test", tmp_path / "b", Way("m"))
    path.write_text(before)
    assert (tmp_path / "a" / "requests-1.jsonl").read_bytes() == (tmp_path / "b" / "requests-1.jsonl").read_bytes()


def test_pictures_left_out_missing_and_of_examples(exported, tmp_path):
    config = config_of("relation", name="jsonl", root=str(exported["relations"]))
    write(config, "test", tmp_path / "text", Way("m", pictures="none", shots=2))
    assert "picture" not in (tmp_path / "text" / "requests-1.jsonl").read_text()
    write(config, "test", tmp_path / "shots", Way("m", shots=2, shot_pictures=True))
    for line in lines_of(tmp_path / "shots"):
        assert [isinstance(each["content"], list) for each in line["body"]["messages"]] == [False, True, False, True, False, True]
    records = datasets.open_records(config.data, "test")
    gone = pathlib.Path(records[0].image)
    gone.rename(gone.with_name("gone"))
    found = write(config, "test", tmp_path / "missing", Way("m", shots=2))
    gone.with_name("gone").rename(gone)
    first = lines_of(tmp_path / "missing")[0]["body"]["messages"]
    assert text_of(first[-1]).endswith("\nIts picture is not available.") and isinstance(first[-1]["content"], str)
    assert text_of(first[1]).endswith("\nIts picture is left out here.")
    assert found.protocol["prompt"]["pictures"] == {"missing": 1, "shown": len(records) - 1}


def test_shuffled_and_hidden_pictures(tmp_path):
    """As a run of the same configuration is shown them."""
    config = config_of("relation")
    own = [line["body"]["messages"][-1]["content"][0] for line in lines_of_written(config, tmp_path / "own")]
    config.data.shuffle_pictures = "test"
    other = [line["body"]["messages"][-1]["content"][0] for line in lines_of_written(config, tmp_path / "other")]
    assert all(a != b for a, b in zip(own, other, strict=True)) and sorted(map(str, own)) == sorted(map(str, other))
    config.data.update({"shuffle_pictures": "none", "image_share": 0.25})
    found = write(config, "test", tmp_path / "share", Way("m"))
    assert sorted(each.picture for each in found.asked) == ["none"] * 9 + ["shown"] * 3 and found.protocol["image_share"] == 0.25


def lines_of_written(config, folder):
    write(config, "test", folder, Way("m"))
    return lines_of(folder)


def test_a_body_as_it_is_asked_for(tmp_path):
    way = Way("m", structured=True, max_tokens=7, temperature=0.5, body={"temperature": None, "max_tokens": None, "seed": 3})
    write(config_of("entities"), "test", tmp_path, way)
    body = lines_of(tmp_path)[0]["body"]
    assert set(body) == {"model", "messages", "seed", "response_format"} and body["seed"] == 3
    schema = body["response_format"]["json_schema"]
    item = schema["schema"]["properties"]["mentions"]["items"]
    assert schema["strict"] and item["required"] == ["text", "occurrence", "type"] and not item["additionalProperties"]
    assert item["properties"]["type"]["enum"] == list(scenes.entity_types())


def test_meanings_stand_behind_their_labels(tmp_path):
    labels = scenes.relations("relations")
    (tmp_path / "meanings.json").write_text(json.dumps({label: f"what {label} means" for label in labels}))
    write(config_of("relation"), "test", tmp_path / "out", Way("m", meanings=str(tmp_path / "meanings.json")))
    system = lines_of(tmp_path / "out")[0]["body"]["messages"][0]["content"]
    assert all(f"\n- {label}: what {label} means\n" in system for label in labels)


def test_several_files(tmp_path):
    found = write(config_of("relation"), "test", tmp_path, Way("m", file_requests=5))
    assert [file["requests"] for file in found.files] == [5, 5, 2] and len(lines_of(tmp_path)) == 12


def test_what_cannot_be_asked(tmp_path):
    def said(kind="relation", way=WAYS["relation"], split="test", **data):
        with pytest.raises(ValueError) as error:
            write(config_of(kind, **data), split, tmp_path / "new", way)
        assert not (tmp_path / "new").exists()
        return str(error.value)

    assert "data.blank_words=True" in said(blank_words=True)
    assert "--body: 'model' is not to be changed there" in said(way=Way("m", body={"model": "n"}))
    assert "--shot_pictures needs --shots" in said(way=Way("m", shot_pictures=True))
    assert "--shots of triples need --shot_pictures" in said("triples", Way("m", shots=2))
    assert "--pictures=none shows none" in said(way=Way("m", pictures="none"), image_share=0.5)
    assert "3 examples are to be drawn, and 0 of 40" in said(way=Way("m", shots=3), split="train")
    config = config_of("relation")
    config.task.name = "objects"
    with pytest.raises(ValueError, match="there are requests for relation, entities, triples"):
        settled(config, True)
    config.task.name, config.data.view = "relation", "pairs"
    with pytest.raises(ValueError, match="a request cannot show a box"):
        settled(config, True)
    write(config_of("relation"), "test", tmp_path / "held", Way("m"))
    with pytest.raises(ValueError, match="holds manifest.json already"):
        write(config_of("relation"), "test", tmp_path / "held", Way("m"))


@pytest.mark.parametrize("label", ["peer ", " peer", "pe\ner"])
def test_a_label_that_no_answer_can_name_is_refused(tmp_path, label):
    record = {"id": "1", "text": "Ada met Bo", "relations": [{"head": "Ada", "tail": "Bo", "label": label}]}
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({**record, "id": split}))
    with pytest.raises(ValueError, match="no answer can name it"):
        write(config_of("relation", name="jsonl", root=str(tmp_path)), "test", tmp_path / "out", Way("m"))


def test_answers_belong_to_the_requests_of_a_manifest(tmp_path):
    config = config_of("relation")
    for name, seed in (("a", 0), ("b", 1)):
        write(config, "test", tmp_path / name, Way("m", shots=2, seed=seed))
    answered = answer_all(tmp_path / "a", lambda i: "None")
    with pytest.raises(RecordError, match="is none of the requests in the manifest"):
        evaluate.answers([answered], tmp_path / "b", config, "test")
    with pytest.raises(ValueError, match="ask about split 'test', found --split=val"):
        evaluate.answers([answered], tmp_path / "a", config, "val")
    with pytest.raises(ValueError, match=r"data.counts=\[40, 4, 10\]: the requests were made with \[40, 4, 12\]"):
        evaluate.answers([answered], tmp_path / "a", config_of("relation", counts=(40, 4, 10)), "test")
    path = tmp_path / "a" / "manifest.json"
    value = json.loads(path.read_text())
    for change, why in (({"texts": "0"}, "are not those that the requests ask about"), ({"config": "0"}, "it was changed since")):
        path.write_text(json.dumps({**value, **change}))
        with pytest.raises(ValueError, match=why):
            evaluate.answers([answered], tmp_path / "a", config, "test")
    asked = value["question"]
    others = ({"labels": [*asked["labels"][:-1], "foo"]}, {"none": "foo"}, {"task": "entities"})
    for change, why in zip(others, (", foo on one side alone", "foo on one side alone", "the requests ask for entities"), strict=True):
        path.write_text(json.dumps({**value, "question": {**asked, **change}}))
        with pytest.raises(ValueError, match=why):
            evaluate.answers([answered], tmp_path / "a", config, "test")
    broken = ({"asked": [{"x": 1}]}, {"question": None}, {"protocol": None}, {"question": {**asked, "labels": [1, 2]}})
    for text in ("{}", "[]", '{"version": 1}', *(json.dumps({**value, **change}) for change in broken)):
        path.write_text(text)
        with pytest.raises(RecordError, match="manifest.json: not a manifest"):
            evaluate.answers([answered], tmp_path / "a", config, "test")
    with pytest.raises(RecordError, match="no such file: give the folder that launch.prompts wrote"):
        evaluate.answers([answered], tmp_path, config, "test")
