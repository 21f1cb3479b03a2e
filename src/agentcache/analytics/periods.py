"""Spans of time that pages and APIs ask about: presets, bounds that fall on buckets, and the buckets themselves."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentcache.analytics.errors import InvalidPeriod
from agentcache.analytics.rollups import Grain

UTC_ZONE: Final = "UTC"
#: A custom period of more days is shown by the day, a shorter one by the hour.
HOURLY_DAYS_MAX: Final = 7
#: The longest custom period.
DAYS_MAX: Final = 731


class Preset(Enum):
    """Periods that have a name: value in addresses, and words for people."""

    HOUR = "1h", "1 hour"
    DAY = "24h", "24 hours"
    WEEK = "7d", "7 days"
    MONTH = "30d", "30 days"
    QUARTER = "90d", "90 days"
    MONTH_TO_DATE = "mtd", "Month to date"

    def __init__(self, code: str, label: str) -> None:
        self.code = code
        self.label = label

    @classmethod
    def of(cls, code: str) -> Preset | None:
        """Return the preset with this code, or None."""
        return next((preset for preset in cls if preset.code == code), None)


_SPANS: Final = {
    Preset.HOUR: (12, Grain.FIVE_MINUTES),
    Preset.DAY: (24, Grain.HOUR),
    Preset.WEEK: (7 * 24, Grain.HOUR),
    Preset.MONTH: (30, Grain.DAY),
    Preset.QUARTER: (90, Grain.DAY),
}


@dataclass(frozen=True, slots=True)
class Period:
    """A span of whole buckets. The last one may still be filling."""

    #: Unix seconds of each bucket's start; days of a zone with summer time differ in length.
    starts: tuple[int, ...]
    #: Where the last bucket ends; not included.
    end: int
    bucket: Grain
    #: Name of the zone in which days begin.
    zone: str
    #: When this was asked, Unix seconds.
    asked_at: float
    preset: Preset | None = None

    @property
    def start(self) -> int:
        """Where the first bucket begins."""
        return self.starts[0]

    @property
    def unfinished(self) -> int | None:
        """Place of the bucket that is still filling, or None when all are whole."""
        if not self.start <= self.asked_at < self.end:
            return None
        return bisect_right(self.starts, self.asked_at) - 1

    @property
    def bucket_label(self) -> str:
        """What one bucket covers, with the zone: `per hour, UTC`."""
        name = {Grain.FIVE_MINUTES: "per 5 minutes", Grain.HOUR: "per hour", Grain.DAY: "per day"}[self.bucket]
        return f"{name}, {self.zone}"

    def runs(self) -> list[tuple[int, int, int, int]]:
        """Return the period as runs of buckets of one length: place of the first, start, end, seconds of each bucket.

        There is one, but where days of 23 or 25 hours are in between. Within a run a database can tell the bucket.
        """
        found: list[tuple[int, int, int, int]] = []
        for place, start in enumerate(self.starts):
            end = self.starts[place + 1] if place + 1 < len(self.starts) else self.end
            if found and found[-1][3] == end - start:
                found[-1] = (*found[-1][:2], end, end - start)
            else:
                found.append((place, start, end, end - start))
        return found

    def previous(self) -> Period:
        """Return the span of as many buckets just before this one; of a month to date, the same days of the month before."""
        if self.preset is Preset.MONTH_TO_DATE:
            return self._month_before()
        count = len(self.starts)
        if self.bucket is Grain.DAY:
            first = day_of(self.start, self.zone)
            starts = tuple(day_start(first - timedelta(days=back), self.zone) for back in range(count, 0, -1))
        else:
            starts = tuple(start - count * int(self.bucket) for start in self.starts)
        return Period(starts, self.start, self.bucket, self.zone, self.asked_at)

    def _month_before(self) -> Period:
        first = day_of(self.start, self.zone)
        begin = (first - timedelta(days=1)).replace(day=1)
        days = min(len(self.starts), (first - begin).days)
        starts = tuple(day_start(begin + timedelta(days=day), self.zone) for day in range(days))
        return Period(starts, day_start(begin + timedelta(days=days), self.zone), self.bucket, self.zone, self.asked_at)

    def spans(self) -> list[tuple[Grain, int, int]]:
        """Return what the whole period is made of: few roll-ups of weeks and, at the edges, of days and hours."""
        if self.bucket is Grain.FIVE_MINUTES:
            return [(Grain.FIVE_MINUTES, self.start, self.end)]
        return _spans(self.start, self.end, (Grain.WEEK, Grain.DAY, Grain.HOUR))

    @property
    def stored_grain(self) -> Grain:
        """The roll-ups that its buckets are made from: days of another zone than UTC are made from hours."""
        is_utc_days = self.bucket is Grain.DAY and all(start % Grain.DAY == 0 for start in self.starts)
        return Grain.HOUR if self.bucket is Grain.DAY and not is_utc_days else self.bucket


def period_of(
    *, preset: str = "", start: str = "", end: str = "", zone: str = "", now: datetime, default: Preset = Preset.MONTH
) -> Period:
    """Return the period that an address asks for: a preset, or a custom one by two days or times. Raises `InvalidPeriod`."""
    zone = check_zone(zone)
    if start or end:
        return _custom(start, end, zone, now)
    if not preset:
        return preset_period(default, zone, now)
    found = Preset.of(preset)
    if found is None:
        raise InvalidPeriod(f"{preset[:20]!r} is not one of {', '.join(one.code for one in Preset)}.", param="period")
    return preset_period(found, zone, now)


def preset_period(preset: Preset, zone: str, now: datetime) -> Period:
    """Return a preset's period: it ends with the bucket that is filling now."""
    asked_at = now.timestamp()
    if preset is Preset.MONTH_TO_DATE:
        today = day_of(asked_at, zone)
        return _days(today.replace(day=1), today, zone, asked_at, preset)
    count, grain = _SPANS[preset]
    if grain is Grain.DAY:
        today = day_of(asked_at, zone)
        return _days(today - timedelta(days=count - 1), today, zone, asked_at, preset)
    end = (int(asked_at) // grain + 1) * int(grain)
    return _even(end - count * int(grain), end, grain, zone, asked_at, preset)


def last_days(days: int, now: datetime) -> Period:
    """Return the period of so many days up to now, in UTC: hours up to a week, days beyond."""
    if days <= HOURLY_DAYS_MAX:
        end = (int(now.timestamp()) // Grain.HOUR + 1) * int(Grain.HOUR)
        return _even(end - days * int(Grain.DAY), end, Grain.HOUR, UTC_ZONE, now.timestamp())
    today = day_of(now.timestamp(), UTC_ZONE)
    return _days(today - timedelta(days=days - 1), today, UTC_ZONE, now.timestamp())


def check_zone(name: str) -> str:
    """Return the name of a time zone, UTC for "". Raises `InvalidPeriod`."""
    if not name:
        return UTC_ZONE
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidPeriod(f"{name[:60]!r} is not a time zone, such as Europe/Berlin.", param="zone") from None
    return name


def _custom(start: str, end: str, zone: str, now: datetime) -> Period:
    begin, finish = _instant(start, zone, "start", is_end=False), _instant(end, zone, "end", is_end=True)
    if begin >= finish:
        raise InvalidPeriod("The period ends before it begins.", param="end")
    if begin > now:
        raise InvalidPeriod("The period lies in the future.", param="start")
    if finish - begin > timedelta(days=DAYS_MAX):
        raise InvalidPeriod(f"A period has at most {DAYS_MAX} days.", param="start")
    asked_at = now.timestamp()
    if finish - begin > timedelta(days=HOURLY_DAYS_MAX):
        last = day_of(finish.timestamp() - 1, zone)
        return _days(day_of(begin.timestamp(), zone), last, zone, asked_at)
    hour = int(Grain.HOUR)
    first = int(begin.timestamp()) // hour * hour
    return _even(first, -(-int(finish.timestamp()) // hour) * hour, Grain.HOUR, zone, asked_at)


def _spans(start: int, end: int, grains: tuple[Grain, ...]) -> list[tuple[Grain, int, int]]:
    grain, *finer = grains
    if not finer:
        return [(grain, start, end)] if start < end else []
    first, last = -(-start // grain) * int(grain), end // grain * int(grain)
    if first >= last:
        return _spans(start, end, tuple(finer))
    return [*_spans(start, first, tuple(finer)), (grain, first, last), *_spans(last, end, tuple(finer))]


def _instant(text: str, zone: str, param: str, *, is_end: bool) -> datetime:
    """Read a day or a time; a day as the end means the whole of it."""
    try:
        if len(text) == len("2027-01-31"):
            day = date.fromisoformat(text) + timedelta(days=1 if is_end else 0)
            return datetime.fromtimestamp(day_start(day, zone), UTC)
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidPeriod(
            f"{text[:40]!r} is neither a day (2027-01-31) nor a time (ISO 8601).", param=param
        ) from None


def _even(start: int, end: int, grain: Grain, zone: str, asked_at: float, preset: Preset | None = None) -> Period:
    return Period(tuple(range(start, end, int(grain))), end, grain, zone, asked_at, preset)


def _days(first: date, last: date, zone: str, asked_at: float, preset: Preset | None = None) -> Period:
    starts = tuple(day_start(first + timedelta(days=day), zone) for day in range((last - first).days + 1))
    return Period(starts, day_start(last + timedelta(days=1), zone), Grain.DAY, zone, asked_at, preset)


def day_of(at: float, zone: str) -> date:
    """Return the day of a zone that a Unix time falls on."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).date()


def day_start(day: date, zone: str) -> int:
    """Return when a day begins; in zones that are off by half an hour, at the whole hour of UTC before.

    Roll-ups are of whole hours.
    """
    begins = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return int(begins.timestamp()) // Grain.HOUR * int(Grain.HOUR)
