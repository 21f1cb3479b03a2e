"""What an acknowledged invalidation does to entries whose rows are still there; the same in every store.

An invalidation is final as soon as the log has it: from then on a look-up compares the entry that it finds with every
invalidation that is *pending*, and a fill with every one that came after it began. Removing a million rows takes its time
after that, and nobody has to wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agentcache.engine.entries import Mark, Selector
from agentcache.engine.stores.selection import Selectable, matches

#: Invalidations stay in the log this long: longer than any fill takes.
LOG_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Invalidation:
    """One row of the log: it means the entries with smaller marks that its selector matches."""

    mark: Mark
    #: Unix seconds.
    at: float
    selector: Selector
    #: Whether its entries are marked stale, not removed.
    is_soft: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What pending invalidations say of an entry."""

    is_gone: bool = False
    stale_at: float | None = None


def judge(pending: Iterable[Invalidation], its_mark: Mark, key: bytes, meta: Selectable) -> Verdict:
    """Say what pending invalidations make of an entry that was written at `its_mark`."""
    stale_at: float | None = None
    for one in pending:
        if its_mark < one.mark and matches(one.selector, key, meta):
            if not one.is_soft:
                return Verdict(is_gone=True)
            stale_at = one.at if stale_at is None else min(stale_at, one.at)
    return Verdict(stale_at=stale_at)
