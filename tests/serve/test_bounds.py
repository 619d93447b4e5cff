"""Requests of any size and number: what is within the bounds goes through whole, what is not is refused, declared or not."""

import asyncio
import os
from typing import Any

import pytest

from mmre_jax.serve.bounds import BoundedBodies, BoundedUploads


def asked(body: bytes, declared: bytes | None, most: int, chunk: int = 4) -> tuple[int, bytes, int]:
    """(status, answer, bytes that were read) of a server that answers a request's length."""
    parts = [body[i : i + chunk] for i in range(0, len(body), chunk)] or [b""]
    sent: list[dict[str, Any]] = []
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        part = parts.pop(0)
        read += len(part)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def server(scope: Any, receive: Any, send: Any) -> None:
        length, more = 0, True
        while more:
            message = await receive()
            length, more = length + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(length).encode()})

    headers = [] if declared is None else [(b"content-length", declared)]
    asyncio.run(BoundedBodies(server, most)({"type": "http", "headers": headers}, receive, send))
    return sent[0]["status"], sent[1]["body"], read


@pytest.mark.parametrize("declared", [b"10", None])
def test_what_fits_goes_through(declared: bytes | None) -> None:
    assert asked(b"x" * 10, declared, most=10) == (200, b"10", 10)
    assert asked(b"", None, most=10) == (200, b"0", 0)


def test_what_does_not_is_refused_before_it_is_read() -> None:
    said = b"a request of more than 10 bytes is not read\n"
    assert asked(b"x" * 11, b"11", most=10) == (413, said, 0)
    assert asked(b"x" * 400, None, most=10) == (413, said, 12), "no more than the part that goes behind the bound"
    assert asked(b"x" * 400, b"5", most=10) == (413, said, 12), "whatever it says"
    assert asked(b"x", b"many", most=10) == (413, said, 0)


async def status_of(bounds: BoundedUploads, method: str = "POST") -> int:
    """The status of an answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await bounds({"type": "http", "method": method, "headers": []}, None, send)
    return sent[0]["status"]


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def test_so_many_are_taken_at_once(tmp_path: Any) -> None:
    """And others again when one of them has ended, be it by an error."""

    async def run() -> None:
        go = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await go.wait()
            await answer(scope, receive, send)
            if len(ended) == 1:
                raise OSError

        bounds, ended = BoundedUploads(slow, str(tmp_path), at_once=2, most=10, age=60), [0]
        first = [asyncio.create_task(status_of(bounds)) for _ in range(2)]
        await asyncio.sleep(0)
        assert await status_of(bounds) == 503
        page = asyncio.create_task(status_of(bounds, "GET"))
        go.set()
        assert [type(each) for each in await asyncio.gather(*first, page, return_exceptions=True)] == [OSError] * 3
        ended.append(0)
        assert [await status_of(bounds) for _ in range(3)] == [200] * 3

    asyncio.run(run())


def test_so_much_is_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at once a second; what was cut off on its way, which nobody forgets, is removed in the end."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    bounds = BoundedUploads(answer, str(tmp_path), at_once=1, most=10, age=60)

    async def run() -> None:
        assert await status_of(bounds) == 200
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "photo.png").write_bytes(b"x" * 6), (tmp_path / "tmp123").write_bytes(b"x" * 6)
        assert await status_of(bounds) == 200
        now[0] += 1.0
        assert await status_of(bounds) == 503 and await status_of(bounds, "GET") == 200
        os.utime(tmp_path / "tmp123", (0, 0))
        now[0] += 1.0
        assert await status_of(bounds) == 200 and not (tmp_path / "tmp123").exists() and (tmp_path / "a" / "photo.png").exists()

    asyncio.run(run())


def test_other_connections_are_left_alone() -> None:
    seen = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], receive, send))

    asyncio.run(BoundedBodies(server, 1)({"type": "lifespan"}, "receive", "send"))
    assert seen == [("lifespan", "receive", "send")]
