"""What a robots.txt (RFC 9309) lets us fetch."""

from __future__ import annotations

from typing import Final

from protego import Protego

from agentcache.listeners.reading.messages import Verdict

_DELAY_SECONDS_MAX: Final = 60.0


def judge(text: str, url: str, agent: str) -> Verdict:
    """Say whether `agent` may fetch a URL, and how long it shall wait between two requests (a minute at most)."""
    rules = Protego.parse(text)
    delay = rules.crawl_delay(agent)
    return Verdict(rules.can_fetch(url, agent), min(max(0.0, delay or 0.0), _DELAY_SECONDS_MAX))
