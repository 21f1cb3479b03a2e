"""Kept requests: whether a team wants them, taking them from the gateway, choosing among them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from agentcache.analytics.queries import most_asked
from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.engine.entries import Selector, Tenant
from agentcache.engine.stores.selection import matches
from agentcache.gateway.inside import InsideRequest
from agentcache.gateway.kept_requests import KeptRequest as Spooled
from agentcache.gateway.kept_requests import open_request as open_kept
from agentcache.gateway.kept_requests import read_requests, waiting_request_files
from agentcache.kit.crypto import DecryptionFailed
from agentcache.kit.logs import get_logger
from agentcache.prewarm.errors import NothingToPrewarm, RequestsNotKept
from agentcache.prewarm.given import CheckedRequest, Choice, Source
from agentcache.prewarm.models import Keeping, KeptRequest
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

KEPT_FOR = timedelta(days=30)
#: Of a team: so many requests, and as many items of embeddings beside them.
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
            # What a policy refreshes ahead is needed for that, and goes when the policy does.
            rows_of(locked, KeptRequest).filter(refresh_at__isnull=True).delete()
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
    taken = untrimmed = 0
    teams: set[str] = set()
    for path in waiting_request_files(folder)[:_FILES_AT_ONCE]:
        try:
            spooled = read_requests(path)
        except FileNotFoundError:
            continue  # another worker was faster
        except msgspec.DecodeError:
            _log.warning("requests_file_unreadable", file=path.name)
            spooled = []
        kept = _keep(spooled)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        taken, untrimmed = taken + kept, untrimmed + kept
        teams.update(one.tenant_id for one in spooled)
        # Whoever embeds a whole library must not fill the database until the next hour.
        if untrimmed >= KEPT_MAX:
            _trim(teams)
            untrimmed = 0
    if untrimmed:
        _trim(teams)
    return taken


def choose(secrets: ServerSecrets, team: Team, choice: Choice) -> list[CheckedRequest]:
    """Return the kept requests that fit. Raises `RequestsNotKept`, and `NothingToPrewarm` when none does."""
    if not rows_of(team, Keeping).exists():
        raise RequestsNotKept
    found = opened(secrets, team, _chosen(team, choice, timezone.now()))
    if not found:
        raise NothingToPrewarm
    return found


def meant(team: Team, selectors: Sequence[Selector], at: datetime) -> list[int]:
    """Return the ids of the kept requests whose answers were good at a time and fall under one of the selectors.

    It is told by what was kept with the request: the entries themselves may be gone already.
    """
    rows = _facts(rows_of(team, KeptRequest).filter(expires_at__gt=at, stored_at__lte=at).order_by("-stored_at", "-id"))
    return [row_id for row_id, key, facts in rows if any(matches(one, key, facts) for one in selectors)]


def opened(secrets: ServerSecrets, team: Team, row_ids: Sequence[int]) -> list[CheckedRequest]:
    """Return kept requests as they can be made, in this order; those that are gone are left out."""
    tenant = secrets.tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=False)
    found: dict[int, CheckedRequest] = {}
    for first in range(0, len(row_ids), _ROWS_AT_ONCE):
        for row in rows_of(team, KeptRequest).filter(pk__in=row_ids[first : first + _ROWS_AT_ONCE]):
            one = opened_row(tenant, row)
            if one is not None:
                found[row.pk] = one
    return [found[row_id] for row_id in row_ids if row_id in found]


def opened_row(tenant: Tenant, row: KeptRequest) -> CheckedRequest | None:
    """Return one kept request as it can be made; None for what does not open."""
    try:
        path, headers, body = open_kept(tenant, row.cache_key, bytes(row.sealed))
    except DecryptionFailed:
        _log.warning("kept_request_not_opened", team_id=row.team_id)
        return None
    return CheckedRequest(InsideRequest(row.provider, path, headers, body), row.model, is_item=bool(row.asked_as))


def prune_kept(now: datetime) -> None:
    """Delete kept requests that are old, and beyond 10,000 of a team and kind those that were stored first."""
    KeptRequest.objects.filter(stored_at__lt=now - KEPT_FOR).delete()
    # Of teams that keep nothing only what a policy refreshes ahead.
    unwanted = KeptRequest.objects.filter(refresh_at__isnull=True)
    unwanted.exclude(team__in=Keeping.objects.values("team")).delete()
    _trim(KeptRequest.objects.values_list("team_id", flat=True).distinct())


def _trim(team_ids: Iterable[str]) -> None:
    for team_id in list(team_ids):
        rows = rows_of(Team(id=team_id), KeptRequest)
        if rows.count() <= KEPT_MAX:
            continue
        for kind in (rows.filter(asked_as=""), rows.exclude(asked_as="")):
            newest = kind.order_by("-stored_at", "-id")
            last = newest.values_list("stored_at", flat=True)[KEPT_MAX : KEPT_MAX + 1].first()
            if last is not None:
                newest.filter(stored_at__lte=last).delete()


def _keep(spooled: Sequence[Spooled]) -> int:
    teams = {one.tenant_id for one in spooled}
    wanted = set(Keeping.objects.filter(team__in=teams).values_list("team_id", flat=True))
    there = set(Team.objects.filter(pk__in=teams).values_list("pk", flat=True))
    # The last of each key: a statement may name a row once. What a policy refreshes ahead is kept for that alone.
    newest = {
        (one.tenant_id, one.cache_key): one
        for one in spooled
        if one.tenant_id in wanted or (one.refresh_at and one.tenant_id in there)
    }
    asked_before = _asked_before(newest.values())
    rows = [
        KeptRequest(
            team_id=one.tenant_id,
            cache_key=one.cache_key[:64],
            provider=one.dialect[:64],
            model=one.model[:200].replace("\0", ""),
            sealed=one.sealed,
            stored_at=datetime.fromtimestamp(one.stored_at, UTC),
            expires_at=datetime.fromtimestamp(one.expires_at, UTC),
            path=one.path[:600].replace("\0", ""),
            tags=list(one.tags),
            sources=list(one.sources),
            refresh_at=datetime.fromtimestamp(one.refresh_at, UTC) if one.refresh_at else None,
            asked_as=asked_before.get((one.tenant_id, one.cache_key), one.asked_as)[:64],
        )
        for one in newest.values()
    ]
    KeptRequest.objects.bulk_create(
        rows,
        batch_size=_ROWS_AT_ONCE,
        update_conflicts=True,
        unique_fields=["team", "cache_key"],
        update_fields=[
            "provider",
            "model",
            "sealed",
            "stored_at",
            "expires_at",
            "path",
            "tags",
            "sources",
            "refresh_at",
            "outdated_since",
            "refresh_failures",
            "asked_as",
        ],
    )
    return len(rows)


def _asked_before(spooled: Iterable[Spooled]) -> dict[tuple[str, str], str]:
    """Return for items that now came alone, or by ourselves, with which request callers had fetched them before."""
    alone: dict[str, list[str]] = {}
    for one in spooled:
        if one.asked_as == one.cache_key:
            alone.setdefault(one.tenant_id, []).append(one.cache_key)
    found: dict[tuple[str, str], str] = {}
    for team_id, keys in alone.items():
        items = rows_of(Team(id=team_id), KeptRequest).exclude(asked_as="")
        for first in range(0, len(keys), _ROWS_AT_ONCE):
            there = items.filter(cache_key__in=keys[first : first + _ROWS_AT_ONCE])
            found |= {(team_id, key): asked_as for key, asked_as in there.values_list("cache_key", "asked_as")}
    return found


@dataclass(frozen=True, slots=True)
class _Facts:
    """Implements `selection.Selectable`."""

    namespace: str
    dialect: str
    model: str
    path: str
    stored_at: float
    tags: tuple[str, ...]
    sources: tuple[str, ...]


def _facts(rows: QuerySet[KeptRequest]) -> Iterator[tuple[int, bytes, _Facts]]:
    """Yield id, cache key and what selectors look at, without opening anything."""
    names = ("pk", "cache_key", "provider", "model", "path", "stored_at", "tags", "sources")
    for row_id, key, provider, model, path, stored_at, tags, sources in rows.values_list(*names):
        namespace = path.partition("/")[0]
        facts = _Facts(namespace, provider, model, path, stored_at.timestamp(), tuple(tags), tuple(sources))
        yield row_id, bytes.fromhex(key), facts


def _chosen(team: Team, choice: Choice, now: datetime) -> list[int]:
    window = timedelta(seconds=choice.window_seconds)
    kept = rows_of(team, KeptRequest)
    if choice.source is Source.EXPIRING:
        kept = kept.filter(expires_at__lte=now + window).order_by("expires_at", "id")
    elif choice.source is Source.INVALIDATED:
        # Those whose answers are still there are skipped when it is their turn.
        kept = kept.filter(expires_at__gt=now, stored_at__gte=now - window).order_by("-stored_at", "-id")
    selector = Selector(source=choice.source_url or None, tags=choice.tags)
    rows = [(row_id, key.hex()) for row_id, key, facts in _facts(kept) if matches(selector, key, facts)]
    if choice.source is Source.TOP:
        rows = _most_asked_first(team, rows, now - window)
    return [row_id for row_id, _ in rows[: choice.limit]]


def _most_asked_first(team: Team, rows: Sequence[tuple[int, str]], since: datetime) -> list[tuple[int, str]]:
    """Return those of the ids and keys that callers asked for, an item of embeddings with the request that it came with."""
    times = most_asked(team, int(since.timestamp() * 1000))
    came_with = dict(rows_of(team, KeptRequest).exclude(asked_as="").values_list("cache_key", "asked_as"))
    asked = {key: sum(times.get(name, 0) for name in {key, came_with.get(key, key)}) for _, key in rows}
    return sorted((row for row in rows if asked[row[1]]), key=lambda row: (-asked[row[1]], row[1]))
