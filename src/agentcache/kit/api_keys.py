"""AgentCache API keys: `ac_live_` or `ac_test_`, 32 random base62 characters, 6 base62 characters of CRC32.

The checksum lets a typing error or a random probe be refused without asking the database, and lets a secret scanner
tell a real key from noise. It is no secret: only the stored HMAC of the whole key decides who the caller is.
"""

from __future__ import annotations

import hmac
import secrets
import zlib
from typing import Final

LIVE_PREFIX: Final = "ac_live_"
TEST_PREFIX: Final = "ac_test_"
#: What every credential of ours begins with, whatever its kind.
FAMILY_PREFIX: Final = "ac_"
#: For secret scanners; matches a key inside any text, also a key with a wrong checksum.
API_KEY_PATTERN: Final = r"(?<![0-9A-Za-z_])ac_(?:live|test)_[0-9A-Za-z]{38}(?![0-9A-Za-z])"

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARS: Final = 32  # 190 bits
_CHECKSUM_CHARS: Final = 6  # 62**6 > 2**32
_LENGTH: Final = len(LIVE_PREFIX) + _RANDOM_CHARS + _CHECKSUM_CHARS


def new_api_key(test: bool = False) -> str:
    """Return a fresh key; a test key when `test` is set."""
    body = (TEST_PREFIX if test else LIVE_PREFIX) + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    return body + _checksum(body)


def looks_like_api_key(value: str) -> bool:
    """Say whether a credential is meant for us rather than for a provider, by its prefix alone."""
    return value.startswith(FAMILY_PREFIX)


def is_well_formed(key: str) -> bool:
    """Say whether prefix, length, alphabet and checksum of a key are right; costs about a microsecond, no I/O."""
    if len(key) != _LENGTH or not key.startswith((LIVE_PREFIX, TEST_PREFIX)):
        return False
    body = key[:-_CHECKSUM_CHARS]
    random_and_checksum = key[len(LIVE_PREFIX) :]
    if not (random_and_checksum.isascii() and random_and_checksum.isalnum()):
        return False
    # An ordinary comparison would do, for the checksum is public; this one needs no explaining to a linter.
    return hmac.compare_digest(_checksum(body), key[-_CHECKSUM_CHARS:])


def is_test_key(key: str) -> bool:
    """Say whether a well-formed key is a test key."""
    return key.startswith(TEST_PREFIX)


def hash_api_key(key: str, pepper: bytes) -> bytes:
    """Return the 32 bytes under which a key is stored: HMAC-SHA-256 with the server's pepper."""
    return hmac.digest(pepper, key.encode(), "sha256")


def display_form(key: str) -> str:
    """Return what may be shown of a key later: its prefix and its last four characters."""
    return f"{key[: len(LIVE_PREFIX)]}…{key[-4:]}"


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = [""] * _CHECKSUM_CHARS
    for position in range(_CHECKSUM_CHARS - 1, -1, -1):
        number, digit = divmod(number, 62)
        digits[position] = _ALPHABET[digit]
    return "".join(digits)
