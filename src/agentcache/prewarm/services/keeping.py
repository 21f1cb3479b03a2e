"""Kept requests: whether a team wants them, taking them from the gateway, choosing among them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from django.db import transaction
from django.utils import timezone

from agentcache.analytics.queries import most_asked
from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.gateway.inside import InsideRequest
from agentcache.gateway.kept_requests import KeptRequest as Spooled
from agentcache.gateway.kept_requests import open_request as open_kept
from agentcache.gateway.kept_requests import read_requests, waiting_request_files
from agentcache.kit.logs import get_logger
from agentcache.prewarm.errors import NothingToPrewarm, RequestsNotKept
from agentcache.prewarm.given import CheckedRequest, Choice, Source
from agentcache.prewarm.models import Keeping, KeptRequest
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

KEPT_FOR = timedelta(days=30)
KEPT_MAX = 10_000
_ROWS_AT_ONCE = 500
_FILES_AT_ONCE = 200
_log = get_logger(__name__)


def set_keeping(team: Team, *, is_on: bool, actor: Actor) -> None:
    """Keep requests from now on, or delete those that are kept and keep no more."""
    with transaction.atomic():
        locked = Team.objects.select_for_update().get(pk=team.pk)
        was_on = rows_of(locked, Keeping).exists()
        if was_on == is_on:
            return
        if is_on:
            Keeping.objects.create(team=locked)
        else:
            rows_of(locked, Keeping).delete()
            rows_of(locked, KeptRequest).delete()
        audit.record(
            action="prewarm_keeping.changed",
            actor=actor,
            team_id=locked.pk,
            target_kind="team",
            target_id=locked.pk,
            target_name=locked.name,
            before={"keeps_requests": was_on},
            after={"keeps_requests": is_on},
        )


def take_files(folder: Path) -> int:
    """Take what the gateway left into the database, each file in one transaction; return how many requests."""
    taken = 0
    for path in waiting_request_files(folder)[:_FILES_AT_ONCE]:
        try:
            spooled = read_requests(path)
        except FileNotFoundError:
            continue  # another worker was faster
        except msgspec.DecodeError:
            _log.warning("requests_file_unreadable", file=path.name)
            spooled = []
        taken += _keep(spooled)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    return taken


def choose(secrets: ServerSecrets, team: Team, choice: Choice) -> list[CheckedRequest]:
    """Return the kept requests that fit. Raises `RequestsNotKept`, and `NothingToPrewarm` when none does."""
    if not rows_of(team, Keeping).exists():
        raise RequestsNotKept
    rows = _rows(team, choice, timezone.now())
    if not rows:
        raise NothingToPrewarm
    tenant = secrets.tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=False)
    found = []
    for row in rows:
        path, headers, body = open_kept(tenant, row.cache_key, bytes(row.sealed))
        found.append(CheckedRequest(InsideRequest(row.provider, path, headers, body), row.model))
    return found


def prune_kept(now: datetime) -> None:
    """Delete kept requests that are old, and beyond 10,000 of a team those that were stored first."""
    KeptRequest.objects.filter(stored_at__lt=now - KEPT_FOR).delete()
    for row in Keeping.objects.select_related("team"):
        newest = rows_of(row.team, KeptRequest).order_by("-stored_at", "-id")
        last = newest.values_list("stored_at", flat=True)[KEPT_MAX : KEPT_MAX + 1].first()
        if last is not None:
            rows_of(row.team, KeptRequest).filter(stored_at__lte=last).delete()


def _keep(spooled: Sequence[Spooled]) -> int:
    wanted = set(Keeping.objects.filter(team__in={one.tenant_id for one in spooled}).values_list("team_id", flat=True))
    # The last of each key: a statement may name a row once.
    newest = {(one.tenant_id, one.cache_key): one for one in spooled if one.tenant_id in wanted}
    rows = [
        KeptRequest(
            team_id=one.tenant_id,
            cache_key=one.cache_key[:64],
            provider=one.dialect[:64],
            model=one.model[:200].replace("\0", ""),
            sealed=one.sealed,
            stored_at=datetime.fromtimestamp(one.stored_at, UTC),
            expires_at=datetime.fromtimestamp(one.expires_at, UTC),
        )
        for one in newest.values()
    ]
    KeptRequest.objects.bulk_create(
        rows,
        batch_size=_ROWS_AT_ONCE,
        update_conflicts=True,
        unique_fields=["team", "cache_key"],
        update_fields=["provider", "model", "sealed", "stored_at", "expires_at"],
    )
    return len(rows)


def _rows(team: Team, choice: Choice, now: datetime) -> list[KeptRequest]:
    window = timedelta(seconds=choice.window_seconds)
    kept = rows_of(team, KeptRequest)
    if choice.source is Source.EXPIRING:
        return list(kept.filter(expires_at__lte=now + window).order_by("expires_at", "id")[: choice.limit])
    if choice.source is Source.INVALIDATED:
        # Those whose answers are still there are skipped when it is their turn.
        there = kept.filter(expires_at__gt=now, stored_at__gte=now - window)
        return list(there.order_by("-stored_at", "-id")[: choice.limit])
    since_ms = int((now - window).timestamp() * 1000)
    places = {key: place for place, key in enumerate(most_asked(team, since_ms))}
    known = sorted(
        (key for key in kept.values_list("cache_key", flat=True) if key in places), key=lambda key: places[key]
    )[: choice.limit]
    rows = {row.cache_key: row for row in kept.filter(cache_key__in=known)}
    return [rows[key] for key in known if key in rows]
