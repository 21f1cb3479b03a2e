"""API keys: what is well formed and what is not (A9)."""

import random
import re

import pytest

from agentcache.kit.api_keys import (
    API_KEY_PATTERN,
    display_form,
    hash_api_key,
    is_test_key,
    is_well_formed,
    looks_like_api_key,
    new_api_key,
)

ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(("test", "prefix"), [(False, "ac_live_"), (True, "ac_test_")])
def test_a_new_key_is_well_formed(test, prefix):
    for _ in range(200):
        key = new_api_key(test)
        assert key.startswith(prefix)
        assert is_well_formed(key)
        assert is_test_key(key) is test
        assert looks_like_api_key(key)
        assert re.fullmatch(API_KEY_PATTERN, key)


def test_keys_differ():
    assert len({new_api_key() for _ in range(1000)}) == 1000


def test_every_single_changed_character_is_noticed():
    key = new_api_key()
    for position, character in enumerate(key):
        for other in ALPHANUMERIC + "_-é ":
            if other != character:
                assert not is_well_formed(key[:position] + other + key[position + 1 :])


def test_what_is_no_key_is_refused():
    key = new_api_key()
    wrong = [
        "",
        "ac_live_",
        key[:-1],
        key + "a",
        key[:20],
        key.swapcase(),
        key.upper(),
        " " + key,
        key + "\n",
        key.replace("live", "test"),
        "ac_live_" + "²" * 38,
        "sk-" + "a" * 43,
        key[:45] + "\x00",
    ]
    for text in wrong:
        assert not is_well_formed(text), text


def test_random_keys_are_refused():
    chance = random.Random(7)
    for _ in range(10_000):
        assert not is_well_formed("ac_live_" + "".join(chance.choices(ALPHANUMERIC, k=38)))


def test_the_checksum_does_not_drift():
    assert is_well_formed("ac_live_0000000000000000000000000000000047LJsQ")


def test_the_hash_depends_on_the_whole_key_and_on_the_pepper():
    key = new_api_key()
    twin = key[:40] + new_api_key()[40:]
    assert len(hash_api_key(key, b"p" * 32)) == 32
    assert hash_api_key(key, b"p" * 32) == hash_api_key(key, b"p" * 32)
    assert hash_api_key(key, b"p" * 32) != hash_api_key(twin, b"p" * 32)
    assert hash_api_key(key, b"p" * 32) != hash_api_key(key, b"q" * 32)


def test_what_is_shown_of_a_key_does_not_help_to_guess_it():
    key = new_api_key()
    assert display_form(key) == f"ac_live_…{key[-4:]}"
    assert not is_well_formed(display_form(key))


def test_the_pattern_finds_keys_in_text_and_nothing_else():
    key = new_api_key()
    assert re.findall(API_KEY_PATTERN, f'x="{key}", y={key};') == [key, key]
    assert not re.search(API_KEY_PATTERN, f"{key}a")
    assert not re.search(API_KEY_PATTERN, "ac_live_short")
