"""Figures of some requests, and what is worked out from them. Their meaning is in `definitions`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import add

from agentcache.analytics.definitions import HITS, LOOKUPS, NOT_BOUGHT, SMALLEST_SAMPLE, hit_ratio
from agentcache.analytics.rollups import SUMS
from agentcache.gateway.ports import Outcome

_INDEX = {name: place for place, name in enumerate(SUMS)}


@dataclass(slots=True)
class Totals:
    """Sums of some requests by how they ended; money in 1e-9 USD, times in microseconds."""

    sums: dict[Outcome, list[int]] = field(default_factory=dict)

    def add(self, outcome: Outcome, sums: Sequence[int]) -> None:
        """Add sums in the order of `rollups.SUMS`."""
        found = self.sums.get(outcome)
        # PostgreSQL adds up 64-bit numbers as decimals.
        self.sums[outcome] = [*map(int, sums)] if found is None else [*map(int, map(add, found, sums))]

    def sum_of(self, name: str, outcomes: Iterable[Outcome] = Outcome) -> int:
        """Return one sum over the requests that ended so."""
        place = _INDEX[name]
        return sum(self.sums[outcome][place] for outcome in outcomes if outcome in self.sums)

    @property
    def by_outcome(self) -> dict[Outcome, int]:
        """How many requests ended in which way."""
        return {outcome: self.sum_of("requests", [outcome]) for outcome in Outcome}

    @property
    def requests(self) -> int:
        """Every request."""
        return self.sum_of("requests")

    @property
    def hits(self) -> int:
        """Requests answered from the cache."""
        return self.sum_of("requests", HITS)

    @property
    def coalesced(self) -> int:
        """Requests that shared another's provider call."""
        return self.sum_of("requests", [Outcome.COALESCED])

    @property
    def misses(self) -> int:
        """Requests that found nothing usable."""
        return self.sum_of("requests", [Outcome.MISS])

    @property
    def bypasses(self) -> int:
        """Requests that did not ask the cache."""
        return self.sum_of("requests", [Outcome.BYPASS])

    @property
    def errors(self) -> int:
        """Requests that ended without an answer."""
        return self.sum_of("requests", [Outcome.ERROR])

    @property
    def refused(self) -> int:
        """Requests that were turned away at the door."""
        return self.sum_of("requests", [Outcome.REFUSED])

    @property
    def lookups(self) -> int:
        """Requests that asked the cache."""
        return self.sum_of("requests", LOOKUPS)

    @property
    def hit_ratio(self) -> float | None:
        """Share of look-ups that were hits, or None without a look-up."""
        return hit_ratio(self.hits, self.coalesced, self.misses)

    @property
    def is_hit_ratio_weak(self) -> bool:
        """Whether the hit ratio rests on too few look-ups to mean much."""
        return 0 < self.lookups < SMALLEST_SAMPLE

    @property
    def error_ratio(self) -> float | None:
        """Share of the requests let in that ended without an answer, or None without one."""
        let_in = self.requests - self.refused
        return self.errors / let_in if let_in else None

    @property
    def input_tokens(self) -> int:
        """Tokens in prompts."""
        return self.sum_of("input_tokens")

    @property
    def output_tokens(self) -> int:
        """Tokens in answers."""
        return self.sum_of("output_tokens")

    @property
    def saved_tokens(self) -> int:
        """Tokens of answers that were not bought again."""
        return self.sum_of("input_tokens", NOT_BOUGHT) + self.sum_of("output_tokens", NOT_BOUGHT)

    @property
    def bought_tokens(self) -> int:
        """Tokens of answers that came from a provider."""
        return self.input_tokens + self.output_tokens - self.saved_tokens

    @property
    def cost_usd_nanos(self) -> int:
        """What providers were paid, whatever for."""
        return self.sum_of("cost_usd_nanos")

    @property
    def saved_usd_nanos(self) -> int:
        """What was not paid to providers."""
        return self.sum_of("saved_usd_nanos")

    @property
    def caching_cost_usd_nanos(self) -> int:
        """What was paid so that the cache could answer."""
        return self.sum_of("cost_usd_nanos", [*NOT_BOUGHT, Outcome.REFRESH, Outcome.PREWARM, Outcome.JUDGE])

    @property
    def net_saved_usd_nanos(self) -> int:
        """What was saved after deducting what caching cost."""
        return self.saved_usd_nanos - self.caching_cost_usd_nanos

    @property
    def is_unpriced(self) -> bool:
        """Whether these requests, all of one model, were bought at a price that is not known."""
        bought = [Outcome.MISS]
        tokens = self.sum_of("input_tokens", bought) + self.sum_of("output_tokens", bought)
        return tokens > 0 and not self.sum_of("cost_usd_nanos", bought)

    @property
    def hit_latency_us(self) -> int:
        """How long all hits together took."""
        return self.sum_of("latency_us", HITS)

    @property
    def upstream_mean_us(self) -> float | None:
        """How long a miss took at the provider, or None without a measured one."""
        calls = self.sum_of("upstream_calls", [Outcome.MISS])
        return self.sum_of("upstream_us", [Outcome.MISS]) / calls if calls else None


@dataclass(frozen=True, slots=True)
class TimeSaved:
    """How much longer callers would have waited, and for how many of the hits that is known."""

    microseconds: float
    hits_known: int
    hits: int

    @property
    def seconds(self) -> float | None:
        """The time, or None when it is known for no hit."""
        return self.microseconds / 1e6 if self.hits_known or not self.hits else None

    @classmethod
    def of(cls, by_model: Iterable[Totals]) -> TimeSaved:
        """Add up what each model's hits saved against its own misses."""
        microseconds, known, hits = 0.0, 0, 0
        for model in by_model:
            hits += model.hits
            mean = model.upstream_mean_us
            if mean is not None and model.hits:
                known += model.hits
                microseconds += model.hits * mean - model.hit_latency_us
        return cls(microseconds, known, hits)


def change(now: float | None, before: float | None) -> float | None:
    """Return by which share a figure changed, or None where there is nothing to compare with."""
    if now is None or not before:
        return None
    return (now - before) / abs(before)
