"""What an invalidation means and what it would cost: shared by the native API and the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET

from agentcache.engine.entries import Reach, Selector, Tenant
from agentcache.engine.stores.port import EntryStore
from agentcache.gateway.directives import parse_lifetime, parse_name, parse_sources, parse_tags
from agentcache.gateway.native.exchange import InvalidMember
from agentcache.gateway.native.schemas import InvalidateRequest, PreWarm
from agentcache.gateway.native.targets import native_key_beside
from agentcache.gateway.ports import AskAgain, EntryHits
from agentcache.kit.money import parse_usd

#: What a request may select by; at least one of them has to be given.
CRITERIA = ("pattern", "namespace", "tags", "url", "older_than", "older_than_ms", "model", "provider", "keys")
_SHOWN_AS = {"older_than_ms": "olderThan"}
#: Hits are counted over the last week.
WEEK_MS = 7 * 86_400_000


class NothingSelected(InvalidMember):
    """An invalidation needs at least one criterion."""

    code = "no_criterion"


class PrewarmUnavailable(InvalidMember):
    """This server cannot ask for answers anew: leave preWarm out."""

    code = "prewarm_unavailable"


@dataclass(frozen=True, slots=True)
class Preview:
    """What an invalidation would meet, and what these entries did in the last week. Money is 1e-9 USD."""

    reach: Reach
    #: None where nobody counts hits.
    hits: int | None = None
    saved_usd_nanos: int = 0
    #: Unix milliseconds from which on hits were counted.
    since_ms: int = 0
    #: False where there were more hits than are counted: `hits` is then the least it can be.
    is_complete: bool = True


def selector_of(tenant: Tenant, asked: InvalidateRequest, now: float) -> Selector:
    """Return what a request means. Raises `InvalidMember` and `InvalidDirective`, which name the member."""
    given = [name for name in CRITERIA if getattr(asked, name) is not UNSET]
    if not given:
        names = ", ".join(_SHOWN_AS.get(name, name) for name in CRITERIA)
        raise NothingSelected(f"Give at least one criterion: {names}.")
    if asked.tags is not UNSET and not asked.tags:
        raise InvalidMember("tags: an empty list selects nothing.", param="tags")
    keys: tuple[bytes, ...] = ()
    if asked.keys is not UNSET:
        keys = both_keys(tenant, asked.keys)
    return Selector(
        keys=keys,
        namespace=None if asked.namespace is UNSET else parse_name(asked.namespace, "namespace"),
        tags=() if asked.tags is UNSET else parse_tags(asked.tags, "tags"),
        source=None if asked.url is UNSET else parse_sources([asked.url], "url")[0],
        pattern=None if asked.pattern is UNSET else asked.pattern,
        dialect=None if asked.provider is UNSET else asked.provider,
        model=None if asked.model is UNSET else asked.model,
        stored_before=_stored_before(asked, now),
    )


def ask_again_of(asked: InvalidateRequest) -> AskAgain | None:
    """Return how a request wants asked again what it invalidates; None where it does not. Raises `InvalidMember`."""
    if asked.pre_warm is False:
        return None
    given = PreWarm() if asked.pre_warm is True else asked.pre_warm
    if not isinstance(given.cost_cap_usd, str):
        return AskAgain(given.limit, given.concurrency, given.cost_cap_usd)
    try:
        cap = parse_usd(given.cost_cap_usd)
    except ValueError as error:
        raise InvalidMember(f"preWarm.cost_cap_usd: {error}.", param="preWarm.cost_cap_usd") from None
    if cap <= 0:
        raise InvalidMember("preWarm.cost_cap_usd is above 0; null is no cap.", param="preWarm.cost_cap_usd")
    return AskAgain(given.limit, given.concurrency, cap)


def both_keys(tenant: Tenant, hex_keys: Sequence[str]) -> tuple[bytes, ...]:
    """Return entries' own keys and the native keys beside them: whoever means one means both."""
    keys = [bytes.fromhex(text) for text in hex_keys]
    return tuple(one for key in keys for one in (key, native_key_beside(tenant, key)))


def criteria_of(asked: InvalidateRequest) -> dict[str, Any]:
    """Return the criteria of a request as they were given, for the record."""
    plain: dict[str, Any] = msgspec.to_builtins(asked)
    return {name: plain[name] for name in (_SHOWN_AS.get(name, name) for name in CRITERIA) if name in plain}


def _stored_before(asked: InvalidateRequest, now: float) -> float | None:
    if asked.older_than is not UNSET and asked.older_than_ms is not UNSET:
        raise InvalidMember("older_than (seconds) and olderThan (milliseconds): give one of them.", param="older_than")
    if asked.older_than_ms is not UNSET:
        return now - asked.older_than_ms / 1000
    if asked.older_than is UNSET:
        return None
    if isinstance(asked.older_than, str):
        return now - parse_lifetime(asked.older_than, "older_than")
    if asked.older_than < 0:
        raise InvalidMember("older_than: an age is not below 0.", param="older_than")
    return now - asked.older_than


async def preview(store: EntryStore, tenant: Tenant, selector: Selector, hits: EntryHits | None) -> Preview:
    """Return what `withdraw` would meet now, and which of the hits its entries have served."""
    reach = await store.survey(tenant, selector)
    if hits is None:
        return Preview(reach)
    meant = await hit_by(store, tenant, selector, hits)
    return Preview(
        reach,
        hits=sum(hits.by_entry[key][0] for key in meant),
        saved_usd_nanos=sum(hits.by_entry[key][1] for key in meant),
        since_ms=hits.since_ms,
        is_complete=hits.is_complete,
    )


async def hit_by(store: EntryStore, tenant: Tenant, selector: Selector, hits: EntryHits) -> list[str]:
    """Return the keys, in hex, of the entries that a selector means and that have served one of `hits`."""
    keys = [bytes.fromhex(key) for key in hits.by_entry]
    if selector.keys:
        keys = [key for key in keys if key in frozenset(selector.keys)]
        selector = msgspec.structs.replace(selector, keys=())
    return [key.hex() for key in await store.which(tenant, selector, keys)]
