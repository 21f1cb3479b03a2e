"""Freshness is arithmetic on an entry's age, in the words of RFC 9111 and RFC 5861."""

from __future__ import annotations

from enum import Enum

from agentcache.engine.entries import EntryMeta

#: An entry older than this share of its lifetime is still served, but shown as stale (yellow).
FRESH_SHARE = 0.75


class Freshness(Enum):
    """How an entry stands at a moment."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


def age_seconds(meta: EntryMeta, now: float) -> float:
    """Return seconds since the answer was made; a clock that went back never gives a negative age (RFC 9111, 4.2.3)."""
    return max(0.0, now - meta.stored_at)


def freshness(meta: EntryMeta, now: float) -> Freshness:
    """Judge an entry: fresh below 75 % of its lifetime, stale to its end and inside its stale windows, then expired."""
    age = age_seconds(meta, now)
    if age < FRESH_SHARE * meta.lifetime_seconds:
        return Freshness.FRESH
    return Freshness.STALE if age < meta.lifetime_seconds + stale_window_seconds(meta) else Freshness.EXPIRED


def stale_window_seconds(meta: EntryMeta) -> float:
    """Return for how long past its lifetime an entry may still answer, in one case or another."""
    return max(meta.stale_while_revalidate_seconds, meta.stale_if_error_seconds)


def kept_until(meta: EntryMeta, grace_seconds: float) -> float:
    """Return until when a store keeps an entry: the end of the grace, or of the entry's own windows if that is later."""
    return meta.expires_at + max(grace_seconds, stale_window_seconds(meta))


def ttl_seconds(meta: EntryMeta, now: float) -> int:
    """Return what remains of the lifetime, negative when it is over (RFC 9211, 2.5)."""
    return int(meta.lifetime_seconds - age_seconds(meta, now))


def may_serve(meta: EntryMeta, now: float, *, max_age: int | None = None) -> bool:
    """Say whether an entry may answer without asking upstream."""
    age = age_seconds(meta, now)
    return age < meta.lifetime_seconds and (max_age is None or age <= max_age)


def may_serve_while_revalidating(meta: EntryMeta, now: float, *, max_age: int | None = None) -> bool:
    """Say whether an entry past its lifetime may answer at once, while it is asked for anew behind (RFC 5861, 3).

    The window does not widen what a caller accepts: beyond its `max_age` an entry is not served.
    """
    age = age_seconds(meta, now)
    end = meta.lifetime_seconds + meta.stale_while_revalidate_seconds
    return meta.lifetime_seconds <= age < end and (max_age is None or age <= max_age)


def may_serve_on_error(
    meta: EntryMeta, now: float, *, stale_if_error: int | None = None, max_age: int | None = None
) -> bool:
    """Say whether an entry may stand in for a failing upstream (RFC 5861, 4).

    The caller's window, where given, replaces the entry's own; it can only use what the store still keeps. It begins
    where the caller would otherwise have taken the entry no more: at the end of its lifetime, or at `max_age`.
    """
    window = meta.stale_if_error_seconds if stale_if_error is None else stale_if_error
    acceptable = meta.lifetime_seconds if max_age is None else min(meta.lifetime_seconds, max_age)
    return age_seconds(meta, now) < acceptable + window
