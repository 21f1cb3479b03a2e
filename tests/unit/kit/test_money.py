"""Money: exact to a billionth of a dollar."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.kit.money import nanos_from_decimal, parse_usd, usd


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00"),
        (123_000, "0.000123"),
        (1, "0.000000001"),
        (12_500_000_000, "12.50"),
        (-1_500, "-0.0000015"),
        (10**18, "1000000000.00"),
    ],
)
def test_amounts_are_spelled_exactly(nanos, text):
    assert usd(nanos) == text
    assert parse_usd(text) == nanos


@given(st.integers(-(10**22), 10**22))
def test_spelling_and_reading_are_inverse(nanos):
    assert parse_usd(usd(nanos)) == nanos


@pytest.mark.parametrize("text", ["", "abc", "1e3", ".5", "1.", "1,5", "NaN", "inf", "$1", "--1", "1.2.3", "١"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="is not an amount in US dollars"):
        parse_usd(text)


def test_more_than_nine_decimals_are_refused_unless_they_are_zero():
    with pytest.raises(ValueError, match="more than nine decimals"):
        parse_usd("0.0000000001")
    assert parse_usd("0.1230000000000") == 123_000_000


@pytest.mark.parametrize(
    ("amount", "nanos"),
    [("0.0000000125", 12), ("0.0000000135", 14), ("1.5", 1_500_000_000), ("-0.0000000006", -1), ("0", 0)],
)
def test_exact_products_are_rounded_half_to_even(amount, nanos):
    assert nanos_from_decimal(Decimal(amount)) == nanos


@pytest.mark.parametrize("amount", ["NaN", "Infinity"])
def test_an_unknown_product_is_refused(amount):
    with pytest.raises(ValueError, match="not an amount"):
        nanos_from_decimal(Decimal(amount))
