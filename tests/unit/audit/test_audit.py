"""Who did what: kept with the change, found by any of its members, exported without harm."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from agentcache.audit import queries, services
from agentcache.audit.models import AuditEvent
from agentcache.audit.queries import AuditFilters
from agentcache.audit.services import Actor

ADA = Actor(user_id="u1", user_email="ada@example.com", ip="203.0.113.77", session_id_hash="ab" * 32)


@pytest.fixture(autouse=True)
def _database(project):
    pass


def note(action="api_key.created", team="t1", actor=ADA, **members):
    services.record(
        **{
            "action": action, "actor": actor, "team_id": team, "target_kind": "api_key", "target_id": "k1",
            "target_name": "Production", **members,
        }
    )  # fmt: skip


def test_what_was_done_is_kept_with_before_and_after():
    note(
        before={"role": "member"}, after={"role": "admin", "scopes": {"b", "a"}, "at": datetime(2026, 1, 2, tzinfo=UTC)}
    )
    event = AuditEvent.objects.get()
    assert (event.actor_email, event.network, event.target_name) == ("ada@example.com", "203.0.113.0/24", "Production")
    assert event.before == {"role": "member"}
    assert event.after == {"role": "admin", "scopes": ["a", "b"], "at": "2026-01-02T00:00:00+00:00"}


def test_it_goes_when_the_change_does():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        note()
        raise ZeroDivisionError
    assert not AuditEvent.objects.exists()


def test_secrets_never_reach_the_log():
    note(after={"name": "n", "password": "hunter2", "nested": {"client_secret": "s3"}, "reset_token": "t"})
    kept = json.dumps(AuditEvent.objects.get().after)
    assert "hunter2" not in kept and "s3" not in kept
    assert kept.count("[secret]") == 3


@pytest.mark.parametrize(
    ("given", "kept"),
    [("2001:db8:1:2::9", "2001:db8:1::/48"), ("203.0.113.0/24", "203.0.113.0/24"), ("", ""), ("?" * 99, "?" * 64)],
    ids=["ipv6", "network", "none", "garbage"],
)
def test_addresses_are_cut_to_networks(given, kept):
    note(actor=Actor(ip=given))
    assert AuditEvent.objects.get().network == kept


def test_teams_see_their_own_and_filters_narrow():
    note()
    note("api_key.revoked", actor=Actor(api_key_id="k9"))
    note("member.removed", target_kind="member", target_id="m1", target_name="bob@example.com")
    note(team="t2")
    note(team=None)

    def found(**filters):
        return [event.action for event in queries.events_of("t1", AuditFilters(**filters))]

    assert found() == ["member.removed", "api_key.revoked", "api_key.created"]
    assert found(action="api_key.") == ["api_key.revoked", "api_key.created"]
    assert found(action="api_key.created") == ["api_key.created"]
    assert found(actor="ADA@") == ["member.removed", "api_key.created"]
    assert found(actor="k9") == ["api_key.revoked"]
    assert found(target="bob") == ["member.removed"]
    assert found(since=datetime.now(UTC) + timedelta(minutes=1)) == []
    assert found(until=datetime.now(UTC) - timedelta(minutes=1)) == []
    assert queries.actions_of("t1") == ["api_key.created", "api_key.revoked", "member.removed"]
    assert queries.events_of(None).count() == 5


def test_pages_follow_each_other_without_gap_or_repetition():
    for number in range(7):
        note(target_id=str(number))
    AuditEvent.objects.update(at=datetime(2026, 1, 1, tzinfo=UTC))  # all at the same moment: the id decides
    seen, cursor = [], ""
    while True:
        page = queries.page_of("t1", cursor=cursor, rows=3)
        seen += [event.target_id for event in page.events]
        cursor = page.next_cursor
        if not cursor:
            break
    assert sorted(seen) == [str(number) for number in range(7)]
    assert queries.page_of("t1", cursor="nonsense", rows=3).events


def test_an_event_of_another_team_is_no_place_to_go_on_from():
    note(target_id="ours")
    note(team_id="t2", target_id="theirs")
    [theirs] = queries.events_of("t2")
    AuditEvent.objects.filter(pk=theirs.pk).update(at=datetime(2026, 1, 1, tzinfo=UTC))  # before all of ours
    assert [event.target_id for event in queries.page_of("t1", cursor=theirs.pk).events] == ["ours"]


def test_exports_hold_everything_and_nothing_a_spreadsheet_would_run():
    note(target_name='=HYPERLINK("http://evil")', after={"name": 'ü, "quoted"\nline'})
    note()
    rows = list(csv.DictReader(io.StringIO("".join(queries.export_csv(queries.events_of("t1"))))))
    assert [row["target_name"] for row in rows] == ["Production", '\'=HYPERLINK("http://evil")']
    assert json.loads(rows[1]["after"]) == {"name": 'ü, "quoted"\nline'}
    lines = [json.loads(line) for line in queries.export_jsonl(queries.events_of("t1"))]
    assert lines[1]["after"] == {"name": 'ü, "quoted"\nline'}
    assert lines[0]["actor"]["email"] == "ada@example.com"


def test_old_events_go_after_their_time():
    note()
    note()
    AuditEvent.objects.filter(pk=AuditEvent.objects.first().pk).update(at=datetime(2020, 1, 1, tzinfo=UTC))
    assert services.prune(datetime(2021, 1, 1, tzinfo=UTC)) == 1
    assert AuditEvent.objects.count() == 1


def test_an_event_lists_what_changed():
    note(
        before={"name": "Old", "expires_at": None, "gone": 1},
        after={"name": "New", "expires_at": None, "is_shared": False},
    )
    assert queries.page_of("t1").events[0].changes == [
        ("gone", 1, None),
        ("is_shared", None, False),
        ("name", "Old", "New"),
    ]
