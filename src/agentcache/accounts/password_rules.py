"""Which passwords are accepted: long enough, whatever the characters, and not among those that are tried first."""

from __future__ import annotations

import gzip
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

from django.contrib.auth import password_validation

from agentcache.accounts.errors import PasswordRejected

CHARS_MIN = 15
#: With a second factor.
CHARS_MIN_WITH_FACTOR = 8
CHARS_MAX = 4096

#: Words that somebody thinks of on a page of this product.
_PRODUCT_WORDS = ("agentcache", "agent", "cache", "caching", "openai", "anthropic", "password", "passwort", "passphrase",
                  "login", "account", "admin", "welcome", "letmein", "secret", "dashboard", "qwerty", "qwertz")  # fmt: skip
#: What is left of a password without well-known words, digits and signs has to be at least this long.
_OWN_CHARS_MIN = 4
_REPEATED_MAX = 4
#: Rows of keys, walked along one after the other.
_KEYBOARDS = ("qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p")


def require_acceptable(password: str, *, email: str = "", has_factor: bool = False) -> None:
    """Raise `PasswordRejected`, saying why, unless the password may be used."""
    least = CHARS_MIN_WITH_FACTOR if has_factor else CHARS_MIN
    if len(password) < least:
        raise PasswordRejected(f"Use at least {least} characters; a few words are easy to remember.", param="password")
    if len(password) > CHARS_MAX:
        raise PasswordRejected(f"Use at most {CHARS_MAX} characters.", param="password")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise PasswordRejected(
            "This holds half a character, which nobody could type again.", param="password"
        ) from None
    if _is_well_known(password.casefold(), email.casefold()):
        raise PasswordRejected("This is one of the first passwords that others would try.", param="password")


def is_short(password: str) -> bool:
    """Say whether a password is accepted beside a second factor only."""
    return len(password) < CHARS_MIN


def _is_well_known(password: str, email: str) -> bool:
    if password in _common() or password.strip("0123456789!?.,-_*#+ ") in _common():
        return True
    repeated = _repeated_part(password)
    if repeated is not None and (len(repeated) <= _REPEATED_MAX or repeated in _common() or repeated in _PRODUCT_WORDS):
        return True
    if _is_run(password):
        return True
    rest = password
    for word in sorted({*_PRODUCT_WORDS, *_words_of(email)}, key=len, reverse=True):
        rest = rest.replace(word, "")
    return len(rest) < len(password) and len(re.sub(r"[\W\d_]", "", rest)) < _OWN_CHARS_MIN


def _words_of(email: str) -> list[str]:
    # The whole address, its local part and the domain's parts; pieces of three letters are in many a good password.
    return [word for word in {email, *re.split(r"[@.+\-_]", email)} if len(word) > 3]


def _repeated_part(password: str) -> str | None:
    # A text that recurs within its own doubling before its end is a repetition.
    at = (password + password).find(password, 1)
    return password[:at] if at < len(password) else None


def _is_run(password: str) -> bool:
    if any(password in keys * 3 or password in keys[::-1] * 3 for keys in _KEYBOARDS):
        return True
    # Digits go round: 0 follows 9.
    cycle = 10 if password.isdecimal() else 0x110000
    steps = {(ord(after) - ord(before)) % cycle for before, after in pairwise(password)}
    return len(steps) == 1 and steps.pop() in (1, cycle - 1)


@cache
def _common() -> frozenset[str]:
    # Django ships the 20,000 most common ones.
    path = Path(password_validation.__file__).parent / "common-passwords.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return frozenset(line.strip().casefold() for line in lines)
