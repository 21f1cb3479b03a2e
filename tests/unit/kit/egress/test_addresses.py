"""The judgement of addresses (S1), against vectors and against two independent packages."""

import random
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from AntiSSRF import IPAddressRanges  # type: ignore[import-untyped] # ships no types
from hypothesis import given, settings
from hypothesis import strategies as st
from ssrfguard._address import DEFAULT_DENIED

from agentcache.kit.egress.addresses import (
    REGISTRY_SNAPSHOT,
    is_public,
    may_be_allowed_by_name,
    plain_address,
    why_not_public,
)

INTERNAL = """
    100.64.0.1 100.100.100.200 168.63.129.16 192.0.0.8 192.88.99.1 224.0.0.1 ff02::1 ::127.0.0.1 ::ffff:0:127.0.0.1
    64:ff9b:1::7f00:1 2002:7f00:1:: 2002:a9fe:a9fe:: fec0::1 5f00::1 3fff::1
    127.0.0.1 127.255.255.254 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 198.18.0.1 240.0.0.1
    255.255.255.255 ::1 :: ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2001:0:7f00:1::
    fc00::1 fd00:ec2::254 fe80::1 2001:db8::1
""".split()
PUBLIC = """
    1.1.1.1 8.8.8.8 93.184.216.34 172.15.255.255 172.32.0.1 100.63.255.255 100.128.0.0 169.253.1.1 192.0.1.1
    192.167.255.255 198.17.255.255 198.20.0.0 223.255.255.255 126.255.255.255 128.0.0.1 9.255.255.255 11.0.0.0
    2606:4700:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 2400:cb00::1
    ::ffff:8.8.8.8 64:ff9b::808:808
""".split()


def test_all_36_internal_vectors_are_refused():
    assert len(set(INTERNAL)) == 36
    assert [address for address in INTERNAL if is_public(address)] == []


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address):
    assert why_not_public(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "127.1",
        "0177.0.0.1",
        "2130706433",
        "0x7f.0.0.1",
        "127.0.0.1 ",
        "fe80::1%eth0",
        "2606:4700::1%1",
        "1.1.1.1/32",
    ],
)
def test_what_is_no_plain_address_is_refused(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("::ffff:10.0.0.1", "IPv4-mapped form of private use"),
        ("64:ff9b::a00:1", "NAT64 form of private use"),
        ("2606:4700::5efe:10.0.0.1", "ISATAP form of private use"),
        ("2606:4700::200:5efe:127.0.0.1", "ISATAP form of loopback"),
        ("2001:0:808:808::", "IETF protocol assignments"),
        ("4000::1", "outside global unicast"),
    ],
)
def test_the_reason_is_named(address, reason):
    assert why_not_public(address) == reason


def test_the_tables_are_not_older_than_a_year():
    age = datetime.now(UTC).date() - REGISTRY_SNAPSHOT
    assert age.days <= 365, (
        "compare kit/egress/addresses.py with IANA's special-purpose registries, then renew the date"
    )


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "0.0.0.0"]
)
def test_metadata_services_are_not_reached_by_an_allowed_name(address):
    assert not may_be_allowed_by_name(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "fd12::1", "192.168.0.1", "1.1.1.1"])
def test_other_internal_addresses_may_be_allowed_by_name(address):
    assert may_be_allowed_by_name(address)


def test_wrappers_are_taken_off():
    assert plain_address("::ffff:10.0.0.1") == IPv4Address("10.0.0.1")
    assert plain_address("::1") == IPv6Address("::1")
    assert plain_address("fe80::1%eth0") is None


# What the oracles refuse, and where we differ from them on purpose.
ANTI_SSRF = [ip_network(network) for network in IPAddressRanges.recommended_latest]
#: Allowed by us although an oracle refuses: NAT64 with a public address inside is how IPv6-only networks reach IPv4.
LOOSER = ip_network("64:ff9b::/96")


#: Refused by us although both oracles allow.
def is_refused_on_purpose(address):
    outside_global_unicast = address not in ip_network("2000::/3")  # IPv4-translated and space not allocated yet
    isatap = (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE
    return address.version == 6 and (outside_global_unicast or isatap)


def refused_by_an_oracle(address):
    plain = getattr(address, "ipv4_mapped", None) or address
    by_anti = any(plain.version == network.version and plain in network for network in ANTI_SSRF)
    return by_anti or DEFAULT_DENIED.classify(address).blocked


def check_against_the_oracles(address):
    ours, theirs = not is_public(address), refused_by_an_oracle(address)
    if theirs and not ours:
        assert address in LOOSER
        assert is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    if ours and not theirs:
        assert is_refused_on_purpose(address), address


EDGES: list[Any] = [
    ip_address(int(edge) + step)  # a small number is an IPv4 address here, so the lowest IPv6 ones are left out
    for block in DEFAULT_DENIED.blocks
    for edge in (block.network.network_address, block.network.broadcast_address)
    for step in (-1, 0, 1)
    if 0 <= int(edge) + step < 2**block.network.max_prefixlen
    and (block.network.version == 4 or int(edge) + step >= 2**32)
]


@pytest.mark.parametrize("address", sorted(set(EDGES), key=str), ids=str)
def test_the_edges_of_every_block_are_judged_as_the_oracles_do(address):
    check_against_the_oracles(address)


def test_ten_thousand_random_addresses_are_judged_as_the_oracles_do():
    chance = random.Random(3)
    blocks = [block.network for block in DEFAULT_DENIED.blocks]
    for _ in range(5000):
        check_against_the_oracles(IPv4Address(chance.getrandbits(32)))
        block = chance.choice(blocks)
        check_against_the_oracles(block.network_address + chance.randrange(block.num_addresses))


@settings(max_examples=300)
@given(st.ip_addresses())
def test_any_address_is_judged_as_the_oracles_do(address):
    check_against_the_oracles(address)


@settings(max_examples=300)
@given(st.ip_addresses(v=4))
def test_a_wrapper_never_makes_an_internal_address_public(inner):
    number = int(inner)
    for wrapped in (
        number,
        0xFFFF << 32 | number,
        0xFFFF << 48 | number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80,
        0x20010000 << 96 | number << 64,
        0x20010000 << 96 | (number ^ 0xFFFFFFFF),
        0x26064700 << 96 | 0x5EFE << 32 | number,
    ):
        if not is_public(inner):
            assert not is_public(IPv6Address(wrapped))
