"""`python -m agentcache.demo.fake_provider`: run the fake provider until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

import uvloop

from agentcache.demo.fake_provider.server import FakeProvider


async def _serve(provider: FakeProvider) -> None:
    def say() -> None:
        sys.stdout.write(f"fake provider on {provider.url}\n")
        sys.stdout.flush()

    serving = asyncio.create_task(provider.serve_until_stopped(say))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m agentcache.demo.fake_provider", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001, help="0 chooses a free one")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before every answer")
    parser.add_argument("--chunk-ms", type=float, default=0.0, help="wait between the events of a stream")
    parser.add_argument("--keep-calls", type=int, default=10_000, help="how many requests to remember")
    given = parser.parse_args()
    provider = FakeProvider(
        given.host,
        given.port,
        latency=given.latency_ms / 1000,
        chunk_delay=given.chunk_ms / 1000,
        keep_calls=given.keep_calls,
    )
    try:
        uvloop.run(_serve(provider))
    except OSError as error:
        sys.exit(f"cannot listen on {given.host}:{given.port}: {error.strerror}")


if __name__ == "__main__":
    main()
