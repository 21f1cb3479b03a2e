"""What a store counts about itself, for metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StoreCounters:
    """Totals since start, of this worker."""

    #: Rows that did not open (damaged, foreign, sealed for somebody else) and were treated as misses.
    corrupt: int = 0
    #: Times the whole cache file was set aside.
    quarantined: int = 0
    evicted: int = 0
    swept: int = 0
    #: Calls that found no free connection in time.
    pool_waits: int = 0
