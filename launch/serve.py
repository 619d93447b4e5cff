r"""Serves checkpoints as a web page with an HTTP API.

    pip install -c constraints-app.txt '.[app]'
    python -m launch.serve runs/tagger+runs/mnre runs/qeot
    python -m launch.serve runs/mnre --names=mnre --host=0.0.0.0 --port=8080 --max_megabytes=5

On the page one chooses a checkpoint and gives a text and a picture. It shows what was found, drawn and as a table, and what the system
could not see; the JSON can be downloaded. ONE+OTHER, a run that finds entities and one that finds relations, are served as one, which
finds both. A run for relations by itself also asks for the mentions between which they are looked for.

The API (Gradio's; its page of documentation is linked at the foot of the page), for any program:

    from gradio_client import Client, handle_file
    client = Client("http://127.0.0.1:7860")
    client.predict("Ada meets Grace", handle_file("photo.jpg"), "tagger+mnre", "", api_name="/extract")
    client.predict("Ada meets Grace", None, "mnre", "Ada\nGrace", api_name="/extract")

gives what launch.extract writes of a post. What is given: text, picture or None, checkpoint, and mentions, '' where it asks for none.

A checkpoint extracts from one post at a time; others wait, 32 at most, and as many are taken at once. The size of a picture's file, its
pixels and the text are bounded. The server keeps what it is sent for an hour, together no more than --max_kept_gigabytes, beyond which it
takes nothing before some of it is forgotten, reads no address and no file of its own for anybody, and sends nothing anywhere. It takes
connections of this machine alone unless --host says otherwise, and knows no users: where others can reach it, put what asks for a
password before it. Needs the extra `app`, in an environment of its own: Gradio needs an older Pillow.
"""

from __future__ import annotations

import signal
import threading

from absl import flags

import mmre_jax
from launch import console
from launch.drawing import figure_of
from mmre_jax.extraction import KINDS
from mmre_jax.serve.answers import Answers, Limits, names_of
from mmre_jax.serve.page import need, serving

_NAMES = flags.DEFINE_list("names", [], "What the runs are called on the page, in their order; by default as their folders.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Whose connections are taken: 127.0.0.1, this machine's alone; 0.0.0.0, anybody's.")
_PORT = flags.DEFINE_integer("port", 7860, "0: any that is free.", lower_bound=0, upper_bound=65535)
_BYTES = flags.DEFINE_float("max_megabytes", 10.0, "Largest file of a picture that is taken.", lower_bound=0.001, upper_bound=500.0)
_PIXELS = flags.DEFINE_float("max_megapixels", 25.0, "Largest picture that is decoded.", lower_bound=0.001, upper_bound=50.0)
_KEPT = flags.DEFINE_float("max_kept_gigabytes", 2.0, "Of all pictures of an hour; beyond it none are taken.", lower_bound=0.0)
_CHARACTERS = flags.DEFINE_integer("max_characters", 5000, "Longest text that is read.", lower_bound=1)


def main(*runs: str) -> None:
    """Serves until it is stopped."""
    logger = console.setup()
    need()
    limits = Limits(
        bytes=round(_BYTES.value * 2**20),
        pixels=round(_PIXELS.value * 1e6),
        characters=_CHARACTERS.value,
        kept=round(_KEPT.value * 2**30),
    )
    extractors = {}
    for name, run in zip(names_of(runs, _NAMES.value), runs, strict=True):
        one, _, other = run.partition("+")
        both = {"entities": one, "relations": other} if other else {"path": run}
        extractors[name] = mmre_jax.load(**both, warm=True)
        logger.info("%s: %s of %s", name, KINDS[extractors[name].task], run)
    stop = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.set())
    with serving(Answers(extractors, figure_of, limits), _HOST.value, _PORT.value) as address:
        logger.info("serving at %s", address)
        stop.wait()
    logger.info("stopped")


if __name__ == "__main__":
    console.run(main, ["RUN", "..."], cached=True)
