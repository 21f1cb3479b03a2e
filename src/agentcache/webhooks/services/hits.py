"""Telling of hits: a sample, taken where usage is counted. No hit waits for it, and nothing is told unless asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from zlib import crc32

from agentcache.gateway.ports import Outcome
from agentcache.jobs.services import at
from agentcache.kit.money import usd
from agentcache.teams.models import Team
from agentcache.webhooks.models import Endpoint
from agentcache.webhooks.services.emitting import write_message

CACHE_HIT = "cache.hit"
#: Hits of one team that are told of in one call, so that the keeping of usage is never held up; further ones are not told.
HITS_MAX = 50
_HITS = frozenset({Outcome.EXACT.value, Outcome.SEMANTIC.value, Outcome.STALE.value})


def tell_of_hits(rows: Iterable[Sequence[str | int]], columns: Sequence[str]) -> int:
    """Tell of a share of these usage events, in the transaction that keeps them; return of how many.

    Rows and columns are those of the events' table. Which hits are in the share depends on their ids alone.
    """
    # Of all teams: usage of many comes in one batch.
    asking: dict[str, list[Endpoint]] = {}
    for endpoint in Endpoint.objects.filter(is_enabled=True, hits_per_mille__gt=0):
        if CACHE_HIT in endpoint.event_types:
            asking.setdefault(endpoint.team_id, []).append(endpoint)
    if not asking:
        return 0
    place = {name: number for number, name in enumerate(columns)}
    told: Counter[str] = Counter()
    for row in rows:
        team_id = str(row[place["team_id"]])
        if team_id not in asking or row[place["outcome"]] not in _HITS or told[team_id] >= HITS_MAX:
            continue
        request_id, namespace = str(row[place["id"]]), str(row[place["namespace"]])
        drawn = crc32(request_id.encode()) % 1000
        endpoints = [
            one for one in asking[team_id] if drawn < one.hits_per_mille and one.hits_namespace in ("", namespace)
        ]
        if endpoints:
            told[team_id] += 1
            members = {name: str(row[place[name]]) for name in ("model", "outcome")}
            data = {
                **members,
                "request_id": request_id,
                "at": at(int(row[place["at_ms"]]) / 1000).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "namespace": namespace,
                "provider": str(row[place["dialect"]]),
                "cost_avoided_usd": usd(max(0, int(row[place["saved_usd_nanos"]]))),
            }
            write_message(Team(pk=team_id), CACHE_HIT, data, endpoints)
    return told.total()
