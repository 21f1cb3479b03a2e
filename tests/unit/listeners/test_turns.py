"""Who is looked at when: hosts are spared (S13), teams do not hold up each other, workers share."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from agentcache.listeners.models import Host, Listener
from agentcache.listeners.services import records, turns
from agentcache.listeners.services.records import next_check, retry_at
from tests.support.reliability import record
from tests.support.teams import make_team
from tests.support.tiers import count

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


ON_ONE_HOST = count(1_000, 10_000)


@pytest.fixture
def fill(team):
    def fill(count, host="example.com", team=team, at=NOW, **members):
        rows = [
            Listener(
                team=team, url=f"https://{host}/{number}", host=host, fingerprint=f"{host}-{number}",
                check_interval_seconds=900, next_check_at=at, **members,
            )
            for number in range(count)
        ]  # fmt: skip
        return Listener.objects.bulk_create(rows)

    return fill


def test_a_host_is_asked_once_a_second_whoever_watches_it(fill):
    fill(ON_ONE_HOST // 2)
    fill(ON_ONE_HOST // 2, team=make_team("Others"))
    moments = [NOW + timedelta(seconds=quarter / 4) for quarter in range(4 * 60)]
    claimed = [now for now in moments for _ in turns.claim_due(now, 64)]
    assert len(claimed) == 60
    assert all(later - earlier >= turns.HOST_PAUSE for earlier, later in itertools.pairwise(claimed))
    record("S13 one host", listeners=ON_ONE_HOST, requests_per_minute=len(claimed), limit_per_minute=60)


def test_a_busy_host_holds_up_no_other(fill):
    fill(900, at=NOW - timedelta(hours=1))
    others = [fill(1, host=f"host-{number}.example")[0].pk for number in range(5)]
    found = [row.pk for second in range(3) for row in turns.claim_due(NOW + timedelta(seconds=second / 10), 3)]
    assert set(others) <= set(found)


def test_what_a_robots_txt_asks_for_is_kept(fill):
    fill(3)
    turns.claim_due(NOW, 1)
    turns.keep_host_delay("example.com", 20.0)
    assert len(turns.claim_due(NOW + timedelta(seconds=2), 1)) == 1
    assert turns.claim_due(NOW + timedelta(seconds=20), 1) == []
    assert len(turns.claim_due(NOW + timedelta(seconds=23), 1)) == 1
    assert Host.objects.get(name="example.com").delay_seconds == 20.0


def test_each_is_one_workers_until_its_lease_ends(fill):
    first = fill(1)[0]
    assert [row.pk for row in turns.claim_due(NOW, 5)] == [first.pk]
    assert turns.claim_due(NOW + turns.LEASE / 2, 5) == []
    assert [row.pk for row in turns.claim_due(NOW + turns.LEASE + timedelta(seconds=1), 5)] == [first.pk]
    turns.release([first])
    assert len(turns.claim_due(NOW + turns.LEASE + timedelta(seconds=3), 5)) == 1


def test_paused_ones_future_ones_and_those_of_full_teams_are_left_alone(fill, team):
    fill(1, paused_because="person")
    fill(1, host="later.example", at=NOW + timedelta(seconds=1))
    fill(1, host="mine.example")
    other = make_team("Others")
    fill(1, host="theirs.example", team=other)
    assert [row.host for row in turns.claim_due(NOW, 9, full_teams=[team.pk])] == ["theirs.example"]
    assert [row.host for row in turns.claim_due(NOW, 9)] == ["mine.example"]
    assert turns.claim_due(NOW, 0) == []


def test_the_longest_overdue_goes_first(fill):
    for minutes in (5, 20, 10):
        fill(1, host=f"{minutes}.example", at=NOW - timedelta(minutes=minutes))
    assert [row.host for row in turns.claim_due(NOW, 2)] == ["20.example", "10.example"]


def test_intervals_and_retries_are_spread():
    row = Listener(check_interval_seconds=3600)
    pauses = [(next_check(row, NOW) - NOW).total_seconds() for _ in range(200)]
    assert min(pauses) >= 3600 * (1 - records.JITTER_SHARE)
    assert max(pauses) <= 3600
    assert len(set(pauses)) > 100
    day = 86_400
    assert (retry_at(row, NOW, 500, None) - NOW).total_seconds() <= 1.1 * day
    assert (retry_at(row, NOW, 1, 10**9) - NOW).total_seconds() <= day
    slow = Listener(check_interval_seconds=30 * day)
    assert 900 <= (retry_at(slow, NOW, 1, None) - NOW).total_seconds() <= 990
