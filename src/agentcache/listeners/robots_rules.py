"""What hosts allow: their robots.txt files (RFC 9309), asked for once a day and remembered in this process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from agentcache.kit.clock import Clock
from agentcache.kit.egress.guarded import EgressFailed, GuardedClient
from agentcache.kit.egress.target import Headers, InvalidTarget
from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.messages import JudgeRobots, Verdict
from agentcache.listeners.reading.packed import unpacked
from agentcache.listeners.reading.reader import Reader

#: What robots.txt files may call us.
PRODUCT: Final = "AgentCache-Listener"
_KEPT_SECONDS: Final = 86_400.0
#: One that could not be read is asked for again after this; until then nothing is fetched from there.
_UNKNOWN_SECONDS: Final = 600.0
#: RFC 9309, 2.5 asks for at least 500 KiB.
_CHARS_MAX: Final = 512_000
_CHARS_IN_ALL: Final = 32_000_000
_ALLOWED: Final = Verdict(True)


@dataclass(frozen=True, slots=True)
class _Rules:
    #: None when it could not be read.
    text: str | None
    good_until: float


class RobotsRules:
    """Says whether a URL may be fetched. Asks each host once a day."""

    def __init__(self, client: GuardedClient, reader: Reader, headers: Headers, clock: Clock) -> None:
        self._client = client
        self._reader = reader
        self._headers = headers
        self._clock = clock
        self._known: OrderedDict[str, _Rules] = OrderedDict()
        self._chars = 0

    async def judge(self, url: str) -> Verdict | None:
        """Return what the host's robots.txt says of a URL, or None when it cannot be read now."""
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        rules = self._known.get(origin)
        if rules is None or rules.good_until <= self._clock.monotonic():
            rules = await self._fetch(origin)
            self._keep(origin, rules)
        if not rules.text:
            return None if rules.text is None else _ALLOWED
        answer = await self._reader.ask(JudgeRobots(rules.text, url, PRODUCT))
        return answer if isinstance(answer, Verdict) else None

    async def _fetch(self, origin: str) -> _Rules:
        now = self._clock.monotonic()
        try:
            response = await self._client.request("GET", f"{origin}/robots.txt", self._headers, max_redirects=3)
        except (EgressFailed, InvalidTarget):
            return _Rules(None, now + _UNKNOWN_SECONDS)
        if 200 <= response.status < 300:
            try:
                body = unpacked(response.body)
            except NotReadable:
                return _Rules(None, now + _UNKNOWN_SECONDS)
            return _Rules(body[:_CHARS_MAX].decode("utf-8", "replace"), now + _KEPT_SECONDS)
        if 400 <= response.status < 500 and response.status != 429:
            # RFC 9309, 2.3.1.3: there is none, so nothing is forbidden.
            return _Rules("", now + _KEPT_SECONDS)
        return _Rules(None, now + _UNKNOWN_SECONDS)

    def _keep(self, origin: str, rules: _Rules) -> None:
        self._forget(origin)
        self._known[origin] = rules
        self._chars += _weight(rules)
        while self._chars > _CHARS_IN_ALL:
            self._forget(next(iter(self._known)))

    def _forget(self, origin: str) -> None:
        former = self._known.pop(origin, None)
        if former is not None:
            self._chars -= _weight(former)


def _weight(rules: _Rules) -> int:
    return 500 + len(rules.text or "")
