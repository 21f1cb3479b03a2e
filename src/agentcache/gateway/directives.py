"""What a caller asks of the cache for one request. Whatever is unknown or malformed is a 400 that names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from agentcache.engine.keys import parse_ignore_path
from agentcache.engine.semantic.settings import NOTHING_ASKED, SemanticAsked, parse_asked
from agentcache.gateway.vocabulary import DIRECTIVE_HEADERS
from agentcache.kit.errors import BadRequest


class InvalidDirective(BadRequest):
    """A cache directive is unknown or malformed."""

    code = "invalid_directive"


class CacheMode(Enum):
    """Which way the cache is used for a request."""

    ON = "on"
    OFF = "off"
    READ_ONLY = "read-only"
    WRITE_ONLY = "write-only"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives of one request; the defaults are what a request without any gets."""

    reads: bool = True
    writes: bool = True
    #: Why the request does not use the cache as usual, for `Cache-Status`: `bypass` or `request`.
    forward_reason: str = "miss"
    max_age: int | None = None
    only_if_cached: bool = False
    stale_if_error: int | None = None
    lifetime_seconds: float | None = None
    namespace: str | None = None
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    bucket: str = ""
    ignore: tuple[tuple[str | int, ...], ...] = ()
    agent: str = ""
    semantic: SemanticAsked = NOTHING_ASKED

    @property
    def is_bypass(self) -> bool:
        """Say whether the cache takes no part in the request."""
        return not self.reads and not self.writes


DEFAULT = Directives()
LIFETIME_SECONDS_MAX = 10 * 365 * 86400
LIST_ITEMS_MAX = 32
_NAME = re.compile(r"[A-Za-z0-9._:\-]+")
_DURATION = re.compile(r"(\d{1,10})([smhd]?)")
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SECONDS = re.compile(r"\d{1,10}")


def parse_directives(headers: Mapping[str, str]) -> Directives:
    """Read the directives out of request headers (lower-case names)."""
    for name in headers:
        if name.startswith("x-agentcache-") and name not in DIRECTIVE_HEADERS:
            raise InvalidDirective(f"{name} is not a header of AgentCache.", param=name)
    control = _parse_cache_control(headers.get("cache-control", ""))
    reads, writes, reason = _access(headers.get("x-agentcache-mode"), control)
    ttl = headers.get("x-agentcache-ttl")
    return Directives(
        reads=reads,
        writes=writes,
        forward_reason=reason,
        max_age=control.get("max-age"),
        only_if_cached="only-if-cached" in control,
        stale_if_error=control.get("stale-if-error"),
        lifetime_seconds=None if ttl is None else parse_lifetime(ttl, "x-agentcache-ttl"),
        namespace=_named(headers, "x-agentcache-namespace", 128),
        tags=parse_tags(_listed(headers, "x-agentcache-tags")),
        sources=parse_sources(_listed(headers, "x-agentcache-sources")),
        bucket=_named(headers, "x-agentcache-bucket", 64) or "",
        ignore=_ignored(headers),
        agent=_printable(headers, "x-agentcache-agent", 128),
        semantic=_semantic(headers),
    )


def parse_lifetime(text: str, param: str) -> float:
    """Read a lifetime in seconds, or with a unit (`15m`, `12h`, `30d`)."""
    match = _DURATION.fullmatch(text.strip())
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else 0
    if not 1 <= seconds <= LIFETIME_SECONDS_MAX:
        raise InvalidDirective(
            f"{param}: {text[:40]!r} is not a lifetime; give 1 to {LIFETIME_SECONDS_MAX} seconds, or 15m, 12h, 30d.",
            param=param,
        )
    return float(seconds)


def parse_name(text: str, param: str, limit: int = 128) -> str:
    """Read a namespace or bucket name."""
    if not 1 <= len(text) <= limit or not _NAME.fullmatch(text):
        raise InvalidDirective(
            f"{param}: {text[:80]!r} is not a name; use 1 to {limit} of A-Z a-z 0-9 . _ : and -.", param=param
        )
    return text


def parse_tags(items: list[str], param: str = "x-agentcache-tags") -> tuple[str, ...]:
    """Read tags: up to 32, each 1 to 128 printable characters, no commas; order and repetition do not matter."""
    _check_count(items, param)
    for item in items:
        if not 1 <= len(item) <= 128 or not item.isprintable() or "," in item:
            raise InvalidDirective(
                f"{param}: {item[:80]!r} is not a tag of 1 to 128 printable characters.", param=param
            )
    return tuple(sorted(set(items)))


def parse_sources(items: list[str], param: str = "x-agentcache-sources") -> tuple[str, ...]:
    """Read source URLs: absolute http or https, without credentials, up to 2,048 characters each."""
    _check_count(items, param)
    for item in items:
        if not _is_source(item):
            raise InvalidDirective(f"{param}: {item[:80]!r} is not an absolute http(s) URL.", param=param)
    return tuple(sorted(set(items)))


def _is_source(text: str) -> bool:
    try:
        url = urlsplit(text)
        return (
            len(text) <= 2048
            and text.isprintable()
            and " " not in text
            and url.scheme in ("http", "https")
            and bool(url.hostname)
            and "@" not in url.netloc
        )
    except ValueError:
        return False


def _access(mode_text: str | None, control: dict[str, int | None]) -> tuple[bool, bool, str]:
    """Return (reads, writes, forward reason) from the mode header and Cache-Control; the stricter of both wins."""
    try:
        mode = CacheMode.ON if mode_text is None else CacheMode(mode_text.strip().lower())
    except ValueError:
        modes = ", ".join(m.value for m in CacheMode)
        raise InvalidDirective(
            f"x-agentcache-mode: {mode_text!r} is none of {modes}."[:200], param="x-agentcache-mode"
        ) from None
    reads = mode in (CacheMode.ON, CacheMode.READ_ONLY)
    writes = mode not in (CacheMode.OFF, CacheMode.READ_ONLY)
    if "no-store" in control:
        reads = writes = False
    if "no-cache" in control:
        reads = False
    if "only-if-cached" in control and not reads:
        raise InvalidDirective("only-if-cached contradicts a mode that does not read.", param="cache-control")
    if reads:
        return True, writes, "miss"
    return False, writes, "request" if writes else "bypass"


_FLAGS = frozenset({"no-cache", "no-store", "only-if-cached"})
_TIMED = frozenset({"max-age", "stale-if-error"})


def _parse_cache_control(text: str) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        name = name.strip().lower()
        if not name and not equals:
            continue
        if name in _FLAGS and not equals:
            found[name] = None
        elif name in _TIMED and _SECONDS.fullmatch(value.strip().strip('"')):
            found[name] = int(value.strip().strip('"'))
        else:
            known = ", ".join(sorted(_FLAGS | {f"{timed}=SECONDS" for timed in _TIMED}))
            raise InvalidDirective(
                f"cache-control: {part.strip()[:80]!r} is not understood here; known are {known}.",
                param="cache-control",
            )
    return found


def _named(headers: Mapping[str, str], header: str, limit: int) -> str | None:
    text = headers.get(header)
    return None if text is None else parse_name(text.strip(), header, limit)


def _printable(headers: Mapping[str, str], header: str, limit: int) -> str:
    text = headers.get(header)
    if text is None:
        return ""
    if not 1 <= len(text) <= limit or not text.isprintable():
        raise InvalidDirective(f"{header} takes 1 to {limit} printable characters.", param=header)
    return text


def _semantic(headers: Mapping[str, str]) -> SemanticAsked:
    header = "x-agentcache-semantic"
    text = headers.get(header)
    asked = NOTHING_ASKED if text is None else parse_asked(text)
    if asked is None:
        raise InvalidDirective(
            f"{header}: {(text or '')[:40]!r} is none of off, safe, balanced, shadow, nor a threshold from 0 to 1.",
            param=header,
        )
    return asked


def _listed(headers: Mapping[str, str], header: str) -> list[str]:
    text = headers.get(header)
    if text is None:
        return []
    items = [item.strip() for item in text.split(",")]
    if "" in items:
        raise InvalidDirective(f"{header} has an empty item.", param=header)
    return items


def _ignored(headers: Mapping[str, str]) -> tuple[tuple[str | int, ...], ...]:
    header = "x-agentcache-ignore"
    items = _listed(headers, header)
    _check_count(items, header)
    try:
        return tuple(sorted({parse_ignore_path(item) for item in items}, key=str))
    except BadRequest as error:
        raise InvalidDirective(f"{header}: {error.message}", param=header) from None


def _check_count(items: list[str], param: str) -> None:
    if len(items) > LIST_ITEMS_MAX:
        raise InvalidDirective(f"{param} takes up to {LIST_ITEMS_MAX} items.", param=param)
