"""Asks judges about near questions whose answers nobody could compare.

A loop beside the jobs, as refreshing is: it waits for providers, which must not hold up what is done in a moment. Nothing of it is on
the way of a call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from secrets import token_hex
from typing import Final, TypeVar

from django.db import Error

from agentcache.engine.entries import Entry
from agentcache.engine.semantic.index.port import IndexUnavailable, NeighbourIndex
from agentcache.gateway.inside import Inside, Standing, Told
from agentcache.gateway.semantic.answers import answer_text, stored_answer
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.services import at as aware
from agentcache.kit.clock import Clock
from agentcache.kit.egress.retry_after import retry_after_seconds
from agentcache.kit.errors import AgentCacheError, Unavailable
from agentcache.kit.logs import get_logger
from agentcache.prewarm.jobs import OpenInside
from agentcache.semantics import services
from agentcache.semantics.judge_prompt import (
    ANSWER_CHARS_MAX,
    Answered,
    judge_endpoint,
    judge_request,
    read_verdict,
)
from agentcache.semantics.services import BegunJudge, Verdict, Waiting
from agentcache.teams.secrets import ServerSecrets

T = TypeVar("T")

#: Judges that are asked at once, pairs that one is asked about at once, and how often that may begin: 48 a minute at most.
JUDGES_AT_ONCE: Final = 16
PAIRS_AT_ONCE: Final = 4
PACE_SECONDS: Final = 5.0
_DATABASE_WITHIN_SECONDS: Final = 30.0
#: Statuses of a provider that refuses the one pair, and not the judge.
_OF_THE_PAIR: Final = frozenset({400, 413, 422})
_log = get_logger(__name__)


class AskJudges:
    """Runs on the event loop of the job worker. Several may run: each pair is one's, once."""

    def __init__(
        self,
        threads: DatabaseThreads,
        secrets: ServerSecrets,
        open_inside: OpenInside,
        index: NeighbourIndex,
        clock: Clock,
        *,
        encrypt_entries: bool,
    ) -> None:
        self._threads = threads
        self._secrets = secrets
        self._open_inside = open_inside
        self._index = index
        self._clock = clock
        self._encrypt_entries = encrypt_entries
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event, drain_seconds: float = 10.0) -> None:
        """Work until `stop` is set, then give what is under way a moment; what is cut off then stays undecided."""
        while not stop.is_set():
            try:
                await self.start_due()
            except (Unavailable, Error) as error:
                _log.warning("judging_database_unavailable", reason=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PACE_SECONDS):
                    await stop.wait()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=drain_seconds)
        for task in list(self._running.values()):
            task.cancel()
        await self.settle()

    async def start_due(self) -> int:
        """Begin to ask those judges that there is work and room for; return how many."""
        due = await self._database(partial(services.due_judges, self._now()))
        started = [one for one in due if one[1] not in self._running]
        started = started[: max(0, JUDGES_AT_ONCE - len(self._running))]
        for team_id, judge_id in started:
            task = asyncio.create_task(self._ask_judge(team_id, judge_id), name=f"judge-{judge_id}")
            self._running[judge_id] = task
            task.add_done_callback(partial(self._ended, judge_id))
        return len(started)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await asyncio.wait(set(self._running.values()))

    async def _ask_judge(self, team_id: str, judge_id: str) -> None:
        begin = partial(services.begin_judge, self._secrets, team_id, judge_id, self._now(), PAIRS_AT_ONCE)
        begun = await self._database(partial(begin, encrypt_entries=self._encrypt_entries))
        if begun is None or not begun.pairs:
            return
        async with self._open_inside() as inside:
            try:
                questions = await self._questions(inside, begun)
            except AgentCacheError as error:
                await self._trouble(begun, error.code)
                return
            if not questions:
                return
            bounds = {one.row_id: one.most_usd_nanos for one in questions}
            day, granted = await self._database(partial(services.set_aside, begun, bounds, self._now()))
            asked = [one for one in questions if one.row_id in granted]
            tolds = await asyncio.gather(*(inside.ask(one.standing) for one in asked))
            verdicts = [_verdict(one, told, day) for one, told in zip(asked, tolds, strict=True)]
            # What was paid is on record before the verdict is.
            await inside.flush()
        decided = await self._database(partial(services.note_verdicts, begun, verdicts))
        await self._tell_index(begun, {one.row_id for one in decided if one.agreed})
        if decided:
            await self._database(partial(services.learn_due, self._now()))
        await self._note_health(begun, tolds)

    async def _tell_index(self, begun: BegunJudge, same: set[str]) -> None:
        """Have the rows of pairs with one answer speak for each other; where one is gone, or the index is away, none do."""
        for pair in begun.pairs:
            if pair.row_id not in same:
                continue
            try:
                await self._index.repeat(begun.principal.tenant, pair.asked_key, pair.matched_key)
            except IndexUnavailable as error:
                _log.warning("judged_pair_not_told", team_id=begun.team_id, reason=error.message)

    async def _questions(self, inside: Inside, begun: BegunJudge) -> list[_Question]:
        """Return what the judge is asked about each pair; those that cannot be judged are noted.

        Raises what keeps the judge from being asked at all.
        """
        dialect = inside.dialects.get(begun.provider)
        endpoint = judge_endpoint(dialect) if dialect is not None else None
        if dialect is None or endpoint is None:
            raise _NotAskable("provider_not_found")
        if begun.credential is None:
            raise _NotAskable("credential_missing")
        questions, unfit = [], []
        for pair in begun.pairs:
            answered = await _answered(inside, begun, pair)
            if answered is None:
                unfit.append(pair.row_id)
                continue
            code = token_hex(4)
            request = judge_request(dialect, endpoint, begun.model, answered, code)
            standing = inside.stand_question(begun.principal, request, begun.credential)
            if standing.most_usd_nanos is None:
                raise _NotAskable("price_unknown")
            questions.append(_Question(pair.row_id, standing, code, standing.most_usd_nanos))
        if unfit:
            await self._database(partial(services.note_unfit, begun.team_id, unfit))
        return questions

    async def _note_health(self, begun: BegunJudge, tolds: list[Told]) -> None:
        failed = [told for told in tolds if not told.is_answered]
        if failed:
            told = failed[0]
            retry = retry_after_seconds(told.retry_after, self._clock.now())
            await self._trouble(begun, told.reason, told.status or None, retry)
        elif tolds:
            await self._database(partial(services.note_answered, begun))

    async def _trouble(
        self, begun: BegunJudge, error: str, status: int | None = None, retry_seconds: float | None = None
    ) -> None:
        _log.info("judge_not_asked", team_id=begun.team_id, reason=error)
        await self._database(partial(services.note_trouble, begun, error, status, self._now(), retry_seconds))

    def _ended(self, judge_id: str, task: asyncio.Task[None]) -> None:
        self._running.pop(judge_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("judging_failed", reason=type(error).__name__)

    async def _database(self, work: Callable[[], T]) -> T:
        return await self._threads.run(work, within_seconds=_DATABASE_WITHIN_SECONDS)

    def _now(self) -> datetime:
        return aware(self._clock.now())


@dataclass(frozen=True, slots=True)
class _Question:
    """A pair as a judge is asked about it."""

    row_id: str
    standing: Standing
    #: What makes a verdict one of this very call.
    code: str
    most_usd_nanos: int


class _NotAskable(AgentCacheError):
    """The judge cannot be asked as it is set."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code


async def _answered(inside: Inside, begun: BegunJudge, pair: Waiting) -> tuple[Answered, Answered] | None:
    """Return both questions with their answers, as the cache holds them; None where one is gone or too long."""
    found = []
    for question, key in ((pair.texts.asked, pair.asked_key), (pair.texts.matched, pair.matched_key)):
        entry = await inside.find_entry(begun.principal, key)
        text = _text(inside, entry) if entry is not None else None
        if text is None or len(text) > ANSWER_CHARS_MAX:
            return None
        found.append(Answered(question, text))
    return found[0], found[1]


def _text(inside: Inside, entry: Entry) -> str | None:
    dialect = inside.dialects.get(entry.meta.dialect)
    named = [one for one in dialect.endpoints if one.name == entry.meta.endpoint] if dialect is not None else []
    answer = stored_answer(named[0], entry) if named else None
    return answer_text(named[0].name, answer) if answer is not None else None


def _verdict(one: _Question, told: Told, day: date) -> Verdict:
    endpoint, row_id, held = one.standing.call.endpoint, one.row_id, one.most_usd_nanos
    assert endpoint is not None
    if told.is_answered:
        # An answer without usage was billed all the same: what was set aside stays so.
        is_unsure = not told.cost_usd_nanos
        agreed = read_verdict(endpoint, told.answer, one.code)
        return Verdict(row_id, day, held, told.cost_usd_nanos, agreed, is_unsure=is_unsure)
    is_unsure = told.may_have_cost and not told.cost_usd_nanos
    again = not is_unsure and not told.cost_usd_nanos and told.status not in _OF_THE_PAIR
    return Verdict(row_id, day, held, told.cost_usd_nanos, has_failed=True, may_ask_again=again, is_unsure=is_unsure)
