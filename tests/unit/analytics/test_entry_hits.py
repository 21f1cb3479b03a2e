"""How often each entry answered, counted from the requests that are kept."""

import time
from datetime import UTC, datetime, timedelta

from agentcache.analytics import queries, services
from agentcache.analytics.queries import hits
from agentcache.gateway.ports import EntryHits
from tests.support.teams import make_team
from tests.support.usage import usage_event

WEEK_MS = 7 * 86_400_000


def test_hits_are_counted_by_entry_and_nothing_else_is(project):
    ours, theirs = make_team(), make_team("Red Foxes")
    long_ago = datetime.now(UTC) - timedelta(days=8)
    services.record_events(
        [
            *(usage_event(ours, entry_key="a", saved_usd_nanos=5) for _ in range(3)),
            usage_event(ours, entry_key="b", outcome="stale", saved_usd_nanos=2),
            usage_event(ours, entry_key="b", outcome="miss"),
            usage_event(ours, entry_key="c", outcome="coalesced", saved_usd_nanos=9),
            usage_event(ours, outcome="exact"),
            usage_event(ours, entry_key="a", at=long_ago),
            usage_event(theirs, entry_key="a"),
        ]
    )
    since_ms = int(time.time() * 1000) - WEEK_MS
    assert queries.entry_hits(ours, since_ms) == EntryHits({"a": (3, 15), "b": (1, 2)}, since_ms)


def test_too_many_are_counted_from_later_on_and_that_is_said(project, monkeypatch):
    team = make_team()
    now = datetime.now(UTC).replace(microsecond=0)
    services.record_events(
        [usage_event(team, entry_key=f"k{second % 3}", at=now - timedelta(seconds=second)) for second in range(10)]
    )
    monkeypatch.setattr(hits, "HITS_READ_MAX", 4)
    found = queries.entry_hits(team, 0)
    assert found.since_ms == int((now - timedelta(seconds=4)).timestamp() * 1000) + 1
    assert found.by_entry == {"k0": (2, 0), "k1": (1, 0), "k2": (1, 0)}
    assert found.is_complete
    monkeypatch.setattr(hits, "ENTRIES_MAX", 1)
    assert queries.entry_hits(team, 0) == EntryHits({"k0": (2, 0)}, found.since_ms, is_complete=False)
