"""The part of a graph that the page shows."""

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmre_jax.data.readers import scenes
from mmre_jax.graph import Bounds, build
from mmre_jax.graph.page_data import CROP, SIDE, page_data, pieces
from mmre_jax.records import Mention, Record, Relation, Triple


def picture(url):
    return Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2])))


def test_five_posts(graph):
    found = page_data(graph, Bounds())
    assert [post["id"] for post in found["posts"]] == ["post/1", "post-2", "post-4", "post-5", "post-3"], "those with a statement first"
    first, second, *_, last = found["posts"]
    assert "".join(text for text, _ in second["pieces"]) == graph.posts[1].string
    name = [node[0] for node in found["nodes"]]
    assert [name[node] for node, _ in first["marks"]] == ["Ada", "Grace", "ACM", "Paris"]
    assert [text for text, marks in first["pieces"] if marks] == ["Ada", "Grace", "ACM", "Paris"]
    said = {(name[first["marks"][head][0]], name[first["marks"][tail][0]], label, score) for _, head, tail, label, score in first["arrows"]}
    assert ("Ada", "ACM", "/per/org/member_of", 0.6) in said and len(said) == 3
    assert [box for _, _, box, _, _ in first["boxes"]] == [[0.1, 0.2, 0.45, 0.9], [0.55, 0.25, 0.9, 0.95]]
    assert picture(found["pictures"][first["picture"]]).size == (SIDE, 236)
    assert last["picture"] is None and last["note"].startswith("no picture: gone.jpg: no such file")
    areas = [node for node in found["nodes"] if not node[2]]
    assert [max(picture(found["pictures"][node[4]]).size) for node in areas] == [CROP, CROP]
    assert [statement[3] for statement in found["statements"]] == sorted(
        (s[3] for s in found["statements"]), key=lambda s: -1 if s is None else -s
    )


def test_it_is_bounded(graph):
    found = page_data(graph, Bounds(posts=2, pictures=0, statements=3))
    assert found["shown"] == {"posts": 2, "pictures": 0, "statements": 3} and not found["pictures"]
    assert found["totals"] == {"posts": 5, "entities": 7, "statements": 7}
    assert found["posts"][0]["note"] == "its picture is not on this page, which has the first 0"
    assert all(number < 3 for post in found["posts"] for number, *_ in (*post["arrows"], *post["boxes"]))
    assert page_data(build([]), Bounds())["nodes"] == []


def test_pictures_of_the_embedded_data_set():
    found = page_data(build(scenes.read("triples", "test", 2)), Bounds())
    assert found["shown"]["pictures"] == 2 and [post["note"] for post in found["posts"]] == ["", ""]


def test_a_picture_is_there_once(posts):
    records = [Record(str(i), ("Ada",), image=posts[0].image) for i in range(3)]
    found = page_data(build(records), Bounds())
    assert len(found["pictures"]) == 1 and [post["picture"] for post in found["posts"]] == [0, 0, 0]


def test_mentions_may_lie_in_each_other_and_overlap():
    spans = (0, 3, "ORG"), (1, 2, "LOC"), (2, 4, "PER")
    record = Record(
        "1",
        ("University", "of", "X", "Y"),
        mentions=tuple(Mention(*span) for span in spans),
        relations=(Relation(Mention(1, 2), Mention(2, 4), "r"),),
    )
    [post] = page_data(build([record]), Bounds())["posts"]
    assert post["pieces"] == [["University ", [0]], ["of", [0, 1]], [" ", [0]], ["X", [0, 2]], [" Y", [2]]]
    assert post["arrows"][0][1:3] == [1, 2]


@given(st.text(min_size=1), st.data())
def test_pieces_are_the_text_and_cover_each_span(text, data):
    side = st.integers(0, len(text) - 1)
    spans = data.draw(st.lists(st.tuples(side, side).map(lambda s: (min(s), max(s) + 1)), max_size=4))
    found = pieces(text, spans)
    assert "".join(piece for piece, _ in found) == text and all(piece for piece, _ in found)
    for number, (start, end) in enumerate(spans):
        assert "".join(piece for piece, marks in found if number in marks) == text[start:end]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_pictures_of_odd_shapes(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "x.png")
    record = Record("1", ("Ada",), image=str(tmp_path / "x.png"), triples=(Triple(Mention(0, 1), "r", (0.999, 0.999, 1.0, 1.0)),))
    found = page_data(build([record]), Bounds())
    assert len(found["pictures"]) == 2 and all(max(picture(url).size) <= SIDE for url in found["pictures"])
