"""The yardstick: the same web server with the same settings, answering an empty ASGI 200 of a given size.

python -m benchmarks.empty_server PORT BODY_BYTES
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from agentcache.settings import Settings
from agentcache.supervisor.server import configure

BODY = b"x" * int(sys.argv[2]) if len(sys.argv) > 2 else b""


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer at once, whatever was asked."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def main() -> None:
    """Serve until told to stop."""
    config = configure(Settings.from_env({}), application)
    config.host, config.port = "127.0.0.1", int(sys.argv[1])
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
