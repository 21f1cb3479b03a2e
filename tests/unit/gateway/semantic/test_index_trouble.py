"""An index that cannot be used is said in the log when a server starts, and then once a minute: calls go on without it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from agentcache.engine.semantic.embedders.port import EmbedderUnavailable
from agentcache.engine.semantic.index.port import IndexUnavailable
from agentcache.gateway.semantic.building import running_semantic
from agentcache.gateway.semantic.index_trouble import IndexTrouble
from agentcache.kit.clock import ManualClock, SystemClock
from agentcache.settings import Settings


def test_trouble_is_said_once_a_minute_with_how_often_it_was_met() -> None:
    clock = ManualClock()
    trouble = IndexTrouble(clock)
    with structlog.testing.capture_logs() as lines:
        for seconds in (0, 1, 30, 60):
            clock.move(seconds)
            trouble.met(IndexUnavailable(f"after {seconds} s"))
            trouble.met(EmbedderUnavailable("has a breaker that says so"))
    assert [(line["event"], line["reason"], line["failures"], line["log_level"]) for line in lines] == [
        ("semantic_index_failed", "after 0 s", 1, "warning"),
        ("semantic_index_failed", "after 60 s", 3, "warning"),
    ]


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_a_server_says_at_its_start_that_its_index_does_not_answer(tmp_path: Path, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"{scheme}://user:hunter2@127.0.0.1:{port}/" + ("0" if scheme == "redis" else "x")
    settings = Settings.from_env({"AGENTCACHE_DATA_DIR": str(tmp_path), "AGENTCACHE_SEMANTIC_INDEX_URL": url})
    unused = cast(Any, SimpleNamespace())
    with structlog.testing.capture_logs() as lines:
        async with asyncio.timeout(60), running_semantic(settings, SystemClock(), unused, unused) as tier:
            assert tier is not None
            while not lines:
                await asyncio.sleep(0.01)
    assert [line["event"] for line in lines] == ["semantic_index_unusable"]
    assert str(port) in lines[0]["reason"] and "hunter2" not in str(lines)
