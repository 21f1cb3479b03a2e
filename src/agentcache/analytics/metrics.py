"""What each figure means: one definition, used by queries, pages and documentation."""

from __future__ import annotations

from dataclasses import dataclass

from agentcache.gateway.ports import Outcome

#: Answered from the cache, without waiting for a provider.
HITS = frozenset({Outcome.EXACT, Outcome.SEMANTIC, Outcome.STALE})
#: The cache was asked. A bypass did not ask, and an error says nothing about the cache.
LOOKUPS = HITS | {Outcome.COALESCED, Outcome.MISS}


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure: what is counted, over what, and how to say it to people."""

    name: str
    title: str
    unit: str
    numerator: str
    denominator: str
    text: str


METRICS = (
    Metric(
        "requests", "Requests", "requests", "all usage events", "",
        "Every request that reached the gateway with a valid key, errors and bypasses included.",
    ),
    Metric(
        "hits", "Hits", "requests", "events with outcome exact, semantic or stale", "",
        "Requests answered from the cache without waiting for a provider.",
    ),
    Metric(
        "coalesced", "Coalesced", "requests", "events with outcome coalesced", "",
        "Requests that shared the provider call of an identical one that was already under way.",
    ),
    Metric(
        "misses", "Misses", "requests", "events with outcome miss", "",
        "Requests that asked the cache, found nothing usable, and went to the provider.",
    ),
    Metric(
        "hit_ratio", "Hit ratio", "%", "hits", "hits + coalesced + misses",
        "Share of look-ups that were hits. Bypasses and errors are not look-ups and do not count.",
    ),
    Metric(
        "cost_usd", "Cost", "USD", "sum of provider prices of answers that were bought", "",
        "What the providers' calls cost, at the price in force when each was made.",
    ),
    Metric(
        "saved_usd", "Saved", "USD", "sum of provider prices of answers that were not bought again", "",
        "What hits and coalesced requests would have cost at the provider, at the price in force then.",
    ),
    Metric(
        "input_tokens", "Input tokens", "tokens", "sum of input tokens", "",
        "Tokens in prompts, as the provider counted them when the answer was made.",
    ),
    Metric(
        "output_tokens", "Output tokens", "tokens", "sum of output tokens", "",
        "Tokens in answers, as the provider counted them when the answer was made.",
    ),
)  # fmt: skip


def hit_ratio(hits: int, coalesced: int, misses: int) -> float | None:
    """Return hits ÷ look-ups, or None when the cache was never asked."""
    lookups = hits + coalesced + misses
    return hits / lookups if lookups else None
