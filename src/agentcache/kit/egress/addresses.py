"""Whether an address belongs to the public Internet, whatever it is wrapped in.

Transcribed from IANA's special-purpose registries (`REGISTRY_SNAPSHOT`), with three differences, all to the strict side:
anycast services that IANA calls reachable are denied too, for no webhook lives there; IPv6 is public only inside
2000::/3, so space that is allocated later is denied until this table knows it; and the metadata services of clouds that
use public addresses are listed by hand.
"""

from __future__ import annotations

from datetime import date
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

#: The day on which the tables were compared with the registries. A test fails once this is more than a year ago.
REGISTRY_SNAPSHOT: Final = date(2026, 11, 22)

Address: TypeAlias = IPv4Address | IPv6Address

_DENIED: Final = {
    ip_network(network): name
    for network, name in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private use"),
        ("100.64.0.0/10", "shared address space"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "Azure wire server"),
        ("169.254.0.0/16", "link local"),
        ("172.16.0.0/12", "private use"),
        ("192.0.0.0/24", "IETF protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.88.99.0/24", "6to4 relay anycast"),
        ("192.168.0.0/16", "private use"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("2001::/23", "IETF protocol assignments"),  # Teredo (2001::/32) is in it
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
    )
}
_DENIED_BY_VERSION: Final = {
    version: [(network, name) for network, name in _DENIED.items() if network.version == version] for version in (4, 6)
}
_GLOBAL_UNICAST: Final = ip_network("2000::/3")
#: Prefixes whose last 32 bits are the IPv4 address that a packet ends up at.
_WRAPPERS: Final = (
    (ip_network("::ffff:0:0/96"), "IPv4-mapped"),
    (ip_network("::ffff:0:0:0/96"), "IPv4-translated"),
    (ip_network("64:ff9b::/96"), "NAT64"),
    (ip_network("::/96"), "IPv4-compatible"),
)
#: Never reached through a host name, not even one that the operator allowed: metadata services and what is no host.
#: A network in AGENTCACHE_EGRESS_ALLOW opens them all the same, because it names them.
_NEVER_BY_NAME: Final = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.100.100.200/32",  # Alibaba metadata
        "168.63.129.16/32",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "fd00:ec2::254/128",  # AWS metadata
        "fe80::/10",
        "ff00::/8",
    )
)


def why_not_public(address: str | Address) -> str | None:
    """Return what makes an address unfit for a request that a user can aim, or None when it is public."""
    judged = _parse(address)
    if judged is None:
        return "not an address"
    if isinstance(judged, IPv4Address):
        return _table_entry(judged)
    if judged.scope_id is not None:
        return "scoped"
    inner = _unwrap(judged)
    if inner is not None:
        wrapper, wrapped = inner
        entry = _table_entry(wrapped)
        return entry and f"{wrapper} form of {entry}"
    if judged not in _GLOBAL_UNICAST:
        return "outside global unicast"
    return _table_entry(judged) or _isatap_entry(judged)


def is_public(address: str | Address) -> bool:
    """Say whether a request that a user can aim may go to this address."""
    return why_not_public(address) is None


def may_be_allowed_by_name(address: str | Address) -> bool:
    """Say whether an internal address may be reached because the operator allowed the host name that led to it."""
    judged = plain_address(address)
    return judged is not None and not any(
        judged.version == network.version and judged in network for network in _NEVER_BY_NAME
    )


def plain_address(address: str | Address) -> Address | None:
    """Return an address without its wrapper (IPv4-mapped and the like), or None when it is none or has a zone."""
    judged = _parse(address)
    if isinstance(judged, IPv6Address):
        if judged.scope_id is not None:
            return None
        inner = _unwrap(judged)
        # ::1 and :: are addresses of their own although they lie among the IPv4-compatible ones.
        if inner is not None and int(judged) > 1:
            return inner[1]
    return judged


def _parse(address: str | Address) -> Address | None:
    if not isinstance(address, str):
        return address
    try:
        return ip_address(address)
    except ValueError:
        return None


def _unwrap(address: IPv6Address) -> tuple[str, IPv4Address] | None:
    for network, name in _WRAPPERS:
        if address in network:
            return name, IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _table_entry(address: Address) -> str | None:
    for network, name in _DENIED_BY_VERSION[address.version]:
        if address in network:
            return name
    return None


def _isatap_entry(address: IPv6Address) -> str | None:
    """ISATAP (RFC 5214, 6.1) keeps an IPv4 address behind a fixed mark in the interface identifier."""
    if (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE:
        entry = _table_entry(IPv4Address(int(address) & 0xFFFFFFFF))
        return entry and f"ISATAP form of {entry}"
    return None
