"""A team's policies: how answers to certain requests are kept. The first one that matches a request decides, alone.

Pure: a list of policies and the facts of a request go in, at most one policy comes out. Patterns are matched by RE2, in
time linear in the text whatever the pattern, because they are written by people and run on every worker's event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

import re2

from agentcache.kit.errors import BadRequest

#: A pattern is searched for in so much of a request's text, in characters: of a longer one the first and the last half.
#: Measured, the slowest patterns take less than 1 ms for that.
PROMPT_CHARS_MAX: Final = 64 * 1024
PATTERN_CHARS_MAX: Final = 500
#: What RE2 may build for one pattern, in bytes. Beyond it compiling fails, or matching falls back to a slower way that
#: is linear, too.
_PATTERN_MEMORY_BYTES: Final = 1 << 20
#: Members of a request body that hold what the model is asked, in any dialect.
_PROMPT_MEMBERS: Final = ("system", "instructions", "prompt", "messages", "input", "contents", "query", "documents")
#: Members inside those that hold text; a name or an id is none.
_TEXT_MEMBERS: Final = frozenset(
    {"content", "text", "parts", "output", "prompt", "system", "arguments", *_PROMPT_MEMBERS}
)
_DEPTH_MAX: Final = 12


class InvalidPattern(BadRequest):
    """The pattern is not a regular expression of RE2."""

    code = "invalid_pattern"


def compile_pattern(text: str) -> Any:
    """Return the compiled pattern; raise `InvalidPattern` with what RE2 says of it."""
    if not 1 <= len(text) <= PATTERN_CHARS_MAX:
        raise InvalidPattern(f"A pattern has 1 to {PATTERN_CHARS_MAX} characters.")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_BYTES
    try:
        return re2.compile(text, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise InvalidPattern(f"{text[:80]!r} is not a regular expression (RE2 syntax): {said[:120]}.") from None


@dataclass(frozen=True, slots=True)
class Match:
    """What a policy asks of a request: all that is given must hold, and of several values any.

    `models`, `namespaces` and `tags` are globs in which `*` stands for any characters; of a source host `*.example.com`
    means the hosts below.
    """

    dialects: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    source_hosts: tuple[str, ...] = ()
    #: Both inclusive. A request that names no temperature is in no range: what its provider then uses is not known.
    temperature_min: float | None = None
    temperature_max: float | None = None
    #: RE2, searched for anywhere in what the model is asked.
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """How answers to the requests that match are kept; None leaves to the team's and the server's defaults."""

    id: str
    name: str
    match: Match = Match()
    #: Whether the cache takes part at all.
    stores: bool = True
    lifetime_seconds: float | None = None
    #: Windows past the lifetime (RFC 5861).
    stale_while_revalidate_seconds: float = 0.0
    stale_if_error_seconds: float = 0.0
    #: Whether answers are asked for anew before their lifetime ends, as long as somebody asks for them.
    refreshes_ahead: bool = False
    #: Whether near questions may share an answer: False never, True at least safely, None as the namespace has it.
    semantic: bool | None = None
    #: JSON paths left out of the cache key, as `keys.parse_ignore_path` reads them.
    ignore: tuple[tuple[str | int, ...], ...] = ()


@dataclass(slots=True)
class Facts:
    """What policies can see of a request."""

    dialect: str
    model: str
    namespace: str
    tags: Sequence[str]
    sources: Sequence[str]
    #: None where it is not known what was asked.
    body: Mapping[str, Any] | None
    #: Put together when a policy first asks for it.
    prompt: str | None = None

    def text(self) -> str:
        """Return what the model is asked, as one text of at most `PROMPT_CHARS_MAX` characters."""
        if self.prompt is None:
            self.prompt = prompt_text(self.body or {})
        return self.prompt


class _Matcher:
    """A policy's `Match`, compiled."""

    __slots__ = ("_dialects", "_hosts", "_match", "_models", "_namespaces", "_prompt", "_tags")

    def __init__(self, match: Match) -> None:
        self._match = match
        self._dialects = frozenset(match.dialects)
        self._models = _globs(match.models)
        self._namespaces = _globs(match.namespaces)
        self._tags = _globs(match.tags)
        self._hosts = match.source_hosts
        self._prompt = compile_pattern(match.prompt) if match.prompt else None

    def holds(self, facts: Facts) -> bool:
        """Say whether the request is meant; the dearest question comes last."""
        match = self._match
        if self._dialects and facts.dialect not in self._dialects:
            return False
        if self._models is not None and self._models.fullmatch(_encodable(facts.model)) is None:
            return False
        if self._namespaces is not None and self._namespaces.fullmatch(facts.namespace) is None:
            return False
        if self._tags is not None and not any(self._tags.fullmatch(_encodable(tag)) for tag in facts.tags):
            return False
        if self._hosts and not any(_is_host(source, self._hosts) for source in facts.sources):
            return False
        if match.temperature_min is not None or match.temperature_max is not None:
            found = temperature_of(facts.body or {})
            if found is None or not _lies_between(found, match.temperature_min, match.temperature_max):
                return False
        return self._prompt is None or self._prompt.search(facts.text()) is not None


@dataclass(frozen=True)
class PolicySet:
    """A team's policies in their order, as one version of them has it."""

    version: int = 0
    policies: tuple[Policy, ...] = ()

    @cached_property
    def _matchers(self) -> tuple[tuple[_Matcher, Policy], ...]:
        return tuple((_Matcher(policy.match), policy) for policy in self.policies)

    def compile(self) -> PolicySet:
        """Get ready now what the first request would otherwise wait for; raise `InvalidPattern`."""
        assert len(self._matchers) == len(self.policies)
        return self

    def find(self, facts: Facts) -> Policy | None:
        """Return the first policy that matches, or None."""
        for matcher, policy in self._matchers:
            if matcher.holds(facts):
                return policy
        return None


#: Of a team that has none; compared by identity where it matters that this costs nothing.
NO_POLICIES: Final = PolicySet()


def temperature_of(body: Mapping[str, Any]) -> float | None:
    """Return the temperature that a request names, at the top or in a prediction's `input`; None without one."""
    value = body.get("temperature")
    if value is None and isinstance(model_input := body.get("input"), dict):
        value = model_input.get("temperature")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def prompt_text(body: Mapping[str, Any]) -> str:
    """Return the texts that a request gives the model, in their order, a line feed between them; cut in the middle."""
    found: list[str] = []
    # Last in, first out, so pushed in reverse.
    stack = [(body[name], 0) for name in reversed(_PROMPT_MEMBERS) if name in body]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, str):
            found.append(value)
        elif depth >= _DEPTH_MAX:
            continue
        elif isinstance(value, list):
            stack.extend((item, depth + 1) for item in reversed(value))
        elif isinstance(value, dict):
            texts = [child for name, child in value.items() if name in _TEXT_MEMBERS]
            stack.extend((child, depth + 1) for child in reversed(texts))
    text = "\n".join(found)
    if len(text) > PROMPT_CHARS_MAX:
        text = f"{text[: PROMPT_CHARS_MAX // 2]}\n{text[-PROMPT_CHARS_MAX // 2 :]}"
    return _encodable(text)


def host_of(source: str) -> str:
    """Return the host of a source's URL in lower case, or an empty string."""
    try:
        return (urlsplit(source).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_host(source: str, wanted: Sequence[str]) -> bool:
    host = host_of(source)
    return any(
        host.endswith(name[1:]) and len(host) >= len(name) if name.startswith("*.") else host == name for name in wanted
    )


def _encodable(text: str) -> str:
    """Return text that RE2 takes: JSON may hold half of a pair of surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _lies_between(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _globs(globs: Sequence[str]) -> Any:
    """Return one pattern that fully matches what any of the globs means; None without globs."""
    if not globs:
        return None
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    return re2.compile("|".join(".*".join(map(re2.escape, glob.split("*"))) for glob in globs), options)
