"""Fills a database with usage of the last 90 days: teams, people, keys, events, and the roll-ups as the product makes them.

What is there already is kept; only the time since the last filling is added. Django has to be set up.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

from django.db import connection, transaction

from agentcache.accounts.models import User
from agentcache.analytics import pruning, rollup_tables, services
from agentcache.analytics.models import UsageEvent
from agentcache.analytics.retention import ROLLUP_DAYS
from agentcache.analytics.rollups import Grain, Seen, fold
from agentcache.audit.services import Actor
from agentcache.gateway import ports
from agentcache.quotas import services as quotas
from agentcache.quotas.models import SubjectKind
from agentcache.quotas.services import NewLimit
from agentcache.teams.models import ApiKey, Membership, Role, Team
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import create_api_key, create_team
from benchmarks.pages_traffic import AGENTS, DAY_MS, TeamTraffic, weight

DAYS = 90
#: Shares of the teams in all requests; the first one's pages are measured, the rest has to be in the way.
SHARES = (0.6, 0.12, 0.08, 0.05, *(0.15 / 16,) * 16)
_KEYS, _MEMBERS = (40, 25), (6, 4)
#: Adding less than this would not be worth the time.
_GAP_MS = 600_000
_COLUMNS = tuple(name.replace("tenant_id", "team_id") for name in ports.UsageEvent.__struct_fields__)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What a filled database is known to hold; written with each day, so that a filling that was cut off goes on."""

    path: Path

    def read(self) -> dict[str, float]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def write(self, until_ms: int, per_weight: float) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"until_ms": until_ms, "per_weight": per_weight}))
        fresh.replace(self.path)


def fill(folder: Path, events: int) -> None:
    """Bring the database up to now."""
    now_ms = int(time.time() * 1000)
    stamp = _Stamp(folder / "filled.json")
    known = stamp.read()
    since = int(known.get("until_ms") or now_ms - DAYS * DAY_MS)
    if known and now_ms - since < _GAP_MS:
        return
    per_weight = known.get("per_weight") or events / weight(now_ms - DAYS * DAY_MS, now_ms)
    teams = _teams(seed=since)
    _hurry()
    seen, began, taken = rollup_tables.new_seen(), time.monotonic(), 0
    while since < now_ms:
        until = min(now_ms, since - since % DAY_MS + DAY_MS)
        with transaction.atomic():
            for team in teams:
                count = round(per_weight * weight(since, until) * team.share)
                _keep(team.rows(since, until, count), seen, now_ms)
                taken += count
        stamp.write(until, per_weight)
        since = until
        print(f"\r{connection.vendor}: {taken:,} events in {time.monotonic() - began:.0f} s", end="", flush=True)
    print()
    for team_id, before_ms in pruning.event_cutoffs(now_ms / 1000):
        while pruning.prune_events(team_id, before_ms):
            continue
    pruning.prune_rollups(now_ms / 1000)
    if connection.vendor == "postgresql":
        # What autovacuum does in the course of 90 days.
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")
    else:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _keep(rows: list[tuple[str | int, ...]], seen: Seen, now_ms: int) -> None:
    if not rows:
        return
    if connection.vendor == "postgresql":
        table = f"COPY {UsageEvent._meta.db_table} ({', '.join(_COLUMNS)}) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(table) as copy:
            for row in rows:
                copy.write_row(row)
    else:
        connection.ensure_connection()
        connection.connection.executemany(services.insert_events(1, "sqlite").partition(" RETURNING")[0], rows)
    oldest_ms = now_ms - ROLLUP_DAYS[Grain.FIVE_MINUTES] * DAY_MS
    if rows[-1][1] < oldest_ms:
        # Sums of hours and days are the same, and those of five minutes are left out anyway: a tenth of the work.
        rows = [(row[0], row[1] - row[1] % 3_600_000, *row[2:]) for row in rows]
    additions = fold(rows, _COLUMNS, seen)
    # As if the job that prunes had run every day.
    additions.leave_out(Grain.FIVE_MINUTES, oldest_ms // 1000)
    rollup_tables.keep(additions)
    quotas.count_usage(rows, _COLUMNS)


def _hurry() -> None:
    # Whoever loses a benchmark's database fills it again.
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("PRAGMA cache_size = -400000")
        else:
            cursor.execute("SET statement_timeout = 0")


def _teams(seed: int) -> list[TeamTraffic]:
    return [
        TeamTraffic(team.pk, [(key.pk, key.created_by_id or "") for key in _keys(team, place)], share, seed + place)
        for place, (team, share) in enumerate(zip(_team_rows(), SHARES, strict=True))
    ]


def _team_rows() -> list[Team]:
    for place in range(Team.objects.filter(slug__startswith="bench-").count(), len(SHARES)):
        with transaction.atomic():
            team = create_team(current_secrets(), f"Bench {place:02}", slug=f"bench-{place:02}")
            for number in range(_MEMBERS[0] if place == 0 else _MEMBERS[1]):
                _member(team, place, number)
            _make_keys(team, place)
            if place == 0:
                _set_limits(team)
    return list(Team.objects.filter(slug__startswith="bench-").order_by("slug"))


def _member(team: Team, place: int, number: int) -> None:
    user = User.objects.create_user(f"member-{number}@bench-{place:02}.example", name=f"Member {number}")
    is_owner = number == 0
    user.is_staff = user.is_superuser = is_owner and place == 0
    user.save()
    Membership.objects.create(
        team=team, user=user, role=Role.ADMIN if is_owner else Role.MEMBER, is_owner=is_owner, has_billing=is_owner
    )


def _make_keys(team: Team, place: int) -> None:
    users = [one.user for one in Membership.objects.filter(team=team).select_related("user").order_by("pk")]
    for number in range(_KEYS[0] if place == 0 else _KEYS[1]):
        create_api_key(current_secrets(), team, f"service-{number:02}", created_by=users[number % len(users)])


def _set_limits(team: Team) -> None:
    actor, pick = Actor(), random.Random(7)
    for key in ApiKey.objects.filter(team=team).order_by("pk")[:20]:
        limit = NewLimit(requests_per_month=pick.randrange(100_000, 2_000_000))
        quotas.set_limit(team, SubjectKind.KEY, key.pk, limit, actor=actor)
    for agent in AGENTS[:10]:
        limit = NewLimit(budget_usd_nanos_per_month=pick.randrange(10**11, 10**12))
        quotas.set_limit(team, SubjectKind.AGENT, agent, limit, actor=actor)


def _keys(team: Team, place: int) -> list[ApiKey]:
    return list(ApiKey.objects.filter(team=team).order_by("pk"))


def size_bytes(app_db: Path) -> int:
    """Return how large the database is."""
    if connection.vendor == "sqlite":
        return sum(path.stat().st_size for path in app_db.parent.glob(f"{app_db.name}*"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])
