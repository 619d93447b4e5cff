"""BIO sentences: every spelling of a file that occurs, mentions against seqeval's reading, each kind of damage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from mmre_jax.data.readers import bio
from mmre_jax.records import RecordError

TYPES = {"PER": "PER", "LOC": "LOC", "OTHER": "MISC"}
TAGS = st.lists(st.sampled_from(bio.tag_names(("PER", "LOC", "MISC"))), min_size=1, max_size=12)


def read(folder, text):
    path = folder / "a.txt"
    path.write_bytes(text.encode())
    return bio.read(path, TYPES)


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_sentences(tmp_path, end, newline):
    text = "IMGID:7\nAda\tB-PER\nsees\tO\n\nIMGID:O_8\n\xa0\tO\nBig\tB-OTHER\nBen\tI-OTHER" + end
    first, second = read(tmp_path, text.replace("\n", newline))
    assert first == bio.Sentence("7", ("Ada", "sees"), ("B-PER", "O"), f"{tmp_path / 'a.txt'}:1")
    assert second == bio.Sentence("O_8", ("\xa0", "Big", "Ben"), ("O", "B-MISC", "I-MISC"), f"{tmp_path / 'a.txt'}:5")


def test_a_sentence_ends_where_the_next_begins(tmp_path):
    assert [s.words for s in read(tmp_path, "\nIMGID:1\n\na\tO\nIMGID:1\nb\tO\n")] == [("a",), ("b",)]
    assert read(tmp_path, "\n\n") == []


@given(TAGS)
def test_mentions_are_those_of_seqeval(tags):
    found = bio.mentions(tags)
    assert [(m.type, m.start, m.end - 1) for m in found] == get_entities(tags)
    assert bio.dangling(tags) == tuple(m.start for m in found if tags[m.start][0] == "I")


def test_tag_names():
    assert bio.tag_names(("PER", "LOC")) == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.mark.parametrize(
    ("lines", "number", "message"),
    [
        ("a\tO", 1, "expected IMGID:ID before the words of a sentence, found 'a"),
        ("IMGID:1\na\tO\n\nb\tO", 4, "expected IMGID:ID"),
        ("IMGID:1\na O", 2, "expected word<TAB>tag.*found 'a O'"),
        ("IMGID:1\n\tO", 2, "expected word<TAB>tag"),
        ("IMGID:1\na\tB-ORG", 2, ".*X one of PER, LOC, OTHER; found"),
        ("IMGID:1\na\tB", 2, "expected word<TAB>tag"),
        ("IMGID:1\na\tO-PER", 2, "expected word<TAB>tag"),
        ("IMGID:1\na\tE-PER", 2, "expected word<TAB>tag"),
        ("IMGID:\na\tO", 1, "IMGID: without an id"),
        ("IMGID:1\n\nIMGID:2\na\tO", 1, "a sentence without words"),
        ("IMGID:1\na\tO\n\nIMGID:2\n", 4, "a sentence without words"),
    ],
)
def test_damage(tmp_path, lines, number, message):
    with pytest.raises(RecordError, match=rf"a\.txt:{number}: {message}"):
        read(tmp_path, lines)
