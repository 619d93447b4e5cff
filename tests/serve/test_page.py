"""The page in a browser and its API, as programs and strangers use them: make app."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gradio_client = pytest.importorskip("gradio_client")
httpx = pytest.importorskip("httpx")
pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
TEXT = "Ada <script>window.hit=1</script> meets Grace near the *old* bridge"
MENTIONS = "Ada\nGrace\n[5, 8]"


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def elsewhere():
    """The address of a proxy, and the connections that were made to it: whatever a program says to others goes there."""
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    calls.append(connection.recv(200))
                    connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", calls


@pytest.fixture(scope="module")
def server(trained, untrained, elsewhere, tmp_path_factory):
    """(address, process, its log) of a server of two checkpoints, which takes pictures of 100 kB and 1 megapixel."""
    log = tmp_path_factory.mktemp("log") / "log.txt"
    runs = [trained, untrained["entities"], untrained["triples"], untrained["objects"], f"{untrained['entities']}+{trained}"]
    bounds = ["--max_megabytes=0.1", "--max_megapixels=1", "--max_characters=500"]
    command = [
        sys.executable,
        "-m",
        "launch.serve",
        *map(str, runs),
        "--names=relations,entities,triples,objects,both",
        "--port=0",
        *bounds,
    ]
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), elsewhere[0])
    environment = {**os.environ, **proxies, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out) as process:
        try:
            for _ in range(600):
                if found := re.search(r"serving at (http://127\.0\.0\.1:\d+)/", log.read_text()):
                    break
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
            assert found, log.read_text()
            yield found[1], process, log
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()


@pytest.fixture(scope="module")
def client(server):
    return gradio_client.Client(server[0], verbose=False)


def refusal(client, *given):
    with pytest.raises(Exception) as error:
        client.predict(*given, api_name="/extract")
    said = str(error.value)
    assert "Traceback" not in said and str(ROOT) not in said and ".py" not in said, said
    return said


def test_the_api_gives_what_is_found(client, photo, trained):
    import mmre_jax

    own = mmre_jax.load(trained).extract(text=TEXT, image=photo.read_bytes(), mentions=["Ada", "Grace", (5, 8)], id="post").to_json()
    found = client.predict(TEXT, gradio_client.handle_file(str(photo)), "relations", MENTIONS, api_name="/extract")
    assert found.keys() == own.keys() and len(found["relations"]) == 6
    for one, other in zip(found["relations"], own["relations"], strict=True):
        assert one["label"] == other["label"] and one["score"] == pytest.approx(other["score"], abs=1e-4)
    for name, kind in (("entities", "mentions"), ("triples", "triples"), ("objects", "regions"), ("both", "relations")):
        assert kind in client.predict(TEXT, gradio_client.handle_file(str(photo)), name, "", api_name="/extract")
    assert "no picture: masked" in client.predict(TEXT, None, "entities", "", api_name="/extract")["notes"]


def test_the_api_has_one_thing_to_ask(client):
    about = client.view_api(return_format="dict", print_info=False)
    assert list(about["named_endpoints"]) == ["/extract"] and not about["unnamed_endpoints"]


def test_what_is_refused_is_told_in_a_sentence(client, photo, tmp_path):
    (tmp_path / "damaged.png").write_bytes(photo.read_bytes()[:300])
    Image.new("1", (2000, 1000)).save(tmp_path / "large.png")
    assert "Give two or more mentions" in refusal(client, TEXT, None, "relations", "Ada")
    assert "'Oslo' is not in the text" in refusal(client, TEXT, None, "relations", "Ada\nOslo")
    assert "The picture: " in refusal(client, TEXT, gradio_client.handle_file(str(tmp_path / "damaged.png")), "entities", "")
    assert "2000 x 1000" in refusal(client, TEXT, gradio_client.handle_file(str(tmp_path / "large.png")), "entities", "")
    assert "The text has 501 characters" in refusal(client, "x" * 501, None, "entities", "")
    refusal(client, TEXT, None, "gone", "")  # Gradio itself refuses what is not on its list


def test_no_file_and_no_address_is_read_for_anybody(server, client, elsewhere, photo):
    """Neither by what is sent as a picture nor by the routes that give files."""
    address, *_ = server
    secret = ROOT / "pyproject.toml"
    for path in (str(secret), "/etc/passwd", f"{elsewhere[0]}/photo.png", "https://example.org/photo.png", "file:///etc/passwd"):
        given = {"path": path, "url": path, "orig_name": "photo.png", "meta": {"_type": "gradio.FileData"}}
        event = httpx.post(f"{address}/gradio_api/call/extract", json={"data": [TEXT, given, "entities", ""]}).json()
        said = httpx.get(f"{address}/gradio_api/call/extract/{event['event_id']}", timeout=60).text
        assert "event: error" in said and "Traceback" not in said and "root:" not in said and "mentions" not in said, said
    for path in (secret, "/etc/passwd", ROOT / "launch" / "serve.py"):
        for route in (f"/gradio_api/file={path}", f"/file={path}", f"/gradio_api/file/{path}", f"/static/../../{path}"):
            found = httpx.get(address + route)
            leaked = any(part in found.text for part in ("root:", "[project]", "_HOST"))
            assert found.status_code in (403, 404) or not leaked and "text/html" in found.headers["content-type"], route
    assert not elsewhere[1], "the server said something to somebody"


def test_large_requests_are_not_read(server):
    address, *_ = server
    large = b"x" * 200_000
    sent = httpx.post(f"{address}/gradio_api/upload", files={"files": ("photo.png", io.BytesIO(large))})
    assert sent.status_code in (413, 400) and "Traceback" not in sent.text
    text = json.dumps({"data": ["x" * 3_000_000, None, "entities", ""]})
    assert httpx.post(f"{address}/gradio_api/call/extract", content=text).status_code == 413


def test_the_page(server, photo, tmp_path):
    sync = pytest.importorskip("playwright.sync_api")
    browser = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    assert browser, "no Chromium is installed: apt install chromium"
    address, *_ = server
    with sync.sync_playwright() as playwright, playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as chromium:
        page, asked = chromium.new_page(viewport={"width": 1300, "height": 1100}), []
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.get_by_role("textbox", name="Text", exact=True).fill(TEXT)
        mentions = page.get_by_role("textbox", name="Mentions")
        mentions.fill("Ada")
        page.get_by_role("button", name="Extract").click()
        page.get_by_text("Give two or more mentions").wait_for()
        mentions.fill(MENTIONS)
        page.set_input_files("input[type=file]", photo)
        page.get_by_role("button", name="Remove Image").or_(page.get_by_role("button", name="Clear")).first.wait_for()
        page.get_by_role("button", name="Extract").click()
        page.locator("[role=gridcell]:visible", has_text="the *old* bridge").first.wait_for()
        page.get_by_text("trained with detected object crops").wait_for()
        assert page.locator("[role=gridcell]:visible").count() == 6 * 4
        assert page.evaluate("window.hit") is None, "a post's script was run"
        with page.expect_download() as download:
            page.get_by_role("button", name="Download JSON").click()
        found = json.loads(Path(download.value.path()).read_text())
        assert found["text"] == TEXT and len(found["relations"]) == 6
        page.screenshot(path=os.environ.get("APP_SHOT", tmp_path / "page.png"), full_page=True)

        page.get_by_label("Checkpoint").first.click()
        page.get_by_role("option", name="entities").click()
        mentions.wait_for(state="hidden")
        page.get_by_role("button", name="Extract").click()
        page.locator("[role=columnheader]:visible, th:visible", has_text="type").first.wait_for()
        assert all(url.startswith((address, "data:", "blob:")) for url in asked), asked


def test_nothing_was_said_to_anybody(server, elsewhere):
    """The last test: of all that the server did."""
    assert server[1].poll() is None, server[2].read_text()
    assert not elsewhere[1], elsewhere[1]
