"""The operator's list of internal places that guarded requests may reach after all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_HOST: Final = re.compile(
    r"(?:\*\.)?(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)


@dataclass(frozen=True, slots=True)
class AllowList:
    """Networks (by address) and hosts (exact, or `*.suffix` for everything below it), all lower case."""

    networks: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowList:
        """Read a comma-separated list of CIDRs, addresses and host names; `ValueError` names what is wrong."""
        networks: list[Network] = []
        hosts: list[str] = []
        for item in filter(None, (part.strip().lower() for part in text.split(","))):
            network = _find_network(item)
            if network is not None:
                networks.append(network)
            elif _HOST.match(item) and not re.fullmatch(r"[0-9.]+", item):
                hosts.append(item)
            else:
                raise ValueError(f'holds "{item}", which is neither a CIDR, an address nor a host name')
        return cls(tuple(networks), tuple(hosts))

    def permits_host(self, host: str) -> bool:
        """Say whether a host name (lower case, no trailing dot) is listed."""
        return any(host == item or (item[0] == "*" and host.endswith(item[1:])) for item in self.hosts)

    def permits_address(self, address: str | Address) -> bool:
        """Say whether an address lies in a listed network."""
        judged = ip_address(address) if isinstance(address, str) else address
        return any(judged.version == network.version and judged in network for network in self.networks)


def _find_network(item: str) -> Network | None:
    if "/" not in item:
        try:
            return ip_network(item)
        except ValueError:
            return None
    try:
        return ip_network(item)
    except ValueError as wrong:
        if "host bits" in str(wrong):
            raise ValueError(
                f'holds "{item}", which has host bits set; write {ip_network(item, strict=False)}'
            ) from None
        raise ValueError(f'holds "{item}", which is not a CIDR') from None
