"""Requests of any size: what is within the bound goes through whole, what is not is refused, declared or not."""

import asyncio
from typing import Any

import pytest

from mmre_jax.serve.bounds import BoundedBodies


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


def test_other_connections_are_left_alone() -> None:
    seen = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], receive, send))

    asyncio.run(BoundedBodies(server, 1)({"type": "lifespan"}, "receive", "send"))
    assert seen == [("lifespan", "receive", "send")]
