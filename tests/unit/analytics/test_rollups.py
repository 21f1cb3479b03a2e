import importlib
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import quantiles

import pytest
from django.apps import apps
from django.db import connection

from agentcache.analytics import pruning, queries, rollup_tables, rollups, services
from agentcache.analytics.asking import Asking
from agentcache.analytics.errors import InvalidFilter
from agentcache.analytics.histogram import BOUNDS_US, ERROR_SHARE
from agentcache.analytics.models import UsageCell, UsageEvent, UsageLatency, UsageTotal
from agentcache.analytics.periods import Preset, period_of, preset_period
from agentcache.analytics.queries.filters import Filters
from agentcache.analytics.reports import Material
from agentcache.gateway import ports
from agentcache.gateway.ports import Outcome
from agentcache.kit.ids import new_id
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services import create_team

NOW = datetime(2027, 1, 15, 12, 30, tzinfo=UTC)


def event(team, *, at=NOW, outcome="exact", **members):
    return ports.UsageEvent(
        **{
            "id": new_id(), "at_ms": int(at.timestamp() * 1000), "tenant_id": team.id, "api_key_id": "key",
            "dialect": "openai", "endpoint": "chat.completions", "model": "gpt-5-mini", "namespace": "default",
            "outcome": outcome, "status": 200, **members,
        }
    )  # fmt: skip


@pytest.fixture
def team(project):
    return create_team(ServerSecrets.of(project), "Blue Whales")


def various(team, number, seed=1, days=3):
    chance = random.Random(seed)
    return [
        event(
            team,
            at=NOW - timedelta(seconds=chance.randrange(days * 86400)),
            outcome=chance.choice(list(Outcome)).value,
            model=chance.choice(["gpt-5", "gpt-5-mini", "claude"]),
            namespace=chance.choice(["prod", "eval"]),
            agent=chance.choice(["", "nightly"]),
            api_key_id=chance.choice(["key-a", "key-b"]),
            status=chance.choice([200, 200, 429]),
            input_tokens=chance.randrange(1000),
            output_tokens=chance.randrange(1000),
            cost_usd_nanos=chance.randrange(10**9),
            saved_usd_nanos=chance.randrange(10**9),
            latency_us=chance.randrange(300, 5_000_000),
            upstream_us=chance.choice([0, chance.randrange(5_000_000)]),
        )
        for _ in range(number)
    ]


def counted(events):
    return Counter(Outcome(one.outcome) for one in events)


def test_every_grain_and_dimension_adds_up_to_the_events(team):
    events = various(team, 2000)
    services.record_events(events[:700])
    services.record_events(events[700:])
    for grain in rollups.Grain:
        for dimension in rollups.DIMENSIONS:
            rows = UsageTotal.objects.filter(grain=grain, dimension=dimension)
            for name in ("input_tokens", "cost_usd_nanos", "saved_usd_nanos", "latency_us", "upstream_us"):
                assert sum(getattr(row, name) for row in rows) == sum(getattr(one, name) for one in events)
            assert sum(row.requests for row in rows) == len(events)
            assert sum(row.upstream_calls for row in rows) == sum(one.upstream_us > 0 for one in events)
        assert sum(row.requests for row in UsageCell.objects.filter(grain=grain)) == len(events)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
def test_totals_series_and_breakdowns_agree_with_the_events_and_each_other(team, zone):
    events = various(team, 600, days=40)
    services.record_events(events)
    period = preset_period(Preset.MONTH, zone, NOW)
    filters = Filters(model="gpt-5", namespace="prod")
    for wanted in (queries.NO_FILTERS, Filters(model="gpt-5"), filters):
        inside = [
            one
            for one in events
            if period.start <= one.at_ms / 1000 < period.end
            and all(getattr(one, name) == value for name, value in wanted.dimensions.items())
        ]
        total = queries.totals(team, period, wanted)
        assert {outcome: number for outcome, number in total.by_outcome.items() if number} == counted(inside)
        assert total.saved_usd_nanos == sum(one.saved_usd_nanos for one in inside)
        series = queries.timeseries(team, period, wanted)
        assert len(series) == 30
        for place, start in enumerate(period.starts):
            end = period.starts[place + 1] if place < 29 else period.end
            assert series[place].requests == sum(start <= one.at_ms / 1000 < end for one in inside)
        for by in ("model", "namespace", "api_key", "agent", "outcome"):
            rows = queries.breakdown(team, period, by, wanted).rows
            column = {"api_key": "api_key_id"}.get(by, by)
            assert {row.value: row.totals.requests for row in rows} == Counter(getattr(one, column) for one in inside)


def test_a_batch_recorded_again_adds_nothing(team):
    events = various(team, 300)
    services.record_events(events)
    before = list(UsageTotal.objects.order_by("pk").values()), list(UsageLatency.objects.order_by("pk").values())
    services.record_events(events)
    services.record_events([*events[100:], events[0], events[0]])
    after = list(UsageTotal.objects.order_by("pk").values()), list(UsageLatency.objects.order_by("pk").values())
    assert before == after


def test_statements_differ_in_few_lengths_as_the_driver_keeps_each(project):
    lengths = set()
    for rows in range(1300):
        parts = [list(part) for part in rollup_tables.parts(range(rows), 512)]
        assert [row for part in parts for row in part] == list(range(rows))
        lengths.update(map(len, parts))
    # PostgreSQL takes arrays, with one statement for any length.
    assert lengths == ({1 << power for power in range(10)} if connection.vendor == "sqlite" else set(range(1, 513)))


def test_a_failure_while_rolling_up_leaves_neither_events_nor_sums(team, monkeypatch):
    def fail(*_):
        raise RuntimeError("midway")

    events = various(team, 50)
    monkeypatch.setattr(rollup_tables, "_LATENCIES", None)
    with pytest.raises(AttributeError):
        services.record_events(events)
    assert not UsageEvent.objects.exists()
    assert not UsageTotal.objects.exists()
    monkeypatch.undo()
    services.record_events(events)
    assert sum(row.requests for row in UsageTotal.objects.filter(dimension="", grain=3600)) == 50


KILLED = """
    import os, sys
    from agentcache.settings import Settings
    from agentcache.web.project import configure
    configure(Settings.load())
    from agentcache.analytics import rollup_tables, services
    from agentcache.gateway import ports
    import msgspec
    events = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[ports.UsageEvent])
    services.record_events(events[:100])
    keep = rollup_tables._add
    def add(upsert, additions):
        keep(upsert, additions)
        if upsert is rollup_tables._CELLS:
            print("midway", flush=True)
            sys.stdin.close()
            os.kill(os.getpid(), 9)
    rollup_tables._add = add
    services.record_events(events[100:])
"""


def test_a_worker_killed_midway_counts_each_event_once_when_it_is_taken_again(team, project):
    import msgspec

    events = various(team, 400)
    environment = {**os.environ, "AGENTCACHE_DATA_DIR": str(project.data_dir)}
    if project.database_url:
        environment["AGENTCACHE_DATABASE_URL"] = project.database_url
    connection.close()
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED)],
        input=msgspec.msgpack.encode(events), capture_output=True, env=environment, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert ended.stdout == b"midway\n"
    assert UsageEvent.objects.count() == 100
    services.record_events(events)
    assert UsageEvent.objects.count() == 400
    for grain in rollups.Grain:
        assert sum(row.requests for row in UsageTotal.objects.filter(dimension="", grain=grain)) == 400
        assert sum(row.requests for row in UsageCell.objects.filter(grain=grain)) == 400


def test_percentiles_are_as_close_as_they_say(team):
    chance = random.Random(3)
    hits = [int(chance.lognormvariate(7.5, 1)) for _ in range(3000)]
    misses = [int(chance.lognormvariate(14, 0.6)) for _ in range(3000)]
    services.record_events(
        [event(team, outcome="exact", latency_us=one) for one in hits]
        + [event(team, outcome="miss", latency_us=one) for one in misses]
        + [event(team, outcome="miss", latency_us=9, status=500)]
    )
    period = preset_period(Preset.DAY, "UTC", NOW)
    found = queries.latency(team, period)
    assert (found.hit.requests, found.miss.requests) == (3000, 3000)
    for given, figures in ((hits, found.hit), (misses, found.miss)):
        cuts = quantiles(given, n=100, method="inclusive")
        for exact, read in ((cuts[49], figures.p50_us), (cuts[94], figures.p95_us), (cuts[98], figures.p99_us)):
            assert max(exact, BOUNDS_US[0] / 1.13) == pytest.approx(read, rel=ERROR_SHARE + 0.01)
    [place] = [at for at, one in enumerate(queries.latency_series(team, period)) if one.hit.requests]
    assert place == period.unfinished
    assert queries.latency_series(team, period)[place] == found
    assert queries.latency_breakdown(team, period, "model") == ([("gpt-5-mini", found)], 1)
    with pytest.raises(InvalidFilter):
        queries.latency(team, period, Filters(model="a", namespace="b"))


def test_too_many_names_of_callers_become_one_and_nothing_is_lost(team):
    events = [event(team, agent=f"agent-{number}", model=f"model-{number % 7}") for number in range(900)]
    for start in range(0, 900, 300):
        services.record_events(events[start : start + 300])
    rows = UsageTotal.objects.filter(dimension="agent", grain=86400)
    assert rows.count() == rollups.VALUES_PER_DAY_MAX + 1
    assert rows.get(value=rollups.OTHER).requests == 900 - rollups.VALUES_PER_DAY_MAX
    cells = UsageCell.objects.filter(grain=86400)
    assert cells.count() <= rollups.CELLS_PER_DAY_MAX + 1
    assert sum(row.requests for row in cells) == 900
    period = preset_period(Preset.DAY, "UTC", NOW)
    found = queries.breakdown(team, period, "agent")
    assert (len(found.rows), found.values, found.is_cut) == (25, rollups.VALUES_PER_DAY_MAX + 1, True)


def test_time_saved_is_measured_against_the_same_models_misses(team):
    services.record_events(
        [
            *(event(team, outcome="exact", latency_us=1_000) for _ in range(4)),
            event(team, outcome="miss", upstream_us=2_000_000, latency_us=2_001_000),
            event(team, outcome="miss", upstream_us=4_000_000, latency_us=4_001_000),
            event(team, outcome="exact", model="never-missed", latency_us=1_000),
        ]
    )
    found = queries.time_saved(team, preset_period(Preset.DAY, "UTC", NOW))
    assert found.seconds == pytest.approx(4 * (3 - 0.001))
    assert (found.hits_known, found.hits) == (4, 5)


def test_what_a_hit_cost_is_taken_off_what_it_saved(team):
    services.record_events(
        [
            event(team, outcome="semantic", saved_usd_nanos=100, cost_usd_nanos=30),
            event(team, outcome="miss", cost_usd_nanos=500),
        ]
    )
    found = queries.totals(team, preset_period(Preset.HOUR, "UTC", NOW))
    assert (found.saved_usd_nanos, found.caching_cost_usd_nanos, found.net_saved_usd_nanos) == (100, 30, 70)
    assert found.cost_usd_nanos == 530


def test_roll_ups_stay_when_their_events_go(team):
    services.record_events([event(team)])
    assert not pruning.prune_events(team.pk, int(NOW.timestamp() * 1000) + 1)
    assert not UsageEvent.objects.exists()
    assert queries.totals(team, period_of(preset="24h", now=NOW)).requests == 1


def test_several_breakdowns_under_filters_are_what_each_is_alone(team):
    services.record_events(various(team, 800, days=40))
    period = preset_period(Preset.MONTH, "Europe/Berlin", NOW)
    for filters in (Filters(model="gpt-5"), Filters(namespace="prod", outcome=Outcome.MISS)):
        wanted = [by for by in rollups.FILTERED if by not in filters.dimensions]
        found = queries.breakdowns(team, period, wanted, filters)
        assert found == {by: queries.breakdown(team, period, by, filters, None) for by in wanted}
        assert any(len(one.rows) > 1 for one in found.values())


def test_a_page_reads_what_its_filters_fix_from_its_totals(team):
    services.record_events(various(team, 300, days=20))
    for query in ({"model": "gpt-5"}, {"model": "gpt-5", "namespace": "prod"}, {"agent": "(none)", "outcome": "miss"}):
        asking = Asking.of(team, query, now=NOW)
        material = Material(team, asking)
        for by in rollups.FILTERED:
            assert material.breakdown(by) == queries.breakdown(team, asking.period, by, asking.filters, None)
    nothing = Material(team, Asking.of(team, {"model": "never-used"}, now=NOW))
    assert nothing.breakdown("model").rows == nothing.breakdown("agent").rows == ()


def test_long_periods_are_read_from_weeks(team):
    events = various(team, 1000, days=120)
    services.record_events(events)
    period = preset_period(Preset.QUARTER, "UTC", NOW)
    assert {grain for grain, _, _ in period.spans()} == {rollups.Grain.DAY, rollups.Grain.WEEK}
    inside = sum(period.start <= one.at_ms / 1000 < period.end for one in events)
    assert queries.totals(team, period).requests == inside
    UsageTotal.objects.filter(grain=rollups.Grain.DAY, start__gte=period.start + 7 * 86400).delete()
    assert queries.totals(team, period).requests > inside / 2


def test_the_migration_makes_weeks_of_days(team):
    services.record_events(various(team, 400, days=30))
    whole = [
        sorted(tuple(row.values()) for row in model.objects.values()) for model in (UsageTotal, UsageCell, UsageLatency)
    ]
    for model in (UsageTotal, UsageCell, UsageLatency):
        assert model.objects.filter(grain=rollups.Grain.WEEK).delete()[0] > 0
    migration = importlib.import_module("agentcache.analytics.migrations.0006_sums_of_weeks")
    with connection.schema_editor() as editor:
        migration.sum_weeks(apps, editor)
    assert whole == [
        sorted(tuple(row.values()) for row in model.objects.values()) for model in (UsageTotal, UsageCell, UsageLatency)
    ]
