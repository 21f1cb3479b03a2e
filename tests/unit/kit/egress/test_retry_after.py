"""What `Retry-After` may say."""

import pytest

from agentcache.kit.egress.retry_after import retry_after_seconds

#: 2026-01-31 09:30:00 UTC.
NOW = 1_769_851_800.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sat, 31 Jan 2026 09:31:00 GMT", 60.0),
        ("Sat, 31 Jan 2026 09:31:00 -0000", 60.0),
        ("Sat, 31 Jan 2026 09:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9" * 10, None),
        ("٣", None),
        ("Sat, 31 Jan 99999 09:31:00 GMT", None),
    ],
)
def test_seconds_and_dates_are_understood_and_nothing_else(value, seconds):
    assert retry_after_seconds(value, NOW) == seconds
