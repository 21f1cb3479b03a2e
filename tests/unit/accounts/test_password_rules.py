from __future__ import annotations

import pytest

from agentcache.accounts import password_rules
from agentcache.accounts.errors import PasswordRejected
from tests.support.reliability import record

_GOOD = "gravel moth tunes kettle"
_CASES = {
    "7 characters": ("moth-ke", False, False),
    "7 with a second factor": ("moth-ke", True, False),
    "8 with a second factor": ("moth-ket", True, True),
    "8 without": ("moth-ket", False, False),
    "14": ("gravel moth tu", False, False),
    "15": ("gravel moth tun", False, True),
    "64": ((_GOOD * 3)[:64], False, True),
    "4096": ((_GOOD * 200)[:4096], False, True),
    "4097": ((_GOOD * 200)[:4097], False, False),
    "15 of two bytes": ("äöüßéèêëñçåøæœð", False, True),
    "15 outside the basic plane": ("😀🚀🌵🦊🐙🍄🎲🧭🪐🛰️🧶🪁🎈🧨", False, True),
    "a NUL inside": ("gravel\0moth\0tunes", False, True),
    "spaces around": ("  gravel moth tunes ", False, True),
    "control characters": ("gravel\tmoth\ntunes\x1b", False, True),
    "right to left": ("سلام دنیا خوب است", False, True),
    "half a character": ("gravel moth tunes \ud83d", False, False),
    "only digits, random": ("583920174638291", False, True),
    "one character": ("a" * 20, False, False),
    "counting": ("1234567890123456", False, False),
    "a run": ("abcdefghijklmnopqrst", False, False),
    "a common one twice": ("passwordpassword", False, False),
    "a common one with digits": ("password12345678", False, False),
    "a common one": ("1q2w3e4r5t6y7u8i9o0p", False, False),
    "another common one": ("qwertyuiopasdfghjkl", False, False),
    "the product": ("AgentCacheAgentCache", False, False),
    "the product with a year": ("AgentCache-2026-login!", False, False),
    "the address": ("ada.lovelace@example.com", False, False),
    "the name in the address": ("lovelace-lovelace-1", False, False),
    "the product among others": ("my agentcache gravel moth", False, True),
    "common and short, with a factor": ("password", True, False),
}


@pytest.mark.parametrize("name", [pytest.param(name, id=name.replace(" ", "-").replace(",", "")) for name in _CASES])
def test_a_password_is_judged_by_length_and_by_whether_it_is_tried_first(name):
    password, has_factor, accepted = _CASES[name]
    try:
        password_rules.require_acceptable(password, email="ada.lovelace@example.com", has_factor=has_factor)
    except PasswordRejected as refused:
        verdict = False
        assert refused.param == "password"
    else:
        verdict = True
    assert verdict is accepted


@pytest.mark.parametrize("plane", [0, 1, 2, 3, 14, 15, 16])
def test_every_plane_of_unicode_is_welcome(plane):
    password = "".join(chr(plane * 0x10000 + 0x4E00 + 7 * step * step) for step in range(15))
    password_rules.require_acceptable(password)


def test_the_figures_are_recorded():
    wrong = 0
    for password, has_factor, accepted in _CASES.values():
        try:
            password_rules.require_acceptable(password, email="ada.lovelace@example.com", has_factor=has_factor)
        except PasswordRejected:
            wrong += accepted
        else:
            wrong += not accepted
    assert wrong == 0
    record("A2", verdicts=len(_CASES) + 7, wrong=wrong)
