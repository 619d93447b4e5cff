"""GMNER: a synthetic folder as archive and as files, what is dropped and why, hostile XML and archives, the real data's counts."""

import gzip
import io
import os
import pathlib
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.decode import PictureError
from mmre_jax.data.readers import gmner
from mmre_jax.records import Mention, RecordError, Triple

REAL = pathlib.Path(os.environ.get("MMRE_DATA", pathlib.Path(__file__).parents[4] / "shared" / "data")) / "GMNER"
ONE = "IMGID:1\nAda\tB-PER\nL\tI-PER\nof\tO\nParis\tB-LOC\nBen\tB-OTHER\n\n"
TWO = "IMGID:O_2\nAda\tB-PER\nand\tO\nAda\tB-PER\n\n"
TEXT = ONE + TWO + "IMGID:3\nx\tO\nBen\tB-ORG"
FIRST = [("Ada L", (10, 0, 60, 50)), ("Ben", (-10, 25, 50, 100)), ("Ada L", (0, 0, 50, 50))]
SECOND = [
    ("Ada", (0, 0, 100, 50)),
    ("Ada", (0, 0, 100, 50)),
    ("Eve", (0, 0, 100, 50)),
    ("Ada", (120, 0, 150, 50)),
    ("Ada", (5, 5, 5, 50)),
]


def voc(objects, width=100, height=50, head="<?xml version='1.0'?>"):
    boxes = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for name, box in objects
    )
    return f"{head}<annotation><size><width>{width}</width><height>{height}</height></size>{boxes}</annotation>".encode()


def write_archive(root, members):
    with tarfile.open(root / "xml.tar.gz", "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "txt").mkdir()
    (tmp_path / "txt" / "dev.txt").write_text(TEXT)
    write_archive(tmp_path, {"xml/1.xml": voc(FIRST, 100, 100), "xml/O_2.xml": voc(SECOND), "xml/other.xml": b"not read"})
    return tmp_path


def test_triples(root):
    first, second, third = gmner.read(root, "val")
    ada, paris, ben = Mention(0, 2, "PER"), Mention(3, 4, "LOC"), Mention(4, 5, "OTHER")
    assert first.mentions == (ada, paris, ben)
    assert first.triples == (
        Triple(ada, "PER", (0.1, 0.0, 0.6, 0.5)),
        Triple(ada, "PER", (0.0, 0.0, 0.5, 0.5)),
        Triple(ben, "OTHER", (0.0, 0.25, 0.5, 1.0)),
    )
    assert second.triples == tuple(Triple(Mention(n, n + 1, "PER"), "PER", (0.0, 0.0, 1.0, 1.0)) for n in (0, 2))
    assert not third.triples
    assert [record.id for record in (first, second, third)] == [f"gmner-val-{n}" for n in range(3)]
    assert second.image == str(root / "images" / "O_2.jpg") and second.origin == f"{root / 'txt' / 'dev.txt'}:8"


def test_report_says_what_is_dropped(root):
    found = gmner.report(root, "val")
    assert found == {
        "records": 3,
        "mentions": 6,
        "triples": 5,
        "records_without_triples": 1,
        "mentions_without_box": 2,
        "boxes": 8,
        "boxes_shared": 1,
        "boxes_clipped": 1,
        "boxes_outside": 2,
        "boxes_unnamed": 1,
        "boxes_repeated": 1,
    }


@given(st.lists(st.tuples(st.sampled_from(["Ada", "Eve", "Ben"]), st.tuples(*[st.integers(-20, 120)] * 4)), max_size=6))
def test_every_box_is_accounted_for(tmp_path_factory, objects):
    root = tmp_path_factory.mktemp("gmner")
    (root / "txt").mkdir()
    (root / "txt" / "test.txt").write_text("IMGID:1\nAda\tB-PER\nBen\tB-PER\nAda\tB-LOC")
    write_archive(root, {"1.xml": voc(objects)})
    found = gmner.report(root, "test")
    dropped = found["boxes_outside"] + found["boxes_unnamed"] + found["boxes_repeated"]
    assert found["boxes"] == len(objects) and found["triples"] == len(objects) - dropped + found["boxes_shared"]
    for record in gmner.read(root, "test"):
        assert all(0 <= t.box[0] < t.box[2] <= 1 and 0 <= t.box[1] < t.box[3] <= 1 for t in record.triples)


def test_an_unpacked_folder_gives_the_same(root):
    packed = gmner.read(root, "val")
    with tarfile.open(root / "xml.tar.gz") as archive:
        for member in filter(tarfile.TarInfo.isfile, archive.getmembers()):
            (root / member.name).parent.mkdir(exist_ok=True)
            (root / member.name).write_bytes(archive.extractfile(member).read())
    (root / "xml.tar.gz").unlink()
    assert gmner.read(root, "val") == packed
    assert [path.name for path in gmner.files(root, "val")] == ["dev.txt"]


def test_photos_are_found_where_twitter_has_them(root):
    (root / "twitter2017_images").mkdir()
    (root / "twitter2017_images" / "O_2.jpg").write_bytes(b"")
    assert [pathlib.Path(record.image).parent.name for record in gmner.read(root, "val")] == ["images", "twitter2017_images", "images"]


BOMB = "<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;&b;'>]>"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (voc(FIRST, head=BOMB), "declares a document type"),
        (voc(FIRST, head="<!DOCTYPE a SYSTEM 'file:///etc/passwd'>"), "declares a document type"),
        (voc(FIRST, head=BOMB).decode().encode("utf-16"), "not UTF-8 text but UTF-16"),
        (b"<annotation>", "not an XML file"),
        (b"\xff\xff", "not UTF-8 text"),
        (b" " * (gmner.MAX_XML_BYTES + 1), "larger than"),
        (b"<annotation></annotation>", "expected a number in size/width, found None"),
        (voc(FIRST, width=0), "the picture's size is 0 x 50"),
        (voc([("Ada", (1, 2, "a", 4))]), "expected a number in bndbox/xmax, found 'a'"),
        (voc([("Ada", (1, 2, "nan", 4))]), "expected a number in bndbox/xmax, found 'nan'"),
    ],
)
def test_hostile_or_damaged_xml(root, document, message):
    write_archive(root, {"xml/1.xml": document})
    with pytest.raises(RecordError, match=rf"xml\.tar\.gz: xml/1\.xml(:1)?: .*{message}"):
        gmner.read(root, "val")


def test_an_archive_is_never_unpacked_to_disk(root):
    write_archive(root, {"../../1.xml": voc(FIRST, 100, 100), "/O_2.xml": voc(SECOND)})
    before = sorted(root.parent.rglob("*"))
    assert gmner.report(root, "val")["triples"] == 5
    assert sorted(root.parent.rglob("*")) == before


def test_damaged_archives(root, monkeypatch):
    file = root / "xml.tar.gz"
    whole = file.read_bytes()
    for data in (b"no archive", whole[: len(whole) // 2], gzip.compress(b"no tar" * 200)):
        file.write_bytes(data)
        with pytest.raises(RecordError, match=r"xml\.tar\.gz: damaged archive"):
            gmner.read(root, "val")
    monkeypatch.setattr(gmner, "MAX_ARCHIVE_BYTES", 1000)
    file.write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(RecordError, match=r"xml\.tar\.gz: larger than 1,000 bytes when unpacked"):
        gmner.read(root, "val")


def test_links_in_an_archive_are_passed_over(root):
    with tarfile.open(root / "xml.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("xml/1.xml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert gmner.report(root, "val")["boxes"] == 0


def test_missing_files(root):
    with pytest.raises(RecordError, match="no txt/train.txt; expected a folder that holds txt/ and xml.tar.gz"):
        gmner.read(root, "train")
    with pytest.raises(RecordError, match="split is one of train, val, test, found 'dev'"):
        gmner.read(root, "dev")
    (root / "xml.tar.gz").unlink()
    with pytest.raises(RecordError, match="no xml.tar.gz; .* there is: txt"):
        gmner.read(root, "val")
    (root / "xml").mkdir()
    (root / "txt" / "dev.txt").write_text("IMGID:../1\na\tO")
    with pytest.raises(PictureError, match="is not a path inside"):
        gmner.read(root, "val")


@pytest.mark.real
def test_counts_of_the_real_data():
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL}")
    reports = {split: gmner.report(REAL, split) for split in gmner.SPLITS}
    assert {split: report["records"] for split, report in reports.items()} == gmner.COUNTS
    assert sum(report["boxes"] for report in reports.values()) == 8058
    for report in reports.values():
        assert not any(report[name] for name in ("boxes_outside", "boxes_unnamed", "boxes_repeated", "boxes_clipped"))
        assert report["triples"] == report["boxes"] + report["boxes_shared"]


def test_a_mark_at_the_head_of_a_file_is_no_text(root, mark_all):
    before = gmner.read(root, "val")
    (root / "xml").mkdir()
    for name, data in (("1", voc(FIRST, 100, 100)), ("O_2", voc(SECOND))):
        (root / "xml" / f"{name}.xml").write_bytes(data)
    assert mark_all(root) == 3
    assert gmner.read(root, "val") == before
