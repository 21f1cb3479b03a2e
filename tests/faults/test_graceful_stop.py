"""F23: a server that is told to stop lets open streams end, and ends what is left with an error event."""

import asyncio
import json
import signal
import time

import httpx
import psutil
import pytest

from agentcache.demo.fake_provider.server import FakeProvider
from tests.support.migrated_records import put_into
from tests.support.reliability import record
from tests.support.server_process import ServerProcess

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)

STREAMS = 200
DRAIN_SECONDS = 4


@pytest.fixture
def provider():
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def server(tmp_path, provider):
    settings = {
        "AGENTCACHE_UPSTREAM_OPENAI": f"{provider.url}/openai/v1",
        "AGENTCACHE_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "AGENTCACHE_UPSTREAM_IDLE_SECONDS": "60",
    }
    put_into(tmp_path / "data")
    with ServerProcess(tmp_path / "data", "--workers", "2", **settings) as server:
        yield server


async def stream(client, server, number, script, opened):
    """Read one stream to its end and return the data of its events."""
    body = {
        "model": "gpt-5-mini",
        "messages": [{"role": "user", "content": f"Tell story {number}"}],
        "stream": True,
    }
    headers = {
        "Authorization": f"Bearer {server.key}",
        "X-Provider-Key": "sk-test",
        "X-Fake-Script": json.dumps(script),
    }
    async with client.stream("POST", f"{server.url}/v1/chat/completions", json=body, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        opened()
        lines = [line async for line in response.aiter_lines()]
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


async def test_200_open_streams_end_in_order(server):
    opened = 0
    all_open = asyncio.Event()

    def count():
        nonlocal opened
        opened += 1
        if opened == STREAMS:
            all_open.set()

    # Half of them end by themselves while the server drains, half never would.
    scripts = [{"chunk_delay": 0.2, "text": "Once upon a time."}, {"stall_after": 3}]
    limits = httpx.Limits(max_connections=STREAMS, max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(stream(client, server, number, scripts[number % 2], count)) for number in range(STREAMS)
        ]
        await all_open.wait()
        processes = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
    assert time.monotonic() - told < DRAIN_SECONDS + 10  # a bound against hanging, no benchmark
    assert await asyncio.to_thread(server.stop) == 0
    endings = [task.result()[-1] for task in tasks]
    assert set(endings[0::2]) == {"[DONE]"}
    for ending in endings[1::2]:
        assert "error" in json.loads(ending)
    assert "Traceback" not in server.output
    assert server.output.rstrip().endswith("AgentCache has stopped.")
    assert not [process for process in processes if process.is_running()]
    with pytest.raises(httpx.ConnectError):
        await asyncio.to_thread(httpx.get, f"{server.url}/healthz")
    record("F23 SIGTERM", streams=STREAMS, ended_well=STREAMS // 2, ended_in_an_error=STREAMS // 2, failed=0)
