from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agentcache.analytics.errors import InvalidPeriod
from agentcache.analytics.periods import Preset, last_days, period_of, preset_period
from agentcache.analytics.rollups import Grain

NOW = datetime(2027, 4, 15, 12, 34, 56, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def local(period):
    return [datetime.fromtimestamp(start, ZoneInfo(period.zone)) for start in period.starts]


@pytest.mark.parametrize(
    ("preset", "buckets", "grain", "seconds"),
    [
        (Preset.HOUR, 12, Grain.FIVE_MINUTES, 3600),
        (Preset.DAY, 24, Grain.HOUR, 86400),
        (Preset.WEEK, 168, Grain.HOUR, 7 * 86400),
        (Preset.MONTH, 30, Grain.DAY, 30 * 86400),
        (Preset.QUARTER, 90, Grain.DAY, 90 * 86400),
        (Preset.MONTH_TO_DATE, 15, Grain.DAY, 15 * 86400),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_presets_end_with_the_bucket_that_is_filling(preset, buckets, grain, seconds):
    period = preset_period(preset, "UTC", NOW)
    assert (len(period.starts), period.bucket, period.end - period.start) == (buckets, grain, seconds)
    assert period.unfinished == buckets - 1
    assert period.starts[-1] <= NOW.timestamp() < period.end
    assert period.stored_grain is grain


def test_days_of_a_zone_begin_at_its_midnight_also_across_summer_time():
    period = period_of(start="2027-03-27", end="2027-04-05", zone="Europe/Berlin", now=NOW)
    assert {(moment.hour, moment.minute) for moment in local(period)} == {(0, 0)}
    lengths = [two - one for one, two in zip(period.starts, [*period.starts[1:], period.end], strict=True)]
    assert sorted(set(lengths)) == [23 * 3600, 24 * 3600]
    assert lengths[1] == 23 * 3600  # 28 March 2027
    assert period.stored_grain is Grain.HOUR
    assert period.unfinished is None


def test_the_autumn_day_has_25_hours():
    period = period_of(start="2026-10-20", end="2026-10-31", zone="Europe/Berlin", now=NOW)
    lengths = [two - one for one, two in zip(period.starts, [*period.starts[1:], period.end], strict=True)]
    assert lengths.count(25 * 3600) == 1


def test_days_of_a_zone_off_by_half_an_hour_begin_at_the_whole_hour_before():
    period = preset_period(Preset.MONTH, "Asia/Kolkata", NOW)
    assert all(start % 3600 == 0 for start in period.starts)
    assert {(moment.hour, moment.minute) for moment in local(period)} == {(23, 30)}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Apia"])
@pytest.mark.parametrize("preset", list(Preset), ids=lambda preset: preset.code)
def test_spans_cover_the_period_once(preset, zone):
    period = preset_period(preset, zone, NOW)
    at = period.start
    for grain, start, end in period.spans():
        assert start == at
        assert start < end
        assert start % grain == end % grain == 0
        at = end
    assert at == period.end


def test_the_previous_period_ends_where_this_one_begins_and_is_as_long():
    for preset in (Preset.HOUR, Preset.DAY, Preset.WEEK, Preset.MONTH):
        period = preset_period(preset, "Europe/Berlin", NOW)
        before = period.previous()
        assert before.end == period.start
        assert len(before.starts) == len(period.starts)
        assert before.unfinished is None


def test_a_month_to_date_is_compared_with_the_same_days_of_the_month_before():
    before = preset_period(Preset.MONTH_TO_DATE, "UTC", NOW).previous()
    assert local(before)[0] == datetime(2027, 3, 1, tzinfo=UTC)
    assert len(before.starts) == 15
    late = datetime(2027, 3, 31, 5, tzinfo=UTC)
    february = preset_period(Preset.MONTH_TO_DATE, "UTC", late).previous()
    assert len(february.starts) == 28


def test_a_short_custom_period_is_by_the_hour_and_rounded_outwards():
    period = period_of(start="2027-04-14T08:20", end="2027-04-14T10:10", zone="Europe/Berlin", now=NOW)
    assert [moment.hour for moment in local(period)] == [8, 9, 10]
    assert period.bucket_label == "per hour, Europe/Berlin"


def test_so_many_days_are_hours_up_to_a_week_and_days_beyond():
    assert last_days(1, NOW).starts == preset_period(Preset.DAY, "UTC", NOW).starts
    assert last_days(7, NOW).starts == preset_period(Preset.WEEK, "UTC", NOW).starts
    assert last_days(30, NOW).starts == preset_period(Preset.MONTH, "UTC", NOW).starts


@pytest.mark.parametrize(
    "asked",
    [
        {"preset": "2h"},
        {"zone": "Mars/Olympus"},
        {"zone": "../../etc/passwd"},
        {"start": "2027-04-02", "end": "2027-04-01"},
        {"start": "2028-04-02", "end": "2028-04-03"},
        {"start": "2020-01-01", "end": "2027-04-01"},
        {"start": "yesterday", "end": "2027-04-01"},
        {"start": "2027-04-01"},
        {"start": "9999-12-31", "end": "9999-12-31"},
    ],
    ids=lambda asked: " ".join(asked.values()),
)
def test_what_cannot_be_meant_is_refused(asked):
    with pytest.raises(InvalidPeriod):
        period_of(now=NOW, **asked)
