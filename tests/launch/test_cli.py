"""The launchers as a person types them, each in a process of its own, since they share flag names (launch.prepare: test_prepare.py)."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

from mmre_jax.data.readers import scenes

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from typed import ROOT, message, run  # noqa: E402


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    """Two scenes as files; then a post with mentions and boxes, one with mentions alone, without picture and id."""
    folder = tmp_path_factory.mktemp("posts")
    records = scenes.export(folder, "relations", "test", 2)
    image, boxes = pathlib.Path(records[0].image).name, [{"box": list(region.box)} for region in records[0].regions]
    more = [
        {"id": "a post: €5/?", "text": "Ada meets Grace in Zürich", "image": image, "mentions": [[0, 1], [2, 3], [4, 5]], "regions": boxes},
        {"words": ["Ada", "meets", "Grace"], "mentions": [{"start": 0, "end": 1, "type": "PER"}, [2, 3]]},
    ]
    with (folder / "test.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in more)
    return folder / "test.jsonl"


@pytest.fixture(scope="module")
def extracted(trained, posts, tmp_path_factory):
    out = tmp_path_factory.mktemp("extracted")
    result = run("extract", f"--checkpoint={trained}", f"--input={posts}", f"--out={out / 'new'}", "--pictures=3")
    assert result.returncode == 0, result.stderr
    return out / "new", result


@pytest.fixture(scope="module")
def evaluated(trained):
    result = run("evaluate", f"--checkpoint={trained}")
    assert result.returncode == 0, result.stderr
    return trained / "evaluation" / "test", result


def test_extract_writes_json_lines(extracted):
    out, result = extracted
    found = rows(out / "extracted.jsonl")
    assert [len(row["relations"]) for row in found] == [1, 1, 6, 2]
    assert found[2]["id"] == "a post: €5/?" and found[2]["text"].endswith("Zürich")
    assert [row["notes"] for row in found[:3]] == [[], [], []]
    assert found[3]["notes"] == ["no picture: masked", "trained with detected object crops, none given: masked"]
    assert found[3]["relations"][1]["head"] == {"start": 2, "end": 3, "text": "Grace"}
    assert found[3]["relations"][1]["tail"] == {"start": 0, "end": 1, "type": "PER", "text": "Ada"}
    assert found[2]["relations"][0]["tail"] == {"start": 2, "end": 3, "chars": [10, 15], "text": "Grace"}
    labels = scenes.relations()
    assert all(relation["label"] in labels and 0 < relation["score"] <= 1 for row in found for relation in row["relations"])
    printed = result.stdout.splitlines()
    told = 4 + 2 + 3 + sum(len(row["relations"]) for row in found)
    assert max(map(len, printed)) <= 120 and len(printed) == told, "posts, notes, mentions and relations"
    first = found[3]["relations"][0]
    assert f"{first['score']:.2f}  Ada -> Grace: {first['label']}" in printed[-2]


def test_extract_draws_and_names_pictures(extracted):
    out, result = extracted
    pictures = sorted(out.glob("*.png"))
    assert [path.name[:4] for path in pictures] == ["000_", "001_", "002_"], "as many as --pictures says"
    for path in pictures:
        assert f"picture: {path}" in result.stderr
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50, "more than an empty page"


def test_extract_predicts_what_evaluate_does(extracted, evaluated):
    """The same two records, from exported files and from memory."""
    evaluations = rows(evaluated[0] / "predictions.jsonl")
    for row, expected in zip(rows(extracted[0] / "extracted.jsonl")[:2], evaluations, strict=False):
        [relation] = row["relations"]
        assert (row["id"], relation["label"]) == (expected["id"], expected["relation"])
        assert relation["score"] == pytest.approx(expected["score"], abs=1e-5)


def test_what_was_extracted_is_extracted_from_again_and_scored(trained, extracted, evaluated, tmp_path):
    """From another folder: the pictures are named by their whole paths."""
    lines = (extracted[0] / "extracted.jsonl").read_text().splitlines()
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    result = run("extract", f"--checkpoint={trained}", f"--input={tmp_path / 'in.jsonl'}", f"--out={tmp_path / 'again'}", "--pictures=0")
    assert result.returncode == 0, result.stderr
    for row, before in zip(rows(tmp_path / "again" / "extracted.jsonl"), map(json.loads, lines), strict=True):
        scores = [[relation.pop("score") for relation in each["relations"]] for each in (row, before)]
        assert row == before and scores[0] == pytest.approx(scores[1], abs=1e-6)
    (tmp_path / "two.jsonl").write_text("\n".join(lines[:2]))
    data = ["--config=configs/hvformer.py:quickstart", "--config.data.counts=(64,16,2)", "--config.data.objects=detected"]
    result = run("evaluate", f"--predictions={tmp_path / 'two.jsonl'}", *data, f"--out={tmp_path / 'scored'}")
    assert result.returncode == 0, result.stderr
    for row, expected in zip(rows(tmp_path / "scored" / "predictions.jsonl"), rows(evaluated[0] / "predictions.jsonl")[:2], strict=True):
        assert row.pop("score") == pytest.approx(expected.pop("score"), abs=1e-5)
        assert row == expected


def test_evaluate_writes_its_files(trained, evaluated):
    out, result = evaluated
    metrics = json.loads((out / "metrics.json").read_text())
    trained_to = json.loads((trained / "metrics.json").read_text())
    best = trained_to["best_step"]
    assert metrics["test"] == trained_to["test"], "as the run itself scored its best step"
    said = {"task": "relation", "data": "scenes", "objects": "detected", "precision": "default"}
    assert metrics["protocol"] == {**said, "pictures": "own", "step": best}
    assert len(rows(out / "predictions.jsonl")) == metrics["test"]["count"] == 16
    for name in ("confusion", "reliability"):
        with Image.open(out / f"{name}.png") as picture:
            picture.verify()
    assert metrics["calibration"]["fitted"] == trained_to["calibration"] and metrics["calibration"]["fitted"]["split"] == "val"
    assert metrics["calibration"]["raw"].keys() == metrics["calibration"]["calibrated"].keys() >= {"ece", "adaptive_ece", "nll", "brier"}
    assert "relation" in result.stdout and "with picture" in result.stdout
    assert f"micro.f1 {metrics['test']['micro']['f1']:.4f}" in result.stderr


def test_predictions_of_any_program_score_under_the_same_protocol(evaluated, tmp_path):
    out, _ = evaluated
    data = ["--config=configs/hvformer.py:quickstart", "--config.data.counts=(64,16,16)", "--config.data.objects=detected"]
    result = run("evaluate", f"--predictions={out / 'predictions.jsonl'}", *data, f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    again, first = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path, out))
    assert set(first["test"].pop("told")) == {"expert_text", "expert_0", "expert_1"}, "which the system tells of itself alone"
    assert again["test"] == first["test"] and again["slices"] == first["slices"]
    assert (tmp_path / "predictions.jsonl").read_text() == (out / "predictions.jsonl").read_text()


@pytest.mark.parametrize(("task", "kind"), [("entities", "mentions"), ("triples", "triples"), ("objects", "regions")])
def test_other_tasks_are_extracted_from_words_and_picture(untrained, posts, tmp_path, task, kind):
    """From the data set's own scenes, and from posts without annotation of the task."""
    given = f"--input={posts}" if task == "entities" else "--scenes=2"
    result = run("extract", f"--checkpoint={untrained[task]}", given, f"--out={tmp_path}", "--pictures=2")
    assert result.returncode == 0, result.stderr
    found = rows(tmp_path / "extracted.jsonl")
    assert [row["id"] for row in found[:2]] == [f"scenes:{'relations' if task == 'entities' else task}:0:test:{i}" for i in range(2)]
    assert all(isinstance(row[kind], list) and "relations" not in row for row in found)
    assert f"{len(found)} records, {sum(len(row[kind]) for row in found)} {kind}" in result.stderr
    assert result.stdout.startswith(f"{found[0]['id']}: {' '.join(found[0]['words'])}\n")
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 2
    for path in pictures:
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50, "more than an empty page"


def test_triples_score_the_same_as_predictions_of_any_program(untrained, tmp_path):
    first = run("evaluate", f"--checkpoint={untrained['triples']}", "--split=val", f"--out={tmp_path / 'first'}")
    assert first.returncode == 0, first.stderr
    predictions = f"--predictions={tmp_path / 'first' / 'predictions.jsonl'}"
    data = ["--config=configs/qeot.py:quickstart", "--config.data.counts=(16,4,4)", "--split=val"]
    again = run("evaluate", predictions, *data, f"--out={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr
    one, other = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("first", "again"))
    queries, triples = (metrics["val"]["answers"] for metrics in (one, other))
    assert queries == 4 * 8 and triples == other["val"]["predicted"], "a file holds the triples, not the queries that accuracies are over"
    for metrics in (one, other):
        for row in (metrics["val"], metrics["headline"], *metrics["slices"]):
            for name in ("answers", "relation", "entity", "relation.accuracy", "entity.accuracy"):
                row.pop(name, None)
    assert one["val"] == other["val"] and one["headline"] == other["headline"] and one["slices"] == other["slices"]
    assert {"strict", "paper"} <= one["val"]["triple"].keys() and one["protocol"]["task"] == "triples"
    assert "triple.strict.f1" in first.stdout and "more than 5 triples" in first.stdout


def test_entities_of_any_program_are_scored(tmp_path):
    """What is annotated, but for one mention that is left out."""
    records = scenes.read("entities", "test", 4)
    lines = [{"id": r.id, "mentions": [{"span": list(m.span), "type": m.type} for m in r.mentions]} for r in records]
    lines[0]["mentions"].pop()
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = ["--config=configs/hvformer.py:quickstart", "--config.task.name=entities", "--config.data.scene=entities"]
    result = run("evaluate", f"--predictions={tmp_path / 'p.jsonl'}", *config, "--config.data.counts=(16,4,4)", f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]["entity"]
    total = sum(len(r.mentions) for r in records)
    assert scores["micro"]["precision"] == 1 and scores["micro"]["recall"] == pytest.approx((total - 1) / total)
    assert sum(row["support"] for row in scores["per_type"].values()) == total
    assert "mention text not seen" in result.stdout and "entity.micro.f1" in result.stderr


def test_the_audit_tells_of_annotation_and_fails_for_test_records_in_training(tmp_path):
    """Mentions in mentions, of a task without relations; two labels for one pair; and a test split that was trained on."""
    pair = {"head": [0, 1], "tail": [2, 3]}
    for split in ("train", "val", "test"):
        lines = [
            {
                "text": f"Ada meets Bo {'val' if split == 'val' else 'x'} {i} New York",
                "mentions": [{"start": 5, "end": 7, "type": "LOC"}, {"start": 6, "end": 7, "type": "LOC"}],
                "relations": [{**pair, "label": ("no_relation", "knows")[i % 2]}, *([{**pair, "label": "at"}] if i == 1 else [])],
            }
            for i in range(30)
        ]
        (tmp_path / f"{split}.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, lines)), "utf-8")
    data = ["--config.data.name=jsonl", f"--config.data.root={tmp_path}", f"--json={tmp_path / 'report.json'}"]
    result = run("audit", "--config=configs/hvformer.py:quickstart", *data)
    assert result.returncode == 1, result.stderr
    assert "warning: train: 1 of 30 pairs have two labels or more (1 within one record, 0 across" in result.stdout
    assert "what looks empty: 'no_relation'" in result.stdout and "not judged: no record is None" in result.stdout
    assert "FAILS: test: 31 of 31 pairs stand in training, by their words, spans and picture" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("FAILED: in_training_by_text_pair_and_picture of test past 1.00%")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failed"] and {row["verdict"] for row in report["rows"] if row["target"] == "None or some"} == {
        "not judged: no record is None"
    }
    result = run("audit", "--config=configs/ifaformer.py:quickstart_entities", *data, "--overlap=1.0")
    assert result.returncode == 0, result.stderr
    assert "warning: train: 30 of 60 mentions lie in or across a longer one" in result.stdout
    assert "train: not learnt from: 30 overlapping, 0 truncated, 0 without_pieces" in result.stdout and "'knows'" not in result.stdout
    assert result.stdout.splitlines()[-1].startswith("passed (trained on 30 records, scored on 60)")


def test_controls_are_what_a_task_and_a_system_have():
    script = """
import json
from configs import hvformer, qeot
from launch.controls import controls
print(json.dumps({module.__name__: controls(module.get_config("quickstart")) for module in (hvformer, qeot)}))
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(result.stdout)
    text = {"system.modalities": "text"}
    assert found["configs.hvformer"] == {"full": {}, "text": text, "image": {"data.blank_words": True}}
    assert found["configs.qeot"] == {"full": {}, "text": text}, "words are what it is to find"


def test_a_missing_or_damaged_picture_is_masked_noted_and_counted(trained, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("<html></html>")
    names = ("good.png", "gone.png", None, "bad.png")
    posts = [{"id": f"p{n}", "text": "a b", "image": name, "mentions": [[0, 1], [1, 2]]} for n, name in enumerate(names)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    result = run("extract", f"--checkpoint={trained}", f"--input={tmp_path / 'in.jsonl'}", f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    found = rows(tmp_path / "out" / "extracted.jsonl")
    assert [row["id"] for row in found] == ["p0", "p1", "p2", "p3"] and all(len(row["relations"]) == 2 for row in found)
    assert [sum("png: " in note for note in row["notes"]) for row in found] == [0, 1, 0, 1]
    assert found[1]["notes"][-1].endswith("gone.png: no such file: masked") and "not a picture" in found[3]["notes"][-1]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["records"], summary["found"], summary["masked"]) == (4, 8, 2) and "in.jsonl:2: image: " in summary["examples"][0]
    assert "2 of 4 records have pictures that were masked, such as " in result.stderr
    assert "%|" not in result.stderr, "bars are for terminals"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["extract", "extracted.jsonl", "rejects.jsonl", "summary.json"]


def test_mentions_are_found_and_then_their_relations(untrained, trained, posts, tmp_path):
    both = [f"--entities={untrained['entities']}", f"--relations={trained}"]
    result = run("extract", *both, f"--input={posts}", f"--out={tmp_path}", "--pictures=1", "--top=2")
    assert result.returncode == 0, result.stderr
    found = rows(tmp_path / "extracted.jsonl")
    counts = [(len(row.get("mentions", ())), len(row["relations"])) for row in found]
    assert len(found) == 4 and all(pairs == n * (n - 1) for n, pairs in counts) and sum(pairs for _, pairs in counts) > 0
    assert all(len(relation["alternatives"]) == 2 for row in found for relation in row["relations"])
    assert "picture: " in result.stderr and "mentions: " in result.stdout
    said = "give either --checkpoint, or --entities and --relations"
    for typed in (both[:1], [*both, f"--checkpoint={trained}"], []):
        assert said in run("extract", *typed, f"--input={posts}", f"--out={tmp_path / 'no'}").stderr


CASE = ROOT.parent / "shared" / "cases" / "batch_extract" / "posts.jsonl"


@pytest.mark.skipif(not CASE.is_file(), reason=f"no {CASE}")
def test_the_posts_of_the_shared_case_are_all_extracted(trained, tmp_path):
    result = run("extract", f"--checkpoint={trained}", f"--input={CASE}", f"--out={tmp_path}", "--pictures=0")
    assert result.returncode == 0, result.stderr
    found = rows(tmp_path / "extracted.jsonl")
    assert [(row["id"], len(row["relations"]), any("gone.png" in note for note in row["notes"])) for row in found] == [
        ("a", 1, False),
        ("b", 1, True),
        ("c", 1, False),
    ]
    assert "1 of 3 records have pictures that were masked" in result.stderr


def test_strictly_a_missing_picture_ends_with_a_message(trained, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "a b", "image": "gone.png", "mentions": [[0, 1], [1, 2]]}\n')
    result = run("extract", f"--checkpoint={trained}", f"--input={tmp_path / 'in.jsonl'}", f"--out={tmp_path / 'out'}", "--strict")
    said = message(result)
    assert "in.jsonl:1: image: " in said and "gone.png: no such file" in said
    assert not (tmp_path / "out" / "extracted.jsonl").exists()
    typed = os.path.relpath(tmp_path / "in.jsonl")
    result = run("extract", f"--checkpoint={trained}", f"--input={typed}", f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    [row] = rows(tmp_path / "out" / "extracted.jsonl")
    assert row["masked"] == [f"image: {tmp_path.resolve() / 'gone.png'}: no such file: masked"], "however the input was typed"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--top=2", "--top is of relations, and this checkpoint finds mentions"),
        ("--skip_none", "--skip_none is of relations, and this checkpoint finds mentions"),
        ("--worker_cpus=2", "--worker_cpus is of --engine=ray"),
        ("--attention --pictures=1", "QEOT"),
    ],
)
def test_options_that_would_do_nothing_are_told_before_anything_is_extracted(untrained, posts, tmp_path, typed, said):
    result = run("extract", f"--checkpoint={untrained['entities']}", f"--input={posts}", f"--out={tmp_path / 'out'}", *typed.split())
    assert said in message(result) and not (tmp_path / "out").exists()


def test_broken_lines_are_rejected_and_told(trained, tmp_path):
    broken = ('{"text": "a b", "relations": [', '{"text": "a b", "mentions": [[0, 1]]}')
    (tmp_path / "in.jsonl").write_text("\n".join(['{"text": "a b", "mentions": [[0, 1], [1, 2]]}', *broken]))
    told = ["extract", f"--checkpoint={trained}", f"--input={tmp_path}", f"--out={tmp_path / 'out'}"]
    result = run(*told, "--skip_none", "--min_score=0.5", "--pictures=1")
    assert result.returncode == 0 and "2 posts could not be read, such as " in result.stderr, result.stderr
    assert len(rows(tmp_path / "out" / "extracted.jsonl")) == 1
    rejects = rows(tmp_path / "out" / "rejects.jsonl")
    assert [(row["line"], row["text"]) for row in rejects] == [(2, broken[0]), (3, broken[1])]
    assert "in.jsonl:2: not a JSON value" in rejects[0]["reason"]
    assert "in.jsonl:3: no 'relations', so all pairs of 'mentions' are tried: two or more" in rejects[1]["reason"]
    again = run(*told, "--skip_none", "--min_score=0.5", "--pictures=1")
    assert again.stdout == result.stdout and "1 posts were extracted from before" in again.stderr and "picture: " in again.stderr
    said = message(run(*told))
    assert "holds what was extracted otherwise (min_score 0.5, now 0.0; skip_none True, now False): give another --out" in said


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        ("extract", ["--checkpoint", "--input", "--scenes", "--out", "--pictures", '"mentions": [[0, 1]']),
        ("evaluate", ["--checkpoint", "--predictions", "--config", "--split", "--root", "--out", '{"id": example', '"triples": [']),
    ],
)
def test_help_says_how_to_use_it(module, flags):
    result = run(module, "--help")
    assert all(flag in result.stdout for flag in flags) and f"python -m launch.{module} --checkpoint" in result.stdout
