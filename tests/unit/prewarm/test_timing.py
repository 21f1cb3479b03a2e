"""When schedules are due, in time zones that change their clocks."""

from datetime import UTC, datetime

import pytest

from agentcache.prewarm.errors import InvalidSchedule
from agentcache.prewarm.timing import checked_cron, next_time


@pytest.mark.parametrize(
    ("given", "fields"),
    [("nightly", "0 3 * * *"), ("Weekly", "0 3 * * 1"), ("  30  5 * * 1-5 ", "30 5 * * 1-5"), ("*/15 * * * *", "*/15 * * * *")],
)  # fmt: skip
def test_names_and_fields(given, fields):
    assert checked_cron(given, "Europe/Berlin") == fields


@pytest.mark.parametrize(
    ("cron", "zone", "param"),
    [
        ("hourly", "UTC", "cron"),
        ("0 3 * *", "UTC", "cron"),
        ("0 3 * * * *", "UTC", "cron"),
        ("61 3 * * *", "UTC", "cron"),
        ("*/5 * * * *", "UTC", "cron"),
        ("0,1 3 * * *", "UTC", "cron"),
        ("0 0 31 2 *", "UTC", "cron"),
        ("nightly", "Mars/Olympus", "timezone"),
        ("nightly", "../etc/passwd", "timezone"),
        ("nightly", "", "timezone"),
    ],
)
def test_what_is_no_schedule_is_named(cron, zone, param):
    with pytest.raises(InvalidSchedule) as refused:
        checked_cron(cron, zone)
    assert refused.value.param == param


def test_three_at_night_is_three_at_night_before_and_after_the_clocks_change():
    # Berlin put its clocks forward on 29 March 2026.
    before = next_time("0 3 * * *", "Europe/Berlin", datetime(2026, 3, 27, 12, tzinfo=UTC))
    after = next_time("0 3 * * *", "Europe/Berlin", datetime(2026, 3, 29, 12, tzinfo=UTC))
    assert (before, after) == (datetime(2026, 3, 28, 2, tzinfo=UTC), datetime(2026, 3, 30, 1, tzinfo=UTC))
