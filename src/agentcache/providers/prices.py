"""What a call costs, in 1e-9 USD: the maintained price data, and the operator's own prices over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentcache.kit.errors import AgentCacheError
from agentcache.providers.dialect import Dialect, Usage
from agentcache.providers.reading import UNREADABLE, decode_json
from agentcache.providers.registry import DIALECTS

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

#: Model names come from callers, so what is remembered about them is bounded.
_MODELS_REMEMBERED_MAX = 4096
_MODEL_NAME_CHARACTERS_MAX = 256
#: Stands, in the operator's own prices, for every model of a dialect that has no price otherwise.
ANY = "*"
#: 1 USD per million tokens is 1000 nanos per token.
_NANOS_PER_TOKEN = Decimal(1000)
_NANOS_PER_USD = Decimal(1_000_000_000)


class InvalidPrices(AgentCacheError):
    """The file of own prices cannot be read."""

    code = "invalid_prices_file"


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one model in USD: per million tokens, per billed second, per request.

    None for cached tokens means that they cost what other input tokens do.
    """

    input_per_million: Decimal = Decimal(0)
    output_per_million: Decimal = Decimal(0)
    cached_input_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None
    per_second: Decimal = Decimal(0)
    per_request: Decimal = Decimal(0)

    def nanos(self, usage: Usage) -> int:
        """Return what `usage` costs at these rates."""
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - cached)
        first = self.input_per_million
        cached_rate = first if self.cached_input_per_million is None else self.cached_input_per_million
        written_rate = first if self.cache_write_per_million is None else self.cache_write_per_million
        tokens = (
            (usage.input_tokens - cached - written) * first
            + cached * cached_rate
            + written * written_rate
            + usage.output_tokens * self.output_per_million
        )
        apart = self.per_request
        if usage.predict_seconds and self.per_second:
            apart += Decimal(str(usage.predict_seconds)) * self.per_second
        return round(tokens * _NANOS_PER_TOKEN + apart * _NANOS_PER_USD)


class Prices:
    """Knows what each model costs. Never touches the network: the data came with the installation."""

    def __init__(self, own_prices: Path | None = None, dialects: Mapping[str, Dialect] = DIALECTS) -> None:
        """Read the operator's own prices, if there are any. Raises `InvalidPrices`."""
        self._own = read_own_prices(own_prices) if own_prices else {}
        self._price_providers = {name: dialect.price_provider for name, dialect in dialects.items()}
        self._find_model = lru_cache(_MODELS_REMEMBERED_MAX)(_find_model)

    def load(self) -> None:
        """Read the price data now: about 30 MB and a quarter of a second that the first priced call would pay."""
        _price_data()

    def cost_nanos(self, dialect: str, model: str, usage: Usage, at: float) -> int | None:
        """Return the cost of a call made at Unix time `at`, or None when the price is not known."""
        own = self._own
        rates = own.get(f"{dialect}/{model}") or self._listed(dialect, model, usage, at) or own.get(f"{dialect}/{ANY}")
        return rates.nanos(usage) if rates else None

    def context_tokens(self, dialect: str, model: str) -> int | None:
        """Return how many tokens a request and its answer have at most in all, or None when that is not known."""
        provider = self._price_providers.get(dialect)
        if not provider or not model or len(model) > _MODEL_NAME_CHARACTERS_MAX:
            return None
        found = self._find_model(provider, model)
        return found.context_window if found else None

    def _listed(self, dialect: str, model: str, usage: Usage, at: float) -> Rates | None:
        provider = self._price_providers.get(dialect)
        if not provider or not model or len(model) > _MODEL_NAME_CHARACTERS_MAX:
            return None
        found = self._find_model(provider, model)
        return _rates(found, usage.input_tokens, at) if found else None


def read_own_prices(path: Path) -> dict[str, Rates]:
    """Read `{"dialect/model": {"input_per_million": "1.25", …}}`; numbers may be strings. Raises `InvalidPrices`."""
    try:
        prices = decode_json(path.read_bytes())
    except OSError as error:
        raise InvalidPrices(f"The prices file {path} cannot be read: {error.strerror}.") from None
    except UNREADABLE as error:
        raise InvalidPrices(f"The prices file {path} is not valid JSON: {error}.") from None
    if not isinstance(prices, dict):
        raise InvalidPrices(f"The prices file {path} must hold one JSON object.")
    return {name: _own_rates(name, rates) for name, rates in prices.items()}


def _own_rates(name: str, rates: Any) -> Rates:
    if "/" not in name or not isinstance(rates, dict):
        raise InvalidPrices(f'{name!r} must read "dialect/model" and hold an object of prices.', param=name)
    known: dict[str, Decimal] = {}
    for member, value in rates.items():
        if member not in Rates.__dataclass_fields__:
            names = ", ".join(Rates.__dataclass_fields__)
            raise InvalidPrices(f"{name!r} has an unknown price {member!r}; known are {names}.", param=name)
        known[member] = _own_price(name, member, value)
    return Rates(**known)


def _own_price(name: str, member: str, value: Any) -> Decimal:
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        price = Decimal("NaN")
    if isinstance(value, bool) or not price.is_finite() or price < 0:
        raise InvalidPrices(f"{member!r} of {name!r} is not a price: {value!r}.", param=name)
    return price


@lru_cache(1)
def _price_data() -> dict[str, Provider]:
    # Late, because it is large: a server that never prices anything need not hold it.
    from genai_prices.data import providers

    return {provider.id: provider for provider in providers}


def _find_model(provider_id: str, model: str) -> ModelInfo | None:
    provider = _price_data().get(provider_id)
    return provider.find_model(model) if provider else None


def _rates(model: ModelInfo, input_tokens: int, at: float) -> Rates | None:
    prices = vars(model.get_prices(datetime.fromtimestamp(at, UTC)))
    # Models priced otherwise (audio hours, pages) cost something that we cannot work out.
    if prices.get("input_mtok") is None and prices.get("output_mtok") is None:
        return None
    return Rates(
        input_per_million=_tier(prices.get("input_mtok"), input_tokens) or Decimal(0),
        output_per_million=_tier(prices.get("output_mtok"), input_tokens) or Decimal(0),
        cached_input_per_million=_tier(prices.get("cache_read_mtok"), input_tokens),
        cache_write_per_million=_tier(prices.get("cache_write_mtok"), input_tokens),
    )


def _tier(price: Any, input_tokens: int) -> Decimal | None:
    """Return the price that holds for a prompt of this size; above a threshold it holds for all of it."""
    if price is None or isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    found: Decimal = reached[-1] if reached else price.base
    return found
