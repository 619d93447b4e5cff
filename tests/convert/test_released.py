"""Released state dicts with random values become checkpoints that extract what PyTorch makes of them, and come back bit for bit."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("systems", "weights"))
import released_torch
import releases
import test_hvformer_reference as hvformer_release

import mmre_jax
from configs import hvformer, ifaformer, mkgformer, rsrnet
from mmre_jax.convert.released import ABOUT, RELEASED_TAGS, UNREAD, convert, export
from mmre_jax.data import datasets
from mmre_jax.records import Mention, Record, Region, Relation
from mmre_jax.training.checkpoint import CheckpointError
from mmre_jax.weights import released
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.state_dicts import Release, open_release, read_labels

pytestmark = pytest.mark.thorough

CASES = Path(__file__).parents[3] / "shared" / "cases" / "convert"
CONFIGS = {"hvpnet": rsrnet, "rsrnet": rsrnet, "ifaformer": ifaformer, "mkgformer": mkgformer, "hvformer": hvformer}
WORDS = ("ada", "meets", "grace", "in", "paris", ",", "and", "oslo")
RELATIONS = ("/per/per/peer", "none", "/per/loc/in", "/per/org/at", "/loc/loc/in")
TEXT = "ada meets grace in oslo"
SIZES = dataclasses.replace(releases.SMALL, positions=128, depths=(1, 1, 1, 1))


def tokenizer_directory(folder: Path, kind: str, more: int = 0) -> Path:
    """A tokenizer of a few words with BERT's or RoBERTa's special tokens."""
    specials = ("<s>", "<pad>", "</s>", "<unk>", "<mask>") if kind.startswith("rsrnet") else ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    names = (*specials, *WORDS, *map(str, range(more)))
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=specials[3 if "<s>" in specials else 1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def random_release(kind: str) -> dict[str, np.ndarray]:
    """Tensors whose word table fits that tokenizer, markers included."""
    rows = len(WORDS) + 5 + (0 if kind.endswith("ner") else 2 if kind.startswith("rsrnet") else 4)
    if kind == "hvformer_re":
        return hvformer_release.random_release(dataclasses.replace(hvformer_release.SMALL, words=rows))
    return releases.random_release(kind, dataclasses.replace(SIZES, words=rows))


def small_config(kind: str) -> Any:
    config = CONFIGS[kind.partition("_")[0]].get_config("reference").copy_and_resolve_references()
    with config.unlocked():
        config.vision.side = SIZES.side
        if "vpnet" in kind or "rsrnet" in kind:
            config.vision.crop_side = SIZES.side
    return config


def convert_small(tensors: dict[str, np.ndarray], kind: str, folder: Path, **options: Any) -> Path:
    save_file(tensors, folder / "state.safetensors")
    labels = () if kind.endswith("ner") else RELATIONS
    given = {"tokenizer": tokenizer_directory(folder / "tokenizer", kind), "labels": labels, "heads": 2, **options}
    convert(open_release(folder / "state.safetensors"), small_config(kind), folder / "target", **given)
    return folder / "target"


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """{kind: (its tensors, the folder with its state dict, tokenizer and checkpoint)}, made once when asked for."""
    made: dict[str, tuple[dict[str, np.ndarray], Path]] = {}

    def make(kind: str) -> tuple[dict[str, np.ndarray], Path]:
        if kind not in made:
            tensors, folder = random_release(kind), tmp_path_factory.mktemp(kind)
            convert_small(tensors, kind, folder)
            made[kind] = tensors, folder
        return made[kind]

    return make


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return str(path)


def unscored(mentions: tuple[Mention, ...]) -> tuple[Mention, ...]:
    """Mentions whose scores were looked at: PyTorch gives none."""
    assert all(mention.score is not None and 0 < mention.score <= 1 for mention in mentions)
    return tuple(dataclasses.replace(mention, score=None) for mention in mentions)


def post(photo: str) -> Record:
    """A sentence with a pair, a photo and object crops of both sources, fewer than there is room for."""
    boxes = {"grounded": ((0.1, 0.2, 0.6, 0.9),), "detected": ((0.0, 0.0, 0.5, 0.5), (0.3, 0.1, 0.9, 0.8))}
    regions = tuple(Region(box=box, source=source) for source, found in boxes.items() for box in found)
    pair = Relation(Mention(0, 1), Mention(2, 3))
    return Record(id="post", words=tuple(TEXT.split()), image=photo, relations=(pair,), regions=regions)


@pytest.mark.parametrize("kind", released.KINDS)
def test_every_tensor_comes_back_bit_for_bit(kind, converted, tmp_path):
    tensors, folder = converted(kind)
    export(folder / "target", tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype and back[name].shape == tensor.shape and back[name].tobytes() == tensor.tobytes(), name
    reasons = json.loads((folder / "target" / ABOUT).read_text())["unread"]
    assert load_file(folder / "target" / UNREAD).keys() == reasons.keys() and all(reasons.values())
    assert not list(folder.glob(".*")), "nothing half-written is left"


@pytest.mark.parametrize("kind", ["rsrnet_re", "hvpnet_ner", "ifaformer_re", "mkgformer_re"])  # of each system, and of each task, one
def test_what_is_extracted_is_what_pytorch_makes_of_the_state_dict(kind, converted, photo):
    """As released, padded to the longest sequence: the image streams of IFAformer and MKGformer see padding."""
    tensors, folder = converted(kind)
    extractor, record = mmre_jax.load(folder / "target"), post(photo)
    [extraction] = extractor.extract_records([record])
    task, example = extractor.job.task, record if kind.endswith("re") else dataclasses.replace(record, relations=())
    features = task.features(example, 80)
    pictures, present = datasets.open_pictures(extractor.job.system.plan)(example)
    batch = jax.tree.map(lambda x: np.asarray(x)[None], {**features, "pictures": pictures, "present": present})
    state = released_torch.State({k: torch.tensor(v) for k, v in tensors.items()}, 2, 1e-5 if "rsrnet" in kind else 1e-12)
    with torch.no_grad():
        states = released_torch.states_of(state, batch, kind)
        if kind.endswith("re"):
            chances = torch.softmax(released_torch.logits(state, states, batch)[0], -1)
            [relation] = extraction.relations
            assert relation.label == RELATIONS[int(chances.argmax())]
            assert relation.score == pytest.approx(float(chances.max()), abs=1e-4)
            return
        [path] = released_torch.chain(state).decode(state.linear("fc", states), torch.tensor(batch["text"]["mask"]))
    assert unscored(extraction.mentions) == task.decode({"tags": np.array(path)}, record)


@pytest.mark.parametrize("kind", ["hvformer_re", "hvpnet_ner"])  # of all: tests/weights/test_released_runs.py
def test_a_run_that_was_not_converted_is_written_under_the_authors_keys(kind, converted, tmp_path, caplog):
    """Such a run is what a conversion makes, without the folder's notes. What is made of the file again is the run."""
    tensors, folder = converted(kind)
    shutil.copytree(folder / "target" / "checkpoints", tmp_path / "run" / "checkpoints")
    with caplog.at_level("INFO", "mmre_jax"):
        export(tmp_path / "run", tmp_path / "state.safetensors")
    back = load_file(tmp_path / "state.safetensors")
    reasons = json.loads((folder / "target" / ABOUT).read_text())["unread"]
    assert {name: x.dtype for name, x in back.items()} == {name: x.dtype for name, x in tensors.items()}
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors.keys() - reasons.keys())
    assert f"{len(reasons)} tensors that the released code never reads are filled in" in caplog.text
    with safetensors.safe_open(tmp_path / "state.safetensors", "numpy") as file:
        said = {name: json.loads(value) for name, value in file.metadata().items() if name in ("labels", "filled")}
    assert said["filled"] == sorted(reasons)
    assert said["labels"] == list(RELEASED_TAGS if kind.endswith("ner") else RELATIONS)

    release = open_release(tmp_path / "state.safetensors")
    labels = () if kind.endswith("ner") else said["labels"]
    convert(release, small_config(kind), tmp_path / "target", tokenizer=folder / "tokenizer", labels=labels, heads=2)
    one, other = (mmre_jax.load(path) for path in (tmp_path / "run", tmp_path / "target"))
    jax.tree.map(np.testing.assert_array_equal, one.variables, other.variables)
    assert one.job.config.to_dict() == other.job.config.to_dict()


def test_a_run_of_no_released_arithmetic_says_so(trained, tmp_path):
    with pytest.raises(WeightError, match="system.name=hvformer with system.flavour=paper is no arithmetic that was released"):
        export(trained, tmp_path / "state.safetensors")
    assert not list(tmp_path.iterdir())


def test_hvformer_extracts(converted, photo):
    extractor = mmre_jax.load(converted("hvformer_re")[1] / "target" / "checkpoints" / "0")
    [extraction] = extractor.extract_records([post(photo)])
    assert extraction.relations[0].label in RELATIONS and extractor.job.task.none == "none"


def test_markers_are_those_of_the_released_word_tables(converted):
    """Four rows behind BERT's words; RoBERTa's own `<s>` and `</s>` and two rows; none for entities, which mark no pair."""
    base = len(WORDS) + 5
    expected = {"hvpnet_re": tuple(range(base, base + 4)), "rsrnet_re": (0, 2, base, base + 1)}
    for kind, ids in expected.items():
        encoder = mmre_jax.load(converted(kind)[1] / "target").job.task.encoder
        assert encoder.marker_ids == ids
        encoded = encoder.encode_pair(TEXT.split(), (2, 3), (0, 1))
        assert encoded.ids[list(encoded.markers)].tolist() == [ids[0], ids[2]] and (kind != "rsrnet_re" or encoded.markers[0] == 0)
    assert mmre_jax.load(converted("rsrnet_ner")[1] / "target").job.task.encoder.vocab_size == base


def test_a_pickle_saved_by_data_parallel_is_the_same(converted, tmp_path):
    tensors, folder = converted("ifaformer_ner")
    torch.save({f"module.{name}": torch.tensor(tensor) for name, tensor in tensors.items()}, tmp_path / "state.pth")
    release = open_release(tmp_path / "state.pth")
    assert release.kind == "ifaformer_ner" and release.tensors.keys() == tensors.keys()
    tokenizer = folder / "tokenizer"
    job = convert(release, small_config(release.kind), tmp_path / "target", tokenizer=tokenizer, labels=RELEASED_TAGS[1:], heads=2)
    assert job.task.labels == RELEASED_TAGS, "PAD is added where it is left out"
    export(tmp_path / "target", tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == {f"module.{name}" for name in tensors}
    assert all(np.array_equal(back[f"module.{name}"], tensor) for name, tensor in tensors.items())


WRAPPED = {
    "compiled": lambda name: f"_orig_mod.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "a part of it": lambda name: name.replace("model.encoder.", "model.encoder._orig_mod.") if "vision" in name else name,
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_names_of_wrapped_models_are_the_same_and_come_back(wrapped, converted, tmp_path, caplog):
    tensors, folder = converted("ifaformer_ner")
    held = {WRAPPED[wrapped](name): tensor for name, tensor in tensors.items()}
    save_file(held, tmp_path / "best_model")
    with caplog.at_level("INFO", "mmre_jax"):
        release = open_release(tmp_path / "best_model")
    assert release.kind == "ifaformer_ner" and release.tensors.keys() == tensors.keys()
    assert "names are taken without" in caplog.text and "_orig_mod." in caplog.text
    convert(release, small_config(release.kind), tmp_path / "target", tokenizer=folder / "tokenizer", heads=2)
    export(tmp_path / "target", tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == held.keys() and all(back[name].tobytes() == tensor.tobytes() for name, tensor in held.items())


def test_a_checkpoint_that_was_converted_when_there_was_one_prefix_for_all_comes_back(converted, tmp_path):
    tensors, folder = converted("ifaformer_ner")
    shutil.copytree(folder / "target", tmp_path / "target")
    about = json.loads((tmp_path / "target" / ABOUT).read_text())
    del about["names"]
    (tmp_path / "target" / ABOUT).write_text(json.dumps({**about, "prefix": "module."}))
    export(tmp_path / "target", tmp_path / "back.safetensors")
    assert load_file(tmp_path / "back.safetensors").keys() == {f"module.{name}" for name in tensors}


def test_two_names_of_one_tensor_are_refused(tmp_path):
    save_file({"module.a": np.zeros(1), "a": np.zeros(1)}, tmp_path / "state.safetensors")
    with pytest.raises(WeightError, match=r"a and module\.a are one tensor, a, but for a wrapper's name|module\.a and a are one tensor"):
        open_release(tmp_path / "state.safetensors")


@pytest.mark.parametrize("kind", ["hvpnet_re", "hvpnet_ner", "rsrnet_re"])
def test_releases_trained_without_pictures(kind, tmp_path, caplog):
    """use_prompt off: BERT and head alone. What is extracted is what PyTorch makes of them, and they come back bit for bit."""
    whole = random_release(kind)
    tensors = {name: x for name, x in whole.items() if name.startswith(("bert.", "classifier.", "fc.", "crf."))}
    with caplog.at_level("INFO", "mmre_jax"):
        target = convert_small(tensors, kind, tmp_path)
    assert f"recognised as {kind} without an image encoder" in caplog.text
    export(target, tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == tensors.keys() and all(back[name].tobytes() == x.tobytes() for name, x in tensors.items())

    extractor = mmre_jax.load(target)
    assert extractor.job.config.system.modalities == "text" and not extractor.job.system.plan
    pair = Relation(Mention(0, 1), Mention(2, 3))
    record = Record(id="post", words=tuple(TEXT.split()), relations=(pair,) if kind.endswith("re") else ())
    [extraction] = extractor.extract_records([record])
    features = extractor.job.task.features(record, 80)
    batch = jax.tree.map(lambda x: np.asarray(x)[None], features)
    state = released_torch.State({k: torch.tensor(v) for k, v in tensors.items()}, 2, 1e-5 if "rsrnet" in kind else 1e-12)
    with torch.no_grad():
        states = plain_text(state, batch, pad=1 if "rsrnet" in kind else None)
        if kind.endswith("re"):
            chances = torch.softmax(released_torch.logits(state, states, batch)[0], -1)
            assert extraction.relations[0].score == pytest.approx(float(chances.max()), abs=1e-4)
            return
        [path] = released_torch.chain(state).decode(state.linear("fc", states), torch.tensor(batch["text"]["mask"]))
    assert unscored(extraction.mentions) == extractor.job.task.decode({"tags": np.array(path)}, record)


def plain_text(state: released_torch.State, batch: dict[str, Any], pad: int | None) -> torch.Tensor:
    """The last states of a BERT, or of a RoBERTa, whose positions start behind `pad`, [B, n, D]."""
    ids, mask = torch.tensor(batch["text"]["ids"]).long(), torch.tensor(batch["text"]["mask"]).float()
    places = torch.arange(ids.shape[1]).expand_as(ids)
    if pad is not None:
        places = torch.cumsum((ids != pad).long(), dim=1) * (ids != pad) + pad
    x = state.embed("bert.embeddings", ids, places)
    for n in range(released_torch.layers_of(state, "bert.encoder.layer.")):
        layer = f"bert.encoder.layer.{n}"
        mixed = state.attend(*state.projected(layer, released_torch.TEXT, x), (1.0 - mask)[:, None, None] * -10000.0)
        x = state.after_attention(layer, x, mixed)
    return x


@pytest.mark.parametrize("name", ["orig_mod.safetensors", "nested.pth"])
def test_state_dicts_that_were_refused(name, tmp_path):
    if not CASES.is_dir():
        pytest.skip(f"{CASES} is absent")
    release = open_release(CASES / name)
    assert release.kind == "ifaformer_ner"
    heads = max(1, len(release.tensors["model.text_embeddings.LayerNorm.weight"]) // 16)
    job = convert(release, ifaformer.get_config("reference"), tmp_path / "target", tokenizer=CASES / "tok", heads=heads)
    assert job.task.labels == RELEASED_TAGS
    export(tmp_path / "target", tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == set(release.names.values())


def test_labels_of_every_format(tmp_path):
    def written(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    assert read_labels(written("a.json", '{"b": 1, "None": 0}')) == ("None", "b")
    assert read_labels(written("b.json", '["None", "b"]')) == read_labels(written("c.txt", "None\n b\n\n")) == ("None", "b")
    assert read_labels(written("d.json", '{"O": 1, "X": 2}')) == ("PAD", "O", "X")
    assert read_labels(written("e.txt", "[CLS]\nO\n")) == ("[CLS]", "O")
    damaged = {
        '{"a": 0, "b": 2}': "without gaps",
        '{"a": "0"}': "whole numbers",
        '["a", "a"]': "a more than once",
        "[1]": "labels are names",
        "[]": "labels are names",
        "3": "labels are names",
        "{": "not a JSON file",
    }
    for text, message in damaged.items():
        with pytest.raises(WeightError, match=message):
            read_labels(written("bad.json", text))


def change(tensors: dict[str, np.ndarray], **changes: Any) -> dict[str, np.ndarray]:
    """Tensors with some replaced, added or (None) left out; `__` stands for a dot."""
    found = {**tensors, **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def test_all_tensors_that_do_not_fit_are_listed_at_once(tmp_path):
    tensors = random_release("hvpnet_re")
    gone, strange, wrong = "bert.encoder.layer.1.output.dense.bias", "strange.weight", "encoder_conv.0.bias"
    damaged = {**change(tensors), strange: np.zeros(3, np.float32), wrong: np.zeros(7, np.float32)}
    del damaged[gone]
    with pytest.raises(WeightError) as error:
        convert_small(damaged, "hvpnet_re", tmp_path)
    text = str(error.value)
    assert "state.safetensors does not fit the model, 3 problems" in text
    assert strange in text and f"{wrong} [7]" in text and f"layer_1/mlp/down/bias [32] is filled by no tensor: {gone} is not there" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.safetensors", "tokenizer"], "nothing is left of the target"


def test_tensors_that_no_float32_holds_are_refused(tmp_path):
    tensors = random_release("hvpnet_ner")
    with pytest.raises(WeightError, match="1 tensors would not come back as they are: fc.bias float64"):
        convert_small(change(tensors, fc__bias=tensors["fc.bias"].astype(np.float64)), "hvpnet_ner", tmp_path)


def test_keys_of_no_kind(tmp_path):
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightError, match=r"a\.safetensors: no released checkpoint has these 1 tensors"):
        open_release(tmp_path / "a.safetensors")
    assert open_release(tmp_path / "a.safetensors", "rsrnet_re").kind == "rsrnet_re", "unless it is named"


def test_files_that_are_no_state_dict(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    expected = {"model.pth": "as a pickled model does: save its state_dict", "cut.safetensors": "damaged", "gone.pt": "does not exist"}
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n12345678")
    for name, message in {**expected, "a.h5": "neither safetensors nor what torch.save writes"}.items():
        with pytest.raises(WeightError, match=message):
            open_release(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("hvpnet_re", {"labels": ()}, "tells 5 relations apart: give their names"),
        ("hvpnet_re", {"labels": RELATIONS[:4]}, "tells 5 relations apart, 4 labels are given"),
        ("hvpnet_re", {"labels": ("a", "b", "c", "d", "e")}, "none is called None, in any case: name the one"),
        ("hvpnet_re", {"none": "None"}, "none is called 'None'"),
        ("hvpnet_ner", {"labels": RELEASED_TAGS[:-1]}, "tells 13 tags apart, 12 labels are given"),
        ("hvpnet_ner", {"labels": RELEASED_TAGS[1:-1]}, r"tells 13 tags apart, 11 labels are given \(12 with PAD\)"),
        ("hvpnet_re", {"max_tokens": 129}, "text.max_tokens=129 exceeds the text encoder's 128 positions"),
        ("rsrnet_ner", {"max_tokens": 120}, "ends behind 110 tokens, max_tokens is 120"),
        ("hvpnet_re", {"heads": 0}, "no heads of 64"),
    ],
)
def test_what_does_not_fit_is_named(kind, options, message, converted, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert_small(converted(kind)[0], kind, tmp_path, **options)
    assert not (tmp_path / "target").exists()


def test_a_tokenizer_of_another_size(converted, tmp_path):
    """A word more than the tables have, and RoBERTa's for a BERT: two markers are its own, so that two rows are too many."""
    for kind, other, more, message in [
        ("hvpnet_re", "hvpnet_re", 1, "14 entries and 4 added markers needs 18 rows, the word table of .*state.safetensors has 17"),
        ("hvpnet_re", "rsrnet_re", 0, "13 entries and 2 added markers needs 15 rows, .* has 17"),
        ("hvpnet_ner", "hvpnet_ner", 1, "14 entries needs 14 rows, .* has 13"),
        ("rsrnet_ner", "hvpnet_ner", 0, "rsrnet_ner has padding of id 1, this tokenizer's is 0"),
    ]:
        tokenizer = tokenizer_directory(tmp_path / f"{other}{more}", other, more)
        with pytest.raises(WeightError, match=message):
            convert_small(converted(kind)[0], kind, tmp_path, tokenizer=tokenizer)


def test_what_is_there_already_is_left_alone(converted, tmp_path):
    tensors, folder = converted("hvpnet_ner")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="target exists already and is not an empty directory"):
        convert_small(tensors, "hvpnet_ner", tmp_path)
    (tmp_path / "back.safetensors").write_text("mine")
    with pytest.raises(FileExistsError, match=r"back\.safetensors exists already"):
        export(folder / "target", tmp_path / "back.safetensors")
    (tmp_path / "target" / "mine").unlink()
    assert convert_small(tensors, "hvpnet_ner", tmp_path).is_dir(), "an empty directory is taken"


def test_ways_back_that_there_are_not(converted, tmp_path):
    with pytest.raises(CheckpointError, match="neither a run's workdir nor"):
        export(tmp_path, tmp_path / "back.safetensors")
    with pytest.raises(WeightError, match=r"name it \*\.safetensors"):
        export(tmp_path, tmp_path / "back.pth")
    shutil.copytree(converted("hvpnet_ner")[1] / "target", tmp_path / "copy")
    kept = load_file(tmp_path / "copy" / UNREAD)
    kept.pop("bert.pooler.dense.bias")
    save_file(kept, tmp_path / "copy" / UNREAD)
    with pytest.raises(WeightError, match="disagree on bert.pooler.dense.bias"):
        export(tmp_path / "copy", tmp_path / "back.safetensors")
    (tmp_path / "copy" / ABOUT).write_text("{")
    with pytest.raises(CheckpointError, match="not a JSON file"):
        export(tmp_path / "copy", tmp_path / "back.safetensors")
    assert not (tmp_path / "back.safetensors").exists()


def test_a_crash_leaves_nothing(converted, tmp_path, monkeypatch):
    def broken(*arguments: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("mmre_jax.convert.released.safetensors.numpy.save_file", broken)
    tensors, folder = converted("hvpnet_ner")
    release = Release("hvpnet_ner", tensors, "state.safetensors")
    with pytest.raises(OSError, match="no space left"):
        convert(release, small_config("hvpnet_ner"), tmp_path / "target", tokenizer=folder / "tokenizer", heads=2)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_comes_back_as_it_was(tmp_path):
    """Read and unread tensors alike; a checkpoint's own parameters are float32."""
    tensors = random_release("hvpnet_ner")
    halved = {name: x.astype(np.float16) if x.dtype == np.float32 and i % 2 else x for i, (name, x) in enumerate(tensors.items())}
    assert {x.dtype for x in halved.values()} >= {np.dtype(np.float16), np.dtype(np.float32)}
    target = convert_small(halved, "hvpnet_ner", tmp_path)
    export(target, tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert {name: x.dtype for name, x in back.items()} == {name: x.dtype for name, x in halved.items()}
    assert all(back[name].tobytes() == x.tobytes() for name, x in halved.items())


def test_ids_of_relations_start_at_0(tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps({name: i + 1 for i, name in enumerate(RELATIONS[1:])}))
    with pytest.raises(WeightError, match="the ids of relations start at 0"):
        convert_small(random_release("hvpnet_re"), "hvpnet_re", tmp_path, labels=read_labels(tmp_path / "labels.json"))
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(WeightError, match="labels.txt: not UTF-8 text"):
        read_labels(tmp_path / "labels.txt")
