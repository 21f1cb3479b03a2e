"""Kept requests that are due: what a policy has refreshed before anybody waits, and what is known to be outdated.

Taking one in hand moves its time on by a lease. A worker that is killed leaves it to be taken again after that, and what was
answered meanwhile is found fresh then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from agentcache.engine.entries import Selector
from agentcache.gateway.inside import InsideRequest
from agentcache.gateway.ports import Principal
from agentcache.policies.policy_book import PolicyBook
from agentcache.prewarm.items import ITEMS_PER_CALL
from agentcache.prewarm.models import KeptRequest, ProviderCredential
from agentcache.prewarm.queries import keeps_requests
from agentcache.prewarm.services.credentials import open_credential
from agentcache.prewarm.services.keeping import meant, opened_row
from agentcache.teams.directory import team_principal
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

LEASE = timedelta(minutes=15)
#: After a failure it is tried again so much later, doubled with each one; after so many it is left to its callers.
AGAIN = timedelta(minutes=1)
FAILURES_MAX = 5
#: One change has at most so many asked anew: a page that changes all day must not cost a fortune.
MARKED_MAX = 1_000
#: Of what is taken at once, one team has at most this share.
TEAM_SHARE = 0.5
_LOOKED_PER_TAKEN = 4


@dataclass(frozen=True, slots=True)
class WorkingTeam:
    """A team as the server works for it. Its credentials are never logged."""

    principal: Principal
    #: Provider -> credential.
    credentials: Mapping[str, str]

    def __repr__(self) -> str:
        return f"WorkingTeam({self.principal.tenant.id})"


@dataclass(frozen=True, slots=True)
class DueRequest:
    """A kept request that somebody has in hand."""

    row_id: int
    team_id: str
    cache_key: bytes
    request: InsideRequest
    #: Unix seconds; None where it is to be refreshed only if it is in use.
    outdated_since: float | None
    leased_until: datetime
    #: Whether it is one item of embeddings, to be asked together with others.
    is_item: bool = False


def working_team(secrets: ServerSecrets, team: Team, *, encrypt_entries: bool) -> WorkingTeam:
    """Return a team with what the server needs to ask providers for it."""
    principal = team_principal(
        secrets,
        team,
        encrypt_entries=encrypt_entries,
        policies=PolicyBook().of(team.pk),
        keeps_requests=keeps_requests(team.pk),
    )
    rows = rows_of(team, ProviderCredential)
    return WorkingTeam(principal, {row.provider: open_credential(secrets, team, row) for row in rows})


def mark_outdated(team: Team, selectors: Sequence[Selector], at: datetime, now: datetime) -> int:
    """Have the kept requests asked anew whose answers fell under a selector at a time, the newest; return how many."""
    ids = meant(team, selectors, at)[:MARKED_MAX]
    marked = 0
    for first in range(0, len(ids), 500):
        rows = rows_of(team, KeptRequest).filter(pk__in=ids[first : first + 500])
        marked += rows.update(refresh_at=now, outdated_since=at, refresh_failures=0)
    return marked


def claim_due(
    secrets: ServerSecrets, now: datetime, room: int, *, encrypt_entries: bool
) -> tuple[list[DueRequest], dict[str, WorkingTeam]]:
    """Take due requests for up to `room` calls in hand, oldest first, and return them with their teams."""
    # Crosses tenants: the worker serves them all, each by its own row.
    due = KeptRequest.objects.filter(refresh_at__lte=now)
    # Asked first without a lock, for an idle worker asks every few seconds and SQLite has a single writer.
    if room <= 0 or not due.exists():
        return [], {}
    until = now + LEASE
    with transaction.atomic():
        looked = due.select_for_update().order_by("refresh_at", "id")[: room * _LOOKED_PER_TAKEN]
        taken = _share(list(looked), room)
        KeptRequest.objects.filter(pk__in=[row.pk for row in taken]).update(refresh_at=until)
    teams = {
        team.pk: working_team(secrets, team, encrypt_entries=encrypt_entries)
        for team in Team.objects.filter(pk__in={row.team_id for row in taken})
    }
    found = [_due(teams[row.team_id], row, until) for row in taken if row.team_id in teams]
    return [one for one in found if one is not None], teams


def note_refreshed(due: DueRequest) -> None:
    """Note that nothing is left to do for a request, unless its new answer has put it down anew already."""
    _held(due).update(refresh_at=None, outdated_since=None, refresh_failures=0)


def note_failed(due: DueRequest, now: datetime) -> None:
    """Have a request tried again later, or leave it to its callers after many failures."""
    row = _held(due).first()
    if row is None:
        return
    failures = row.refresh_failures + 1
    again = now + AGAIN * 2 ** (failures - 1) if failures < FAILURES_MAX else None
    _held(due).update(refresh_at=again, refresh_failures=failures if again is not None else 0)


def _held(due: DueRequest) -> QuerySet[KeptRequest]:
    return rows_of(Team(id=due.team_id), KeptRequest).filter(pk=due.row_id, refresh_at=due.leased_until)


def _share(rows: Sequence[KeptRequest], room: int) -> list[KeptRequest]:
    """Return the rows for which there is room, no team's more than its share."""
    taken: list[KeptRequest] = []
    by_team = Counter[str]()
    # Items that look as if they went together, by what is not sealed, are one call.
    calls = Counter[tuple[object, ...]]()
    for row in rows:
        call = (row.team_id, row.provider, row.path, str(row.tags), str(row.sources)) if row.asked_as else None
        is_joining = call is not None and 0 < calls[call] < ITEMS_PER_CALL
        if not is_joining:
            if by_team.total() >= room or by_team[row.team_id] >= max(1, room * TEAM_SHARE):
                continue
            by_team[row.team_id] += 1
        if call is not None:
            calls[call] = calls[call] + 1 if is_joining else 1
        taken.append(row)
    return taken


def _due(team: WorkingTeam, row: KeptRequest, until: datetime) -> DueRequest | None:
    opened = opened_row(team.principal.tenant, row)
    if opened is None:
        return None
    return DueRequest(
        row.pk,
        row.team_id,
        bytes.fromhex(row.cache_key),
        opened.request,
        row.outdated_since.timestamp() if row.outdated_since is not None else None,
        until,
        opened.is_item,
    )
