"""The page, in Gradio (extra `app`), and its HTTP API.

Gradio is told to keep to itself: no telemetry, no fonts, scripts or pictures from elsewhere, no files but what was sent to it, which it
forgets within an hour.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmre_jax.extraction import Extraction
from mmre_jax.serve.answers import Answers, Refused, columns, notes
from mmre_jax.serve.bounds import BoundedBodies, BoundedUploads

WAITING = 32  # posts; further ones are told to come again. Of twice as many visitors the last post is kept in memory, with its picture
KEPT = 3600  # seconds that a picture which was sent is kept
TITLE = "mmre_jax"
# Makes a file of what is shown, in the browser.
DOWNLOAD = """(found) => {
  if (!found) return;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([JSON.stringify(found, null, 1)], {type: 'application/json'}));
  link.download = 'extracted.json';
  link.click();
  URL.revokeObjectURL(link.href);
}"""


class NoGradio(ValueError):
    """Gradio is not installed."""


def need() -> None:
    """Raises NoGradio where it is not installed."""
    if importlib.util.find_spec("gradio") is None:
        raise NoGradio("launch.serve needs Gradio, in an environment of its own: pip install -c constraints-app.txt '.[app]'")


@contextmanager
def serving(answers: Answers, host: str, port: int) -> Iterator[str]:
    """Serves a page as long as the context is open.

    Args:
      host: whose connections are taken: '127.0.0.1', those of this machine alone; '0.0.0.0', anybody's.
      port: 0 for any that is free.

    Yields:
      The address of the page.

    Raises:
      NoGradio: where it is not installed.
      OSError: a port that is taken.
    """
    with tempfile.TemporaryDirectory(prefix="mmre_serve_") as folder:
        # Gradio reads these when it is imported.
        os.environ.update({"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder, "HF_HUB_DISABLE_TELEMETRY": "1"})
        need()
        import gradio
        from starlette.middleware import Middleware

        page = build(gradio, answers)
        page.queue(max_size=WAITING, default_concurrency_limit=1)
        most = 2 * answers.limits.bytes + 2**20  # of a picture as base64, and what stands beside it
        kept = {"folder": folder, "at_once": WAITING, "most": answers.limits.kept, "age": 2 * KEPT}
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port or None,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                show_error=False,
                max_file_size=answers.limits.bytes,
                state_session_capacity=2 * WAITING,
                enable_monitoring=False,
                run_history=False,
                ssr_mode=False,
                mcp_server=False,
                allowed_paths=[],
                footer_links=["api"],
                theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
                app_kwargs={"middleware": [Middleware(BoundedUploads, **kept), Middleware(BoundedBodies, most=most)]},
            )
            yield address
        finally:
            page.close(verbose=False)


def build(gradio: Any, answers: Answers) -> Any:
    """The page of some checkpoints, `gradio.Blocks`."""
    first, *_ = answers.extractors

    def extract(text: str, picture: str | None, model: str, mentions: str) -> tuple[dict[str, Any], tuple[str, Extraction]]:
        """Text, a picture, the name of a checkpoint, and for relations two or more mentions, one a line: what is found, as JSON."""
        try:
            extraction = answers.extract(model, text or "", _contents(picture, answers), mentions or "")
        except Refused as refusal:
            raise gradio.Error(str(refusal), duration=20, print_exception=False) from refusal
        return extraction.to_json(), (model, extraction)

    def show(found: tuple[str, Extraction]) -> tuple[Any, Any, Any]:
        """What is drawn and listed of what was found."""
        model, extraction = found
        heads = list(columns(extraction.task))
        return (
            answers.drawn(model, extraction),
            gradio.Dataframe(value=answers.rows(model, extraction), headers=heads),
            _shown(gradio, notes(extraction)),
        )

    with gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT // 4, KEPT)) as page:
        gradio.Markdown(f"# {TITLE}\nWhat a trained checkpoint finds in a text and its picture.")
        with gradio.Row():
            with gradio.Column():
                model = gradio.Dropdown(list(answers.extractors), value=first, label="Checkpoint")
                text = gradio.Textbox(label="Text", lines=3, max_length=answers.limits.characters)
                lines = gradio.Textbox(
                    label="Mentions",
                    info="Where relations are looked for: two or more, one a line, as they stand in the text, or [start, end) in words",
                    lines=3,
                    max_length=answers.limits.characters,
                    visible=answers.asks(first),
                )
                picture = gradio.Image(label="Picture", type="filepath", image_mode=None, sources=["upload", "clipboard"], height=300)
                _refuse_addresses(gradio, picture)
                button = gradio.Button("Extract", variant="primary")
            with gradio.Column():
                drawn = gradio.Image(label="Found", show_label=False, format="png", interactive=False, buttons=["download", "fullscreen"])
                table = gradio.Dataframe(headers=list(columns(answers.task(first))), label="As a table", interactive=False, wrap=True)
                said = gradio.Textbox(label="What the system could not see", interactive=False, visible=False)
                found = gradio.JSON(label="As JSON", open=False)
                save = gradio.Button("Download JSON")
        state = gradio.State(time_to_live=KEPT)
        model.change(lambda name: gradio.Textbox(visible=answers.asks(name)), model, lines, api_visibility="private")
        asked = {"inputs": [text, picture, model, lines], "outputs": [found, state]}
        ended = button.click(extract, **asked, api_name="extract", concurrency_limit=len(answers.extractors))
        ended.success(show, state, [drawn, table, said], api_visibility="private")
        save.click(None, found, None, js=DOWNLOAD, api_visibility="private")
    return page


def _refuse_addresses(gradio: Any, picture: Any) -> None:
    """Has a component take pictures that are sent, and not the addresses of some, which Gradio would fetch."""
    move = picture.async_move_resource_to_block_cache

    async def only_files(place: str | pathlib.Path | None) -> str | None:
        if "://" in str(place):
            raise gradio.Error("A picture is sent as a file: fetch it first.", print_exception=False)
        return await move(place)

    picture.async_move_resource_to_block_cache = only_files


def _shown(gradio: Any, text: str) -> Any:
    return gradio.Textbox(value=text, visible=bool(text))


def _contents(path: str | None, answers: Answers) -> bytes | None:
    """The bytes of a picture that was sent, no more than tell that they are too many."""
    if path is None:
        return None
    with pathlib.Path(path).open("rb") as file:
        return file.read(answers.limits.bytes + 1)
