"""Made-up traffic of several teams: who calls what, when, and how it ends. The same seed gives the same traffic."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

DAY_MS = 86_400_000
MINUTE_MS = 60_000
MODELS = (
    ("openai", "chat.completions", "gpt-5-mini", 0.9), ("openai", "chat.completions", "gpt-5", 5.0),
    ("openai", "responses", "gpt-5-nano", 0.2), ("anthropic", "messages", "claude-sonnet-4-5", 6.0),
    ("anthropic", "messages", "claude-haiku-4-5", 1.6), ("openai", "embeddings", "text-embedding-3-small", 0.02),
    ("together", "chat.completions", "llama-4-maverick", 0.4), ("groq", "chat.completions", "llama-3.3-70b", 0.5),
    ("mistral", "chat.completions", "mistral-large-2512", 1.1), ("deepseek", "chat.completions", "deepseek-chat", 0.3),
    ("replicate", "predictions", "black-forest-labs/flux-schnell", 3.0), ("xai", "chat.completions", "grok-4", 4.0),
)  # fmt: skip
NAMESPACES = ("prod", "staging", "eval", "default", "batch", "ci")
AGENTS = (*(f"agent-{number:02}" for number in range(28)), "", "")
#: outcome, share, statuses, reason, freshness
ENDINGS = (
    ("exact", 46, (200,), "hit", "fresh"),
    ("semantic", 6, (200,), "hit; detail=semantic", "fresh"),
    ("stale", 2, (200,), "hit; detail=stale", "stale"),
    ("coalesced", 3, (200,), "fwd=miss; collapsed", ""),
    ("miss", 34, (200,), "fwd=miss; stored", ""),
    ("bypass", 5, (200,), "fwd=bypass", ""),
    ("error", 4, (429, 500, 502, 503, 401), "fwd=miss", ""),
    ("refused", 1, (429, 403), "rate_limited", ""),
)
_DRAWS = 8192
_ENTRIES = 20_000
#: How busy each hour of a day is, UTC; nights and week-ends are quieter, and never quiet.
_HOURS = (3, 2, 2, 2, 2, 3, 5, 8, 12, 15, 16, 15, 14, 15, 16, 16, 15, 13, 11, 9, 8, 7, 5, 4)
_WEEKEND = 0.45


@dataclass(frozen=True, slots=True)
class Profile:
    """One way of calling: a key with its maker, a model, a namespace and an agent."""

    key: str
    member: str
    dialect: str
    endpoint: str
    model: str
    namespace: str
    agent: str


@dataclass(frozen=True, slots=True)
class _Draw:
    input_tokens: int
    output_tokens: int
    price_nanos: int
    hit_us: int
    miss_us: int


class TeamTraffic:
    """The traffic of one team; `share` is its part of all requests."""

    def __init__(self, team: str, keys: list[tuple[str, str]], share: float, seed: int) -> None:
        self.team = team
        self.share = share
        self._random = random.Random(seed)
        self.profiles = [profile for key, member in keys for profile in self._profiles(key, member)]
        self._weights = list(accumulate(1 / (place + 3) for place in range(len(self.profiles))))
        self._draws = [self._draw() for _ in range(_DRAWS)]
        self._entries = [f"{self._random.getrandbits(256):064x}" for _ in range(_ENTRIES)]

    def _profiles(self, key: str, member: str) -> Iterator[Profile]:
        models = self._random.sample(MODELS, 3)
        agents = self._random.sample(AGENTS, 3)
        for namespace in self._random.sample(NAMESPACES, 2):
            for dialect, endpoint, model, _price in models:
                for agent in agents:
                    yield Profile(key, member, dialect, endpoint, model, namespace, agent)

    def _draw(self) -> _Draw:
        pick = self._random
        return _Draw(
            input_tokens=int(pick.lognormvariate(6.2, 1.0)),
            output_tokens=int(pick.lognormvariate(5.2, 0.9)),
            price_nanos=int(pick.lognormvariate(14.0, 1.2)),
            hit_us=int(pick.lognormvariate(6.6, 0.5)),
            miss_us=int(pick.lognormvariate(13.6, 0.7)),
        )

    def rows(self, start_ms: int, end_ms: int, count: int) -> list[tuple[str | int, ...]]:
        """Return `count` rows of the events' table between two times, in the order of `ports.UsageEvent`."""
        pick = self._random
        minutes = range(start_ms, end_ms, MINUTE_MS)
        times = pick.choices(minutes, [busyness(minute) for minute in minutes], k=count)
        spread = pick.choices(range(MINUTE_MS), k=count)
        at = sorted(min(end_ms - 1, minute + more) for minute, more in zip(times, spread, strict=True))
        profiles = pick.choices(self.profiles, cum_weights=self._weights, k=count)
        endings = pick.choices(ENDINGS, [ending[1] for ending in ENDINGS], k=count)
        draws = pick.choices(self._draws, k=count)
        entries = pick.choices(self._entries, k=count)
        return [self._row(*one) for one in zip(at, profiles, endings, draws, entries, strict=True)]

    def _row(self, at_ms: int, who: Profile, ending: tuple, draw: _Draw, entry: str) -> tuple[str | int, ...]:
        outcome, _share, statuses, reason, freshness = ending
        is_hit, is_bought = bool(freshness), outcome in ("miss", "bypass")
        latency = draw.hit_us if is_hit else draw.miss_us
        failed = outcome in ("error", "refused")
        cost = draw.price_nanos if is_bought else 4_000 if outcome == "semantic" else 0
        return (
            # As `kit.ids.new_id` spells it, for a time that is given.
            f"{at_ms:012x}7{self._random.getrandbits(76):019x}", at_ms, self.team, who.key, who.dialect, who.endpoint,
            who.model, who.namespace, outcome, statuses[at_ms % len(statuses)],
            0 if failed else draw.input_tokens, 0 if failed else draw.output_tokens, cost,
            draw.price_nanos if is_hit or outcome == "coalesced" else 0, latency, latency - 900 if is_bought else 0,
            who.agent, reason, "" if failed else entry, freshness, who.member,
            1 + at_ms % 90 if outcome == "refused" else 1,
        )  # fmt: skip


def busyness(at_ms: int) -> float:
    """Return how busy a minute is, in no unit."""
    weekday = (at_ms // DAY_MS + 3) % 7
    return _HOURS[at_ms // 3_600_000 % 24] * (_WEEKEND if weekday > 4 else 1.0)


def weight(start_ms: int, end_ms: int) -> float:
    """Return the sum of a span's busyness, by the minute."""
    return sum(busyness(minute) for minute in range(start_ms, end_ms, MINUTE_MS))
