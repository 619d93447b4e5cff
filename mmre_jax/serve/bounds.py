"""Bounds on what an HTTP server reads of a request, and on what it keeps of them all: plain ASGI, for any framework."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class TooLarge(Exception):
    """A body that goes on behind the bound."""


class BoundedBodies:
    """Answers 413 to requests whose body has more than `most` bytes, of which it reads no more."""

    def __init__(self, app: App, most: int) -> None:
        self.app, self.most = app, most
        self._said = f"a request of more than {most:,} bytes is not read"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See the ASGI specification (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.most:
            await _refuse(send, 413, self._said)
            return
        read, begun = 0, False

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most:
                raise TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, bounded, watched)
        except TooLarge:
            if not begun:
                await _refuse(send, 413, self._said)


class BoundedUploads:
    """Answers 503 to what is sent (POST) while `at_once` other requests are taken, or while a folder holds more than `most` bytes. It may
    come to hold as much more as those send that are taken at once.

    age: seconds. Files in the folder that are older are removed: what was cut off on its way nobody else forgets.
    """

    def __init__(self, app: App, folder: str, *, at_once: int, most: int, age: float) -> None:
        self.app, self.folder, self.at_once, self.most, self.age = app, folder, at_once, most, age
        self._taken, self._kept, self._looked = 0, 0, -1.0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As of `BoundedBodies`."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif self._taken >= self.at_once:
            await _refuse(send, 503, f"{self.at_once} requests are taken at once: come again")
        elif self._bytes() > self.most:
            await _refuse(send, 503, f"more than {self.most:,} bytes are kept, and forgotten within the hour: come again later")
        else:
            self._taken += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self._taken -= 1

    def _bytes(self) -> int:
        """What is in the folder; it is looked at once a second at most."""
        if time.monotonic() >= self._looked + 1.0 or self._looked < 0:
            self._kept, oldest = 0, time.time() - self.age
            for place, _, names in os.walk(self.folder):
                for name in names:
                    with suppress(FileNotFoundError):  # it was forgotten meanwhile
                        found = os.stat(path := os.path.join(place, name))
                        if found.st_mtime < oldest:
                            os.unlink(path)
                        else:
                            self._kept += found.st_size
            self._looked = time.monotonic()
        return self._kept


async def _refuse(send: Send, status: int, said: str) -> None:
    body = f"{said}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
