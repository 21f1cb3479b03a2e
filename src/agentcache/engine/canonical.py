"""One strict reading of a JSON request body, and one spelling of it for the cache key.

Two bodies have the same canonical form exactly when they are the same JSON value: member order, white space, escapes
and number spelling (`1`, `1.0`, `1e0`) do not matter, strings stay byte-exact (compare RFC 8785). What two readers
could understand differently (I-JSON, RFC 7493: duplicate members, lone surrogates, numbers out of range) is refused,
because the provider might read it the other way.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from agentcache.kit.errors import BadRequest

DEPTH_MAX = 64
MEMBER_NAME_BYTES_MAX = 64 * 1024
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_EXACT_FLOAT_MAX = 2**53


class InvalidJSON(BadRequest):
    """The request body is not valid JSON that every reader understands alike."""

    code = "invalid_json"


def parse_body(raw: bytes) -> dict[str, Any]:
    """Decode a JSON object strictly; raise `InvalidJSON` for anything ambiguous or malformed."""
    try:
        value = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJSON(f"The request body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidJSON(f"The request body is nested deeper than {DEPTH_MAX} levels.") from None
    if type(value) is not dict:
        raise InvalidJSON("The request body must be a JSON object.")
    # Both checks below cost a walk, so cheap necessary conditions come first.
    if raw.count(b"{") + raw.count(b"[") > DEPTH_MAX:
        _check_depth(value)
    if not _spelled_canonically(value, raw):
        _check_members(raw)
    return value


def canonical_bytes(value: Any) -> bytes:
    """Spell a parsed value in its one canonical form: sorted members, shortest numbers, UTF-8."""
    return _ENCODER.encode(value)


def _read_float(text: str) -> float | int:
    number = float(text)
    if number.is_integer() and -_EXACT_FLOAT_MAX <= number <= _EXACT_FLOAT_MAX:
        return int(number)
    if number in (float("inf"), float("-inf")):
        raise InvalidJSON(f"The number {text[:40]} is out of range.")
    return number


_DECODER = msgspec.json.Decoder(float_hook=_read_float)
_ENCODER = msgspec.json.Encoder(order="sorted")
_PLAIN_ENCODER = msgspec.json.Encoder()


# Every digit to "0", every other byte to a space: a run of 19 zeros then shows an integer near the 64-bit limits.
_DIGITS_SHOWN = bytes(0x30 if chr(byte).isascii() and chr(byte).isdigit() else 0x20 for byte in range(256))
_LONG_INTEGER = b"0" * 19


def _spelled_canonically(value: Any, raw: bytes) -> bool:
    """Say whether `raw` is just what we would write for `value` and holds nothing long.

    That rules out duplicate members, integers beyond 64 bits and endless names, far cheaper than a second reading.
    """
    return (
        len(raw) <= MEMBER_NAME_BYTES_MAX
        and _LONG_INTEGER not in raw.translate(_DIGITS_SHOWN)
        and _PLAIN_ENCODER.encode(value) == raw
    )


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in (dict, list)
        ]
        if not level:
            return
    raise InvalidJSON(f"The request body is nested deeper than {DEPTH_MAX} levels.")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidJSON(f"The member {name[:80]!r} occurs twice.", param=name[:80])
            seen.add(name)
    for name in members:
        if len(name) > MEMBER_NAME_BYTES_MAX:
            raise InvalidJSON(f"A member name is longer than {MEMBER_NAME_BYTES_MAX} characters.")
    return members


def _read_int(text: str) -> int:
    # Length first: converting a million digits would cost seconds.
    if len(text) > 20 or not _INT_MIN <= int(text) <= _INT_MAX:
        raise InvalidJSON(f"The integer {text[:40]} does not fit in 64 bits.")
    return int(text)


def _check_members(raw: bytes) -> None:
    """Read once more with hooks that see every member and every integer (slow, rare)."""
    json.loads(raw, object_pairs_hook=_refuse_duplicates, parse_int=_read_int)
