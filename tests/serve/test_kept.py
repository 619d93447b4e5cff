"""What the server keeps of those who came, in memory and on the disk: make app."""

import gc
import time
from types import SimpleNamespace

import pytest

from mmre_jax.extraction import Extraction
from mmre_jax.records import Mention, Record
from mmre_jax.serve import page
from mmre_jax.serve.answers import Answers, Limits

gradio_client = pytest.importorskip("gradio_client")
pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_the_posts_of_a_few_visitors_are_kept(monkeypatch):
    monkeypatch.setattr(page, "WAITING", 2)
    post = Record("post", ("Ada",))
    extractor = SimpleNamespace(task="entities", extract=lambda **_: Extraction(post, (Mention(0, 1, "PER", 0.5),), task="entities"))
    before = len(held())
    with page.serving(Answers({"a": extractor}, lambda *_: None, Limits()), "127.0.0.1", 0) as address:
        for _ in range(9):
            client = gradio_client.Client(address, verbose=False)
            assert client.predict("Ada", None, "a", "", api_name="/extract")["mentions"]
        assert 0 < len(held()) - before <= 5  # and the one that is answered


def test_pictures_beyond_what_is_kept_are_not_taken():
    httpx = pytest.importorskip("httpx")
    extractor = SimpleNamespace(task="entities")
    with page.serving(Answers({"a": extractor}, lambda *_: None, Limits(kept=1000)), "127.0.0.1", 0) as address:

        def send(picture):
            time.sleep(1.1)  # the folder is looked at once a second
            return httpx.post(f"{address}gradio_api/upload", files={"files": ("photo.png", picture)})

        assert [send(each * 900).status_code for each in (b"a", b"b", b"c")] == [200, 200, 503]
        assert "more than 1,000 bytes are kept" in send(b"d").text and httpx.get(address).status_code == 200
    gc.collect()  # here, where Gradio's warnings are ignored


def held():
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, Extraction)]
