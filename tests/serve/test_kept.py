"""What the server keeps in memory of those who came: make app."""

import gc
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


def held():
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, Extraction)]
