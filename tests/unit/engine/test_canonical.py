"""C2 and C3: one reading, one spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcache.engine.canonical import DEPTH_MAX, InvalidJSON, canonical_bytes, parse_body
from tests.support.reliability import record
from tests.support.tiers import count

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda children: st.lists(children, max_size=5) | st.dictionaries(_TEXT, children, max_size=5),
    max_leaves=20,
)

_OBJECTS = st.dictionaries(_TEXT, _VALUES, max_size=6)


def _respelled(value: Any, draw: Any) -> str:
    """Write a value with other member order, white space, escapes and number spelling."""
    if isinstance(value, dict):
        members = draw(st.permutations(list(value.items())))
        inner = " ,\n".join(f"{_escaped(name, draw)} :{_respelled(child, draw)}" for name, child in members)
        return "{ " + inner + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_respelled(child, draw) for child in value) + " ]"
    if isinstance(value, str):
        return _escaped(value, draw)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return draw(st.sampled_from([f"{value}", f"{value}.0", f"{value}e0", f"{value}.000E+0"]))
    return json.dumps(value)


def _escaped(text: str, draw: Any) -> str:
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


@given(_OBJECTS, st.data())
@settings(max_examples=count(150, 400), deadline=None)
def test_spelling_does_not_matter(value: dict[str, Any], data: Any) -> None:
    one = parse_body(_respelled(value, data.draw).encode())
    two = parse_body(_respelled(value, data.draw).encode())
    assert canonical_bytes(one) == canonical_bytes(two)


@given(_OBJECTS, _OBJECTS)
@settings(max_examples=count(150, 400), deadline=None)
def test_agrees_with_rfc_8785_on_what_is_equal(one: dict[str, Any], two: dict[str, Any]) -> None:
    ours = canonical_bytes(parse_body(json.dumps(one).encode())) == canonical_bytes(
        parse_body(json.dumps(two).encode())
    )
    assert ours == (rfc8785.dumps(one) == rfc8785.dumps(two))


@pytest.mark.parametrize("text", ["a ", " a", "A", "a\u0301", "\u00e1", "a\t"])
def test_strings_stay_as_they_are(text: str) -> None:
    assert canonical_bytes({"a": text}) != canonical_bytes({"a": "a"})


def test_zero_has_one_spelling() -> None:
    assert {canonical_bytes(parse_body(b'{"a":%s}' % zero)) for zero in (b"0", b"-0", b"0.0", b"-0.0", b"0e5")} == {
        b'{"a":0}'
    }


def test_64_bit_seeds_are_exact() -> None:
    largest = canonical_bytes(parse_body(b'{"seed":18446744073709551615}'))
    assert largest != canonical_bytes(parse_body(b'{"seed":18446744073709551614}'))


HOSTILE = {
    "empty": b"",
    "not an object": b"[1]",
    "a number": b"7",
    "duplicate member": b'{"a":1,"a":2}',
    "duplicate member, same value": b'{"a":1,"a":1}',
    "nested duplicate": b'{"a":[{"b":1,"c":0,"b":1}]}',
    "duplicate spelled with an escape": b'{"a":1,"\\u0061":1}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "number out of range": b'{"a":1e400}',
    "negative number out of range": b'{"a":-1e400}',
    "integer beyond 64 bits": b'{"a":18446744073709551616}',
    "integer below 64 bits": b'{"a":-9223372036854775809}',
    "integer of a million digits": b'{"a":' + b"9" * 1_000_000 + b"}",
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone low surrogate": b'{"a":"\\udc00"}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "invalid UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\x80"}',
    "control character": b'{"a":"\x00"}',
    "trailing text": b'{"a":1} {"b":2}',
    "trailing comma": b'{"a":1,}',
    "comment": b'{"a":1/*x*/}',
    "single quotes": b"{'a':1}",
    "leading zero": b'{"a":01}',
    "plus sign": b'{"a":+1}',
    "hexadecimal": b'{"a":0x10}',
    "cut": b'{"a":"b',
    "depth 65": b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1),
    "depth 10,000": b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "depth 1,000,000, never closed": b"[" * 1_000_000,
    "a member name of 1 MB": b'{"' + b"a" * 1_000_000 + b'":1}',
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bodies_are_refused_with_a_stable_code(raw: bytes) -> None:
    with pytest.raises(InvalidJSON) as caught:
        parse_body(raw)
    assert (caught.value.code, caught.value.status) == ("invalid_json", 400)
    assert len(caught.value.message) < 300


def test_depth_at_the_limit_is_accepted() -> None:
    assert parse_body(b'{"a":' * DEPTH_MAX + b"1" + b"}" * DEPTH_MAX)


@given(st.binary(max_size=200))
@settings(max_examples=count(500, 2000), deadline=None)
def test_whatever_is_accepted_means_the_same_to_the_standard_reader(raw: bytes) -> None:
    try:
        value = parse_body(raw)
    except InvalidJSON:
        return
    assert canonical_bytes(value) == canonical_bytes(parse_body(json.dumps(json.loads(raw)).encode()))


def test_every_hostile_body_is_refused_alike() -> None:
    """C3, counted."""
    accepted = 0
    for raw in HOSTILE.values():
        try:
            parse_body(raw)
            accepted += 1
        except InvalidJSON:
            pass
    assert accepted == 0
    record("C3", violations=accepted, bodies=len(HOSTILE))
