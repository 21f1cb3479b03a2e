import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest

from agentcache.analytics import queries, services
from agentcache.analytics.periods import Preset, last_days, preset_period
from agentcache.analytics.sections import SECTIONS
from agentcache.teams.models import Team
from tests.support.teams import join, make_team
from tests.support.usage import browser_of, usage_event


@pytest.fixture
def team(project):
    return make_team()


@pytest.fixture
def browser(team):
    return browser_of(join(team, "viewer@example.com", "viewer"))


def some_usage(team):
    now = datetime.now(UTC)
    services.record_events(
        [
            *(usage_event(team, saved_usd_nanos=2_000_000_000, input_tokens=7, latency_us=2_000) for _ in range(30)),
            *(
                usage_event(team, outcome="miss", cost_usd_nanos=3_000_000_000, model="claude", latency_us=900_000)
                for _ in range(10)
            ),
            usage_event(team, outcome="error", status=502, agent="=HYPERLINK(1)"),
            usage_event(team, at=now - timedelta(days=40), saved_usd_nanos=1_000_000_000),
        ]
    )


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize(
    "query", ["", "?period=24h&compare=1&zone=Europe/Berlin", "?model=claude"], ids=["plain", "compared", "filtered"]
)
def test_each_page_shows_its_figures(team, browser, name, query):
    some_usage(team)
    answer = browser.get(f"/dashboard/analytics/{name}{query}")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "What these figures mean" in page
    assert "<script>" not in page
    assert "style=" not in page


@pytest.mark.parametrize("name", SECTIONS)
def test_without_usage_there_are_dashes_and_zeros_not_errors(browser, name):
    answer = browser.get(f"/dashboard/analytics/{name}")
    assert answer.status_code == 200


def test_page_api_and_csv_tell_the_same(team, browser):
    some_usage(team)
    page = browser.get("/dashboard/analytics/cost").content.decode()
    figures = browser.get("/api/stats").json()["figures"]
    assert (figures["requests"], figures["saved_usd"], figures["cost_usd"]) == (41, 60.0, 30.0)
    assert "$60.00" in page
    assert "$30.00" in page
    rows = browser.get("/api/stats/breakdown?by=model").json()["rows"]
    csv_url = re.search(r'href="(/dashboard/analytics/cost\.csv[^"]*part=model[^"]*)"', page)[1].replace("&amp;", "&")
    file = browser.get(csv_url)
    assert file["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(file.content.decode())))
    assert {row["model"]: (row["Requests"], float(row["Net saved (usd)"])) for row in found} == {
        row["value"]: (str(row["figures"]["requests"]), row["figures"]["net_saved_usd"]) for row in rows
    }
    chart_url = re.search(r'href="(/dashboard/analytics/cost\.csv[^"]*part=cost[^"]*)"', page)[1].replace("&amp;", "&")
    buckets = list(csv.DictReader(io.StringIO(browser.get(chart_url).content.decode())))
    points = browser.get("/api/stats/timeseries").json()["points"]
    assert [float(row["Net saved"]) for row in buckets] == [point["figures"]["net_saved_usd"] for point in points]
    assert sum(point["figures"]["requests"] for point in points) == figures["requests"]


def test_the_gateways_own_stats_mean_the_same_period(team, browser):
    some_usage(team)
    for days, code, preset in ((1, "24h", Preset.DAY), (7, "7d", Preset.WEEK), (30, "30d", Preset.MONTH)):
        now = datetime.now(UTC)
        assert last_days(days, now).starts == preset_period(preset, "UTC", now).starts
        native = queries.totals(team, last_days(days, now))
        assert browser.get(f"/api/stats?period={code}").json()["figures"]["saved_usd"] == native.saved_usd_nanos / 1e9


def test_text_that_a_spreadsheet_would_run_is_quoted(team, browser):
    some_usage(team)
    file = browser.get("/dashboard/analytics/errors.csv?part=agent").content.decode()
    assert "'=HYPERLINK(1)" in file
    assert "\n=HYPERLINK" not in file


def test_clicking_a_row_filters_and_the_filter_can_be_taken_off(team, browser):
    some_usage(team)
    page = browser.get("/dashboard/analytics/cost?period=7d").content.decode()
    url = re.search(r'href="(\?[^"]*model=claude[^"]*)"', page)[1].replace("&amp;", "&")
    assert "period=7d" in url
    filtered = browser.get(f"/dashboard/analytics/cost{url}").content.decode()
    assert "Model: claude" in filtered
    assert "$60.00" not in filtered
    assert browser.get(f"/api/stats{url}").json()["figures"]["requests"] == 10


@pytest.mark.parametrize(
    "query", ["period=2h", "zone=Mars/Olympus", "outcome=lucky", "start=2027-01-02&end=2027-01-01", "start=x&end=y"]
)
def test_an_address_that_means_nothing_is_said_on_the_page_and_refused_by_the_api(browser, query):
    answer = browser.get(f"/dashboard/analytics/cost?{query}")
    assert answer.status_code == 200
    assert "are shown instead" in answer.content.decode()
    assert browser.get(f"/api/stats?{query}").status_code == 400


def test_another_teams_usage_is_never_seen(team, browser):
    other = Team.objects.get(pk=make_team("Red Foxes").pk)
    some_usage(other)
    assert browser.get("/api/stats").json()["figures"]["requests"] == 0
    assert browser.get("/api/stats", headers={"X-AgentCache-Team": other.pk}).status_code == 404
    assert "claude" not in browser.get("/dashboard/analytics/cost").content.decode()


def test_latency_needs_one_filter_at_a_time(team, browser):
    some_usage(team)
    assert browser.get("/api/stats/latency?model=claude&agent=(none)").status_code == 400
    page = browser.get("/dashboard/analytics/latency?model=claude&agent=(none)").content.decode()
    assert "one filter at a time" in page
    found = browser.get("/api/stats/latency").json()
    assert found["hit"]["requests"] == 30
    assert found["hit"]["p50_ms"] == pytest.approx(2, rel=0.13)
    assert found["miss"]["p99_ms"] == pytest.approx(900, rel=0.13)


def test_models_without_a_price_are_named_where_amounts_are_shown(team, browser):
    def calls(model, number, **members):
        return [usage_event(team, outcome="miss", model=model, input_tokens=10, **members) for _ in range(number)]

    services.record_events([*calls("priced", 3, cost_usd_nanos=5), *calls("homemade", 4), *calls("", 2)])
    services.record_events([usage_event(team, model="only-hits", input_tokens=9), usage_event(team, outcome="error")])
    page = browser.get("/dashboard/analytics/cost").content.decode()
    assert "count as $0.00, here and in budgets that let them pass: homemade (4), no model (2)." in page
    assert "count as $0.00" not in browser.get("/dashboard/analytics/cost?model=priced").content.decode()
    services.record_events([event for number in range(6) for event in calls(f"homemade-{number}", 5 - number % 2)])
    assert " and 3 more." in browser.get("/dashboard/analytics/cost").content.decode()
