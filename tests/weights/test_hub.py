"""Model directories: whole, sharded, damaged, pickled."""

import argparse
import json
import pickle
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from mmre_jax.weights.hub import WeightError, read_config, read_directory, read_file, read_tensors

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.array([1, 2], np.int64), "d": np.array(3, np.float32)}


def directory(path: Path, config: str = '{"model_type": "bert"}') -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(config)
    return path


def shards(path: Path, places: dict[str, str]) -> Path:
    directory(path)
    for shard in {place for place in places.values() if "/" not in place}:
        save_file({name: TENSORS[name] for name, place in places.items() if place == shard}, path / shard)
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_one_file_and_shards_give_the_same(tmp_path: Path) -> None:
    save_file(TENSORS, directory(tmp_path / "one") / "model.safetensors")
    config, tensors = read_directory(tmp_path / "one")
    assert config == {"model_type": "bert"}
    assert_same(tensors, TENSORS)
    assert_same(read_tensors(shards(tmp_path / "two", {"a": "1.safetensors", "b.c": "2.safetensors", "d": "1.safetensors"})), TENSORS)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    values = np.array([0.5, -1.25, 3.0], np.float32)  # exact in both half precisions
    raw = {"F16": values.astype(np.float16).tobytes(), "BF16": values.astype(jnp.bfloat16).tobytes()}
    header = json.dumps({name: {"dtype": name, "shape": [3], "data_offsets": [6 * i, 6 * i + 6]} for i, name in enumerate(raw)}).encode()
    path = directory(tmp_path) / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"".join(raw.values()))
    assert_same(read_tensors(tmp_path), {"F16": values, "BF16": values})


def test_a_pickle_of_tensors_is_read_by_pytorch_and_no_code_in_it_is_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = directory(tmp_path) / "pytorch_model.bin"
    torch.save({"half": torch.tensor([1.5, 2.0], dtype=torch.bfloat16), "ids": torch.arange(3)}, path)
    found = read_tensors(tmp_path)
    assert_same(found, {"half": np.array([1.5, 2.0], np.float32), "ids": np.arange(3)})
    path.write_bytes(f"cos\nsystem\n(S'touch {tmp_path / 'ran'}'\ntR.".encode())
    with pytest.raises(WeightError, match=r"pytorch_model\.bin holds more than tensors, or is damaged"):
        read_directory(tmp_path)
    assert not (tmp_path / "ran").exists()
    torch.save([1, 2], path)
    with pytest.raises(WeightError, match="does not hold a dictionary of tensors"):
        read_tensors(tmp_path)


def test_without_pytorch_a_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory(tmp_path) / "pytorch_model.bin").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WeightError, match=r"takes PyTorch to read: pip install '\.\[torch\]'"):
        read_tensors(tmp_path)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match="nowhere is not a directory"):
        read_directory(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(WeightError, match=r"bare/config\.json does not exist"):
        read_directory(tmp_path / "bare")
    with pytest.raises(WeightError, match="holds no weights"):
        read_directory(directory(tmp_path / "bare"))
    for text, message in [("{", "not valid JSON"), ("[]", "holds a list, expected a JSON object")]:
        with pytest.raises(WeightError, match=rf"bad/config\.json.*{message}"):
            read_config(directory(tmp_path / "bad", text))
    save_file(TENSORS, directory(tmp_path / "cut") / "model.safetensors")
    whole = (tmp_path / "cut" / "model.safetensors").read_bytes()
    for damaged in (whole[:-1], whole[:20], b""):
        (tmp_path / "cut" / "model.safetensors").write_bytes(damaged)
        with pytest.raises(WeightError, match=r"cut/model\.safetensors is not a readable safetensors file"):
            read_directory(tmp_path / "cut")


def test_an_unreadable_dtype_is_named(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (directory(tmp_path) / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    with pytest.raises(WeightError, match="tensor x has dtype F8_E4M3"):
        read_tensors(tmp_path)


def test_a_wrong_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"'\.\./x/model\.safetensors', which is not a plain file name"):
        read_tensors(shards(tmp_path / "outside", {"a": "../x/model.safetensors"}))
    folder = shards(tmp_path / "lost", {"a": "1.safetensors", "d": "2.safetensors"})
    (folder / "2.safetensors").unlink()
    with pytest.raises(WeightError, match=r"lost/2\.safetensors does not exist"):
        read_tensors(folder)
    folder = shards(tmp_path / "short", {"a": "1.safetensors", "d": "1.safetensors"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "1.safetensors"}}))
    with pytest.raises(WeightError, match=r"disagree on 1 tensors, such as \['d'\]"):
        read_tensors(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(WeightError, match="no weight_map"):
        read_tensors(folder)


def test_a_state_dict_is_a_file_of_its_own(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    save_file(TENSORS, tmp_path / "state.safetensors")
    assert_same(read_file(tmp_path / "state.safetensors"), TENSORS)
    held = {name: torch.nn.Parameter(torch.tensor(x)) if x.dtype == np.float32 else torch.tensor(x) for name, x in TENSORS.items()}
    for name in ("state.pth", "state.pt", "state.bin"):
        torch.save(held, tmp_path / name)
        assert_same(read_file(tmp_path / name), TENSORS)
    torch.save({"half": torch.ones(2, dtype=torch.float16), "double": torch.ones(2, dtype=torch.float64)}, tmp_path / "state.pth")
    assert_same(read_file(tmp_path / "state.pth"), {"half": np.ones(2, np.float32), "double": np.ones(2, np.float64)})


@pytest.mark.parametrize("legacy", [True, False])
def test_a_damaged_pickle_of_tensors_has_its_error(legacy: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path, random = tmp_path / "state.pth", np.random.default_rng(0)
    torch.save({"a": torch.ones(30)}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for size in random.integers(0, len(whole), 100):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightError, match=r"state\.pth (holds more than tensors, or is damaged|does not hold)"):
            read_file(path)


def test_files_that_hold_no_state_dict(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(WeightError, match=r"it names torch\.nn\.modules\.linear\.Linear, as a pickled model does: save its state_dict\(\)"):
        read_file(tmp_path / "model.pth")
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n12345678")
    for name, message in {
        "folder.pth": "is a directory, not a file",
        "gone.pth": "does not exist",
        "a.h5": "neither safetensors nor what torch.save writes",
    }.items():
        with pytest.raises(WeightError, match=message):
            read_file(tmp_path / name)


def test_half_precision_is_kept_where_asked_for(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.full((2,), 0.5, dtype=torch.float16), "c": torch.ones(2)}
    torch.save(tensors, tmp_path / "state.pth")
    found = read_file(tmp_path / "state.pth", upcast=False)
    assert {name: str(x.dtype) for name, x in found.items()} == {"a": "bfloat16", "b": "float16", "c": "float32"}
    assert found["b"].tolist() == [0.5, 0.5] and {x.dtype for x in read_file(tmp_path / "state.pth").values()} == {np.dtype(np.float32)}


def test_tensors_that_are_not_plain_are_named(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.eye(2).to_sparse()}, tmp_path / "state.pth")
    with pytest.raises(WeightError, match=r"state.pth: tensor weight \(torch.sparse_coo, torch.float32, cpu\) is not a plain one"):
        read_file(tmp_path / "state.pth")


def test_a_state_dict_is_known_by_what_is_in_it_not_by_its_name(tmp_path):
    torch = pytest.importorskip("torch")
    held = {name: torch.tensor(x) for name, x in TENSORS.items()}
    for number, legacy in enumerate((True, False)):
        torch.save(held, tmp_path / f"best_model{number}", _use_new_zipfile_serialization=not legacy)
        assert_same(read_file(tmp_path / f"best_model{number}"), TENSORS)
    for name in ("checkpoint", "state.th", "state.pth"):
        save_file(TENSORS, tmp_path / name)
        assert_same(read_file(tmp_path / name), TENSORS)


@pytest.mark.parametrize("inside", ["state_dict", "model", "weights of mine"])
def test_a_state_dict_with_other_things_beside_it(inside, tmp_path, caplog):
    torch = pytest.importorskip("torch")
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-5}]}
    beside = {
        "epoch": 3,
        "args": argparse.Namespace(lr=1e-5, name="x"),
        "best": np.float64(0.5),
        "f1": np.float32(0.5),
        "optimizer": optimizer,
    }
    torch.save({**beside, inside: {name: torch.tensor(x) for name, x in TENSORS.items()}}, tmp_path / "last.pth")
    with caplog.at_level("INFO", "mmre_jax"):
        assert_same(read_file(tmp_path / "last.pth"), TENSORS)
    assert f"the state dict is its '{inside}'; not read beside it: args, best, epoch, f1, optimizer" in caplog.text


def test_dictionaries_that_hold_no_or_several_state_dicts(tmp_path):
    torch = pytest.importorskip("torch")
    one = {"a": torch.ones(1)}
    for value, message in (
        ({"ema": one, "student": one}, r"several dictionaries of tensors \(ema, student\)"),
        ({"model": {"a": 1}, "epoch": 1}, "does not hold a dictionary of tensors: in its 'model' a is a int"),
        ({"model": [1]}, "in its 'model' it is a list"),
        ({"epoch": 1}, "epoch is a int"),
        ([torch.ones(1)], "it is a list"),
    ):
        torch.save(value, tmp_path / "state.pth")
        with pytest.raises(WeightError, match=message):
            read_file(tmp_path / "state.pth")
    torch.save({"model": one, "ema": {"a": torch.zeros(1)}}, tmp_path / "state.pth")
    assert read_file(tmp_path / "state.pth")["a"].tolist() == [1], "a usual name goes before others"


def test_a_git_lfs_pointer_is_called_one(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 438007537\n"
    for name in ("state.safetensors", "state.pth", "state"):
        (tmp_path / name).write_text(pointer)
        with pytest.raises(WeightError, match=f"{name} is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"):
            read_file(tmp_path / name)
    for folder, name in (("a", "model.safetensors"), ("b", "pytorch_model.bin"), ("c", "config.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text("{}")
        (tmp_path / folder / name).write_text(pointer)
        with pytest.raises(WeightError, match=f"{name} is a Git LFS pointer"):
            read_directory(tmp_path / folder)


def test_what_a_pickle_names_is_shown_bounded(tmp_path):
    torch = pytest.importorskip("torch")
    names = {"x" * 1_000_000: 1, "line\nfeed\x1b[31m": torch.ones(1)}
    for name, value in names.items():
        torch.save({name: value if value != 1 else "no tensor", "b": 2}, tmp_path / "state.pth")
        with pytest.raises(WeightError) as error:
            read_file(tmp_path / "state.pth")
        assert len(str(error.value)) < 600 and str(error.value).isprintable()
    for name in ("y" * 1_000_000, "a\x1b[31mb"):  # a class of that name, in a pickle of the older kind
        (tmp_path / "state.pth").write_bytes(pickle.PROTO + b"\x02c" + name.encode() + b"\n" + name.encode() + b"\n.")
        with pytest.raises(WeightError) as error:
            read_file(tmp_path / "state.pth")
        assert len(str(error.value)) < 600 and str(error.value).isprintable()
