"""A policy as people write it: checked, kept as JSON, and turned into what the data plane works with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from agentcache.engine.keys import parse_ignore_path
from agentcache.engine.policies import InvalidPattern, Match, Policy, PolicySet, compile_pattern
from agentcache.gateway.directives import LIFETIME_SECONDS_MAX
from agentcache.gateway.kept_requests import AHEAD_LIFETIME_SECONDS_MIN
from agentcache.kit.errors import BadRequest
from agentcache.kit.ids import new_id
from agentcache.policies.errors import InvalidPolicy, TooManyPolicies

POLICIES_MAX: Final = 50
LIST_ITEMS_MAX: Final = 32
NAME_CHARS_MAX: Final = 64
ITEM_CHARS_MAX: Final = 200
#: A temperature is from 0 to this in every dialect that is known.
TEMPERATURE_MAX: Final = 2.0

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HOST: Final = re.compile(r"(?:\*\.)?(?!-)[a-z0-9-]+(?:\.[a-z0-9-]+)*")
#: Members that are the question itself: without one of them as a whole, different questions would share an answer.
_QUESTION: Final = frozenset(
    """model messages input prompt system instructions contents query documents tools tool_choice response_format
    text version""".split()
)
#: What is said inside them.
_SAID: Final = frozenset({"content", "text", "role", "parts", "prompt", "image_url", "source", "arguments", "name"})


@dataclass(frozen=True, slots=True)
class MatchDraft:
    """What a request has to be like; what is empty asks nothing."""

    dialects: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    source_hosts: list[str] = field(default_factory=list)
    temperature_min: float | None = None
    temperature_max: float | None = None
    prompt: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it matches every request."""
        return self == MatchDraft()


@dataclass(frozen=True, slots=True)
class PolicyDraft:
    """One policy. Times are whole seconds; None leaves to the team's and the server's defaults."""

    name: str
    id: str = ""
    #: The preset that it was made from, or "".
    preset: str = ""
    is_on: bool = True
    match: MatchDraft = field(default_factory=MatchDraft)
    stores: bool = True
    lifetime_seconds: int | None = None
    stale_while_revalidate_seconds: int = 0
    stale_if_error_seconds: int = 0
    #: Whether answers are asked for anew before their lifetime ends, with the credentials that the team keeps.
    refreshes_ahead: bool = False
    semantic: bool | None = None
    ignore: list[str] = field(default_factory=list)

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> PolicyDraft:
        """Return what a document holds; members that this version does not know are left out."""
        known = {one.name for one in fields(cls)}
        given = {name: value for name, value in document.items() if name in known}
        known = {one.name for one in fields(MatchDraft)}
        match = {name: value for name, value in document.get("match", {}).items() if name in known}
        return cls(**given | {"match": MatchDraft(**match)})

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    def compiled(self) -> Policy:
        """Return it as the data plane works with it. Raises `BadRequest` for what `checked` would refuse."""
        match = self.match
        return Policy(
            id=self.id,
            name=self.name,
            match=Match(
                dialects=tuple(match.dialects),
                models=tuple(match.models),
                namespaces=tuple(match.namespaces),
                tags=tuple(match.tags),
                source_hosts=tuple(match.source_hosts),
                temperature_min=match.temperature_min,
                temperature_max=match.temperature_max,
                prompt=match.prompt,
            ),
            stores=self.stores,
            lifetime_seconds=None if self.lifetime_seconds is None else float(self.lifetime_seconds),
            stale_while_revalidate_seconds=float(self.stale_while_revalidate_seconds),
            stale_if_error_seconds=float(self.stale_if_error_seconds),
            refreshes_ahead=self.refreshes_ahead,
            semantic=self.semantic,
            ignore=tuple(sorted({parse_ignore_path(path) for path in self.ignore}, key=str)),
        )


def compiled(version: int, drafts: Iterable[PolicyDraft]) -> PolicySet:
    """Return the policies that are on, ready to decide."""
    return PolicySet(version, tuple(draft.compiled() for draft in drafts if draft.is_on)).compile()


def checked(drafts: Sequence[PolicyDraft], dialects: Iterable[str]) -> list[PolicyDraft]:
    """Return the policies as they are kept: each in order, with an id. Raises `InvalidPolicy`, `TooManyPolicies`."""
    if len(drafts) > POLICIES_MAX:
        raise TooManyPolicies
    known = frozenset(dialects)
    kept: list[PolicyDraft] = []
    for draft in drafts:
        one = _checked(draft, known)
        if one.id in {other.id for other in kept}:
            raise InvalidPolicy(f"Two policies have the id {one.id}.", param="id")
        if one.name.casefold() in {other.name.casefold() for other in kept}:
            raise InvalidPolicy(f"Two policies are called {one.name!r}.", param="name")
        kept.append(one)
    return kept


def _checked(draft: PolicyDraft, dialects: frozenset[str]) -> PolicyDraft:
    if not 1 <= len(draft.name.strip()) <= NAME_CHARS_MAX or not draft.name.isprintable():
        raise InvalidPolicy(f"A policy's name has 1 to {NAME_CHARS_MAX} printable characters.", param="name")
    if draft.id and not _ID.fullmatch(draft.id):
        raise InvalidPolicy("A policy's id is given by the server; leave it out for a new one.", param="id")
    _check_seconds(draft.lifetime_seconds, 1, "lifetime_seconds")
    _check_seconds(draft.stale_while_revalidate_seconds, 0, "stale_while_revalidate_seconds")
    _check_seconds(draft.stale_if_error_seconds, 0, "stale_if_error_seconds")
    if not draft.stores and (
        draft.lifetime_seconds
        or draft.stale_while_revalidate_seconds
        or draft.stale_if_error_seconds
        or draft.refreshes_ahead
        or draft.ignore
    ):
        raise InvalidPolicy("What is kept out of the cache has no lifetime, window or ignored paths.", param="stores")
    if (
        draft.refreshes_ahead
        and draft.lifetime_seconds is not None
        and draft.lifetime_seconds < AHEAD_LIFETIME_SECONDS_MIN
    ):
        raise InvalidPolicy(
            f"Answers that are refreshed ahead have a lifetime of {AHEAD_LIFETIME_SECONDS_MIN:.0f} seconds or more.",
            param="refreshes_ahead",
        )
    return PolicyDraft(
        **{one.name: getattr(draft, one.name) for one in fields(PolicyDraft)}
        | {
            "id": draft.id or new_id(),
            "name": draft.name.strip(),
            "match": _checked_match(draft.match, dialects),
            "ignore": [_checked_path(path) for path in _items(draft.ignore, "ignore")],
        }
    )


def _checked_match(match: MatchDraft, dialects: frozenset[str]) -> MatchDraft:
    for name in match.dialects:
        if name not in dialects:
            raise InvalidPolicy(
                f"{name[:40]!r} is no provider here; known are {', '.join(sorted(dialects))}.", param="dialects"
            )
    hosts = [host.lower().rstrip(".") for host in _items(match.source_hosts, "source_hosts")]
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise InvalidPolicy(
                f"{host[:80]!r} is not a host such as docs.example.com or *.example.com.", param="source_hosts"
            )
    least, most = match.temperature_min, match.temperature_max
    for value, param in ((least, "temperature_min"), (most, "temperature_max")):
        if value is not None and not 0 <= value <= TEMPERATURE_MAX:
            raise InvalidPolicy(f"A temperature is from 0 to {TEMPERATURE_MAX:g}.", param=param)
    if least is not None and most is not None and least > most:
        raise InvalidPolicy("The least temperature is above the greatest.", param="temperature_min")
    if match.prompt:
        try:
            compile_pattern(match.prompt)
        except InvalidPattern as error:
            raise InvalidPolicy(error.message, param="prompt") from None
    return MatchDraft(
        dialects=sorted(set(match.dialects)),
        models=_items(match.models, "models"),
        namespaces=_items(match.namespaces, "namespaces"),
        tags=_items(match.tags, "tags"),
        source_hosts=hosts,
        temperature_min=least,
        temperature_max=most,
        prompt=match.prompt,
    )


def _items(items: Sequence[str], param: str) -> list[str]:
    """Return the items without repetition, in their order."""
    if len(items) > LIST_ITEMS_MAX:
        raise InvalidPolicy(f"{param} takes up to {LIST_ITEMS_MAX} items.", param=param)
    for item in items:
        if not 1 <= len(item) <= ITEM_CHARS_MAX or not item.isprintable() or item != item.strip():
            raise InvalidPolicy(
                f"{param}: {item[:40]!r} is not 1 to {ITEM_CHARS_MAX} printable characters.", param=param
            )
    return list(dict.fromkeys(items))


def _checked_path(text: str) -> str:
    """Refuse a path that would make different questions alike."""
    try:
        steps = parse_ignore_path(text)
    except BadRequest as error:
        raise InvalidPolicy(f"ignore: {error.message}", param="ignore") from None
    names = [step for step in steps if isinstance(step, str) and step != "*"]
    is_question = steps[0] in _QUESTION
    if is_question and (len(names) == 1 or names[-1] in _SAID):
        raise InvalidPolicy(
            f"ignore: without {text[:80]!r} different questions would share an answer; name what does not change the "
            "answer, such as metadata.request_id.",
            param="ignore",
        )
    return text.strip()


def _check_seconds(value: int | None, least: int, param: str) -> None:
    if value is not None and not least <= value <= LIFETIME_SECONDS_MAX:
        raise InvalidPolicy(f"{param} is from {least} to {LIFETIME_SECONDS_MAX} seconds.", param=param)
