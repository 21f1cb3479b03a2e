from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from agentcache.providers.dialect import Usage
from agentcache.providers.prices import InvalidPrices, Prices
from agentcache.providers.registry import DIALECTS

AT = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "prices.json"
    path.write_text(
        json.dumps(
            {
                "openai/gpt-own": {
                    "input_per_million": "1.25",
                    "output_per_million": 10,
                    "cached_input_per_million": "0.125",
                },
                "openai/gpt-4o": {"input_per_million": "0"},
                "replicate/owner/name": {"per_second": "0.000225", "per_request": "0.01"},
            }
        )
    )
    return path


def test_a_listed_model_costs_what_the_price_data_says() -> None:
    # 500 uncached tokens at $2.50, 500 cached at $1.25 and 100 written at $10 per million.
    assert Prices().cost_nanos("openai", "gpt-4o", Usage(1000, 100, 500), AT) == 1_250_000 + 625_000 + 1_000_000


@pytest.mark.parametrize(
    ("dialect", "model"), [("openai", "no-such-model"), ("openai", ""), ("replicate", "a/b"), ("nobody", "gpt-4o")]
)
def test_an_unknown_price_is_none_and_not_zero(dialect: str, model: str) -> None:
    assert Prices().cost_nanos(dialect, model, Usage(10, 10), AT) is None


def test_own_prices_win(own: Path) -> None:
    prices = Prices(own)
    assert prices.cost_nanos("openai", "gpt-own", Usage(1_000_000, 1, 400_000), AT) == 750_000_000 + 50_000_000 + 10_000
    assert prices.cost_nanos("openai", "gpt-4o", Usage(1000, 100), AT) == 0
    assert prices.cost_nanos("replicate", "owner/name", Usage(predict_seconds=2.0), AT) == 450_000 + 10_000_000
    assert prices.cost_nanos("openai", "gpt-4o-mini", Usage(1000, 0), AT) == 150_000


def test_a_star_is_the_price_of_what_has_none(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(
        '{"openai/*": {"per_request": "0.05"}, "local/*": {"per_request": 0}, "openai/own": {"per_second": "1"}}'
    )
    prices = Prices(path)
    assert prices.cost_nanos("openai", "no-such-model", Usage(10, 10), AT) == 50_000_000
    assert prices.cost_nanos("openai", "", Usage(), AT) == 50_000_000
    assert prices.cost_nanos("openai", "gpt-4o-mini", Usage(1000, 0), AT) == 150_000
    assert prices.cost_nanos("openai", "own", Usage(), AT) == 0
    assert prices.cost_nanos("local", "any", Usage(10, 10), AT) == 0
    assert prices.cost_nanos("replicate", "any", Usage(10, 10), AT) is None


def test_more_cached_than_given_is_never_negative(own: Path) -> None:
    assert Prices(own).cost_nanos("openai", "gpt-own", Usage(10, 0, 1000, 1000), AT) == 1250


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "one JSON object"),
        ('{"gpt": {}}', "dialect/model"),
        ('{"openai/x": 3}', "dialect/model"),
        ('{"openai/x": {"input": "1"}}', "unknown price 'input'"),
        ('{"openai/x": {"input_per_million": "cheap"}}', "not a price"),
        ('{"openai/x": {"input_per_million": -1}}', "not a price"),
        ('{"openai/x": {"input_per_million": "NaN"}}', "not a price"),
        ('{"openai/x": {"input_per_million": true}}', "not a price"),
    ],
)
def test_a_bad_prices_file_says_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(InvalidPrices, match=says):
        Prices(path)


def test_a_missing_prices_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidPrices, match="cannot be read"):
        Prices(tmp_path / "none.json")


def test_every_listed_model_costs_what_the_library_itself_works_out() -> None:
    from genai_prices.data import providers
    from genai_prices.types import Usage as LibraryUsage

    prices = Prices()
    wanted = {dialect.price_provider: name for name, dialect in DIALECTS.items() if dialect.price_provider}
    rng = random.Random(7)
    compared = 0
    for provider in (provider for provider in providers if provider.id in wanted):
        for model in provider.models:
            if provider.find_model(model.id) is not model:
                continue
            given, made = rng.randrange(1, 400_000), rng.randrange(1, 9000)
            cached = rng.randrange(given)
            at = AT + rng.randrange(86_400)
            ours = prices.cost_nanos(wanted[provider.id], model.id, Usage(given, made, cached), at)
            if ours is None:
                continue
            usage = LibraryUsage(input_tokens=given, output_tokens=made, cache_read_tokens=cached)
            theirs = model.calc_price(usage, provider, genai_request_timestamp=datetime.fromtimestamp(at, UTC))
            assert abs(Decimal(ours) - theirs.total_price * 1_000_000_000) <= Decimal("0.5"), model.id
            compared += 1
    assert compared > 900


def test_prices_never_touch_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    prices = Prices()
    prices.load()
    assert prices.cost_nanos("anthropic", "claude-sonnet-4-5", Usage(1000, 10), AT)


def test_the_price_data_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys; from agentcache.providers.prices import Prices; Prices(); print('genai_prices' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
