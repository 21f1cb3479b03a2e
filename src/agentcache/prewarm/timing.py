"""When schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from agentcache.prewarm.errors import InvalidSchedule

#: Names for what most people want: at three at night, every day and on Mondays.
NAMED: Final = {"nightly": "0 3 * * *", "weekly": "0 3 * * 1"}
LEAST_PAUSE: Final = timedelta(minutes=15)
#: How many times of a schedule are looked at to see that none are closer than the least pause.
_LOOKED_AT: Final = 100


def checked_cron(text: str, timezone: str) -> str:
    """Return the five fields of a schedule. Raises `InvalidSchedule`."""
    fields = NAMED.get(text.strip().lower(), " ".join(text.split()))
    zone = _zone(timezone)
    if len(fields) > 100 or len(fields.split()) != 5:
        raise InvalidSchedule(f"{text[:40]!r} is not nightly, weekly or five fields of cron.", param="cron")
    try:
        upcoming = CronSim(fields, datetime.now(zone))
        times = [time.astimezone(UTC) for time in islice(upcoming, _LOOKED_AT)]
    except CronSimError as error:
        raise InvalidSchedule(f"{text[:40]!r}: {error}.", param="cron") from None
    if not times:
        raise InvalidSchedule(f"{text[:40]!r} never comes.", param="cron")
    if any(later - earlier < LEAST_PAUSE for earlier, later in pairwise(times)):
        raise InvalidSchedule("A schedule runs no more often than every 15 minutes.", param="cron")
    return fields


def next_time(cron: str, timezone: str, after: datetime) -> datetime | None:
    """Return when a checked schedule is due next after a time, in UTC; None when it never is again."""
    try:
        return next(CronSim(cron, after.astimezone(_zone(timezone)))).astimezone(UTC)
    except StopIteration:
        return None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidSchedule(f"{name[:64]!r} is not a time zone, such as Europe/Berlin.", param="timezone") from None
