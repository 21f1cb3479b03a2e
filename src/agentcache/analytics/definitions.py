"""What each figure means: one definition, used by queries, pages, the API and the reference page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentcache.analytics.histogram import ERROR_SHARE
from agentcache.gateway.ports import Outcome

#: Answered from the cache, without waiting for a provider.
HITS: Final = frozenset({Outcome.EXACT, Outcome.SEMANTIC, Outcome.STALE})
#: Answered without a provider call of their own.
NOT_BOUGHT: Final = HITS | {Outcome.COALESCED}
#: The cache was asked. A bypass did not ask, and an error says nothing about the cache.
LOOKUPS: Final = NOT_BOUGHT | {Outcome.MISS}
#: Shares of fewer requests than this are not shown: they say more about chance than about the cache.
SMALLEST_SAMPLE: Final = 20


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure: what is counted, over what, and how to say it to people."""

    name: str
    title: str
    unit: str
    numerator: str
    denominator: str
    #: What one count stands for.
    basis: str
    text: str


OUTCOMES: Final = {
    Outcome.EXACT: "Answered from an entry with the same cache key, within its lifetime.",
    Outcome.SEMANTIC: "Answered from an entry whose question means the same, where the namespace allows it.",
    Outcome.STALE: "Answered from an entry past its lifetime, inside a window that allows it or because the provider failed.",
    Outcome.COALESCED: "Shared the provider call of an identical request that was under way.",
    Outcome.MISS: "Asked the cache, found nothing usable, went to the provider.",
    Outcome.BYPASS: "Went to the provider without asking the cache: the caller or the endpoint wanted it so.",
    Outcome.ERROR: "Ended without an answer: the provider or the network failed, or the request was not understood.",
    Outcome.REFUSED: "Turned away before the cache was asked: by a limit, for want of a scope, or from a network that the key does not allow.",
    Outcome.REFRESH: "No request: the cache asked the provider anew, behind a caller that was served a stale answer at once.",
    Outcome.PREWARM: "No request: the team had the server ask the provider before anybody does.",
    Outcome.JUDGE: "No request: the team's judge was asked whether one answer serves two near questions.",
}
_EVENT: Final = "one request to the gateway with a valid key"
_ERROR_PERCENT: Final = f"{ERROR_SHARE * 100:.0f} %"

METRICS: Final = (
    Metric(
        "requests", "Requests", "requests", "all usage events", "", _EVENT,
        "Every request that reached the gateway with a valid key, errors, bypasses and refused ones included. "
        "A request counts in the bucket of time in which it ended. A refresh behind a stale answer is no request, nor is prewarming or asking a judge.",
    ),
    Metric(
        "hits", "Hits", "requests", "events with outcome exact, semantic or stale", "", _EVENT,
        "Requests answered from the cache without waiting for a provider.",
    ),
    Metric(
        "coalesced", "Coalesced", "requests", "events with outcome coalesced", "", _EVENT,
        "Requests that shared the provider call of an identical one that was already under way.",
    ),
    Metric(
        "misses", "Misses", "requests", "events with outcome miss", "", _EVENT,
        "Requests that asked the cache, found nothing usable, and went to the provider.",
    ),
    Metric(
        "bypasses", "Bypasses", "requests", "events with outcome bypass", "", _EVENT,
        "Requests that did not ask the cache, because the caller or the endpoint wanted it so.",
    ),
    Metric(
        "hit_ratio", "Hit rate", "%", "hits", "hits + coalesced + misses", _EVENT,
        "Share of look-ups that were hits. Bypasses, errors and refused requests are not look-ups and do not count. A dash stands where "
        f"nothing was looked up, and under {SMALLEST_SAMPLE} look-ups the share is marked as resting on too few.",
    ),
    Metric(
        "errors", "Errors", "requests", "events with outcome error", "", _EVENT,
        "Requests that ended without an answer, whoever was at fault.",
    ),
    Metric(
        "error_ratio", "Error rate", "%", "errors", "(requests − refused)", _EVENT,
        "Share of the requests that were let in that ended without an answer.",
    ),
    Metric(
        "refused", "Refused", "requests", "sum of requests of events with outcome refused", "", _EVENT,
        "Requests that were turned away before the cache was asked: by a rate, a quota or a budget, for want of a scope, or "
        "from a network that the key does not allow. No limit counts them. A flood of them is summed up: one event stands for "
        "all that are alike within 15 seconds.",
    ),
    Metric(
        "cost_usd", "Provider cost", "USD", "sum of provider prices of answers that were bought", "",
        "one provider call; a hit makes none",
        "What the providers' calls cost, at the price in force when each was made. Calls of models whose price is unknown "
        "count as 0; a hard budget refuses them, unless it lets them pass.",
    ),
    Metric(
        "saved_usd", "Avoided cost", "USD", "sum of provider prices of answers that were not bought again", "",
        "one hit or coalesced request",
        "What hits and coalesced requests would have cost at the provider, at the price in force when the answer was made.",
    ),
    Metric(
        "caching_cost_usd", "Cost of caching", "USD", "sum of provider prices paid on the way of hits, coalesced requests, refreshes, prewarming and judges",
        "", "one hit, coalesced request, refresh, prewarmed answer or question to a judge",
        "What was paid to providers so that the cache could answer, such as a refresh behind an answer that was served "
        "stale, prewarming, or a judge of near questions. An exact look-up costs nothing.",
    ),
    Metric(
        "net_saved_usd", "Net saved", "USD", "avoided cost − cost of caching", "", "one hit or coalesced request",
        "What caching saved after deducting what it cost. Below zero when it cost more than it saved.",
    ),
    Metric(
        "time_saved_seconds", "Time saved", "s",
        "for each model: hits × mean provider time of its misses − time the hits took", "", "one hit",
        "How much longer the callers would have waited at the provider. The provider's time is the mean of the same model's "
        "misses in the same period; hits of models without a miss in the period are left out, and how many is said.",
    ),
    Metric(
        "input_tokens", "Input tokens", "tokens", "sum of input tokens", "", _EVENT,
        "Tokens in prompts, as the provider counted them when the answer was made.",
    ),
    Metric(
        "output_tokens", "Output tokens", "tokens", "sum of output tokens", "", _EVENT,
        "Tokens in answers, as the provider counted them when the answer was made.",
    ),
    Metric(
        "saved_tokens", "Tokens not bought", "tokens", "input and output tokens of hits and coalesced requests", "",
        "one hit or coalesced request",
        "Tokens of answers that came without a provider call of their own.",
    ),
    Metric(
        "latency_p50", "Latency p50, p95, p99", "ms", "time that 50, 95, 99 % of the requests did not exceed", "",
        "one hit, or one miss, with a status below 400",
        "From the request's arrival at the gateway to the last byte of its answer, hits and misses apart. Read from a "
        f"histogram: the figure is off by at most {_ERROR_PERCENT} between 0.25 ms and 8 minutes. Averages of percentiles "
        "are never made: a longer span is read from the sum of its histograms.",
    ),
    Metric(
        "coverage", "Attributed", "%", "requests with an agent, or of a key with a known maker", "requests", _EVENT,
        "Share of requests that say who was at work: the agent by the header X-AgentCache-Agent, the member by who made "
        "the key.",
    ),
)  # fmt: skip

BY_NAME: Final = {metric.name: metric for metric in METRICS}


def hit_ratio(hits: int, coalesced: int, misses: int) -> float | None:
    """Return hits ÷ look-ups, or None when the cache was never asked."""
    lookups = hits + coalesced + misses
    return hits / lookups if lookups else None
