"""What goes when a source changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agentcache.engine.entries import Selector, Tenant
from agentcache.engine.stores.port import EntryStore
from agentcache.listeners.findings import Changed
from agentcache.listeners.models import Listener


@dataclass(frozen=True, slots=True)
class Meant:
    """One selector, with words for people."""

    #: source, tags or namespace.
    what: str
    value: str
    selector: Selector


def meant_by(row: Listener, finding: Changed) -> list[Meant]:
    """Return what has to go: what names the source, or an item of it that changed, then the listener's tags or namespace."""
    meant = [Meant("source", url, Selector(source=url)) for url in dict.fromkeys(_sources(row, finding))]
    namespace = row.namespace or None
    if row.tags:
        meant.append(Meant("tags", ", ".join(row.tags), Selector(namespace=namespace, tags=tuple(row.tags))))
    elif namespace is not None:
        meant.append(Meant("namespace", namespace, Selector(namespace=namespace)))
    return meant


async def invalidate(store: EntryStore, row: Listener, finding: Changed) -> list[dict[str, object]]:
    """Remove what has to go, final for every worker; return what went. Raises `StoreUnavailable`.

    Nothing is left out for being there already: a check that died half-way is made again, and does all of it again.
    """
    # Its secrets are not needed to remove.
    tenant = Tenant(id=row.team_id, key_secret=b"")
    gone: list[dict[str, object]] = []
    for meant in meant_by(row, finding):
        entries = await store.invalidate(tenant, meant.selector)
        gone.append({"what": meant.what, "value": meant.value, "entries": entries})
    # The most telling ones first, for only so many are kept.
    return sorted(gone, key=lambda one: -int(str(one["entries"])))


def _sources(row: Listener, finding: Changed) -> Iterator[str]:
    for url in (row.url, finding.fetched.url):
        yield url
        yield from _spellings(url)
    yield from finding.difference.items


_ROOT_SLASHES: Final = 3


def _spellings(url: str) -> Iterator[str]:
    """The root of a host is written with and without its slash, and means the same."""
    if url.count("/") == _ROOT_SLASHES and url.endswith("/"):
        yield url[:-1]
    elif url.count("/") == _ROOT_SLASHES - 1:
        yield f"{url}/"
