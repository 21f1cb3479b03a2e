"""Leaves near questions of a team for the job worker, as a gateway would; the settings come from the environment.

    python -m tests.support.near_questions_program TEAM_ID < pairs.json

Each pair, `[asked, matched]`, is a hit of now. Further ones of the 25 days before are added where no more than ten are given.
Prints the ids of the requests that were hits of now, one a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from agentcache.kit.clock import SystemClock
from agentcache.settings import Settings
from agentcache.web.project import configure

_DAYS = 25
_PAIRS_ALONE = 10


def _leave(settings: Settings, team_id: str, pairs: list[list[str]]) -> list[str]:
    from agentcache.engine.semantic.verifier import load_verifier
    from agentcache.gateway.ports import SemanticEvent, UsageEvent
    from agentcache.gateway.semantic.spool import open_semantic_files
    from agentcache.gateway.usage_spool import UsageSpool, spool_dir
    from agentcache.teams.models import Team
    from tests.support.semantics import near_event

    clock = SystemClock()
    make = partial(near_event, Team.objects.get(pk=team_id), verifier=load_verifier().version)
    hits = [make(asked=asked, matched=matched) for asked, matched in pairs]
    events: list[SemanticEvent] = [*hits, *(_past(make) if len(pairs) <= _PAIRS_ALONE else ())]
    usage = [
        UsageEvent(
            id=event.request_id, at_ms=event.at_ms, tenant_id=team_id, api_key_id="", dialect="openai",
            endpoint="chat.completions", model=event.model, namespace=event.namespace,
            outcome="semantic" if event.kind == "hit" else "miss", status=200, saved_usd_nanos=event.saved_usd_nanos,
            entry_key=event.entry_key, latency_us=4_200, reason="hit",
        )
        for event in events
    ]  # fmt: skip

    async def write() -> None:
        files = open_semantic_files(settings.data_dir, clock)
        for event in events:
            files.add(event)
        await files.flush()
        await UsageSpool(spool_dir(settings.data_dir), clock).write(usage)

    asyncio.run(write())
    return [event.request_id for event in hits]


def _past(make: Any) -> Iterator[Any]:
    now = datetime.now(UTC)
    for day in range(1, _DAYS + 1):
        at, entry_key = now - timedelta(days=day), f"{day:064x}"
        for number in range(3 + day % 4):
            yield make("hit", at=at, entry_key=entry_key, score=0.95)
            yield make("shadow", at=at, agreed=(number + day) % 17 > 0, share=0.05, entry_key=entry_key)
        yield make("judged", at=at, agreed=day % 2 == 0, score=0.5)


if __name__ == "__main__":
    given = Settings.load()
    configure(given)
    sys.stdout.write("\n".join(_leave(given, sys.argv[1], json.load(sys.stdin))))
