"""Files in a bucket: as on a disk where that can be, and told where it cannot. A run in one is the run on a disk."""

import json
import os
import pathlib
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from mmre_jax import paths, storage
from mmre_jax.data import annotation, decode, picture_report
from mmre_jax.data.decode import MissingPicture, PictureError, read_picture
from mmre_jax.data.pictures import Slot
from mmre_jax.data.readers import jsonl, mnre
from mmre_jax.records import RecordError
from mmre_jax.text_files import read_text
from mmre_jax.training import identity, lock, processes
from mmre_jax.training.checkpoint import Checkpoints
from mmre_jax.training.locate import is_run, locate
from mmre_jax.training.lock import WorkdirInUse, locked
from mmre_jax.training.log import MetricLog, read_json, read_rows, write_json

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import small_mnre  # noqa: E402

PHOTO = Slot("photo", 1, 8, "photo", "squash", (0.5,) * 3, (0.5,) * 3)


# ---- paths


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://a.org/b", "^http://a.org/b: an address can be that of a bucket, which begins with s3:// or gs://$"),
        ("S3://a/b", "^S3://a/b: an address can be"),
        ("s3://", "^s3://: no bucket is named$"),
        ("s3:///", "^s3:///: no bucket is named$"),
    ],
)
def test_other_addresses_are_refused(address, message):
    with pytest.raises(storage.StorageError, match=message):
        storage.path(address)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(storage.CLIENTS, "gs", "a_package_that_is_not_there")
    with pytest.raises(storage.StorageError, match=r"^gs://a/b: needs mmre_jax\[bucket\]$"):
        storage.path("gs://a/b")


def test_paths_on_a_disk_stay_pathlibs(tmp_path):
    assert type(storage.path(tmp_path)) is type(storage.absolute("x")) is type(storage.at_home("~")) is type(pathlib.Path())
    assert storage.at_home("~/a") == pathlib.Path.home() / "a" and storage.absolute("a") == pathlib.Path("a").resolve()
    for name in ("a", "/a/b", "C:/a", "a:b", "s3:/a"):
        assert not storage.is_remote(name) and storage.path(name) == pathlib.Path(name)


def test_paths_in_a_bucket_join_as_pathlibs_do(bucket):
    path = storage.path("s3://bucket/a/", "b")
    assert str(path) == "s3://bucket/a/b" == str(storage.absolute("s3://bucket/a/b/")) == str(storage.path(path))
    assert (path.name, str(path.parent), str(path / "c.txt")) == ("b", "s3://bucket/a", "s3://bucket/a/b/c.txt")
    with pytest.raises(storage.StorageError, match="^--out=s3://bucket/a: this is read and written on a disk only"):
        storage.on_disk("s3://bucket/a", "--out")


def test_names_from_data_stay_inside_a_bucket_as_they_do_in_a_folder(bucket):
    for root in ("s3://bucket/a", "s3://bucket/a/", storage.path("s3://bucket/a")):
        assert paths.inside(root, "b/c.jpg", "x") == "s3://bucket/a/b/c.jpg" == paths.inside(root, "b\\.\\\\c.jpg", "x")
        for name in ("../c.jpg", "b/../../c.jpg", "/c.jpg", "b\\..\\c", "s3://other/c.jpg", "", "C:c"):
            with pytest.raises(RecordError, match=f"^x: .* is not a path inside {os.fspath(root)}"):
                paths.inside(root, name, "x")
        assert paths.relative(root, "s3://bucket/a/b/c.jpg", "x") == "b/c.jpg"
    with pytest.raises(RecordError, match="does not lie in"):
        paths.relative("s3://bucket/a", "s3://bucket/ab/c.jpg", "x")


# ---- files


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_files_are_read_and_written_whole(bucket, tmp_path, kind):
    root = tmp_path if kind == "disk" else storage.path("s3://bucket/folder")
    storage.check_writable(root / "made")
    assert not bucket.objects and storage.is_dir(root / "made") == (kind == "disk"), "folders of a bucket are names of files"
    storage.write_bytes(root / "a", b"hello")
    storage.write_bytes(root / "a", "\ufeffhallo\r\n".encode())
    storage.write_bytes(root / "empty", b"")
    assert storage.read_bytes(root / "a", 4) == b"\xef\xbb\xbfh" and storage.read_bytes(root / "empty", 4) == b""
    assert read_text(root / "a") == "hallo\n" == read_text(str(root / "a"))
    assert storage.size(str(root / "a")) == 10 and storage.size(str(root / "none")) is None
    wanted = [str(root / name) for name in ("a", "empty", "none")] + [str(root / "none" / "none")]
    assert storage.sizes(wanted) == dict(zip(wanted, (10, 0, None, None), strict=True))
    assert storage.is_dir(root) and not storage.is_dir(root / "a") and not storage.is_dir(root / "none")
    for at_most in (None, 4):
        with pytest.raises(FileNotFoundError):
            storage.read_bytes(root / "none", at_most)
    with storage.at_hand(root / "a") as file:
        assert file.read_bytes() == storage.read_bytes(root / "a")
    write_json(root / "b.json", {"a": 1})
    assert read_json(root / "b.json") == {"a": 1} and read_json(root / "none.json") is None


def test_a_bucket_that_is_not_there_is_told(bucket):
    with pytest.raises(storage.StorageError, match="^s3://other/run: there is no such bucket$"):
        storage.check_writable(storage.path("s3://other/run"))


def test_what_a_client_raises_is_told_in_one_line(bucket, monkeypatch):
    said = r"^s3://bucket(/a.*)?: the bucket cannot be used \(EndpointConnectionError: no route\)$"

    class EndpointConnectionError(Exception):
        pass

    def fails(*_, **__):
        raise EndpointConnectionError("no\nroute")

    for name in ("ls", "cat_file", "pipe_file", "info"):
        monkeypatch.setattr(bucket, name, fails)
    path = storage.path("s3://bucket/a")
    asked = (storage.read_bytes, storage.is_dir, storage.size, storage.check_writable, lambda p: storage.write_bytes(p, b""))
    for ask in (*asked, lambda p: storage.sizes([str(p)]), storage.listing, lambda p: Checkpoints(p), is_run):
        with pytest.raises(storage.StorageError, match=said):
            ask(path)
    with pytest.raises(storage.StorageError, match="cannot be used"):  # which masks no picture
        read_picture("s3://bucket/a.jpg")


# ---- data


@pytest.fixture
def pictures(bucket):
    """Objects of a bucket: a picture, a damaged one, an empty one."""
    import io

    file = io.BytesIO()
    Image.fromarray(np.full((9, 9, 3), 7, np.uint8)).save(file, "PNG")
    bucket.objects |= {"bucket/data/photos/a.png": file.getvalue(), "bucket/data/photos/cut.png": file.getvalue()[:-30]}
    bucket.objects["bucket/data/photos/empty.png"] = b""
    return bucket


def test_pictures_are_read_by_one_request_each(pictures):
    pictures.asked.clear()
    assert np.asarray(read_picture("s3://bucket/data/photos/a.png")).tolist() == [[[7, 7, 7]] * 9] * 9
    assert pictures.asked == [("get", "bucket/data/photos/a.png")]
    with pytest.raises(MissingPicture, match="^s3://bucket/data/none.png: no such file$"):
        read_picture("s3://bucket/data/none.png")
    for name, message in (("cut", "damaged picture"), ("empty", "not a picture")):
        with pytest.raises(PictureError, match=f"^s3://bucket/data/photos/{name}.png: {message}"):
            read_picture(f"s3://bucket/data/photos/{name}.png")


def test_a_picture_that_is_too_large_is_not_fetched_whole(pictures, monkeypatch):
    monkeypatch.setattr(decode, "MAX_BYTES", 10)
    with pytest.raises(PictureError, match="^s3://bucket/data/photos/a.png: more than 10 bytes are not read$"):
        read_picture("s3://bucket/data/photos/a.png")


def lines_of(folder):
    lines = [{"id": name, "text": "a b", "image": f"photos/{name}.png"} for name in ("a", "cut", "empty", "gone")]
    return "".join(json.dumps({**line, "relations": [{"head": [0, 1], "tail": [1, 2], "label": "x"}]}) + "\n" for line in lines)


def test_json_lines_are_read_from_a_bucket(pictures, tmp_path):
    text = lines_of(tmp_path)
    (tmp_path / "train.jsonl").write_text(text)
    pictures.objects["bucket/data/train.jsonl"] = text.encode()
    found, same = jsonl.read("s3://bucket/data/train.jsonl"), jsonl.read(tmp_path / "train.jsonl")
    assert [record.words for record in found] == [record.words for record in same]
    assert found[0].image == "s3://bucket/data/photos/a.png" and found[0].origin == "s3://bucket/data/train.jsonl:1"
    with pytest.raises(RecordError, match="^s3://bucket/data/val.jsonl: no such file; JSON lines there are: train.jsonl$"):
        jsonl.read("s3://bucket/data/val.jsonl")


def test_pictures_are_listed_where_they_need_not_be_fetched(pictures):
    pictures.objects["bucket/data/train.jsonl"] = lines_of(None).encode()
    records = jsonl.read("s3://bucket/data/train.jsonl")
    pictures.asked.clear()
    listed = picture_report.check(records, (PHOTO,), fetch=False)
    assert pictures.asked == [("ls", "bucket/data/photos")], "one request a folder"
    assert (listed.photos.present, listed.photos.missing, listed.photos.unreadable) == (2, 1, 1), "that one is damaged no list says"
    read = picture_report.check(records, (PHOTO,))
    assert (read.photos.present, read.photos.missing, read.photos.unreadable) == (1, 1, 2)
    assert len([what for what, _ in pictures.asked if what == "get"]) == 4


def test_data_in_a_bucket_are_the_same_data(pictures, tmp_path):
    (tmp_path / "photos").mkdir()
    for name, data in pictures.objects.items():
        (tmp_path / "photos" / name.rpartition("/")[2]).write_bytes(data)
    (tmp_path / "train.jsonl").write_text(lines_of(None))
    pictures.objects["bucket/data/train.jsonl"] = lines_of(None).encode()
    from configs import hvformer

    data = hvformer.get_config("quickstart").unlock().data
    found = []
    for root in (str(tmp_path), "s3://bucket/data", "s3://bucket/data/"):
        data.update({"name": "jsonl", "root": root})
        found.append(identity.identity(data, {"train": jsonl.read(storage.path(root) / "train.jsonl")}, (PHOTO,)))
    assert found[0] == found[1] == found[2]
    records = jsonl.read("s3://bucket/data/train.jsonl")
    known = annotation._Pictures({record.image: record for record in records})
    assert known.find(str(tmp_path / "photos" / "a.png")) is records[0], "found again by its bytes"


def test_mnre_is_read_from_a_bucket(bucket, tmp_path):
    for split in ("train", "val"):
        small_mnre.write(tmp_path, split, 2)
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "train_detect_box_dict.json").write_text(json.dumps({"train_0_crop_0.jpg": [0.5, 0.5, 0.5, 0.5, 1]}))
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        bucket.objects[f"bucket/mnre/{file.relative_to(tmp_path)}"] = file.read_bytes()
    for objects in ("none", "detected"):
        here, there = (mnre.read(root, "train", objects=objects) for root in (tmp_path, "s3://bucket/mnre"))
        assert [(r.words, r.relations, r.regions) for r in here] == [(r.words, r.relations, r.regions) for r in there]
        assert there[0].image == "s3://bucket/mnre/img_org/train/train_0.jpg"
    assert [str(path) for path in mnre.files("s3://bucket/mnre", "val")] == ["s3://bucket/mnre/txt/ours_val.txt"]
    with pytest.raises(RecordError, match=r"^s3://bucket/mnre: no text of split 'test', expected .*; there are: .*ours_rel2id.json"):
        mnre.read("s3://bucket/mnre", "test")


# ---- a run's files


def test_rows_are_written_whole_and_seldom(bucket, monkeypatch):
    workdir = storage.path("s3://bucket/run")

    def puts():
        return [name for what, name in bucket.asked if what == "put" and name.endswith(".jsonl")]

    with MetricLog(workdir) as log:
        log.truncate(0)
        for step in range(1, 20):
            log.write(step, {"train": {"loss": 1.0}})
        assert not puts()
        log.write(20, {"val": {"f1": 1.0}})
        assert len(puts()) == 1 and len(read_rows(workdir)) == 20
        log.write(21, {"train": {"loss": 1.0}})
        log.flush()
        assert len(puts()) == 2
        monkeypatch.setattr("mmre_jax.training.log.EACH", 0.0)
        log.write(22, {"train": {"loss": 1.0}})
        assert len(puts()) == 3
        monkeypatch.setattr("mmre_jax.training.log.EACH", 60.0)
        log.write(23, {})
    assert [row["step"] for row in read_rows(workdir)] == list(range(1, 24))
    with MetricLog(workdir) as log:
        log.truncate(21)
        log.write(22, {"train": {"loss": 2.0}})
    assert [row["step"] for row in read_rows(workdir)] == list(range(1, 23))
    sys.path.insert(0, str(ROOT / "tests" / "training"))
    from test_log import events

    assert [step for step, _ in events(workdir / "tensorboard")] == [*range(1, 23)], "once each, of both starts"


def test_the_run_that_began_last_has_the_workdir(bucket):
    workdir = storage.path("s3://bucket/run")
    with locked(workdir) as first:
        first.check()
        with locked(workdir) as second:
            second.check()
            with pytest.raises(WorkdirInUse, match=r"^--workdir=s3://bucket/run: another run has begun in it \(process \d+ on .*\); this"):
                first.check()
            with pytest.raises(WorkdirInUse), MetricLog(workdir, first.check) as log:
                log.write(1, {})
                log.flush()
            assert not [name for name in bucket.objects if name.endswith("metrics.jsonl")]


def test_a_bucket_that_is_not_the_first_processes_is_told(bucket, monkeypatch):
    monkeypatch.setattr(processes, "SEEN", 0.0)
    with locked(storage.path("s3://bucket/run")) as hold:
        lock._see(hold.workdir, hold.holder)
        with pytest.raises(OSError, match="is not the folder that"):
            lock._see(storage.path("s3://bucket/other"), hold.holder)


# ---- a server


def state_of(value):
    import optax

    from mmre_jax.training.state import create

    return jax.tree.map(np.asarray, create({"params": {"head": {"kernel": np.full((3,), value, np.float32)}}}, (), optax.adam(1e-3)))


def kernel(checkpoints, step):
    return checkpoints.read_variables(step)["params"]["head"]["kernel"].tolist()


def test_on_a_server(server, tmp_path):
    with pytest.raises(storage.StorageError, match="there is no such bucket"):
        storage.check_writable(storage.path("s3://mmre-jax-none/run"))
    storage.check_writable(server)
    Image.fromarray(np.full((9, 9, 3), 7, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": "a b", "image": "a.png"}) + "\n" + json.dumps({"image": "empty.png"}))
    storage.upload(tmp_path, ["a.png", "empty.png", "train.jsonl"], server)
    assert storage.listing(server) == {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    records = jsonl.read(server / "train.jsonl")
    assert read_picture(records[0].image).size == (9, 9)
    for error, name in ((PictureError, "empty.png"), (MissingPicture, "none.png")):
        with pytest.raises(error):
            read_picture(str(server / name))
    assert picture_report.check(records, (PHOTO,), fetch=False).photos.unreadable == 1
    with locked(server / "run") as hold, MetricLog(server / "run", hold.check) as log:
        log.truncate(0)
        log.write(1, {"val": {"f1": 1.0}})
        with Checkpoints(server / "run" / "checkpoints") as checkpoints:
            for step in (1, 2, 3):
                checkpoints.save(step, state_of(step), {"name": "x"}, 1 / step)
    assert read_rows(server / "run") == [{"step": 1, "val": {"f1": 1.0}}]
    directory, step = locate(server / "run")
    with Checkpoints(directory, read_only=True) as checkpoints:
        assert step == 1 and checkpoints.steps() == [3, 2, 1] and kernel(checkpoints, 1) == [1, 1, 1]
