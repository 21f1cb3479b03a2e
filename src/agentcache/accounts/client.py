"""What a request tells of the caller: address, network, browser and system."""

from __future__ import annotations

from functools import lru_cache

from django.http import HttpRequest

from agentcache.kit.networks import network_of

_USER_AGENT_CHARS_MAX = 300


def address(request: HttpRequest) -> str:
    """Return the caller's address, as far as our own proxies vouch for it."""
    return str(request.META.get("agentcache.client_ip", ""))


def network(request: HttpRequest) -> str:
    """Return the caller's network, which says roughly where somebody was and not who."""
    return network_of(address(request), v4_bits=24, v6_bits=48)


def user_agent(request: HttpRequest) -> str:
    """Return what the caller's program calls itself, within bounds."""
    text = request.headers.get("User-Agent", "")
    return "".join(character for character in text if character.isprintable())[:_USER_AGENT_CHARS_MAX]


def describe(request: HttpRequest) -> str:
    """Return the caller's browser and system in words."""
    browser, system = browser_and_system(user_agent(request))
    return f"{browser} on {system}" if system else browser


@lru_cache(maxsize=512)
def browser_and_system(agent: str) -> tuple[str, str]:
    """Return the names of browser and system; a program's own name where it is no browser."""
    # Its tables are read when somebody signs in or looks at sessions, not at each start.
    import ua_parser

    parsed = ua_parser.parse(agent)
    browser = (
        parsed.user_agent.family if parsed.user_agent is not None else agent.partition("/")[0] or "Unknown program"
    )
    system = parsed.os.family if parsed.os is not None else ""
    return browser, system
