"""Judges for tests: pairs whose answers are in the cache, and the loop that asks about them, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from agentcache.audit.services import Actor
from agentcache.demo.fake_provider import FakeProvider
from agentcache.demo.fake_provider.server import Call
from agentcache.kit.clock import Clock, SystemClock
from agentcache.prewarm.models import BatchRequest
from agentcache.semantics import services
from agentcache.semantics.drafts import JudgeDraft, SettingsDraft
from agentcache.semantics.judging import AskJudges
from agentcache.semantics.models import NearQuestion
from agentcache.settings import Settings
from agentcache.teams.models import Team
from agentcache.web.jobs import open_judging
from tests.support.prewarming import do, keep_credential, start
from tests.support.prewarming_requests import chat
from tests.support.semantics import near_event, take

MODEL, BUDGET = "gpt-4o-mini", 1_000_000_000
SYSTEM = Actor.system()


def set_judge(settings: Settings, team: Team, budget: int = BUDGET) -> None:
    """Let every namespace of a team be compared in shadow, and have a judge."""
    keep_credential(settings, team)
    services.save_settings(team, "*", SettingsDraft("shadow"), actor=SYSTEM)
    services.save_judge(team, "*", JudgeDraft("openai", MODEL, budget), actor=SYSTEM)


def answers(settings: Settings, team: Team, *questions: str) -> list[str]:
    """Have questions answered and stored; return the hexadecimal keys of the entries, in order."""
    batch = do(settings, start(settings, team, [chat(question) for question in questions], concurrency=1))
    rows = BatchRequest.objects.filter(batch=batch).order_by("position")
    return list(rows.values_list("cache_key", flat=True))


def undecided(settings: Settings, team: Team, *pairs: tuple[str, str], **fields: Any) -> list[NearQuestion]:
    """Leave pairs (asked, matched) whose answers are stored and could not be compared."""
    keys = answers(settings, team, *(question for pair in pairs for question in pair))
    return leave(team, pairs, [(keys[at], keys[at + 1]) for at in range(0, len(keys), 2)], **fields)


def leave(
    team: Team, pairs: Sequence[tuple[str, str]], keys: Sequence[tuple[str, str]], **fields: Any
) -> list[NearQuestion]:
    """Leave pairs with the keys of both entries."""
    given = {"agreed": None, "judged_by": "", **fields}
    events = [
        near_event(team, "shadow", asked=asked, matched=matched, asked_key=one, entry_key=other, **given)
        for (asked, matched), (one, other) in zip(pairs, keys, strict=True)
    ]
    take(events)
    rows = {row.pk: row for row in NearQuestion.objects.filter(pk__in=[event.id for event in events])}
    return [rows[event.id] for event in events]


def ask(settings: Settings, clock: Clock | None = None, *, rounds: int = 1) -> None:
    """Let the worker ask what is due, to its end, so many times."""

    async def work() -> None:
        async with _opened(settings, clock) as judging:
            for _ in range(rounds):
                await judging.start_due()
                await judging.settle()

    asyncio.run(work())


@contextlib.asynccontextmanager
async def _opened(settings: Settings, clock: Clock | None) -> AsyncIterator[AskJudges]:
    async with open_judging(settings, clock or SystemClock()) as judging:
        yield judging


def asked_of(provider: FakeProvider) -> list[Call]:
    """Return the calls in which a judge was asked."""
    return [call for call in provider.calls if b"question_1" in call.body]


def material_of(call: Call) -> dict[str, str]:
    """Return what a judge was given to compare."""
    found: dict[str, str] = json.loads(json.loads(call.body)["messages"][-1]["content"])
    return found
