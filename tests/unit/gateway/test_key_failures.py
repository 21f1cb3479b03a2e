"""How many failing keys an address may send, and that memory does not grow with addresses."""

from __future__ import annotations

import pytest

from agentcache.gateway.key_failures import KeyFailures
from agentcache.kit.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def failures(clock):
    return KeyFailures(60, clock)


def test_sixty_at_once_then_one_a_second(failures, clock):
    assert [failures.seconds_to_wait("192.0.2.1") for _ in range(60)] == [0.0] * 60
    assert failures.seconds_to_wait("192.0.2.1") == pytest.approx(1.0)
    clock.move(1.0)
    assert failures.seconds_to_wait("192.0.2.1") == 0.0
    assert failures.seconds_to_wait("192.0.2.1") > 0
    clock.move(3600)
    assert sum(failures.seconds_to_wait("192.0.2.1") == 0 for _ in range(200)) == 60


def test_what_is_refused_is_not_counted_so_patience_is_rewarded(failures, clock):
    for _ in range(10_000):
        failures.seconds_to_wait("192.0.2.1")
    clock.move(1.01)
    assert failures.seconds_to_wait("192.0.2.1") == 0.0


def test_an_ipv6_network_of_64_bits_is_one_caller(failures):
    for number in range(60):
        assert failures.seconds_to_wait(f"2001:db8:0:1::{number:x}") == 0.0
    assert failures.seconds_to_wait("2001:db8:0:1:ffff::1") > 0


def test_memory_is_the_same_for_a_million_addresses(clock):
    failures = KeyFailures(60, clock, places=64)
    before = failures._whole_at.buffer_info()
    for number in range(50_000):
        failures.seconds_to_wait(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert failures._whole_at.buffer_info() == before
