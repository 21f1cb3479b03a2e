"""The operator's list of internal places."""

import pytest

from agentcache.kit.egress.allow_list import AllowList


def test_networks_addresses_and_hosts_are_told_apart():
    allow = AllowList.parse(" 10.0.0.0/8, 192.168.1.5 ,fd00::/8,Hooks.Example.com, *.corp.example.com,")
    assert allow.permits_address("10.1.2.3")
    assert allow.permits_address("192.168.1.5")
    assert not allow.permits_address("192.168.1.6")
    assert allow.permits_address("fd12::1")
    assert allow.permits_host("hooks.example.com")
    assert allow.permits_host("a.corp.example.com")
    assert not allow.permits_host("corp.example.com")
    assert not allow.permits_host("evilcorp.example.com")
    assert not allow.permits_host("hooks.example.com.evil.com")


def test_nothing_is_allowed_by_default():
    assert not AllowList().permits_host("localhost")
    assert not AllowList.parse("").permits_address("127.0.0.1")


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "10.0.0.0/33", "1.2.3", "a_b.c", "*", "*.*.x", "http://x", "x:80", "a b", "é.com"]
)
def test_what_is_neither_is_refused(text):
    with pytest.raises(ValueError, match="holds"):
        AllowList.parse(text)
