"""Batches: keep one and start the job that does it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from msgspec import UnsetType

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.gateway.inside import InsideRequest
from agentcache.kit.money import usd
from agentcache.prewarm.errors import BatchNotFound, BatchNotRepeatable, CredentialMissing, TooManyBatches
from agentcache.prewarm.given import CheckedRequest, Options
from agentcache.prewarm.items import numbered
from agentcache.prewarm.models import Batch, BatchRequest, BatchState, ProviderCredential, RequestState
from agentcache.tasks import services as tasks
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets, current_settings
from agentcache.teams.tenancy import rows_of

#: Kind of the task that does a batch.
RUN = "prewarm.batch"
ACTIVE_MAX = 10
#: How long batches are kept after they were made.
KEPT = timedelta(days=30)
#: How long a dry run keeps what it asked, to be run for real.
REPEATABLE = timedelta(days=7)
_ROWS_AT_ONCE = 500
_ACTIVE = (BatchState.WAITING, BatchState.RUNNING)


def start_batch(
    secrets: ServerSecrets, team: Team, requests: Sequence[CheckedRequest], options: Options, *, actor: Actor
) -> Batch:
    """Keep a batch, its requests sealed, and the job that does it.

    Raises `CredentialMissing` when the team keeps no credential for one of its providers, and `TooManyBatches`.
    """
    batch = Batch(
        team=team,
        title=options.title,
        is_dry_run=options.is_dry_run,
        concurrency=options.concurrency,
        rate_per_second=options.rate_per_second,
        cost_cap_usd_nanos=cap_of(options),
        output_tokens=options.output_tokens,
        total=len(requests),
        items=sum(one.is_item for one in requests),
    )
    # Before anything is locked: sealing thousands takes its time.
    rows = _sealed(secrets, team, batch, requests)
    with transaction.atomic():
        locked = Team.objects.select_for_update().get(pk=team.pk)
        _check_may_start(locked, {one.request.dialect for one in requests})
        batch.save(force_insert=True)
        BatchRequest.objects.bulk_create(rows, batch_size=_ROWS_AT_ONCE)
        _start_task(locked, batch, actor)
    return batch


def cap_of(options: Options) -> int | None:
    """Return the most that a batch may cost, 1e-9 USD: as its options say, else the server's default; None for no cap."""
    cap = options.cost_cap_usd_nanos
    return current_settings().prewarm_cost_cap_usd_nanos if isinstance(cap, UnsetType) else cap


def run_again(team: Team, batch_id: str, *, actor: Actor) -> Batch:
    """Do for real what a dry run found out. Raises `BatchNotFound`, `BatchNotRepeatable` and what starting raises."""
    with transaction.atomic():
        locked = Team.objects.select_for_update().get(pk=team.pk)
        batch = rows_of(locked, Batch).select_for_update().filter(pk=batch_id).first()
        if batch is None:
            raise BatchNotFound
        if not batch.is_ended:
            raise BatchNotRepeatable("This prewarming is under way.")
        rows = rows_of(locked, BatchRequest).filter(batch=batch)
        if not batch.is_dry_run or rows.filter(sealed=b"").exists():
            raise BatchNotRepeatable
        _check_may_start(locked, set(rows.values_list("provider", flat=True).distinct()))
        rows.update(state=RequestState.WAITING, reason="", status=None, reserved_usd_nanos=0, cost_usd_nanos=0)
        batch.is_dry_run, batch.state, batch.ended_at, batch.error = False, BatchState.WAITING, None, ""
        batch.warmed = batch.skipped = batch.failed = 0
        _start_task(locked, batch, actor)
    return batch


def open_request(secrets: ServerSecrets, team: Team, row: BatchRequest) -> InsideRequest:
    """Return what a row asks."""
    raw = secrets.open_for_team(team.pk, bytes(team.wrapped_data_key), row.place, bytes(row.sealed))
    head, _, body = raw.partition(b"\n")
    path, headers = json.loads(head)
    return InsideRequest(row.provider, path, tuple((name, value) for name, value in headers), body)


def prune(now: datetime) -> None:
    """Delete old batches, and what dry runs asked that nobody ran for real."""
    Batch.objects.filter(created_at__lt=now - KEPT).exclude(state__in=_ACTIVE).delete()
    old = BatchRequest.objects.filter(batch__ended_at__lt=now - REPEATABLE).exclude(sealed=b"")
    old.update(sealed=b"")


def _check_may_start(team: Team, providers: set[str]) -> None:
    if rows_of(team, Batch).filter(state__in=_ACTIVE).count() >= ACTIVE_MAX:
        raise TooManyBatches
    kept = set(rows_of(team, ProviderCredential).values_list("provider", flat=True))
    missing = sorted(providers - kept)
    if missing:
        raise CredentialMissing(f"The team keeps no credential for {missing[0]}; keep one first.", param="provider")


def _sealed(secrets: ServerSecrets, team: Team, batch: Batch, requests: Sequence[CheckedRequest]) -> list[BatchRequest]:
    rows, wrapped = [], bytes(team.wrapped_data_key)
    groups = numbered([one.request if one.is_item else None for one in requests])
    for position, (one, group) in enumerate(zip(requests, groups, strict=True)):
        row = BatchRequest(
            batch=batch,
            team=team,
            position=position,
            provider=one.request.dialect,
            model=one.model[:200],
            group=group,
        )
        head = json.dumps([one.request.path, one.request.headers]).encode()
        row.sealed = secrets.seal_for_team(team.pk, wrapped, row.place, head + b"\n" + one.request.body)
        rows.append(row)
    return rows


def _start_task(team: Team, batch: Batch, actor: Actor) -> None:
    what = batch.title or f"{batch.total:,} request{'' if batch.total == 1 else 's'}"
    title = f"{'Dry run of prewarming' if batch.is_dry_run else 'Prewarm'}: {what}"
    task = tasks.start(team, RUN, title, {"batch_id": batch.pk}, total=batch.total, actor=actor)
    batch.task_id, batch.started_by = task.pk, task.started_by
    batch.save()
    cap = batch.cost_cap_usd_nanos
    audit.record(
        action="prewarm.started",
        actor=actor,
        team_id=team.pk,
        target_kind="prewarming",
        target_id=batch.pk,
        target_name=batch.title,
        after={
            "requests": batch.total,
            "embeddings": batch.items,
            "is_dry_run": batch.is_dry_run,
            "cost_cap_usd": None if cap is None else usd(cap),
            "at": timezone.now(),
        },
    )
