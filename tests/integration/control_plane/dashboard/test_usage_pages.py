"""Overview, requests and cache browser: empty, in use, and for those who may not."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from agentcache.accounts.models import User
from agentcache.analytics import services
from agentcache.audit.models import AuditEvent
from agentcache.dashboard.entry_access import close_entry_access, entry_access, tenant_of
from agentcache.engine.entries import Entry, EntryMeta
from tests.support.django_project import use_settings
from tests.support.sessions import HOST, browser_of, stranger
from tests.support.teams import PASSWORD, join, make_team
from tests.support.usage import usage_event

KEY = bytes(range(32))
ENTRY_PAGE = f"/dashboard/cache/{KEY.hex()}"
LISTS = ["/dashboard", "/dashboard/requests", "/dashboard/cache"]
#: Text that would be markup if it were not escaped.
HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture
def team(project):
    # On a machine with much to do, a look-up may take longer than callers would wait.
    with use_settings(replace(project, store_budget_ms=10_000)):
        yield make_team()
        close_entry_access()


@pytest.fixture
def member(team):
    return browser_of(join(team, "member@example.com", "member").user)


@pytest.fixture
def viewer(team):
    return browser_of(join(team, "viewer@example.com", "viewer").user)


def some_requests(team):
    """Thirty hits of the entry, a miss and an error; returns the events."""
    events = [
        *(
            usage_event(team, saved_usd_nanos=2_000_000_000, latency_us=2_000, entry_key=KEY.hex(), freshness="fresh",
                        reason="hit")
            for _ in range(30)
        ),
        usage_event(team, outcome="miss", model="claude", cost_usd_nanos=3_000_000_000, reason="fwd=uri-miss",
                    upstream_us=800_000),
        usage_event(team, outcome="error", status=502, agent=HOSTILE, reason="upstream_failed"),
    ]  # fmt: skip
    services.record_events(events)
    return events


def store_entry(team, key=KEY, body=b'{"answer": "forty-two"}', **meta):
    known = {
        "dialect": "openai", "endpoint": "chat.completions", "model": "gpt-5-mini", "label": "weather",
        "stored_at": time.time() - 60, "lifetime_seconds": 3600, "tags": ("blue",), "sources": ("javascript:alert(1)",),
        "cost_usd_nanos": 1_000_000_000, "parts": {"messages": bytes(8)},
    }  # fmt: skip
    entry = Entry(key, EntryMeta(**{**known, **meta}), body)
    entry_access().call(lambda store: store.put(tenant_of(team), entry))


def opened(browser, url, **headers):
    answer = browser.get(url, headers=headers)
    assert answer.status_code == 200, url
    page = answer.content.decode()
    assert "<script>" not in page
    assert "style=" not in page
    assert " onclick=" not in page
    return page


def test_an_empty_overview_shows_a_call_to_copy_and_waits_for_it(team, member):
    page = opened(member, "/dashboard")
    assert "curl -si http" in page
    assert "$AGENTCACHE_API_KEY" in page
    assert "Waiting for the first request" in page
    assert 'hx-get="/dashboard/first-request"' in page
    assert member.get("/dashboard/first-request").status_code == 204
    assert "HX-Refresh" not in member.get("/dashboard/first-request").headers
    some_requests(team)
    assert member.get("/dashboard/first-request")["HX-Refresh"] == "true"


def test_empty_lists_say_what_comes_next(member):
    assert "No requests yet" in opened(member, "/dashboard/requests")
    assert "Nothing is stored yet" in opened(member, "/dashboard/cache")


def test_the_overview_shows_its_figures_and_the_csv_has_the_same(team, member):
    some_requests(team)
    page = opened(member, "/dashboard?period=24h&compare=1")
    assert "Waiting for the first request" not in page
    assert "$60.00" in page
    assert "claude" in page
    rows = member.get("/dashboard/overview.csv?part=model&period=24h").content.decode().splitlines()
    assert sorted(line.split(",")[:3:2] for line in rows[1:]) == [["claude", "1"], ["gpt-5-mini", "31"]]
    assert member.get("/dashboard/overview.csv?period=24h")["Content-Type"] == "text/csv; charset=utf-8"


def test_requests_are_listed_filtered_and_told_why(team, member):
    events = some_requests(team)
    page = opened(member, "/dashboard/requests")
    assert page.count('data-label="Outcome"') == len(events)
    assert HOSTILE not in page
    assert "data-live" in page
    assert "data-live" not in opened(member, "/dashboard/requests?live=0")
    for query, count in (("outcome=miss", 1), ("status=5xx", 1), (f"entry={KEY.hex()}", 30), ("model=none", 0)):
        found = opened(member, f"/dashboard/requests?{query}")
        assert found.count('data-label="Outcome"') == count
    assert "No request fits" in found
    assert "Model: none" in found
    missed = opened(member, f"/dashboard/requests/{events[30].id}")
    assert "No stored answer for this cache key." in missed
    assert "fwd=uri-miss" in missed
    assert f'href="{ENTRY_PAGE}"' in opened(member, f"/dashboard/requests/{events[0].id}")
    assert HOSTILE not in opened(member, f"/dashboard/requests/{events[31].id}")


def test_refused_calls_are_listed_with_their_reason_and_number_and_are_no_misses(team, member):
    flood = usage_event(team, outcome="refused", status=429, reason="rate_limited", requests=4_321)
    services.record_events([flood, usage_event(team, outcome="refused", status=403, reason="address_not_allowed")])
    page = opened(member, "/dashboard/requests?outcome=refused")
    assert page.count('data-label="Outcome"') == 2
    assert "4,321 × rate_limited" in page
    assert "address_not_allowed" in page
    shown = opened(member, f"/dashboard/requests/{flood.id}")
    assert "More requests within a minute than a limit allows." in shown
    assert "4,321 requests that were refused" in shown
    errors = opened(member, "/dashboard/analytics/errors?period=24h")
    assert "4.32 k were refused" in errors or "4,322 were refused" in errors
    assert opened(member, "/dashboard/requests?outcome=miss").count('data-label="Outcome"') == 0


@pytest.mark.parametrize("query", ["status=lots", "outcome=lucky", "before=x"])
def test_a_filter_that_means_nothing_is_said(team, member, query):
    some_requests(team)
    page = opened(member, f"/dashboard/requests?{query}")
    assert "All requests are shown instead." in page
    assert page.count('data-label="Outcome"') == 32


def test_the_list_renews_itself_alone_and_going_back_gets_the_page(team, member):
    some_requests(team)
    fragment = opened(member, "/dashboard/requests?outcome=miss", **{"HX-Request": "true"})
    assert fragment.startswith('<div id="results" class="stack" data-live hx-get="/dashboard/requests?outcome=miss"')
    assert "<html" not in fragment
    back = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in opened(member, "/dashboard/requests", **back)


def test_older_requests_follow_without_a_gap_and_without_a_double(team, member):
    at = datetime.now(UTC)
    services.record_events([usage_event(team, at=at) for _ in range(120)])
    seen, url = [], "/dashboard/requests"
    for _ in range(3):
        page = opened(member, url)
        seen += re.findall(r'id="request-(\w+)"', page)
        older = re.search(r'href="(\?before=[^"]+)" rel="next"', page)
        url = f"/dashboard/requests{older[1]}" if older else ""
    assert url == ""
    assert len(seen) == len(set(seen)) == 120


def test_entries_are_found_by_what_is_known_of_them(team, member):
    store_entry(team, label=HOSTILE)
    store_entry(team, bytes(32), label="old news", model="claude", stored_at=time.time() - 90, lifetime_seconds=60,
                stale_if_error_seconds=3600)  # fmt: skip
    page = opened(member, "/dashboard/cache")
    assert page.count('data-label="State"') == 2
    assert HOSTILE not in page
    for query, count in (("model=claude", 1), ("label=old+n", 1), ("label=*", 0), ("tag=red", 0), ("key=0001", 1),
                         (f"key={KEY.hex()}", 1), ("freshness=stale", 1), ("freshness=fresh", 1),
                         ("namespace=other", 0)):  # fmt: skip
        found = opened(member, f"/dashboard/cache?{query}")
        assert found.count('data-label="State"') == count, query
    assert "No entry fits" in found
    assert "hex digits only" in opened(member, "/dashboard/cache?key=xyz")


def test_an_entry_shows_its_lineage_and_its_answer_only_when_asked(team, member):
    store_entry(team)
    events = some_requests(team)
    page = opened(member, ENTRY_PAGE)
    assert "javascript:alert(1)" in page
    assert 'href="javascript' not in page
    assert "forty-two" not in page
    newest = sorted(events[:30], key=lambda event: (event.at_ms, event.id), reverse=True)
    assert re.findall(r'href="/dashboard/requests/(\w+)"', page) == [event.id for event in newest[:10]]
    assert "forty-two" in opened(member, f"{ENTRY_PAGE}?answer=1")


def test_a_member_deletes_an_entry_for_good_and_it_is_on_the_record(team, member):
    store_entry(team)
    assert "Delete this entry?" in opened(member, f"{ENTRY_PAGE}/delete")
    assert opened(member, ENTRY_PAGE)
    answer = member.post(f"{ENTRY_PAGE}/delete")
    assert (answer.status_code, answer["Location"]) == (302, "/dashboard/cache")
    assert "The entry was deleted." in opened(member, "/dashboard/cache")
    assert member.get(ENTRY_PAGE).status_code == 404
    assert member.post(f"{ENTRY_PAGE}/delete").status_code == 404
    assert entry_access().call(lambda store: store.get(tenant_of(team), KEY)).entry is None
    row = AuditEvent.objects.get(action="cache_entry.deleted")
    assert (row.target_id, row.team_id) == (KEY.hex(), team.pk)


def test_a_viewer_reads_everything_and_deletes_nothing(team, viewer):
    store_entry(team)
    some_requests(team)
    for url in LISTS:
        opened(viewer, url)
    assert "/delete" not in opened(viewer, ENTRY_PAGE)
    assert viewer.get(f"{ENTRY_PAGE}/delete").status_code == 403
    assert viewer.post(f"{ENTRY_PAGE}/delete").status_code == 403
    opened(viewer, ENTRY_PAGE)


def test_another_teams_requests_and_entries_are_not_there(team, member):
    other = make_team("Red Foxes")
    store_entry(other)
    events = some_requests(other)
    assert "Waiting for the first request" in opened(member, "/dashboard")
    assert "No requests yet" in opened(member, "/dashboard/requests")
    assert "Nothing is stored yet" in opened(member, "/dashboard/cache")
    for url in (f"/dashboard/requests/{events[0].id}", ENTRY_PAGE, f"{ENTRY_PAGE}/delete"):
        assert member.get(url).status_code == 404
    assert member.post(f"{ENTRY_PAGE}/delete").status_code == 404
    assert entry_access().call(lambda store: store.get(tenant_of(other), KEY)).entry is not None


def test_signing_in_leads_to_the_overview(team, member):
    account = User.objects.get(email="member@example.com")
    account.set_password(PASSWORD)
    account.save()
    answer = Client(HTTP_HOST=HOST, HTTP_SEC_FETCH_SITE="same-origin").post(
        "/login", {"email": account.email, "password": PASSWORD}, follow=True
    )
    assert answer.redirect_chain[-1] == (reverse("dashboard:overview"), 302)
    assert "Waiting for the first request" in answer.content.decode()


def test_strangers_are_sent_to_sign_in(team):
    for url in [*LISTS, "/dashboard/overview.csv", "/dashboard/first-request", ENTRY_PAGE]:
        assert stranger().get(url)["Location"].startswith("/login?next=")
