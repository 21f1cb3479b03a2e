"""The start page: what it is, how to begin, and figures of the whole server that tell nothing of one team."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import Error as DatabaseError

from agentcache.analytics.services import record_events, record_gap
from agentcache.site import live_figures
from agentcache.site.first_steps import snippets
from tests.support.accounts import Person
from tests.support.django_project import use_settings
from tests.support.sessions import browser_of, stranger
from tests.support.teams import make_team
from tests.support.usage import usage_event

PUBLIC = {"public_url": "https://cache.example.com"}


def page(browser=None, **meta):
    answer = (browser or stranger()).get("/", **meta)
    assert answer.status_code == 200
    return answer.content.decode()


def some_usage(team, hits=30, misses=10, **members):
    record_events([
        *(usage_event(team, saved_usd_nanos=2_000_000_000, latency_us=1_000, **members) for _ in range(hits)),
        *(usage_event(team, outcome="miss", cost_usd_nanos=1_000_000_000, latency_us=900_000, **members) for _ in range(misses)),
    ])  # fmt: skip


def test_it_says_where_to_point_a_program(sqlite_project):
    shown = page()
    for url in ("openai/v1", "anthropic", "replicate", "together", "groq/v1"):
        assert f"<code>http://127.0.0.1:8787/{url}</code>" in shown
    assert "http://127.0.0.1:8787/api/cache/set" in shown
    for target in ("/pricing", "/docs", "/status", "/security", "/changelog", "/api/docs", "/signup", "/login"):
        assert f'href="{target}"' in shown


def test_python_in_its_snippets_compiles():
    code = dict(snippets("http://127.0.0.1:8787"))
    for label in ("OpenAI, Python", "Anthropic, Python"):
        compile(code[label], label, "exec")
    assert all("{origin}" not in text for text in code.values())


def test_whoever_is_signed_in_goes_to_the_dashboard(sqlite_project):
    shown = page(browser_of(Person().join().user))
    assert "Open the dashboard" in shown
    assert 'href="/signup"' not in shown


@pytest.mark.parametrize("change", [{}, PUBLIC, {"host": "0.0.0.0"}], ids=["own", "url", "host"])
def test_first_steps_are_for_whoever_sits_at_the_machine(sqlite_project, change):
    with use_settings(replace(sqlite_project, **change)):
        shown = (
            stranger()
            .get("/", headers={"host": "cache.example.com" if change == PUBLIC else "127.0.0.1:8787"})
            .content.decode()
        )
    for said in ("running on this machine", "AGENTCACHE_API_KEY=ac_live_", 'href="/dev/mail"', "Version"):
        assert (said in shown) == (not change), said


def test_without_calls_it_says_so(project):
    assert "No calls in the last 30 days" in page()


def test_figures_are_of_all_teams_together_with_their_method(project):
    one, two = make_team("Blue Whales"), make_team("Red Foxes")
    some_usage(one)
    some_usage(two, hits=10, misses=10)
    some_usage(one, hits=500, misses=0, at=datetime.now(UTC) - timedelta(days=40))
    record_gap("meter-1", 2)
    shown = page()
    assert '<p class="stat-value">60</p>' in shown
    assert '<p class="stat-value">66.7 %</p>' in shown
    assert "of 60 look-ups" in shown
    assert '<p class="stat-value">$80.00</p>' in shown
    assert "$20.00 paid" in shown
    assert "Method: the sums of all teams" in shown
    assert "2 requests were answered and not counted" in shown
    assert "Share of look-ups that were hits." in shown
    assert "Blue Whales" not in shown


@pytest.mark.parametrize("teams", [1, 2, 3])
def test_where_others_look_sums_of_few_teams_are_not_shown(project, teams):
    for number in range(teams):
        some_usage(make_team(f"Team {number}"))
    with use_settings(replace(project, **PUBLIC)):
        shown = stranger().get("/", headers={"host": "cache.example.com"}).content.decode()
    assert ("Not enough to show yet" in shown) == (teams < live_figures.TEAMS_MIN)
    assert ("stat-value" in shown) == (teams >= live_figures.TEAMS_MIN)


def test_an_operator_can_hide_them(sqlite_project):
    some_usage(make_team())
    with use_settings(replace(sqlite_project, public_figures=False)):
        shown = page()
    assert "What this server did" not in shown
    assert "stat-value" not in shown


def test_a_flood_of_visitors_counts_once(sqlite_project, monkeypatch):
    counted = []
    count = live_figures.count
    monkeypatch.setattr(live_figures, "count", lambda *given: counted.append(given) or count(*given))
    for _ in range(5):
        page()
    assert len(counted) == 1


def test_while_the_database_is_away_the_page_is_there(sqlite_project, monkeypatch):
    def fail(*_):
        raise DatabaseError("secret detail")

    browser = browser_of(Person().join().user)
    monkeypatch.setattr(live_figures, "count", fail)
    monkeypatch.setattr("agentcache.web.middleware.records_answer", lambda: False)
    shown = page(browser)
    assert "The database does not answer" in shown
    assert "secret detail" not in shown
    # Nobody is known while sessions cannot be read.
    assert "Open the dashboard" not in shown
