"""Sends the demo's prompts through a server and measures what the cache saves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from agentcache.demo.prompts import DemoCall
from agentcache.kit.egress.upstream import UpstreamClient, UpstreamTimeouts
from agentcache.kit.errors import AgentCacheError

#: Requests in flight at once while the provider is asked, which is slow.
CONCURRENCY = 8
_TIMEOUTS = UpstreamTimeouts(connect=5, first_byte=60, idle=60, total=120)


class DemoFailed(AgentCacheError):
    """The demo's request was refused."""

    code = "demo_failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """How one call went."""

    is_hit: bool
    seconds: float
    saved_usd: Decimal


@dataclass(frozen=True, slots=True)
class Round:
    """All prompts, sent once."""

    answers: tuple[Answer, ...]

    @property
    def hits(self) -> int:
        """How many were answered from the cache."""
        return sum(answer.is_hit for answer in self.answers)

    @property
    def saved_usd(self) -> Decimal:
        """What the provider would have charged for the hits."""
        return sum((answer.saved_usd for answer in self.answers), Decimal(0))

    def latency_ms(self, percent: int) -> float:
        """Return a percentile of the latency in milliseconds (nearest rank)."""
        ordered = sorted(answer.seconds for answer in self.answers)
        rank = max(1, -(-len(ordered) * percent // 100))
        return ordered[rank - 1] * 1000


async def send_round(
    base_url: str,
    api_key: str,
    calls: Sequence[DemoCall],
    on_answer: Callable[[], None] = lambda: None,
    *,
    concurrency: int = CONCURRENCY,
) -> Round:
    """Send every call once, `concurrency` at a time. Raises `DemoFailed` on the first that is not answered with 200."""
    client = UpstreamClient(concurrency)
    room = asyncio.Semaphore(concurrency)

    async def send(call: DemoCall) -> Answer:
        async with room:
            answer = await _send(client, base_url, api_key, call)
        on_answer()
        return answer

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send(call)) for call in calls]
    except BaseExceptionGroup as failures:
        ours, others = failures.split(AgentCacheError)
        if ours is None or others is not None:
            raise
        raise ours.exceptions[0] from None
    finally:
        await client.aclose()
    return Round(tuple(task.result() for task in tasks))


async def _send(client: UpstreamClient, base_url: str, api_key: str, call: DemoCall) -> Answer:
    headers = [
        (b"content-type", b"application/json"),
        (b"x-agentcache-key", api_key.encode()),
        # The bundled provider takes any credential; it is there because a real client sends one.
        (b"authorization", b"Bearer demo"),
        (b"x-api-key", b"demo"),
        *((name.encode(), text.encode()) for name, text in call.headers),
    ]
    url = f"{base_url}/{call.dialect}{call.path}"
    started = time.perf_counter()
    response = await client.send("POST", url, headers, json.dumps(call.body).encode(), _TIMEOUTS)
    body = await response.aread()
    seconds = time.perf_counter() - started
    if response.status != 200:
        raise DemoFailed(
            f"{call.dialect}{call.path} was answered with {response.status}: {body[:200].decode(errors='replace')}"
        )
    replied = {name.lower(): text.decode("latin-1") for name, text in response.headers}
    is_hit = "; hit" in replied.get(b"cache-status", "")
    saved = Decimal(replied.get(b"x-agentcache-saved-usd", "0")) if is_hit else Decimal(0)
    return Answer(is_hit, seconds, saved)
