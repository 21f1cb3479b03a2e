"""Lists of networks, and the address of a caller behind proxies of ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks that a caller may be in. One test is a few integer comparisons."""

    #: IP version, network address without its host bits, number of host bits.
    _members: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, texts: list[str]) -> Networks:
        """Read networks as `parse_network` writes them."""
        parsed = [ip_network(text) for text in texts]
        return cls(
            tuple(
                (network.version, int(network.network_address) >> bits, bits)
                for network in parsed
                for bits in (network.max_prefixlen - network.prefixlen,)
            )
        )

    def covers(self, address: str) -> bool:
        """Say whether an address is in one of the networks; what is no address is in none."""
        version, number = _parsed(address)
        return any(version == own and number >> bits == base for own, base, bits in self._members)


def parse_network(text: str) -> str:
    """Return an address or a network in its one spelling, `192.0.2.0/24`; raise `ValueError` for anything else.

    Host bits are refused: whoever writes 10.0.0.7/8 means one of two things.
    """
    network = ip_network(text.strip())
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        network = ip_network((mapped, network.prefixlen - 96))
    return str(network)


def caller_address(peer: str, forwarded_for: str, trusted_proxies: int) -> str:
    """Return the address of a caller, "" when it cannot be known.

    `forwarded_for` is read from its right end, only as many entries as there are proxies of ours: what stands further
    left was written by whoever called.
    """
    address = peer
    if trusted_proxies:
        forwarded = [part.strip() for part in forwarded_for.split(",") if part.strip()]
        if len(forwarded) >= trusted_proxies:
            address = forwarded[-trusted_proxies]
    try:
        return str(_plain(ip_address(address)))
    except ValueError:
        return ""


def one_caller(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 that IPv6 hands to one customer."""
    return network_of(address, v4_bits=32, v6_bits=64)


def network_of(address: str, *, v4_bits: int, v6_bits: int) -> str:
    """Return the first address of the network that an address is in, "" for what is no address."""
    try:
        parsed = _plain(ip_address(address))
    except ValueError:
        return ""
    shift = parsed.max_prefixlen - (v4_bits if isinstance(parsed, IPv4Address) else v6_bits)
    return str(type(parsed)(int(parsed) >> shift << shift))


@lru_cache(maxsize=4096)
def _parsed(address: str) -> tuple[int, int]:
    try:
        parsed = _plain(ip_address(address))
    except ValueError:
        return 0, 0
    return parsed.version, int(parsed)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
