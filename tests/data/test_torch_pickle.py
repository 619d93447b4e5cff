"""torch dictionaries: what torch writes is read, and nothing in a file is ever run."""

import os
import pathlib
import pickle
import zipfile

import pytest

from mmre_jax.data.torch_pickle import PickleError, read_dict

VALUE = {0: ["a.png", "b.png"], "x_crop_1.jpg": (0.1, 0.25, 1.0, 0.5, 0.125), "n": {"deep": [None, True, -3, "é"]}}


class Attack:
    """Unpickling this would create the file `target`."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def archive(path: pathlib.Path, data: bytes, *, compression: int = zipfile.ZIP_STORED) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", data)
        file.writestr("archive/version", "3\n")
    return path


def test_reads_an_archive(tmp_path):
    assert read_dict(archive(tmp_path / "a.pth", pickle.dumps(VALUE, 2))) == VALUE


def test_reads_a_plain_pickle(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(VALUE, 2))
    assert read_dict(tmp_path / "a.pth") == VALUE


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_what_torch_writes(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    torch.save(VALUE, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert read_dict(tmp_path / "a.pth") == VALUE


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path, protocol, zipped):
    target = tmp_path / "created"
    data = pickle.dumps({"a": Attack(str(target))}, protocol)
    if zipped:
        archive(tmp_path / "a.pth", data)
    else:
        (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(PickleError, match="a.pth: names .*mkdir"):
        read_dict(tmp_path / "a.pth")
    assert not target.exists()
    pickle.loads(data)  # the attack itself works
    assert target.exists()


def test_tensors_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(PickleError, match="a.pth"):
        read_dict(tmp_path / "a.pth")


def test_persistent_ids_are_refused(tmp_path):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return "storage" if obj == 7 else None

    with open(tmp_path / "a.pth", "wb") as file:
        Pickler(file, 2).dump({"a": 7})
    with pytest.raises(PickleError, match="holds a tensor"):
        read_dict(tmp_path / "a.pth")


def test_broken_zip(tmp_path):
    path = archive(tmp_path / "a.pth", pickle.dumps(VALUE, 2))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PickleError, match="a.pth: damaged zip"):
        read_dict(path)


def test_flipped_byte(tmp_path):
    data = pickle.dumps(VALUE, 2)
    path = archive(tmp_path / "a.pth", data)
    whole = bytearray(path.read_bytes())
    whole[whole.index(data) + len(data) // 2] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(PickleError, match="damaged zip"):
        read_dict(path)


@pytest.mark.parametrize("cut", [0, 1, 10, 40])
def test_cut_pickle(tmp_path, cut):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(VALUE, 2)[:cut])
    with pytest.raises(PickleError, match="damaged pickle"):
        read_dict(tmp_path / "a.pth")


def test_not_a_pickle(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"<!DOCTYPE html><html>404</html>")
    with pytest.raises(PickleError, match="damaged pickle"):
        read_dict(tmp_path / "a.pth")


def test_archive_without_a_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as file:
        file.writestr("readme.txt", "no")
    with pytest.raises(PickleError, match="expected one data.pkl"):
        read_dict(tmp_path / "a.pth")


def test_not_a_dictionary(tmp_path):
    with pytest.raises(PickleError, match="expected a dictionary, found list"):
        read_dict(archive(tmp_path / "a.pth", pickle.dumps([1, 2], 2)))


def test_size_is_bounded(tmp_path):
    path = archive(tmp_path / "a.pth", pickle.dumps({"a": "0" * 1_000_000}, 2), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    with pytest.raises(PickleError, match="larger than 100,000 bytes"):
        read_dict(path, max_bytes=100_000)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_dict(tmp_path / "none.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["x" * 1_000_000, "a\x1b[31mb\x07", "\u202eab"])
def test_what_a_pickle_names_is_shown_bounded(tmp_path, zipped, name):
    """A class of that name; a number of that spelling, which the unpickler's own message would repeat."""
    said = name.encode()
    for data in (b"\x80\x02c" + said + b"\n" + said + b"\n.", b"F" + said + b"\n.", b"I" + said + b"\n."):
        if zipped:
            archive(tmp_path / "a.pth", data)
        else:
            (tmp_path / "a.pth").write_bytes(data)
        with pytest.raises(PickleError) as error:
            read_dict(tmp_path / "a.pth")
        assert len(str(error.value)) < 400 + len(str(tmp_path)) and str(error.value).isprintable()


@pytest.mark.parametrize("link", [lambda part: [part, part], lambda part: (part, part), lambda part: {"a": part, "b": part}])
def test_parts_that_stand_in_one_another_do_not_fill_the_memory(tmp_path, link):
    """64 pairs, each of the one before it twice: 2^65 items in a few hundred bytes."""
    part = link(1)
    for _ in range(64):
        part = link(part)
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": part}))
    with pytest.raises(
        PickleError, match="a.pth: grows to 36,893,488,147,419,103,233 items|a.pth: grows to 73,786,976,294,838,206,464 items"
    ):
        read_dict(tmp_path / "a.pth")
    shared = [0.5] * 4
    (tmp_path / "b.pth").write_bytes(pickle.dumps({i: shared for i in range(9)}))
    assert read_dict(tmp_path / "b.pth") == {i: shared for i in range(9)}
    shared.append(shared)
    (tmp_path / "c.pth").write_bytes(pickle.dumps({"a": shared}))
    with pytest.raises(PickleError, match="damaged pickle"):
        read_dict(tmp_path / "c.pth")


def test_a_git_lfs_pointer_is_called_one(tmp_path):
    (tmp_path / "a.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 100\n")
    with pytest.raises(PickleError, match="a.pth is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"):
        read_dict(tmp_path / "a.pth")
