"""Sends what waits, and tidies up."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import partial

from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import GiveUp, TryAgain
from agentcache.kit.clock import Clock
from agentcache.kit.egress.guarded import EgressFailed, GuardedClient, GuardedLimits
from agentcache.kit.egress.retry_after import retry_after_seconds
from agentcache.kit.egress.target import Headers, InvalidTarget
from agentcache.kit.logs import get_logger
from agentcache.kit.webhook_signing import signed_headers
from agentcache.tasks.jobs import TaskContext
from agentcache.tasks.models import Task
from agentcache.teams.secrets import ServerSecrets
from agentcache.webhooks import services
from agentcache.webhooks.services import PreparedTry, TryOutcome

PRUNE = "webhooks.prune"
PRUNE_EVERY_SECONDS = 3600.0
#: One try may take 15 seconds, as receivers of Standard Webhooks expect; what they answer is of little interest.
LIMITS = GuardedLimits(connect_seconds=5.0, total_seconds=15.0, body_bytes_max=1024 * 1024)
#: One sentence for everything, so that nobody can use us to look around inside.
UNREACHABLE = "The address could not be reached, or did not answer within 15 seconds."
JITTER_SHARE = 0.1
_log = get_logger(__name__)


class EndpointDelivery:
    """Does jobs of `services.DELIVER`: one try, recorded, until the receiver accepts it or the tries are used up."""

    def __init__(self, threads: DatabaseThreads, secrets: ServerSecrets, client: GuardedClient, clock: Clock) -> None:
        self._threads = threads
        self._secrets = secrets
        self._client = client
        self._clock = clock

    async def __call__(self, payload: dict[str, object]) -> None:
        """Try once; raises `TryAgain` when there is a next time."""
        delivery_id, redeliveries = payload.get("delivery_id"), payload.get("round")
        if not isinstance(delivery_id, str) or not isinstance(redeliveries, int):
            raise GiveUp("The job lacks members.")
        prepare = partial(services.prepare_try, self._secrets, delivery_id, redeliveries, self._now())
        prepared = await self._threads.run(prepare)
        if prepared is None:
            return  # done by a worker that died before it could say so, or nobody waits for it any more
        jitter = random.uniform(0, JITTER_SHARE)  # noqa: S311 - spreads tries, guards nothing
        if prepared.wait_seconds:
            raise TryAgain(prepared.wait_seconds * (1 + jitter))
        outcome = await self._send(prepared)
        record = partial(services.record_try, delivery_id, redeliveries, outcome, self._now(), jitter)
        again = await self._threads.run(record, within_seconds=10.0)
        if again is not None:
            raise TryAgain(again)

    async def _send(self, prepared: PreparedTry) -> TryOutcome:
        timestamp = str(int(self._clock.now()))
        headers = signed_headers(prepared.secrets, prepared.message_id, timestamp, prepared.body, prepared.seeds)
        shown = {name.decode(): value.decode() for name, value in headers}
        started = self._clock.monotonic()
        try:
            response = await self._client.request("POST", prepared.url, headers, prepared.body.encode())
        except (EgressFailed, InvalidTarget) as error:
            reason = error.reason if isinstance(error, EgressFailed) else "invalid URL"
            _log.info("webhook_not_delivered", webhook_id=prepared.message_id, reason=reason)
            return TryOutcome(self._ms_since(started), None, UNREACHABLE, request_headers=shown)
        return TryOutcome(
            self._ms_since(started),
            response.status,
            response=response.body,
            retry_after_seconds=retry_after_seconds(_retry_after(response.headers), self._clock.now()),
            request_headers=shown,
        )

    def _ms_since(self, started: float) -> int:
        return max(0, round((self._clock.monotonic() - started) * 1000))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)


def _retry_after(headers: Headers) -> str:
    return dict(headers).get(b"retry-after", b"").decode("latin-1")


async def redeliver_range(context: TaskContext) -> None:
    """Do tasks of `services.REDELIVER`: some deliveries at each step, until the range is through."""
    while True:
        step = partial(services.redeliver_step, context.team_id, context.payload, context.cursor)
        progress = await context.step(step)
        if not progress.done:
            return


def tell_of_end(task: Task) -> None:
    """Tell endpoints that asked for it how a task ended, in the transaction that ends it."""
    members = {"job_id": task.pk, "kind": task.kind, "state": task.state, "done": task.done, "total": task.total}
    services.emit(task.team_id, "job.finished", members)


def tidy(now: datetime) -> None:
    """Forget what is old, and end what nobody works on any more."""
    services.end_lost(now)
    services.prune(now)
