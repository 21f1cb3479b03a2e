"""Which jobs there are, and the worker that does them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType

from agentcache.accounts import jobs as account_jobs
from agentcache.analytics import jobs as usage_jobs
from agentcache.analytics.ingest import UsageIngest
from agentcache.analytics.services import BACK_FILL
from agentcache.audit import services as audit
from agentcache.engine.semantic.index.opening import open_index
from agentcache.engine.stores.open_stores import open_stores
from agentcache.engine.stores.port import EntryStore
from agentcache.gateway.kept_requests import requests_dir
from agentcache.gateway.ports import DELIVER_WEBHOOK, RECORD_INVALIDATION, REFRESH_OUTDATED
from agentcache.gateway.semantic.spool import semantic_dir
from agentcache.gateway.usage_spool import spool_dir
from agentcache.invalidations.jobs import InvalidationRecording
from agentcache.jobs import services
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import JobFunction, JobKind, Pool, Workers
from agentcache.kit.clock import Clock, SystemClock
from agentcache.kit.egress.guarded import GuardedClient
from agentcache.kit.logs import get_logger
from agentcache.listeners import jobs as listener_jobs
from agentcache.listeners.checking import LIMITS
from agentcache.listeners.reading.reader import Reader
from agentcache.listeners.watching import CONCURRENCY, Watch
from agentcache.mails import services as mails
from agentcache.mails.delivery import open_delivery
from agentcache.mails.jobs import MailSending
from agentcache.mails.services import SEND_MAIL
from agentcache.prewarm import jobs as prewarm_jobs
from agentcache.prewarm import services as prewarm
from agentcache.prewarm.jobs import Prewarming
from agentcache.prewarm.refreshing import RefreshAhead
from agentcache.prewarm.services.batches import RUN as PREWARM
from agentcache.quotas import jobs as quota_jobs
from agentcache.semantics import jobs as semantic_jobs
from agentcache.semantics.judging import AskJudges
from agentcache.settings import Settings
from agentcache.tasks import jobs as task_jobs
from agentcache.tasks.jobs import TaskFunction, TaskRunner
from agentcache.tasks.models import Task
from agentcache.tasks.services import RUN as RUN_TASK
from agentcache.teams.jobs import PURGE_TEAM, TeamPurge, WebhookDelivery
from agentcache.teams.secrets import ServerSecrets
from agentcache.web.inside import LazyInside
from agentcache.webhooks import jobs as webhook_jobs
from agentcache.webhooks.services import DELIVER, REDELIVER

SWEEP_CACHE = "cache.sweep"
SWEEP_EVERY_SECONDS = 60.0
PRUNE_FAILED_JOBS = "jobs.prune_failed"
#: How long jobs that were given up are kept for the operator.
FAILED_JOBS_DAYS = 30
PRUNE_MAILS = "mails.prune"
#: How long mails that were sent or given up are kept.
MAILS_DAYS = 30
#: How long after it was made a mail that was given up can be sent again.
MAIL_TEXT_HOURS = 24
PRUNE_AUDIT = "audit.prune"
#: How long it is kept who did what.
AUDIT_DAYS = 365

_HOUR_SECONDS = 3600.0
_DAY_SECONDS = 24 * _HOUR_SECONDS
#: Deleting many rows takes its time.
_PRUNE_WITHIN_SECONDS = 600.0
_log = get_logger(__name__)


def job_kinds(
    threads: DatabaseThreads, entries: EntryStore, deliver_webhook: JobFunction, send_mail: JobFunction, clock: Clock
) -> Mapping[str, JobKind]:
    """Return every kind of job by its name."""

    async def sweep(_payload: dict[str, object]) -> None:
        removed = await entries.sweep()
        if removed:
            _log.info("cache_swept", entries=removed)

    async def prune_events(_payload: dict[str, object]) -> None:
        await usage_jobs.prune_events(threads, clock)

    async def prune_rollups(_payload: dict[str, object]) -> None:
        await usage_jobs.prune_rollups(threads, clock)

    async def fill_rollups(_payload: dict[str, object]) -> None:
        await usage_jobs.fill_rollups(threads, clock)

    async def prune_failed(_payload: dict[str, object]) -> None:
        before = services.at(clock.now() - FAILED_JOBS_DAYS * _DAY_SECONDS)
        await threads.run(partial(services.prune_failed, before))

    async def prune_mails(_payload: dict[str, object]) -> None:
        before = services.at(clock.now() - MAILS_DAYS * _DAY_SECONDS)
        await threads.run(partial(mails.prune, before), within_seconds=_PRUNE_WITHIN_SECONDS)
        await threads.run(partial(mails.forget_texts, services.at(clock.now() - MAIL_TEXT_HOURS * _HOUR_SECONDS)))

    async def prune_audit(_payload: dict[str, object]) -> None:
        before = services.at(clock.now() - AUDIT_DAYS * _DAY_SECONDS)
        await threads.run(partial(audit.prune, before), within_seconds=_PRUNE_WITHIN_SECONDS)

    async def write_account_mail(payload: dict[str, object]) -> None:
        await threads.run(partial(account_jobs.write_mail, payload))

    async def prune_accounts(_payload: dict[str, object]) -> None:
        await threads.run(account_jobs.prune)

    async def tell_of_use(_payload: dict[str, object]) -> None:
        await threads.run(partial(quota_jobs.tell_of_use, services.at(clock.now())), within_seconds=_HOUR_SECONDS / 60)

    return {
        account_jobs.WRITE_MAIL: JobKind(write_account_mail),
        account_jobs.PRUNE: JobKind(prune_accounts, account_jobs.PRUNE_EVERY_SECONDS),
        DELIVER_WEBHOOK: JobKind(deliver_webhook, pool=Pool.WEBHOOKS),
        RECORD_INVALIDATION: JobKind(InvalidationRecording(threads)),
        SEND_MAIL: JobKind(send_mail),
        SWEEP_CACHE: JobKind(sweep, SWEEP_EVERY_SECONDS),
        usage_jobs.PRUNE_EVENTS: JobKind(prune_events, _HOUR_SECONDS),
        usage_jobs.PRUNE_ROLLUPS: JobKind(prune_rollups, _DAY_SECONDS),
        BACK_FILL: JobKind(fill_rollups),
        quota_jobs.TELL_OF_USE: JobKind(tell_of_use, quota_jobs.TELL_EVERY_SECONDS),
        listener_jobs.PRUNE: JobKind(listener_jobs.Pruning(threads, clock), listener_jobs.PRUNE_EVERY_SECONDS),
        PRUNE_FAILED_JOBS: JobKind(prune_failed, _HOUR_SECONDS),
        PRUNE_MAILS: JobKind(prune_mails, _HOUR_SECONDS),
        PRUNE_AUDIT: JobKind(prune_audit, _DAY_SECONDS),
    }


def webhook_and_task_kinds(
    pools: Mapping[Pool, DatabaseThreads],
    secrets: ServerSecrets,
    client: GuardedClient,
    clock: Clock,
    further: Mapping[str, TaskFunction] = MappingProxyType({}),
    requests_folder: Path | None = None,
) -> dict[str, JobKind]:
    """Return the kinds of jobs that deliver webhooks and do what teams watch; `further` are kinds of tasks."""
    threads = pools[Pool.QUICK]

    async def tidy_webhooks(_payload: dict[str, object]) -> None:
        work = partial(webhook_jobs.tidy, services.at(clock.now()))
        await threads.run(work, within_seconds=_PRUNE_WITHIN_SECONDS)

    async def tidy_tasks(_payload: dict[str, object]) -> None:
        work = partial(task_jobs.tidy, services.at(clock.now()), tell_of_end)
        await threads.run(work, within_seconds=_PRUNE_WITHIN_SECONDS)

    async def tidy_prewarming(_payload: dict[str, object]) -> None:
        now = services.at(clock.now())
        await threads.run(partial(prewarm.prune, now), within_seconds=_PRUNE_WITHIN_SECONDS)
        await threads.run(partial(prewarm.prune_kept, now), within_seconds=_PRUNE_WITHIN_SECONDS)

    async def take_requests(_payload: dict[str, object]) -> None:
        if requests_folder is not None:
            await threads.run(partial(prewarm.take_files, requests_folder), within_seconds=_PRUNE_WITHIN_SECONDS)

    async def start_due(_payload: dict[str, object]) -> None:
        work = partial(prewarm.start_due, secrets, services.at(clock.now()))
        await threads.run(work, within_seconds=_PRUNE_WITHIN_SECONDS)

    # One line for each kind of task.
    functions: dict[str, TaskFunction] = {REDELIVER: webhook_jobs.redeliver_range, **further}
    runner = TaskRunner(pools[Pool.TASKS], functions, clock, on_end=tell_of_end)
    delivery = webhook_jobs.EndpointDelivery(pools[Pool.WEBHOOKS], secrets, client, clock)
    return {
        DELIVER: JobKind(delivery, pool=Pool.WEBHOOKS),
        RUN_TASK: JobKind(runner, pool=Pool.TASKS),
        webhook_jobs.PRUNE: JobKind(tidy_webhooks, webhook_jobs.PRUNE_EVERY_SECONDS),
        task_jobs.PRUNE: JobKind(tidy_tasks, task_jobs.PRUNE_EVERY_SECONDS),
        REFRESH_OUTDATED: JobKind(prewarm_jobs.RefreshingOutdated(threads, requests_folder, clock)),
        prewarm_jobs.TAKE_REQUESTS: JobKind(take_requests, prewarm_jobs.TAKE_REQUESTS_EVERY_SECONDS),
        prewarm_jobs.START_DUE: JobKind(start_due, prewarm_jobs.START_DUE_EVERY_SECONDS),
        prewarm_jobs.PRUNE: JobKind(tidy_prewarming, prewarm_jobs.PRUNE_EVERY_SECONDS),
    }


def tell_of_end(task: Task) -> None:
    """Have every app note how its task ended, in the transaction that ends it."""
    prewarm.note_end(task)
    webhook_jobs.tell_of_end(task)


@contextlib.asynccontextmanager
async def open_worker(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Workers]:
    """Open what jobs need and yield the workers; Django has to be set up. `await workers.run(stop, drain_seconds)` works."""
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        # Each pool has connections of its own, so that a crowd of webhooks holds no mail up.
        pools = {pool: DatabaseThreads() for pool in Pool}
        for each in pools.values():
            stack.callback(each.close)
        threads = pools[Pool.QUICK]
        stores = open_stores(settings, clock)
        stack.push_async_callback(stores.close)
        index = open_index(settings, clock)
        stack.push_async_callback(index.aclose)
        client = GuardedClient(settings.egress_allow, webhook_jobs.LIMITS)
        secrets = ServerSecrets.of(settings)
        delivery = WebhookDelivery(pools[Pool.WEBHOOKS], secrets, client, clock)
        sending = MailSending(threads, open_delivery(settings), settings)
        inside = LazyInside(settings, clock, pools[Pool.TASKS])
        stack.push_async_callback(inside.close)
        prewarming = Prewarming(pools[Pool.TASKS], secrets, inside, clock, encrypt_entries=settings.encrypt_entries)
        near_questions = semantic_jobs.Taking(
            threads,
            secrets,
            index,
            semantic_dir(settings.data_dir),
            clock,
            encrypt_entries=settings.encrypt_entries,
        )
        kinds = {
            **job_kinds(threads, stores.entries, delivery, sending, clock),
            PURGE_TEAM: JobKind(TeamPurge(threads, stores.entries, index)),
            **webhook_and_task_kinds(
                pools, secrets, client, clock, {PREWARM: prewarming}, requests_dir(settings.data_dir)
            ),
            **semantic_jobs.job_kinds(near_questions, threads, clock),
        }
        yield Workers(pools, kinds, clock=clock)


@contextlib.asynccontextmanager
async def open_usage_ingest(settings: Settings) -> AsyncIterator[UsageIngest]:
    """Open what moves usage files into the database; `await ingest.run(stop)` works."""
    # Its own thread: a large batch of usage must not hold up the claiming of jobs.
    threads = DatabaseThreads(threads=1)
    try:
        yield UsageIngest(spool_dir(settings.data_dir), settings.run_dir, threads)
    finally:
        threads.close()


@contextlib.asynccontextmanager
async def open_watch(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Watch]:
    """Open what keeps listeners checked; `await watch.run(stop)` works."""
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        # Its own thread, like usage: what many sources say must not hold up the claiming of jobs.
        threads = DatabaseThreads(threads=1)
        stack.callback(threads.close)
        stores = open_stores(settings, clock)
        stack.push_async_callback(stores.close)
        # Names are looked up in threads: slow ones must not keep the others waiting.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CONCURRENCY, "look-up"))
        reader = await stack.enter_async_context(Reader())
        client = GuardedClient(settings.egress_allow, LIMITS)
        yield Watch(threads, stores.entries, client, reader, clock, settings.origin)


@contextlib.asynccontextmanager
async def open_refreshing(settings: Settings, clock: Clock | None = None) -> AsyncIterator[RefreshAhead]:
    """Open what asks anew for what is due; `await refreshing.run(stop)` works."""
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        # Its own thread, like watching: what many requests are asked must not hold up the claiming of jobs.
        threads = DatabaseThreads(threads=1)
        stack.callback(threads.close)
        inside = LazyInside(settings, clock, threads)
        stack.push_async_callback(inside.close)
        secrets = ServerSecrets.of(settings)
        yield RefreshAhead(threads, secrets, inside, clock, encrypt_entries=settings.encrypt_entries)


@contextlib.asynccontextmanager
async def open_judging(settings: Settings, clock: Clock | None = None) -> AsyncIterator[AskJudges]:
    """Open what asks judges about near questions; `await judging.run(stop)` works."""
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        # Its own thread, like refreshing.
        threads = DatabaseThreads(threads=1)
        stack.callback(threads.close)
        inside = LazyInside(settings, clock, threads)
        stack.push_async_callback(inside.close)
        index = open_index(settings, clock)
        stack.push_async_callback(index.aclose)
        secrets = ServerSecrets.of(settings)
        yield AskJudges(threads, secrets, inside, index, clock, encrypt_entries=settings.encrypt_entries)
