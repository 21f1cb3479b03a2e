"""How many connections of one address are open: one caller must not take them all."""

from __future__ import annotations

from agentcache.kit.networks import Networks, one_caller
from agentcache.settings import Settings


class OpenConnections:
    """Counts the open connections of each address. Costs a connection two look-ups, and a request nothing."""

    def __init__(self, most: int, exempt: Networks) -> None:
        self._most = most
        self._exempt = exempt
        #: Only of addresses that have some.
        self._open: dict[str, int] = {}

    @classmethod
    def of(cls, settings: Settings) -> OpenConnections | None:
        """Return what counts as the settings want it; None where nothing is to be counted."""
        if settings.trusted_proxies or not settings.connections_per_address:
            return None
        return cls(settings.connections_per_address, Networks.of(list(settings.connections_exempt)))

    def open(self, address: str) -> str | None:
        """Count a new connection; return by what name to close it, "" when it is not counted, None when it is too many."""
        caller = one_caller(address)
        if not caller or self._exempt.covers(address):
            return ""
        number = self._open.get(caller, 0)
        if number >= self._most:
            return None
        self._open[caller] = number + 1
        return caller

    def close(self, caller: str) -> None:
        """Count a connection less, by the name that `open` gave."""
        number = self._open.get(caller, 0) - 1
        if number > 0:
            self._open[caller] = number
        else:
            self._open.pop(caller, None)
