"""What callers give to prewarm: a JSON object or JSON lines, checked to the last member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import msgspec

from agentcache.engine.canonical import parse_body
from agentcache.gateway.callers import HEADER_BYTES_MAX, inside_caller
from agentcache.gateway.calls import model_of
from agentcache.gateway.directives import parse_lifetime, parse_sources, parse_tags
from agentcache.gateway.inside import InsideRequest, endpoint_of
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.money import NANOS_PER_USD, parse_usd
from agentcache.prewarm.errors import InvalidBatch
from agentcache.providers.dialect import Dialect

REQUESTS_MAX = 10_000
#: Of the whole batch as it is given.
BATCH_BYTES_MAX = 32 * 1024 * 1024
CONCURRENCY_MAX = 32
RATE_MAX = 1_000.0
OUTPUT_TOKENS_MAX = 1_000_000
WINDOW_SECONDS_MAX = 30 * 86_400
COST_CAP_USD_MAX = 1_000_000
#: The word for no cap, for forms and queries, which have no null.
NO_CAP = "none"
_NO_CAP_SAID = 'null or "none" is no cap'
#: Members that become headers of ours.
_DIRECTIVES = ("namespace", "tags", "sources", "ttl", "bucket", "ignore")


class Source(Enum):
    """Which of the kept requests are asked."""

    #: Those that were asked most often within the window.
    TOP = "top"
    #: Those whose lifetime ends within the window.
    EXPIRING = "expiring"
    #: Those stored within the window whose answers are gone although their lifetime goes on.
    INVALIDATED = "invalidated"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen among the kept requests."""

    source: Source
    window_seconds: int
    limit: int
    #: Of those only what was made from this URL, and what has one of these tags.
    source_url: str = ""
    tags: tuple[str, ...] = ()


class RequestGiven(msgspec.Struct, forbid_unknown_fields=True):
    """One request: the provider's own path and body, and what the cache is told with it."""

    path: str
    body: msgspec.Raw
    provider: str = "openai"
    headers: dict[str, str] = {}
    namespace: str = ""
    tags: list[str] = []
    sources: list[str] = []
    ttl: str | int = ""
    bucket: str = ""
    ignore: list[str] = []


class OptionsGiven(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How a batch is done."""

    title: str = ""
    concurrency: int = 4
    requests_per_second: float | None = None
    #: Decimal US dollars; null or "none" for no cap. What is left out is the server's default.
    cost_cap_usd: str | msgspec.UnsetType | None = msgspec.UNSET
    #: What an answer is taken to have at most when its request does not bound it; null for the model's own bound.
    output_tokens: int | None = None
    dry_run: bool = False


#: `from` is a word of Python, and what is left of it is the URL that answers were made from.
_NAMES = {"source": "from", "source_url": "source"}


class Choosing(OptionsGiven, forbid_unknown_fields=True, kw_only=True, rename=_NAMES):
    """Requests as they are, or chosen among those that the team keeps."""

    requests: list[RequestGiven] | msgspec.UnsetType = msgspec.UNSET
    #: `top`, `expiring` or `invalidated`.
    source: Source | msgspec.UnsetType = msgspec.UNSET
    window: str = "24h"
    limit: int = 100
    #: Of those only what was made from this URL, and what has one of these tags.
    source_url: str = ""
    tags: list[str] = []


class ScheduleGiven(Choosing, forbid_unknown_fields=True, kw_only=True, rename=_NAMES):
    """A batch that is done again and again, in one JSON object."""

    #: `nightly`, `weekly` or five fields of cron.
    cron: str
    timezone: str = "UTC"


class BatchGiven(Choosing, forbid_unknown_fields=True, kw_only=True, rename=_NAMES):
    """A whole batch in one JSON object."""


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that can be made."""

    request: InsideRequest
    model: str
    #: Whether it is one item of embeddings, to be asked together with others.
    is_item: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """How a batch is done, checked; money is 1e-9 USD."""

    title: str = ""
    concurrency: int = 4
    rate_per_second: float | None = None
    #: None for no cap, unset for the server's default.
    cost_cap_usd_nanos: int | msgspec.UnsetType | None = msgspec.UNSET
    output_tokens: int = 0
    is_dry_run: bool = False


_batch = msgspec.json.Decoder(BatchGiven)
_schedule = msgspec.json.Decoder(ScheduleGiven)
_line = msgspec.json.Decoder(RequestGiven)


def read_batch(raw: bytes, dialects: Mapping[str, Dialect]) -> tuple[list[CheckedRequest] | Choice, Options]:
    """Read a batch given as one JSON object. Raises `InvalidBatch` and what its requests are refused with."""
    try:
        given = _batch.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBatch(f"The batch cannot be read: {error}."[:500], param=_member(str(error))) from None
    return _chosen(given, dialects), check_options(given)


def read_schedule(
    raw: bytes, dialects: Mapping[str, Dialect]
) -> tuple[list[CheckedRequest] | Choice, Options, ScheduleGiven]:
    """Read a schedule given as one JSON object. Raises as `read_batch` does."""
    try:
        given = _schedule.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBatch(f"The schedule cannot be read: {error}."[:500], param=_member(str(error))) from None
    if given.dry_run:
        raise InvalidBatch("A schedule is no dry run.", param="dry_run")
    return _chosen(given, dialects), check_options(given), given


def read_lines(raw: bytes, dialects: Mapping[str, Dialect]) -> list[CheckedRequest]:
    """Read requests given as JSON lines; empty ones do not count. Raises as `read_batch` does, and names the line."""
    found = []
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(_line.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidBatch(f"Line {number} cannot be read: {error}."[:500], param=f"line {number}") from None
    return check_requests(found, dialects)


def check_options(given: OptionsGiven) -> Options:
    """Return the options of a batch. Raises `InvalidBatch` naming the member at fault."""
    if not 1 <= given.concurrency <= CONCURRENCY_MAX:
        raise InvalidBatch(f"concurrency is 1 to {CONCURRENCY_MAX}.", param="concurrency")
    rate = given.requests_per_second
    if rate is not None and not 0.01 <= rate <= RATE_MAX:
        raise InvalidBatch(f"requests_per_second is 0.01 to {RATE_MAX:g}, or null.", param="requests_per_second")
    tokens = given.output_tokens
    if tokens is not None and not 1 <= tokens <= OUTPUT_TOKENS_MAX:
        raise InvalidBatch(f"output_tokens is 1 to {OUTPUT_TOKENS_MAX}, or null.", param="output_tokens")
    if len(given.title) > 100 or (given.title and not given.title.isprintable()):
        raise InvalidBatch("title has up to 100 printable characters.", param="title")
    return Options(given.title, given.concurrency, rate, _cap(given.cost_cap_usd), tokens or 0, given.dry_run)


def _cap(given: str | msgspec.UnsetType | None) -> int | msgspec.UnsetType | None:
    if isinstance(given, msgspec.UnsetType):
        return given
    if given is None or given.strip().lower() == NO_CAP:
        return None
    try:
        cap = parse_usd(given)
    except ValueError as error:
        raise InvalidBatch(f"{error}; {_NO_CAP_SAID}.", param="cost_cap_usd") from None
    if not 0 < cap <= COST_CAP_USD_MAX * NANOS_PER_USD:
        raise InvalidBatch(
            f"cost_cap_usd is above 0 and at most {COST_CAP_USD_MAX}; {_NO_CAP_SAID}.", param="cost_cap_usd"
        )
    return cap


def check_requests(given: list[RequestGiven], dialects: Mapping[str, Dialect]) -> list[CheckedRequest]:
    """Return requests that can be made. Raises for the first that cannot, and says which."""
    if not 1 <= len(given) <= REQUESTS_MAX:
        raise InvalidBatch(f"A batch has 1 to {REQUESTS_MAX:,} requests.", param="requests")
    return [_checked(number, one, dialects) for number, one in enumerate(given)]


def check_choice(source: Source, window: str, limit: int, source_url: str = "", tags: Sequence[str] = ()) -> Choice:
    """Return what is chosen among the kept requests. Raises `InvalidBatch` and `InvalidDirective`."""
    seconds = int(parse_lifetime(window, "window"))
    if seconds > WINDOW_SECONDS_MAX:
        raise InvalidBatch("window is at most 30d.", param="window")
    if not 1 <= limit <= REQUESTS_MAX:
        raise InvalidBatch(f"limit is 1 to {REQUESTS_MAX}.", param="limit")
    if source_url:
        (source_url,) = parse_sources([source_url], "source")
    return Choice(source, seconds, limit, source_url, parse_tags(list(tags), "tags") if tags else ())


def _chosen(given: Choosing, dialects: Mapping[str, Dialect]) -> list[CheckedRequest] | Choice:
    if isinstance(given.source, Source):
        if given.requests is not msgspec.UNSET:
            raise InvalidBatch("A batch has requests or from, not both.", param="from")
        return check_choice(given.source, given.window, given.limit, given.source_url, given.tags)
    if given.source_url or given.tags:
        param = "source" if given.source_url else "tags"
        raise InvalidBatch(f"{param} narrows what is chosen with from; a request has its own.", param=param)
    if isinstance(given.requests, msgspec.UnsetType):
        raise InvalidBatch("A batch has requests, or from.", param="requests")
    return check_requests(given.requests, dialects)


def _checked(number: int, given: RequestGiven, dialects: Mapping[str, Dialect]) -> CheckedRequest:
    where = f"requests[{number}]"
    dialect = dialects.get(given.provider)
    if dialect is None:
        raise InvalidBatch(f"{where}: this server has no provider {given.provider[:64]!r}.", param=f"{where}.provider")
    headers = {name.lower(): value for name, value in given.headers.items()}
    unknown = sorted(set(headers) - set(dialect.key_headers))
    if unknown:
        known = ", ".join(dialect.key_headers) or "none"
        raise InvalidBatch(
            f"{where}: the header {unknown[0][:64]!r} is not one that changes answers of {dialect.name} ({known}).",
            param=f"{where}.headers",
        )
    for name in _DIRECTIVES:
        value = getattr(given, name)
        if value:
            headers[f"x-agentcache-{name}"] = ", ".join(value) if isinstance(value, list) else str(value)
    pairs = tuple(sorted(headers.items()))
    try:
        body = parse_body(bytes(given.body))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        inside_caller(dialect, raw, "checked")
        endpoint, _ = endpoint_of(dialect, given.path)
    except UnicodeEncodeError:
        raise InvalidBatch(f"{where}: headers, tags and names are Latin letters.", param=where) from None
    except AgentCacheError as error:
        param = f"{where}.{error.param}" if error.param else where
        raise InvalidBatch(f"{where}: {error.message}"[:500], param=param, code=error.code) from None
    if any(not value.isprintable() for _, value in pairs) or sum(len(v) for _, v in pairs) > HEADER_BYTES_MAX:
        raise InvalidBatch(f"{where}: headers are printable and short.", param=f"{where}.headers")
    request = InsideRequest(dialect.name, given.path, pairs, bytes(given.body))
    return CheckedRequest(request, model_of(endpoint, body))


def _member(text: str) -> str | None:
    _, found, place = text.partition(" - at `$")
    return place.strip("`.")[:100] or None if found else None
