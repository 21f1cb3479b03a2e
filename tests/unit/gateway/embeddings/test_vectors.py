from __future__ import annotations

import base64
import struct
from array import array

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcache.gateway.embeddings.vectors import Form, Vector, read_embedding, shortest_decimals

singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
doubles = st.floats(allow_nan=False, allow_infinity=False)


def pack(numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def single(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


@given(st.lists(singles, min_size=1, max_size=40))
def test_base64_comes_back_byte_for_byte(numbers):
    vector = read_embedding(pack(numbers))
    assert vector.form is Form.PACKED
    assert vector.as_base64() == pack(numbers)
    assert Vector.from_bytes(vector.form, vector.to_bytes()) == vector


@given(st.lists(singles, min_size=1, max_size=40))
def test_packed_numbers_are_spelled_in_the_shortest_decimals_that_read_back(numbers):
    spelled = shortest_decimals(array("f", numbers))
    for text, number in zip(spelled, numbers, strict=True):
        assert single(float(text)) == number
        digits = next(n for n in range(6, 10) if single(float(f"{number:.{n}g}")) == number)
        assert float(text) == float(f"{number:.{digits}g}")
    assert msgspec.json.decode(read_embedding(pack(numbers)).as_json()) == [float(text) for text in spelled]


@settings(max_examples=200)
@given(st.lists(doubles, min_size=1, max_size=40))
def test_json_numbers_come_back_as_the_same_doubles(numbers):
    vector = read_embedding(numbers)
    kept = Vector.from_bytes(vector.form, vector.to_bytes())
    assert msgspec.json.decode(kept.as_json()) == numbers


def test_json_numbers_take_half_the_room_when_they_are_single_precision():
    exact = read_embedding([0.5, single(0.1)])
    assert (exact.form, len(exact.to_bytes())) == (Form.EXACT, 8)
    longer = read_embedding([0.5, 0.1])
    assert (longer.form, len(longer.to_bytes())) == (Form.DOUBLE, 16)


def test_doubles_become_float32_where_base64_is_asked_for():
    assert read_embedding([0.1, -2.5]).as_base64() == pack([0.1, -2.5])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "not base64!",
        base64.b64encode(b"12345").decode(),
        pack([float("nan")]),
        pack([1.0, float("inf")]),
        [],
        [1.0, None],
        [1.0, "2"],
        [True],
        [float("nan")],
        [10**400],
        {"0": 1.0},
        None,
        7,
    ],
)
def test_what_is_no_vector_is_refused(value):
    assert read_embedding(value) is None
