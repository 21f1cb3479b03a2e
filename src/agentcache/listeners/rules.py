"""What a listener may be: decided without the database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from agentcache.gateway.directives import parse_name, parse_tags
from agentcache.kit.egress.guarded import parse_public_url
from agentcache.kit.egress.target import InvalidTarget
from agentcache.kit.errors import BadRequest
from agentcache.listeners.errors import IntervalTooShort, InvalidListener, OwnAddress
from agentcache.quotas.plans import Plan
from agentcache.settings import Settings

URL_CHARS_MAX: Final = 2_048
WEBHOOK_CHARS_MAX: Final = 1_000
SELECTOR_CHARS_MAX: Final = 500
INTERVAL_SECONDS_MAX: Final = 30 * 86_400
#: Teams without a plan's limit still share one worker.
LISTENERS_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked to be watched."""

    url: str
    check_interval_seconds: int
    namespace: str = ""
    tags: tuple[str, ...] = ()
    selector: str = ""
    invalidates: bool = True
    refreshes: bool = False
    webhook_url: str = ""


def checked(wanted: Wanted, plan: Plan, settings: Settings) -> Wanted:
    """Return it in its normal form. Raises `BadRequest` that names the member at fault."""
    _check_url(wanted.url, "url", URL_CHARS_MAX, settings)
    if wanted.webhook_url:
        _check_url(wanted.webhook_url, "webhook", WEBHOOK_CHARS_MAX, settings)
    least = plan.check_interval_minutes * 60
    if not 1 <= wanted.check_interval_seconds <= INTERVAL_SECONDS_MAX:
        raise InvalidListener("An interval is at most 30 days.", param="checkInterval")
    if wanted.check_interval_seconds < least:
        raise IntervalTooShort(
            f"The plan {plan.title} checks every {plan.check_interval_minutes} minutes at most: "
            f"{least * 1000} milliseconds.",
            param="checkInterval",
        )
    if wanted.namespace:
        parse_name(wanted.namespace, "namespace")
    tags = _as_ours("tags", wanted.tags)
    selector = wanted.selector.strip()
    if len(selector) > SELECTOR_CHARS_MAX or not selector.isprintable():
        raise InvalidListener(f"A selector has up to {SELECTOR_CHARS_MAX} printable characters.", param="selector")
    if selector:
        _check_selector(selector)
    return replace(wanted, tags=tags, selector=selector)


def host_of(url: str) -> str:
    """Return the host of a checked URL."""
    return parse_public_url(url).host


def fingerprint(wanted: Wanted) -> str:
    """Return what two listeners share that watch the same for the same."""
    return hashlib.sha256("\n".join((wanted.url, wanted.selector, wanted.namespace)).encode()).hexdigest()


def _check_url(url: str, param: str, chars_max: int, settings: Settings) -> None:
    if len(url) > chars_max:
        raise InvalidListener(f"A URL has up to {chars_max:,} characters.", param=param)
    try:
        target = parse_public_url(url)
    except InvalidTarget:
        raise InvalidListener(
            "That is no absolute https URL: without user name and fragment, and with everything else than ASCII "
            "percent-encoded.",
            param=param,
        ) from None
    allow = settings.egress_allow
    if not (target.is_tls and target.port == 443) and not allow.permits_host(target.host) and not allow.networks:
        raise InvalidListener("Only https on port 443 is asked.", param=param)
    own_ports = {settings.port, urlsplit(settings.origin).port, 443, 80}
    if target.host in {host.strip("[]") for host in settings.accepted_hosts} and target.port in own_ports:
        raise OwnAddress(param=param)


def _check_selector(selector: str) -> None:
    # Late: a server process that nobody gives a selector needs none of the packages behind this.
    from agentcache.listeners.reading.documents import check_selector
    from agentcache.listeners.reading.errors import NotReadable

    try:
        check_selector(selector)
    except NotReadable as error:
        raise InvalidListener(str(error), param="selector") from None


def _as_ours(param: str, tags: Iterable[str]) -> tuple[str, ...]:
    listed = list(tags)
    try:
        return parse_tags(listed, param) if listed else ()
    except BadRequest as error:
        raise InvalidListener(error.message, param=param) from None
