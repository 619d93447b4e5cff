"""The page: what posts say never becomes HTML, and in a browser it shows, filters and asks no network for anything."""

import base64
import contextlib
import hashlib
import html.parser
import json
import os
import re
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.graph import Bounds, build, write_html
from mmre_jax.graph.page import ASSETS, VIEWER, as_block, render
from mmre_jax.graph.page_data import page_data
from mmre_jax.records import Mention, Record, Relation

TITLE = "Five posts & <what> they say"


class Elements(html.parser.HTMLParser):
    """What a page's elements are: (name, attributes) of each, and the texts of its scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts, self._inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data):
        if self._inside in ("script", "style"):
            self.texts.append((*self.found[-1], data))
        self._inside = None


@pytest.fixture(scope="module")
def page(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "graph.html"
    assert write_html(graph, path, title=TITLE) == {"posts": 5, "pictures": 1, "statements": 7}
    return path


def test_posts_stand_in_json_alone(page, graph):
    text = page.read_text("utf-8")
    elements = Elements(text)
    assert [tag for tag, _ in elements.found].count("script") == 3 and not [
        tag for tag, _ in elements.found if tag in ("img", "iframe", "link")
    ]
    [(_, _, data)] = [found for found in elements.texts if found[1].get("type") == "application/json"]
    assert json.loads(data) == json.loads(json.dumps(page_data(graph, Bounds())))
    assert "<script>alert" not in text and "onerror=alert(1)\\u003e" in data
    assert text.count("&lt;what&gt;") == 2


def test_its_policy_knows_its_own_scripts_and_style_and_nothing_else(page):
    elements = Elements(page.read_text("utf-8"))
    [policy] = [attributes["content"] for tag, attributes in elements.found if attributes.get("http-equiv") == "Content-Security-Policy"]
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for *_, text in elements.texts if text}
    allowed = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert allowed["default-src"] == ["'none'"] and allowed["img-src"] == ["data:"] and "connect-src" not in allowed
    assert set(allowed["script-src"]) | set(allowed["style-src"]) <= hashes and len(allowed["script-src"]) == 2
    addresses = [value for _, attributes in elements.found for name, value in attributes.items() if name in ("src", "href", "action")]
    assert not addresses


def test_the_viewer_is_what_its_name_says_with_its_licence_and_small():
    viewer = (ASSETS / VIEWER).read_text("utf-8")
    version = re.fullmatch(r"cytoscape-(.*)\.min\.js", VIEWER)[1]
    assert f'version="{version}"' in viewer and len(viewer) < 1_000_000 and "</script" not in viewer.lower()
    licence = (ASSETS / "cytoscape-LICENSE.txt").read_text("utf-8")
    assert "Permission is hereby granted, free of charge" in licence and "The Cytoscape Consortium" in licence


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values | st.sampled_from(["</script>", "<!--<script>", "\u2028", "&lt;", "]]>"]))
def test_a_block_is_json_that_ends_no_element(value):
    block = as_block(value)
    assert not set("<>&\u2028\u2029") & set(block) and json.loads(block) == value


@given(st.text(st.characters(exclude_categories=["Cs", "Zs"]), min_size=1), st.text(min_size=1))
def test_no_post_changes_what_the_page_is_made_of(word, title):
    graph = build([Record(word, (word, "B"), relations=(Relation(Mention(0, 1, word), Mention(1, 2), word, 0.5),))], none=())
    made = render(page_data(graph, Bounds()), title.encode("utf-8", "replace").decode())
    assert made.count("<script") == 3 and made.count("</script>") == 3


# In a browser.


def browser():
    """(the path of Chromium, or skips; Playwright's entry)."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium), or CHROMIUM=PATH")
    return found, pytest.importorskip("playwright.sync_api", reason="make browser installs playwright").sync_playwright


@contextlib.contextmanager
def opened(path, **options):
    """The page in headless Chromium; whatever its console says, any request but for itself and any dialog is an error."""
    program, playwright = browser()
    wrong = []
    with playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        tab = chromium.new_page(**options)
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        tab.on("request", lambda request: request.url.startswith("data:") or request.url == path.as_uri() or wrong.append(request.url))
        tab.goto(path.as_uri())
        yield tab
        chromium.close()
    assert not wrong, wrong


def count(tab):
    return tab.inner_text("#count")


@pytest.mark.slow
@pytest.mark.browser
def test_in_a_browser(page):
    with opened(page, viewport={"width": 1280, "height": 900}) as tab:
        assert tab.title() == TITLE and tab.inner_text("h1") == TITLE
        assert tab.inner_text("#summary") == "5 posts, 7 entities, 7 statements." and count(tab) == "7 of 7 statements"
        assert tab.evaluate("[graphView.nodes().length, graphView.edges().length]") == [9, 7]
        # A node is chosen by a click where it is drawn.
        place = tab.evaluate("(() => { const p = graphView.nodes('[name = \"Ada\"]').renderedPosition(); return [p.x, p.y]; })()")
        corner = tab.locator("#canvas").bounding_box()
        tab.mouse.click(corner["x"] + place[0], corner["y"] + place[1])
        assert "Ada" in tab.inner_text("#panel h2") and "ADA's" in tab.inner_text("#panel")
        tab.click("#panel >> text=Show its posts")
        assert tab.locator("article").count() == 3 and "speak of Ada" in tab.inner_text("#only")
        tab.click("#clear")
        assert tab.locator("article").count() == 5
        # The hostile post is text.
        hostile = tab.locator("article", has_text="photo of")
        assert "<script>alert('x')</script></script><img" in hostile.locator(".text").inner_text()
        assert hostile.locator("img").count() == 0 and tab.locator("body script").count() == 3
        # Arrows end at their marks, boxes lie on the picture.
        first = tab.locator("article").first
        assert first.locator(".arrows text").all_inner_texts() and first.locator(".arrows path.tip").count() == 4
        assert first.locator(".box").count() == 2 and first.locator("img").evaluate("image => image.naturalWidth") == 360
        box, photo = (first.locator(name).first.bounding_box() for name in (".box", ".photo img"))
        assert abs(box["x"] - photo["x"] - 0.1 * photo["width"]) < 2 and abs(box["height"] - 0.7 * photo["height"]) < 2
        assert tab.inner_text("article .note").startswith("no picture: gone.jpg")
        # Filters.
        tab.fill("#search", "grace")
        tab.locator("#count", has_text="3 of 7").wait_for()
        tab.fill("#search", "")
        tab.fill("#least", "0.7")
        tab.locator("#count", has_text="5 of 7").wait_for()
        tab.click("#relations summary")
        tab.click("#none")
        assert count(tab) == "0 of 7 statements"
        assert tab.inner_text("#post-list") == "No post passes the filters."
        tab.keyboard.press("Escape")
        assert not tab.locator("#relation-list").is_visible()
        tab.click("#clear")
        # The table, by the keyboard.
        tab.focus("#tab-posts")
        tab.keyboard.press("ArrowRight")
        assert tab.locator("#rows tr").count() == 7 and tab.get_attribute("#columns th >> nth=3", "aria-sort") == "descending"
        tab.click("#columns button >> nth=0")
        names = [row.split("\t")[0] for row in tab.inner_text("#rows").splitlines() if row.strip()]
        assert names[0].startswith("Ada")
        tab.click("#rows >> text=post-5")
        assert tab.locator("article.wanted").inner_text().startswith("post-5")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark_and_on_a_small_screen(page, scheme):
    contrast = """names => { const parse = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const light = rgb => rgb.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
        const ground = light(parse(getComputedStyle(document.body).backgroundColor));
        return names.map(name => { const ink = light(parse(getComputedStyle(document.querySelector(name)).color));
            return (Math.max(ink, ground) + .05) / (Math.min(ink, ground) + .05); }); }"""
    with opened(page, viewport={"width": 400, "height": 800}, color_scheme=scheme) as tab:
        tab.click("#tab-posts")
        assert tab.evaluate("document.documentElement.scrollWidth <= 400"), "nothing sticks out"
        names = ["body", ".note", ".score", ".link", "article header", ".t0 .tag", ".t1 .tag", ".t2 .tag", ".t3 .tag"]
        there = [name for name in names if tab.locator(name).count()]
        assert len(there) > 6 and min(tab.evaluate(contrast, there)) >= 4.5, "WCAG 2.1, 1.4.3"


@pytest.mark.slow
@pytest.mark.browser
def test_thousands_of_posts(tmp_path):
    records = [
        Record(
            f"p{i}",
            (f"A{i % 700}", "knows", f"B{i % 900}"),
            relations=(Relation(Mention(0, 1, "PER"), Mention(2, 3, "ORG"), f"r{i % 9}", (i % 100) / 100),),
        )
        for i in range(8000)
    ]
    path = tmp_path / "graph.html"
    assert write_html(build(records), path) == {"posts": 500, "pictures": 0, "statements": 5000}
    assert path.stat().st_size < 3_000_000
    with opened(path) as tab:
        assert "shows the first 500 posts, those with a statement first, the 5,000 surest statements" in tab.inner_text("#bounds")
        assert tab.evaluate("graphView.edges().length") == 150 and "filter to see others" in tab.inner_text("#graph-note")
        tab.click("#tab-posts")
        tab.click("#more-posts")
        assert tab.locator("article").count() == 40
