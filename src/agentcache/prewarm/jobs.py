"""Does batches: asks what is not fresh, as many at once, as fast and for as much money as the team said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from agentcache.engine.entries import Selector
from agentcache.gateway.inside import Inside, Standing, Told
from agentcache.gateway.ports import OutdatedRecord
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.services import at as aware
from agentcache.jobs.worker import GiveUp
from agentcache.kit.clock import Clock
from agentcache.kit.errors import AgentCacheError
from agentcache.listeners.services.records import note_asked_anew
from agentcache.prewarm import services
from agentcache.prewarm.asking import Asking, Pace, ReadyRequest
from agentcache.prewarm.errors import BatchNotFound
from agentcache.prewarm.models import RequestState
from agentcache.prewarm.services import BegunBatch, Outcome, TakenRequest
from agentcache.tasks.jobs import TaskContext
from agentcache.tasks.services import Progress
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets

T = TypeVar("T")

PRUNE = "prewarm.prune"
PRUNE_EVERY_SECONDS = 3600.0
TAKE_REQUESTS = "prewarm.take_requests"
TAKE_REQUESTS_EVERY_SECONDS = 10.0
START_DUE = "prewarm.start_due"
#: A schedule starts at most so late.
START_DUE_EVERY_SECONDS = 20.0
#: Pauses before a provider that is busy is asked again; it may ask for a longer one.
AGAIN_AFTER_SECONDS = (1.0, 4.0, 15.0)
_DATABASE_WITHIN_SECONDS = 30.0


class RefreshingOutdated:
    """Does jobs of `REFRESH_OUTDATED`. Done twice, it marks the same requests twice, and what is fresh by then is left alone."""

    def __init__(self, threads: DatabaseThreads, requests_folder: Path | None, clock: Clock) -> None:
        self._threads = threads
        self._requests_folder = requests_folder
        self._clock = clock

    async def __call__(self, payload: dict[str, object]) -> None:
        """Mark what is to be asked anew; raises `GiveUp` for a payload that is none."""
        try:
            record = msgspec.convert(payload, OutdatedRecord)
        except msgspec.ValidationError as error:
            raise GiveUp("The job lacks members.") from error
        await self._threads.run(partial(self._mark, record), within_seconds=_DATABASE_WITHIN_SECONDS)

    def _mark(self, record: OutdatedRecord) -> None:
        # What was stored before the change may still be on its way.
        if self._requests_folder is not None:
            services.take_files(self._requests_folder)
        team = Team.objects.filter(pk=record.tenant_id).first()
        if team is None:
            return
        selectors = [Selector(source=source) for source in record.sources]
        if record.tags or record.namespace is not None:
            selectors.append(Selector(namespace=record.namespace, tags=tuple(record.tags)))
        marked = services.mark_outdated(team, selectors, aware(record.at), aware(self._clock.now()))
        if record.event_id:
            note_asked_anew(record.event_id, marked)


OpenInside = Callable[[], AbstractAsyncContextManager[Inside]]


class Prewarming:
    """Does tasks of `services.batches.RUN`."""

    def __init__(
        self,
        threads: DatabaseThreads,
        secrets: ServerSecrets,
        open_inside: OpenInside,
        clock: Clock,
        *,
        encrypt_entries: bool,
        again_after_seconds: tuple[float, ...] = AGAIN_AFTER_SECONDS,
    ) -> None:
        self._threads = threads
        self._secrets = secrets
        self._open_inside = open_inside
        self._clock = clock
        self._encrypt_entries = encrypt_entries
        self._again_after_seconds = again_after_seconds

    async def __call__(self, context: TaskContext) -> None:
        """Do the batch, or go on with it."""
        batch_id = str(context.payload["batch_id"])
        begin = partial(services.begin_batch, self._secrets, batch_id, encrypt_entries=self._encrypt_entries)
        begun = await self._database(begin)
        if begun is None:
            raise BatchNotFound
        async with self._open_inside() as inside:
            pace = Pace(begun.rate_per_second, self._clock)
            asking = Asking(inside, begun.principal, begun.credentials, pace, self._again_after_seconds, self._clock)
            while calls := await self._database(partial(services.take, self._secrets, begun)):
                await self._do(asking, begun, calls)
                await self._note(context, batch_id)
        await self._note(context, batch_id, is_end=True)

    async def _do(self, asking: Asking, begun: BegunBatch, calls: list[list[TakenRequest]]) -> None:
        """Do some requests: first what needs no provider, then what there is money for, at once."""
        settled: list[Outcome] = []
        ready: dict[int, ReadyRequest] = {}
        for one in (one for call in calls for one in call):
            stood = await self._stand(asking.inside, begun, one)
            if isinstance(stood, Outcome):
                settled.append(stood)
            else:
                ready[one.row_id] = ReadyRequest(one.row_id, one.request, stood)
        if settled:
            await self._database(partial(services.note_outcomes, begun.id, settled))
        if not ready:
            return
        bounds = {row_id: one.standing.most_usd_nanos for row_id, one in ready.items()}
        granted = await self._database(partial(services.set_aside, begun.id, bounds))
        asked = [[ready[one.row_id] for one in call if one.row_id in granted] for call in calls]
        told = await asyncio.gather(*(asking.ask(members) for members in asked if members))
        # What was bought is on record before it counts as done.
        await asking.inside.flush()
        outcomes = [_outcome(*one) for some in told for one in some]
        await self._database(partial(services.note_outcomes, begun.id, outcomes))

    async def _stand(self, inside: Inside, begun: BegunBatch, one: TakenRequest) -> Standing | Outcome:
        """Return how a request stands, or its outcome where no provider is needed for that."""
        row_id, credential = one.row_id, begun.credentials.get(one.request.dialect)
        if credential is None or one.request.dialect not in inside.dialects:
            return Outcome(row_id, RequestState.FAILED, "credential_missing")
        try:
            standing = await inside.stand(begun.principal, one.request, credential, output_tokens=begun.output_tokens)
        except AgentCacheError as error:
            return Outcome(row_id, RequestState.FAILED, error.code)
        if standing.uncacheable:
            return Outcome(row_id, RequestState.FAILED, f"not_cacheable: {standing.uncacheable}")
        if standing.is_fresh:
            return Outcome(row_id, RequestState.SKIPPED, cache_key=standing.key)
        if begun.has_cap and standing.most_usd_nanos is None:
            return self._left(row_id, "price_unknown", begun)
        if begun.has_cap and standing.is_unbounded:
            return self._left(row_id, "output_unbounded", begun)
        if begun.is_dry_run:
            likely, most = standing.likely_usd_nanos, standing.most_usd_nanos
            return Outcome(
                row_id,
                RequestState.LEFT,
                "dry_run",
                cache_key=standing.key,
                likely_usd_nanos=likely,
                most_usd_nanos=most,
            )
        return standing

    def _left(self, row_id: int, reason: str, begun: BegunBatch) -> Outcome:
        unknown = None if begun.is_dry_run else 0
        return Outcome(row_id, RequestState.LEFT, reason, likely_usd_nanos=unknown)

    async def _note(self, context: TaskContext, batch_id: str, *, is_end: bool = False) -> None:
        """Tell the task how far the batch is."""
        noted = context.cursor.get("ended", 0), context.cursor.get("failed", 0)

        def work() -> Progress:
            ended, failed, batch = services.count_ended(batch_id)
            lines = [_line(services.result_of(batch))] if is_end else []
            cursor = {"ended": ended, "failed": failed}
            return Progress(
                ended - noted[0], failed - noted[1], cursor=cursor, lines=lines, result=services.result_of(batch)
            )

        await context.step(work)

    async def _database(self, work: Callable[[], T]) -> T:
        return await self._threads.run(work, within_seconds=_DATABASE_WITHIN_SECONDS)


def _outcome(one: ReadyRequest, told: Told | None) -> Outcome:
    key = one.standing.key
    if told is None:
        return Outcome(one.row_id, RequestState.SKIPPED, cache_key=key)
    # Where nobody can tell whether it was billed, the most that it may have cost counts against the cap.
    unsure = one.standing.most_usd_nanos or 0 if told.may_have_cost and not told.cost_usd_nanos else 0
    is_warmed = told.is_answered and not told.reason
    state = RequestState.WARMED if is_warmed else RequestState.FAILED
    return Outcome(one.row_id, state, told.reason, told.status, key, told.cost_usd_nanos, unsure)


def _line(result: dict[str, object]) -> str:
    return (
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in result.items() if name != "prewarm_id") + "."
    )
