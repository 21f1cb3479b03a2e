import pytest

from agentcache.kit.networks import Networks, caller_address, network_of, one_caller, parse_network


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 192.0.2.0/24 ", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ],
    ids=["address", "network", "everybody", "ipv6", "ipv6-address", "mapped"],
)
def test_a_network_has_one_spelling(text, spelling):
    assert parse_network(text) == spelling


@pytest.mark.parametrize(
    "text",
    ["", "example.com", "10.0.0.7/8", "10.0.0.0/33", "10.0.0.0/-1", "1.2.3", "010.0.0.1", "10.0.0.0/8 10.1.0.0/16"],
    ids=["empty", "name", "host-bits", "too-long", "negative", "short", "octal", "two"],
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError):
        parse_network(text)


@pytest.mark.parametrize(
    ("address", "is_covered"),
    [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("192.0.1.255", False),
        ("::ffff:192.0.2.9", True),
        ("2001:db8:ffff::", True),
        ("2001:db9::", False),
        # The same 32 bits, in the other family.
        ("::c000:209", False),
        ("", False),
        ("unix:", False),
    ],
)
def test_which_addresses_a_list_covers(address, is_covered):
    assert Networks.of(["192.0.2.0/24", "2001:db8::/32"]).covers(address) is is_covered


def test_an_empty_list_covers_nobody():
    assert not Networks.of([]).covers("192.0.2.1")


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "address"),
    [
        ("192.0.2.1", "203.0.113.9", 0, "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9", 1, "203.0.113.9"),
        ("192.0.2.1", "6.6.6.6, 203.0.113.9", 1, "203.0.113.9"),
        ("192.0.2.1", "6.6.6.6, 203.0.113.9, 192.0.2.2", 2, "203.0.113.9"),
        ("192.0.2.1", "", 1, "192.0.2.1"),
        ("192.0.2.1", "garbage", 1, ""),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("", "203.0.113.9", 0, ""),
    ],
    ids=["no-proxy", "proxy", "forged", "two-proxies", "nothing-forwarded", "garbage", "mapped", "unix-socket"],
)
def test_the_address_of_a_caller(peer, forwarded, proxies, address):
    assert caller_address(peer, forwarded, proxies) == address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("unix", ""),
        ("", ""),
    ],
)
def test_who_is_one_caller(address, shown):
    assert one_caller(address) == shown


def test_a_network_says_roughly_where_somebody_is():
    assert network_of("203.0.113.77", v4_bits=24, v6_bits=48) == "203.0.113.0"
    assert network_of("2001:db8:1:2::3", v4_bits=24, v6_bits=48) == "2001:db8:1::"
