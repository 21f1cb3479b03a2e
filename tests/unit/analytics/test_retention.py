from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agentcache.analytics import back_fill, jobs, pruning, queries, services
from agentcache.analytics.asking import Asking
from agentcache.analytics.errors import BeyondRetention
from agentcache.analytics.models import UsageCell, UsageEvent, UsageLatency, UsageTotal
from agentcache.analytics.periods import Preset, period_of, preset_period
from agentcache.analytics.retention import ROLLUP_DAYS, Reach, comparable, reach_of
from agentcache.analytics.rollups import Grain
from agentcache.audit.services import Actor
from agentcache.jobs import services as job_services
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import ManualClock
from agentcache.quotas.plans import PLANS, PlanName
from agentcache.quotas.services import set_plan
from tests.support.teams import join, make_team
from tests.support.usage import browser_of, usage_event

NOW = datetime(2027, 1, 15, 12, 30, tzinfo=UTC)
CLOCK = ManualClock(NOW.timestamp())
KEPT = {PlanName.FREE: 7, PlanName.PRO: 90, PlanName.ENTERPRISE: 400, PlanName.SELF_HOSTED: 90}


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


@pytest.fixture
def team(project):
    return make_team()


def on(plan, name="Blue Whales"):
    team = make_team(name)
    set_plan(team, plan, actor=Actor())
    return team


def ages(team):
    found = UsageEvent.objects.filter(team_id=team.pk).values_list("at_ms", flat=True)
    return sorted(round((NOW.timestamp() - at_ms / 1000) / 86400, 3) for at_ms in found)


async def test_each_teams_events_go_after_its_own_plans_retention(threads, monkeypatch):
    monkeypatch.setattr(pruning, "EVENTS_AT_ONCE", 2)
    second = timedelta(seconds=1)

    def arrange():
        teams = {plan: on(plan, f"Team {plan}") for plan in PlanName if plan is not PlanName.SELF_HOSTED}
        teams[PlanName.SELF_HOSTED] = make_team("On no plan")
        gone = make_team("Gone")
        for team, days in [*((teams[plan], KEPT[plan]) for plan in teams), (gone, 90)]:
            edge = NOW - timedelta(days=days)
            old = [usage_event(team, at=edge - second * number) for number in range(1, 6)]
            services.record_events([*old, usage_event(team, at=edge), usage_event(team, at=NOW)])
        gone_id = gone.pk
        gone.delete()
        gone.pk = gone_id
        return teams, gone

    teams, gone = await threads.run(arrange)
    await jobs.prune_events(threads, CLOCK)
    for plan, team in teams.items():
        assert await threads.run(lambda team=team: ages(team)) == [0.0, KEPT[plan]]
    assert await threads.run(lambda: ages(gone)) == [0.0, 90]


async def test_nothing_is_pruned_while_events_wait_to_be_summed_up(threads):
    def arrange():
        team = make_team()
        services.record_events([usage_event(team, at=NOW - timedelta(days=100))])
        job_services.enqueue("fill", services.BACK_FILL, {}, NOW)

    await threads.run(arrange)
    await jobs.prune_events(threads, CLOCK)
    assert await threads.run(UsageEvent.objects.count) == 1


def test_fine_sums_go_and_what_coarser_ones_say_stays(team):
    moments = [NOW - timedelta(days=days) for days in (0, 1, 2, 5, 60, 399, 401, 500)]
    services.record_events([usage_event(team, at=at, latency_us=2000) for at in moments])
    assert pruning.prune_rollups(NOW.timestamp()) > 0
    for model in (UsageTotal, UsageCell, UsageLatency):
        oldest = {}
        for grain, start in model.objects.values_list("grain", "start"):
            oldest[grain] = min(start, oldest.get(grain, start))
        days = {grain: (NOW.timestamp() - start) / 86400 for grain, start in oldest.items()}
        assert 2 <= days[300] <= ROLLUP_DAYS[Grain.FIVE_MINUTES]
        assert 399 <= days[3600] <= ROLLUP_DAYS[Grain.HOUR]
        assert days[86400] >= 500
    assert pruning.prune_rollups(NOW.timestamp()) == 0
    whole = period_of(start="2025-08-01", end="2027-01-15", now=NOW)
    assert queries.totals(team, whole).requests == len(moments)
    assert queries.totals(team, preset_period(Preset.HOUR, "UTC", NOW)).requests == 1


@pytest.mark.parametrize(
    ("plan", "allowed"),
    [
        (PlanName.FREE, {Preset.HOUR, Preset.DAY, Preset.WEEK}),
        (PlanName.PRO, set(Preset)),
        (PlanName.ENTERPRISE, set(Preset)),
        (PlanName.SELF_HOSTED, set(Preset)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_a_plan_stops_the_periods_that_reach_too_far(plan, allowed, zone):
    # Days of 25 hours and of 23 must not make a period of exactly the plan's days too long.
    for month in (1, 3, 4, 11):
        reach = Reach(PLANS[plan], datetime(2027, month, 28, 23, 59, tzinfo=ZoneInfo(zone)))
        assert {preset for preset in Preset if not reach.refuses(preset, zone)} == allowed


def test_a_month_to_date_is_shown_where_it_is_short_enough():
    early = Reach(PLANS[PlanName.FREE], datetime(2027, 1, 5, 12, tzinfo=UTC))
    assert not early.refuses(Preset.MONTH_TO_DATE)
    assert "last 7 days" in early.refuses(Preset.MONTH)
    assert early.longest(Preset.MONTH) is Preset.WEEK


def test_hours_are_asked_for_as_long_as_they_are_kept_and_days_for_good():
    reach = Reach(PLANS[PlanName.SELF_HOSTED], NOW)
    old = period_of(start="2025-06-01", end="2025-12-31", now=NOW)
    assert reach.check(old) is old
    with pytest.raises(BeyondRetention, match="Sums of hours are kept for 400 days"):
        reach.check(period_of(start="2025-06-01", end="2025-12-31", zone="Europe/Berlin", now=NOW))
    with pytest.raises(BeyondRetention, match="Sums of hours"):
        reach.check(period_of(start="2025-06-01", end="2025-06-03", now=NOW))
    recent = period_of(start="2026-01-01", end="2026-12-31", zone="Europe/Berlin", now=NOW)
    assert reach.check(recent) is recent
    # The period before would need hours that are gone; half of it would be a wrong comparison.
    assert comparable(recent, NOW) is None
    assert comparable(old, NOW) == old.previous()


@pytest.fixture
def free_browser(project):
    team = on(PlanName.FREE)
    services.record_events([usage_event(team), usage_event(team, at=datetime.now(UTC) - timedelta(days=20))])
    return browser_of(join(team, "viewer@example.com", "viewer"))


def test_pages_open_with_what_the_plan_shows_and_say_why_not_more(free_browser):
    for address in ("/dashboard", "/dashboard/analytics/cost"):
        page = free_browser.get(address).content.decode()
        assert 'value="7d" selected' in page
        assert page.count("disabled title=") in (2, 3)  # 30 and 90 days, and the month where it is too long
        assert "The plan Free shows the last 7 days." in page
        assert 'min="' in page
        asked = free_browser.get(f"{address}?period=30d").content.decode()
        assert "The plan Free shows the last 7 days. The last 7 days are shown instead." in asked
        assert 'value="7d" selected' in asked


def test_the_api_takes_the_longest_by_default_and_refuses_more_with_the_reason(free_browser):
    answer = free_browser.get("/api/stats").json()
    begin = datetime.fromisoformat(answer["period"]["start"])
    assert datetime.now(UTC) - begin <= timedelta(days=7)
    assert answer["figures"]["requests"] == 1
    for path in ("", "/timeseries", "/breakdown", "/latency"):
        refused = free_browser.get(f"/api/stats{path}?period=30d")
        assert refused.status_code == 400
        assert refused.json()["code"] == "beyond_retention"
        assert "The plan Free shows the last 7 days." in refused.json()["detail"]


def test_the_picker_knows_the_first_day_in_the_zone_of_the_page(project):
    team = on(PlanName.FREE)
    late = datetime(2027, 1, 15, 23, 30, tzinfo=UTC)
    assert Asking.of(team, {"zone": "UTC"}, now=late).first_day == "2027-01-08"
    assert Asking.of(team, {"zone": "Asia/Tokyo"}, now=late).first_day == "2027-01-09"
    assert Asking.of(make_team("On no plan"), {}, now=late).first_day == ""
    assert reach_of(team, late).plan.name is PlanName.FREE


def test_a_team_whose_events_are_pruned_is_not_taken_for_a_new_one(team):
    services.record_events([usage_event(team, at=NOW)])
    pruning.prune_events(team.pk, int(NOW.timestamp() * 1000) + 1)
    assert not UsageEvent.objects.exists()
    assert queries.has_events(team)


def test_hours_whose_sums_are_about_to_go_are_not_summed_up_again(team):
    old = NOW - timedelta(days=ROLLUP_DAYS[Grain.HOUR])
    services.record_events([usage_event(team, at=old)])
    UsageTotal.objects.filter(grain=Grain.HOUR).delete()
    for day in back_fill.days_of(team.pk):
        assert back_fill.lacking_hours(team.pk, day, NOW.timestamp()) == []
