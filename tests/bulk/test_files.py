"""Extraction to a folder that is stopped and goes on: the same files in the end, and refusals where something was changed meanwhile."""

import dataclasses
import functools
import io
import itertools
import json
import logging
import os
import re
import resource

import pytest

from mmre_jax import storage
from mmre_jax.bulk import posts, ray_engine
from mmre_jax.bulk.files import extract_all
from mmre_jax.bulk.place import Wanted
from mmre_jax.data.decode import PictureError
from mmre_jax.extraction import Extraction
from mmre_jax.progress import Progress
from mmre_jax.records import Mention, RecordError, Relation


class Stopped(Exception):
    pass


@dataclasses.dataclass
class Finder:
    """Finds two relations in each post, whose scores hang on the post's place in its group, three a group. stop: after so many posts."""

    name: str = "a"
    stop: int | None = None
    task: str = "relation"
    none: str = "none"
    looked: list[str] = dataclasses.field(default_factory=list)

    def about(self):
        return {"checkpoint": self.name}

    def calibrations(self):
        return {"checkpoint": None}

    def prepared(self, record):
        if len(record.words) < 2:
            raise RecordError(f"{record.origin}: one word")
        return record

    def groups(self, records):
        return map(list, itertools.batched(records, 3)) if hasattr(itertools, "batched") else self._groups(iter(records))

    def _groups(self, records):
        while group := list(itertools.islice(records, 3)):
            yield group

    def extract_many(self, records, *, strict=False, top=0):
        for group in self.groups(records):
            for place, record in enumerate(group):
                if len(self.looked) == self.stop:
                    raise Stopped
                self.looked.append(record.id)
                pair = Relation(Mention(0, 1), Mention(1, 2), "none", 0.25 + place / 10)
                found = (pair, dataclasses.replace(pair, label="knows", score=0.5 + place / 10))
                masked = ("image: gone: masked",) if record.id == "p-4" else ()
                yield Extraction(record, found, masked, "relation", masked)


@pytest.fixture
def given(tmp_path):
    """Eleven posts among two lines that are none."""
    lines = [json.dumps({"text": f"Ada meets {i}"}) for i in range(11)]
    lines[5:5] = ["{", '{"text": "alone"}']
    (tmp_path / "p.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return posts.find(tmp_path / "p.jsonl")


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_written(given, tmp_path):
    summary, shown = extract_all(Finder(), given, tmp_path / "out", Wanted(), show=2)
    assert [row["id"] for row in rows(tmp_path / "out" / "extracted.jsonl")] == [f"p-{n}" for n in (*range(1, 6), *range(8, 14))]
    assert [(row["line"], row["text"]) for row in rows(tmp_path / "out" / "rejects.jsonl")] == [(6, "{"), (7, '{"text": "alone"}')]
    assert rows(tmp_path / "out" / "rejects.jsonl")[1]["reason"].endswith("p.jsonl:7: one word")
    where = tmp_path / "p.jsonl"
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    counts = {"records": 11, "found": 22, "masked": 1, "examples": [f"{where}:4: image: gone: masked"], "rejected": 2, "none": "none"}
    assert {name: summary[name] for name in counts} == counts and len(summary["reasons"]) == 2
    assert [extraction.record.id for extraction in shown] == ["p-1", "p-2"]
    assert not (tmp_path / "out" / "extract" / "extracted.jsonl").exists()


def test_relations_that_contradict_their_mentions_are_counted_and_kept(given, tmp_path):
    """One in each post, also of those that were extracted from before the program was stopped."""

    class Chain(Finder):
        def extract_many(self, records, *, strict=False, top=0):
            for extraction in super().extract_many(records, strict=strict, top=top):
                one, other = Mention(0, 1, "LOC"), Mention(1, 2, "ORG")
                yield dataclasses.replace(extraction, found=tuple(Relation(one, other, f"/{x}/org/in", 0.5) for x in ("per", "loc")))

    with pytest.raises(Stopped):
        extract_all(Chain(stop=5), given, tmp_path / "out", Wanted())
    summary, _ = extract_all(Chain(), given, tmp_path / "out", Wanted())
    assert (summary["records"], summary["found"], summary["contradicting"]) == (11, 22, 11)
    assert len(summary["contradictions"]) == 5
    assert summary["contradictions"][0] == f"{tmp_path / 'p.jsonl'}:1: 'Ada' (LOC) -> 'meets' (ORG): /per/org/in"


def test_what_is_compiled_with_the_first_group_says_nothing_of_speed(given, tmp_path, monkeypatch, caplog):
    """Ten minutes for the first three posts, half a minute for each three of the others."""
    seconds = [0.0]

    class Slow(Finder):
        def extract_many(self, records, *, strict=False, top=0):
            for number, extraction in enumerate(super().extract_many(records, strict=strict, top=top)):
                seconds[0] += (0.0 if number % 3 else 30.0) if number else 600.0
                yield extraction

    progress = functools.partial(Progress, stream=io.StringIO(), clock=lambda: seconds[0])
    monkeypatch.setattr("mmre_jax.bulk.files.Progress", progress)
    with caplog.at_level(logging.INFO, "mmre_jax.progress"):
        extract_all(Slow(), given, tmp_path / "out", Wanted(), progress="extract")
    said = [entry.getMessage() for entry in caplog.records if entry.name == "mmre_jax.progress"]
    assert said[:2] == ["extract: 1 of 13 (7 %)", "extract: 4 of 13 (30 %), 30.0 s/post, 04:30 left"]
    assert said[2:] == [f"extract: {line}, 10.0 s/post, 00:{left} left" for line, left in (("9 of 13 (69 %)", 40), ("12 of 13 (92 %)", 10))]


@pytest.mark.parametrize("torn", [b"", b'{"id": "p-'])
@pytest.mark.parametrize("stop", [0, 1, 3, 5, 6, 10])
def test_what_was_stopped_ends_as_if_it_had_not_been(given, tmp_path, stop, torn):
    whole, _ = extract_all(Finder(), given, tmp_path / "whole", Wanted())
    with pytest.raises(Stopped):
        extract_all(Finder(stop=stop), given, tmp_path / "out", Wanted())
    assert not (tmp_path / "out" / "extracted.jsonl").exists()
    with (tmp_path / "out" / "extract" / "extracted.jsonl").open("ab") as file:
        file.write(torn)
    finder = Finder()
    summary, shown = extract_all(finder, given, tmp_path / "out", Wanted(), show=2)
    assert summary == whole and tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert len(finder.looked) == 11 - stop // 3 * 3, "whole groups are not extracted from again"
    assert len(shown) == (2 if stop < 3 else 0)
    again = Finder(stop=0)
    assert extract_all(again, given, tmp_path / "out", Wanted())[0] == whole and tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_it_refuses_to_go_on_with_something_else(given, tmp_path):
    with pytest.raises(Stopped):
        extract_all(Finder(stop=4), given, tmp_path / "out", Wanted())
    refused = [(Finder("b"), given, Wanted(), "another checkpoint"), (Finder(), given, Wanted(min_score=0.5), "min_score 0.0, now 0.5")]
    refused.append((Finder(), posts.Given("scenes:4", ()), Wanted(), "another input"))
    for finder, source, wanted, said in refused:
        with pytest.raises(RecordError, match=rf"holds what was extracted otherwise \({said}\): give another --out, or remove .*extract"):
            extract_all(finder, source, tmp_path / "out", wanted)
    partial = tmp_path / "out" / "extract" / "extracted.jsonl"
    partial.write_text(partial.read_text().replace('"p-2"', '"p-3"'))
    with pytest.raises(RecordError, match=r"extracted\.jsonl:2: not what was found in 'p-2'"):
        extract_all(Finder(), given, tmp_path / "out", Wanted())


def test_it_refuses_to_go_on_where_a_picture_was_changed(tmp_path):
    """Size, time, or whether it is there, of a post that was extracted from; pictures of the others may come and go."""
    lines = [{"text": f"Ada meets {i}", "image": f"{i}.png", "regions": [{"file": f"crop{i}.png"}]} for i in range(8)]
    (tmp_path / "p.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in [*lines, {"text": "no picture"}]))
    for i in range(7):
        (tmp_path / f"{i}.png").write_bytes(b"0"), (tmp_path / f"crop{i}.png").write_bytes(b"0")
    (tmp_path / "2.png").unlink()
    given, out = posts.find(tmp_path / "p.jsonl"), tmp_path / "out"
    whole = extract_all(Finder(), given, tmp_path / "whole", Wanted())[0]
    with pytest.raises(Stopped):
        extract_all(Finder(stop=5), given, out, Wanted())
    with (out / "extract" / "pictures.jsonl").open("ab") as file:
        file.write(b'["p-')

    def refused(name, line):
        said = rf"p\.jsonl:{line}: the picture .*/{name} was changed since the post was .* remove .*/extract/pictures\.jsonl"
        with pytest.raises(RecordError, match=said):
            extract_all(Finder(), given, out, Wanted())
        return tmp_path / name

    for name, line in (("1.png", 2), ("crop0.png", 1)):
        before = (tmp_path / name).stat()
        (tmp_path / name).write_bytes(b"1")
        os.utime(tmp_path / name, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        os.utime(refused(name, line), ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "2.png").write_bytes(b"0")
    refused("2.png", 3).unlink()
    for name in ("3.png", "7.png"):
        (tmp_path / name).write_bytes(b"another")
    with pytest.raises(Stopped):
        extract_all(Finder(stop=5), given, out, Wanted())
    (tmp_path / "5.png").unlink()
    refused("5.png", 6)
    (out / "extract" / "pictures.jsonl").unlink()
    assert extract_all(Finder(), given, out, Wanted())[0] == whole and tree(out) == tree(tmp_path / "whole")


def test_what_a_missing_picture_ended_goes_on_without_strict(given, tmp_path):
    class Strict(Finder):
        def extract_many(self, records, *, strict=False, top=0):
            for extraction in super().extract_many(records, strict=strict, top=top):
                if strict and extraction.masked:
                    raise PictureError("gone")
                yield extraction

    whole = extract_all(Strict(), given, tmp_path / "whole", Wanted())[0]
    for _ in range(2):
        with pytest.raises(PictureError):
            extract_all(Strict(), given, tmp_path / "out", Wanted(strict=True))
    finder = Strict()
    assert extract_all(finder, given, tmp_path / "out", Wanted())[0] == whole and len(finder.looked) == 11 - 3
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    with pytest.raises(RecordError, match=r"holds what was extracted otherwise \(strict False, now True\)"):
        extract_all(Strict(), given, tmp_path / "out", Wanted(strict=True))


def test_a_cluster_says_that_a_file_that_was_finished_was_changed(given, tmp_path):
    """And leaves it as it is; what needs Ray: test_ray_engine.py."""
    out = tmp_path / "out"
    whole, _ = extract_all(Finder(), given, out, Wanted())
    settings = out / "extract" / "settings.json"
    settings.write_text(settings.read_text().replace('"local"', '"ray"'))
    again = [{}, Finder(), given, out, Wanted(), ray_engine.Cluster()]
    assert ray_engine.extract_all(*again) == whole
    lines = (out / "extracted.jsonl").read_text().splitlines(keepends=True)
    (out / "extracted.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(RecordError, match=r"extracted\.jsonl: has fewer lines than there are posts"):
        ray_engine.extract_all(*again)
    assert len((out / "extracted.jsonl").read_text().splitlines()) == 10


def test_files_from_elsewhere_are_not_overwritten(given, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "extracted.jsonl").write_text("mine\n")
    with pytest.raises(RecordError, match=r"extracted\.jsonl is there already, and not from here"):
        extract_all(Finder(), given, tmp_path / "out", Wanted())
    extract_all(Finder(), given, tmp_path / "new", Wanted())
    with (tmp_path / "new" / "extracted.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(RecordError, match="has more lines than there are posts"):
        extract_all(Finder(), given, tmp_path / "new", Wanted())
    for number, (old, new) in enumerate(((r'"relations": \[', '"regions": ['), (r'"masked": \[.*?\]', '"masked": 5'))):
        extract_all(Finder(), given, tmp_path / f"{number}", Wanted())
        file = tmp_path / f"{number}" / "extracted.jsonl"
        file.write_text(re.sub(old, new, file.read_text()))
        with pytest.raises(RecordError, match="the file was changed: remove it, and start again"):
            extract_all(Finder(), given, file.parent, Wanted())


def test_no_room_is_told_of_the_folder_and_later_it_goes_on(given, tmp_path):
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, allowed[1]))
    try:
        with pytest.raises(OSError, match=f"'{tmp_path / 'out'}'"):
            extract_all(Finder(), given, tmp_path / "out", Wanted())
        with pytest.raises(OSError, match=f"'{tmp_path / 'file'}'"):
            storage.write_bytes(tmp_path / "file", b"x" * 601)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    extract_all(Finder(), given, tmp_path / "out", Wanted())
    extract_all(Finder(), given, tmp_path / "whole", Wanted())
    assert tree(tmp_path / "out") == tree(tmp_path / "whole") and not list(tmp_path.glob(".file*"))


def test_one_program_at_a_time(given, tmp_path):
    class Busy(Finder):
        def extract_many(self, records, *, strict=False, top=0):
            with pytest.raises(OSError, match="another program is at work there"):
                extract_all(Finder(), given, tmp_path / "out", Wanted())
            return super().extract_many(records, strict=strict, top=top)

    assert extract_all(Busy(), given, tmp_path / "out", Wanted(strict=True))[0]["records"] == 11
    assert json.loads((tmp_path / "out" / "extract" / "settings.json").read_text())["strict"], "which the other one has not touched"


def test_what_is_not_wanted_is_left_out(given, tmp_path):
    summary, _ = extract_all(Finder(), given, tmp_path / "out", Wanted(min_score=0.6, skip_none=True))
    found = rows(tmp_path / "out" / "extracted.jsonl")
    assert [len(row["relations"]) for row in found[:3]] == [0, 1, 1] and len(found) == 11 and summary["found"] == 7
    kept = Wanted(min_score=0.9).of(Extraction(None, (Mention(0, 1, "PER"),), task="entities"), "O")
    assert len(kept.found) == 1, "what has no score is not below any"


def test_an_input_without_any_post_is_told(tmp_path):
    (tmp_path / "table.jsonl").write_text("id,text\n1,Ada\n")
    with pytest.raises(
        RecordError, match=r"none of 2 posts can be read, see .*rejects\.jsonl; the first: .*table\.jsonl:1: not a JSON value"
    ):
        extract_all(Finder(), posts.find(tmp_path / "table.jsonl"), tmp_path / "out", Wanted())
    assert len(rows(tmp_path / "out" / "rejects.jsonl")) == 2


def test_a_bucket_gets_all_of_it_at_the_end(given, bucket, tmp_path):
    extract_all(Finder(), given, tmp_path / "out", Wanted())
    extract_all(Finder(), given, "s3://bucket/out", Wanted())
    found = {name.rpartition("/")[2]: data for name, data in bucket.objects.items()}
    assert found == {name: data for name, data in tree(tmp_path / "out").items() if "/" not in name}
    with pytest.raises(RecordError, match=r"s3://bucket/out/\w+\.jsonl is there already"):
        extract_all(Finder("b"), given, "s3://bucket/out", Wanted())
