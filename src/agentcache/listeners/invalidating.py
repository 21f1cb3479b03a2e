"""What goes when a source changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from agentcache.engine.entries import Reach, Selector, Tenant
from agentcache.engine.stores.port import EntryStore
from agentcache.gateway.ports import InvalidationRecord, OutdatedRecord
from agentcache.kit.ids import new_id
from agentcache.listeners.findings import Changed
from agentcache.listeners.models import Listener


@dataclass(frozen=True, slots=True)
class Meant:
    """One selector, with words for people."""

    #: source, tags or namespace.
    what: str
    value: str
    selector: Selector


@dataclass(frozen=True, slots=True)
class Gone:
    """What one selector has removed, and when that was final (Unix seconds)."""

    meant: Meant
    reach: Reach
    at: float

    @property
    def told(self) -> dict[str, object]:
        """What a listener's history has of it."""
        return {"what": self.meant.what, "value": self.meant.value, "entries": self.reach.entries}

    def record(self, row: Listener) -> InvalidationRecord:
        """Return it as the audit log and webhooks have it."""
        selector = self.meant.selector
        criteria = {"url": selector.source, "namespace": selector.namespace, "tags": list(selector.tags)}
        return InvalidationRecord(
            id=new_id("inv_"), tenant_id=row.team_id, at=self.at, entries=self.reach.entries,
            criteria={name: value for name, value in criteria.items() if value},
            body_bytes=self.reach.body_bytes, namespaces=self.reach.namespaces, cost_usd_nanos=self.reach.cost_usd_nanos,
            reason=f"{row.url[:450]} has changed", cause="listener",
        )  # fmt: skip


def outdated_by(row: Listener, finding: Changed, at: float, event_id: int) -> OutdatedRecord:
    """Return what is to be asked for anew."""
    return OutdatedRecord(
        tenant_id=row.team_id, at=at, sources=list(dict.fromkeys(_sources(row, finding))),
        namespace=row.namespace or None, tags=list(row.tags), event_id=event_id,
    )  # fmt: skip


def meant_by(row: Listener, finding: Changed) -> list[Meant]:
    """Return what has to go: what names the source, or an item of it that changed, then the listener's tags or namespace."""
    meant = [Meant("source", url, Selector(source=url)) for url in dict.fromkeys(_sources(row, finding))]
    namespace = row.namespace or None
    if row.tags:
        meant.append(Meant("tags", ", ".join(row.tags), Selector(namespace=namespace, tags=tuple(row.tags))))
    elif namespace is not None:
        meant.append(Meant("namespace", namespace, Selector(namespace=namespace)))
    return meant


async def invalidate(store: EntryStore, row: Listener, finding: Changed, now: Callable[[], float]) -> list[Gone]:
    """Remove what has to go, final for every worker; return what went, the most first. Raises `StoreUnavailable`.

    Nothing is left out for being there already: a check that died half-way is made again, and does all of it again.
    """
    # Its secrets are not needed to remove.
    tenant = Tenant(id=row.team_id, key_secret=b"")
    gone = [Gone(meant, await store.withdraw(tenant, meant.selector), now()) for meant in meant_by(row, finding)]
    # The most telling ones first, for only so many are kept.
    return sorted(gone, key=lambda one: -one.reach.entries)


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
