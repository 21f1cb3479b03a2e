from datetime import UTC, datetime, timedelta

import pytest

from agentcache.analytics import queries, services
from agentcache.analytics.definitions import METRICS, hit_ratio
from agentcache.analytics.periods import Preset, preset_period
from agentcache.gateway import ports
from agentcache.gateway.ports import Outcome
from agentcache.kit.ids import new_id
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services import create_team

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)
#: Ends with the hour that NOW begins.
DAY = preset_period(Preset.DAY, "UTC", NOW)


@pytest.fixture
def teams(project):
    secrets = ServerSecrets.of(project)
    return create_team(secrets, "Blue Whales"), create_team(secrets, "Red Foxes")


def record(team, outcome, *, at=NOW, **members):
    services.record_events(
        [
            ports.UsageEvent(
                id=new_id(), at_ms=int(at.timestamp() * 1000), tenant_id=team.id, api_key_id="key", dialect="openai",
                endpoint="chat.completions", model="gpt-5-mini", namespace="default", outcome=outcome.value, status=200,
                **members,
            )
        ]
    )  # fmt: skip


def test_totals_of_a_team_without_calls_are_zero_and_have_no_ratio(teams):
    totals = queries.totals(teams[0], DAY)
    assert (totals.requests, totals.hits, totals.misses, totals.saved_usd_nanos) == (0, 0, 0, 0)
    assert totals.hit_ratio is None


def test_each_outcome_counts_where_it_belongs(teams):
    for number, outcome in enumerate(Outcome, 1):
        for _ in range(number):
            requests = 0 if outcome in (Outcome.REFRESH, Outcome.PREWARM, Outcome.JUDGE) else 1
            record(
                teams[0],
                outcome,
                requests=requests,
                input_tokens=1,
                output_tokens=2,
                cost_usd_nanos=3,
                saved_usd_nanos=4,
            )
    totals = queries.totals(teams[0], DAY)
    no_requests = dict.fromkeys((Outcome.REFRESH, Outcome.PREWARM, Outcome.JUDGE), 0)
    counted = {outcome: number for number, outcome in enumerate(Outcome, 1)} | no_requests
    assert totals.by_outcome == counted
    assert totals.requests == 36
    assert totals.hits == counted[Outcome.EXACT] + counted[Outcome.SEMANTIC] + counted[Outcome.STALE]
    assert totals.misses == counted[Outcome.MISS]
    assert totals.coalesced == counted[Outcome.COALESCED]
    lookups = totals.hits + totals.misses + totals.coalesced
    assert totals.hit_ratio == totals.hits / lookups
    sums = (totals.input_tokens, totals.output_tokens, totals.cost_usd_nanos, totals.saved_usd_nanos)
    # A refresh is no request, nor is prewarming or asking a judge; they are paid all the same.
    assert sums == (66, 132, 198, 264)
    assert totals.caching_cost_usd_nanos == 3 * (totals.hits + totals.coalesced + 9 + 10 + 11)
    assert totals.refused == counted[Outcome.REFUSED]
    assert totals.error_ratio == counted[Outcome.ERROR] / 28


def test_one_event_stands_for_many_refused_requests(teams):
    record(teams[0], Outcome.REFUSED, requests=1)
    record(teams[0], Outcome.REFUSED, requests=5_000)
    record(teams[0], Outcome.MISS)
    totals = queries.totals(teams[0], DAY)
    assert (totals.requests, totals.refused, totals.misses, totals.lookups) == (5_002, 5_001, 1, 1)
    assert totals.hit_ratio == 0.0
    assert totals.error_ratio == 0.0
    by_reason = queries.breakdown(teams[0], DAY, "outcome").rows
    assert {row.value: row.totals.requests for row in by_reason} == {"refused": 5_001, "miss": 1}


def test_another_teams_events_are_not_counted(teams):
    record(teams[1], Outcome.EXACT)
    assert queries.totals(teams[0], DAY).requests == 0
    assert queries.totals(teams[1], DAY).requests == 1


def test_only_events_of_the_time_asked_for_are_counted(teams):
    record(teams[0], Outcome.EXACT, at=datetime.fromtimestamp(DAY.start - 0.001, UTC))
    record(teams[0], Outcome.MISS, at=datetime.fromtimestamp(DAY.start, UTC))
    totals = queries.totals(teams[0], DAY)
    assert (totals.hits, totals.misses) == (0, 1)


def test_sums_beyond_32_bits_are_exact(teams):
    for _ in range(3):
        record(teams[0], Outcome.EXACT, saved_usd_nanos=2**60)
    assert queries.totals(teams[0], DAY).saved_usd_nanos == 3 * 2**60


def test_lost_events_are_summed_over_workers(project):
    services.record_gap("a", 3)
    services.record_gap("b", 4)
    assert queries.lost_events(datetime.now(UTC) - timedelta(minutes=1)) == 7
    assert queries.lost_events(datetime.now(UTC) + timedelta(minutes=1)) == 0


def test_a_hit_ratio_counts_look_ups_only():
    assert hit_ratio(3, 1, 0) == 0.75
    assert hit_ratio(0, 0, 5) == 0.0
    assert hit_ratio(0, 0, 0) is None


def test_every_metric_says_what_it_counts():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.title
        assert metric.numerator
        assert metric.basis
        assert metric.text.endswith(".")
        assert bool(metric.denominator) == (metric.unit == "%")
