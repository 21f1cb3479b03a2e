import asyncio

import pytest

from agentcache.supervisor.listening import open_listener
from agentcache.supervisor.metrics_port import serve_metrics


async def ask(request):
    """Send bytes to a metrics port and return everything that comes back."""
    with open_listener("127.0.0.1", 0) as listener:
        async with serve_metrics(listener, lambda: b"up 1\n", "text/plain; version=1"):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(request)
            if not request.endswith(b"\r\n\r\n"):
                writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer


async def test_a_scrape_is_answered():
    head, _, body = (await ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=1" in head
    assert body == b"up 1\n"


async def test_a_head_request_gets_the_length_and_no_body():
    answer = await ask(b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /", b"404"),
        (b"GET /api/cache/entries", b"404"),
        (b"POST /metrics", b"405"),
        (b"GET /metrics?x=1", b"200"),
    ],
)
async def test_nothing_else_is_there(request_line, status):
    assert (await ask(request_line + b" HTTP/1.1\r\n\r\n")).split()[1] == status


@pytest.mark.parametrize("request_bytes", [b"", b"GET /metrics", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"])
async def test_what_is_no_request_gets_no_answer(request_bytes):
    try:
        assert await ask(request_bytes) == b""
    except ConnectionResetError:
        assert len(request_bytes) > 8192  # closed with unread bytes
