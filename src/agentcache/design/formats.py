"""Numbers and times as people read them: tabular, with their unit, a dash where there is no data."""

from __future__ import annotations

from datetime import UTC, datetime

DASH = "–"
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_SPANS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"))


def number(value: float | None, unit: str = "count") -> str:
    """Return a number with its unit; `unit` as in `charts.Unit`."""
    if value is None:
        return DASH
    if unit == "usd":
        return usd(value)
    if unit == "percent":
        return f"{value * 100:.1f} %" if value < 0.9995 or value > 1 else "100 %"
    if unit == "ms":
        return duration(value / 1000)
    if unit == "bytes":
        return byte_size(value)
    return f"{value:,.0f}"


def short(value: float | None) -> str:
    """Return a count in at most five characters: 12.3k."""
    if value is None:
        return DASH
    for size, letter in _THOUSANDS:
        if abs(value) >= size * 0.9995:
            scaled = value / size
            return f"{scaled:.0f}{letter}" if scaled >= 99.95 else f"{scaled:.1f}{letter}"
    return f"{value:.0f}"


def usd(value: float | None) -> str:
    """Return dollars: cents from a dollar on, more digits below, so that small savings do not read as none."""
    if value is None:
        return DASH
    sign = "−" if value < 0 else ""
    amount = abs(value)
    if amount == 0:
        return "$0.00"
    if amount < 0.0001:
        return f"{sign}<$0.0001"
    return f"{sign}${amount:,.2f}" if amount >= 1 else f"{sign}${amount:.4f}"


def duration(seconds: float | None) -> str:
    """Return a time that something took."""
    if seconds is None:
        return DASH
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return span(seconds)


def span(seconds: float | None) -> str:
    """Return an age or a lifetime in its two largest units: 3 d 4 h."""
    if seconds is None:
        return DASH
    rest = int(max(0, seconds))
    parts = []
    for size, name in _SPANS:
        if rest >= size:
            parts.append(f"{rest // size} {name}")
            rest %= size
    if not parts:
        return f"{rest} s"
    return " ".join(parts[:2])


def byte_size(value: float | None) -> str:
    """Return bytes in binary units."""
    if value is None:
        return DASH
    for size, name in _BYTES:
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f} B"


def stamp(value: datetime, now: datetime) -> str:
    """Return a time in UTC for a column of times: the year only where it is another one than that of `now`."""
    value, now = value.astimezone(UTC), now.astimezone(UTC)
    shape = "%d %b %H:%M:%S" if value.year == now.year else "%d %b %Y %H:%M:%S"
    return value.strftime(shape).removeprefix("0")


def moment(value: datetime | float | None) -> str:
    """Return a time in UTC, to the second; Unix seconds are taken, too."""
    if value is None:
        return DASH
    if isinstance(value, int | float):
        value = datetime.fromtimestamp(value, UTC)
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
