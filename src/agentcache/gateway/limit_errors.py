"""What a call is told that a limit keeps out."""

from __future__ import annotations

from math import ceil

from agentcache.engine.stores.tallies import MINUTE_US
from agentcache.gateway.ports import Limit
from agentcache.kit.errors import AgentCacheError, Unavailable
from agentcache.kit.money import usd


def whose(limit: Limit) -> str:
    """Name the subject of a limit in a sentence."""
    named = {"team": "this team", "member": "this member", "key": "this API key"}
    return named.get(limit.kind) or f'the agent "{limit.subject}"'


class LimitReached(AgentCacheError):
    """A limit of the team is reached."""

    code = "limit_reached"
    status = 429
    may_pass = False


class RateLimited(LimitReached):
    """More requests in a minute than a limit allows; wait as long as Retry-After says."""

    code = "rate_limited"
    may_pass = True

    @classmethod
    def of(cls, limit: Limit, whole_at_us: int, now: float) -> RateLimited:
        """Say which rate it is and when there is room again."""
        rate = limit.requests_per_minute or 1
        now_us = int(now * 1e6)
        pause = max(1, ceil((whole_at_us + MINUTE_US // rate - now_us - MINUTE_US) / 1e6))
        whole = max(pause, ceil((whole_at_us - now_us) / 1e6))
        error = cls(f"The limit of {rate:,} requests a minute for {whose(limit)} is reached; try again in {pause} s.")
        error.headers = (
            (b"retry-after", b"%d" % pause),
            (b"ratelimit-policy", b'"%s";q=%d;w=60' % (limit.kind.encode(), rate)),
            (b"ratelimit", b'"%s";r=0;t=%d' % (limit.kind.encode(), pause)),
            (b"ratelimit-limit", b"%d" % rate),
            (b"ratelimit-remaining", b"0"),
            (b"ratelimit-reset", b"%d" % whole),
        )
        return error


class QuotaExceeded(LimitReached):
    """The month's requests are used up."""

    code = "quota_exceeded"

    @classmethod
    def of(cls, limit: Limit, used: int, resets_in: float) -> QuotaExceeded:
        """Say which quota it is and when it begins anew."""
        quota = limit.requests_per_month or 0
        error = cls(
            f"{used:,} of the {quota:,} requests a month for {whose(limit)} are used; the count begins anew in "
            f"{_span(resets_in)}."
        )
        error.headers = _until_reset(limit, "requests", resets_in)
        return error


class BudgetExceeded(LimitReached):
    """The month's budget does not cover another call to a provider."""

    code = "budget_exceeded"

    @classmethod
    def of(cls, limit: Limit, spent: int, resets_in: float) -> BudgetExceeded:
        """Say which budget it is and when it begins anew."""
        budget = limit.budget_usd_nanos_per_month or 0
        error = cls(
            f"{usd(spent)} of the {usd(budget)} USD a month for {whose(limit)} are spent, and the rest does not cover "
            f"this call; the budget begins anew in {_span(resets_in)}. Answers in the cache are still served."
        )
        error.headers = _until_reset(limit, "budget", resets_in)
        return error


class PriceUnknown(LimitReached):
    """A hard budget is set, and nobody knows what the call would cost; give its model a price, or let the budget pass it."""

    code = "price_unknown"
    # Not 429: the same call will not do better later.
    status = 403

    @classmethod
    def of(cls, limit: Limit, asked: str) -> PriceUnknown:
        """Say which budget it is, what has no price, and what can be done."""
        return cls(
            f"The price of {asked} is not known, and the budget of {whose(limit)} is hard. An operator can give it a price "
            "(AGENTCACHE_PRICES_FILE), or an admin can let this budget pass calls of unknown price. Answers in the cache are "
            "still served."
        )


class LimitsUnavailable(Unavailable):
    """A hard budget is set, and what is left of it cannot be told at the moment; try again shortly."""

    code = "limits_unavailable"


def _until_reset(limit: Limit, measure: str, seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"retry-after", b"%d" % max(1, ceil(seconds))),
        (b"x-agentcache-limit", f"{limit.kind}; measure={measure}; reset={max(1, ceil(seconds))}".encode()),
    )


def _span(seconds: float) -> str:
    if seconds >= 2 * 86400:
        return f"{int(seconds // 86400)} days"
    return f"{int(seconds // 3600)} hours" if seconds >= 2 * 3600 else f"{max(1, ceil(seconds / 60))} minutes"
