"""IRIs of anything: legal, and different for what is different."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmre_jax.data.given import given as given_picture
from mmre_jax.graph import iris

BASE = "https://example.org/"
LEGAL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986
texts = st.text(max_size=12) | st.sampled_from(["..", ".", "/../x", "a/b", "/a/b", "/a", "//a", "a//b", "a/", "/", "a b", "%2F", "ä", "<>"])


@given(texts, texts)
def test_they_are_legal_and_tell_all_things_apart(one, other):
    for make in (iris.post, iris.relation, iris.type_class):
        a, b = make(BASE, one), make(BASE, other)
        assert LEGAL.fullmatch(a) and iris.check(a, "") == a
        assert (a == b) == (one == other)
        assert not {".", "..", ""} & set(a.removeprefix(BASE).split("/")[:-1]) and a.rpartition("/")[2] not in (".", "..")
    assert iris.entity(BASE, one, other) != iris.entity(BASE, None, f"{one}:{other}")
    assert (iris.entity(BASE, one, other) == iris.entity(BASE, other, one)) == (one == other)


def test_how_they_look():
    assert iris.relation(BASE, "/per/org/member_of") == "https://example.org/relation/per/org/member_of"
    assert (
        iris.relation(BASE, "org/per:a") == "https://example.org/relation/org%2Fper%3Aa" and iris.post(BASE, "2/17") == f"{BASE}post/2/17"
    )
    assert iris.entity(BASE, "PER", "ada lovelace") == "https://example.org/entity/PER:ada%20lovelace"
    assert iris.area("http://x/p.jpg", (0.1, 0.25, 0.6, 1.0)) == "http://x/p.jpg#xywh=percent:10,25,50,75"
    assert iris.area("http://x/p.jpg", (1 / 3, 0.0, 0.5, 0.00001)) == "http://x/p.jpg#xywh=percent:33.3333,0,16.6667,0.001"


def test_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {"photos": "https://p.example/", str(tmp_path / "photos" / "new"): "https://new.example/?p="}
    assert iris.image(BASE, "photos/a b.jpg", folders) == "https://p.example/a%20b.jpg"
    assert iris.image(BASE, str(tmp_path / "photos" / "new" / "ü.jpg"), folders) == "https://new.example/?p=%C3%BC.jpg"
    assert iris.image(BASE, "photosets/1.jpg", folders) == (tmp_path / "photosets" / "1.jpg").as_uri()
    assert iris.image(BASE, "s3://bucket/a b.jpg", {}) == "s3://bucket/a%20b.jpg"
    picture = given_picture(Image.new("RGB", (2, 2)), "here")
    assert re.fullmatch("https://example.org/image/%3Cpicture%20[0-9a-f]{16}%3E", iris.image(BASE, picture, folders))
    assert iris.image(BASE, "scenes:relations:0:test:7:64", {}) == "https://example.org/image/scenes%3Arelations%3A0%3Atest%3A7%3A64"


@pytest.mark.parametrize(
    "text", ["Q42", "", "http:", "/a", "http://x/a b", "http://x/<a>", 'http://x/"', "http://x/\x00", "ht tp://x", "http://x/{a}"]
)
def test_what_is_no_iri_is_told(text):
    with pytest.raises(ValueError, match="^here: "):
        iris.check(text, "here")


def test_what_others_begin_with_has_no_fragment_yet():
    assert iris.check("https://x.example/kg#", "here") and iris.check("https://x.example/kg/", "here", begins=True)
    with pytest.raises(ValueError, match="^here: 'https://x.example/kg#' has a '#'"):
        iris.check("https://x.example/kg#", "here", begins=True)
