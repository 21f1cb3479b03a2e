"""One upstream call for the items that nobody knows yet, shared by every request that waits for one of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from agentcache.engine.entries import Entry, EntryMeta
from agentcache.engine.flights import Flight, FlightAborted
from agentcache.engine.keys import fingerprint_parts
from agentcache.engine.stores.port import Put, StoreUnavailable
from agentcache.gateway.calls import Call, Head
from agentcache.gateway.embeddings.items import Item, shares
from agentcache.gateway.embeddings.stored import CONTENT_TYPE, StoredVector, pack, surroundings
from agentcache.gateway.embeddings.vectors import read_embedding
from agentcache.gateway.fills import open_upstream
from agentcache.gateway.whole_answers import decoded_object, read_whole, sets_cookie
from agentcache.kit.errors import AgentCacheError
from agentcache.providers.dialect import Json, SSEEvent

ItemFlight: TypeAlias = Flight[Head, SSEEvent]
#: 2,048 vectors of 3,072 numbers, written out with 17 digits each, are 140 MB.
ANSWER_BYTES_MAX = 256 << 20
#: How many store operations of one request run at once: half of a worker's connections to Redis.
STORE_OPERATIONS_MAX = 16
_JSON = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Asked:
    """One item's vector as it came, what it cost, and whether it was stored."""

    vector: StoredVector
    cost_usd_nanos: int = 0
    put: str = ""


@dataclass(slots=True)
class BatchAnswer:
    """What the upstream said. `found` is empty, and `reason` says why, when the answer cannot be used."""

    head: Head
    body: bytes
    reason: str = ""
    found: dict[bytes, Asked] = field(default_factory=dict)
    cost_usd_nanos: int = 0
    upstream_us: int = 0


class Batch:
    """The items of one request that it leads the asking for. Each has a flight of its own; the call is one."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._answer: asyncio.Future[BatchAnswer] | None = None
        self.items: list[Item] = []

    def lead(self, item: Item) -> Callable[[ItemFlight], Coroutine[Any, Any, None]]:
        """Return what leads the flight of `item`."""

        async def run(flight: ItemFlight) -> None:
            flight.result = await self._ask_once()

        self.items.append(item)
        return run

    def withdraw_last(self) -> None:
        """Take the last item out again: its flight turned out to be under way already."""
        self.items.pop()

    @property
    def answer(self) -> BatchAnswer | None:
        """The answer, once there is one."""
        future = self._answer
        return future.result() if future is not None and future.done() and future.exception() is None else None

    async def _ask_once(self) -> BatchAnswer:
        if self._answer is not None:
            # Shielded, because whoever is cancelled while waiting must not cancel the future of the others.
            return await asyncio.shield(self._answer)
        self._answer = asyncio.get_running_loop().create_future()
        try:
            answer = await ask(self._call, self.items)
        except BaseException as error:
            self._answer.set_exception(error if isinstance(error, AgentCacheError) else FlightAborted())
            self._answer.exception()  # read here, since perhaps nobody else waits
            raise
        self._answer.set_result(answer)
        return answer


def join(call: Call, batch: Batch, missing: Sequence[Item], *, after_failure: bool) -> list[ItemFlight]:
    """Return the flight of every missing item; those not under way yet are led by `batch`, in one upstream call."""
    flights: list[ItemFlight] = []
    for item in missing:
        name = _flight_name(call, item)
        lead = batch.lead(item)
        if call.directives.reads:
            flight, leads = call.parts.flights.join(name, lead, after_failure=after_failure)
            if not leads:
                batch.withdraw_last()
        else:
            # Whoever insists on a new answer joins nobody.
            flight = Flight(name, call.parts.settings.entry_max_bytes)
            call.parts.flights.start(flight, lead)
        flights.append(flight)
    return flights


def _flight_name(call: Call, item: Item) -> bytes:
    """Name the flight that an item may share: the mark and what the entry will carry are part of it."""
    carried = repr((item.mark, call.may_write, *call.carried))
    return item.key + hashlib.blake2s(carried.encode(), digest_size=16).digest()


async def wait(flights: Sequence[ItemFlight]) -> tuple[AgentCacheError | None, BatchAnswer | None]:
    """Wait for all flights; return an error that one ended with, and an answer that cannot be used, if any."""
    failure: AgentCacheError | None = None
    unusable: BatchAnswer | None = None
    for flight in flights:
        with flight.seat() as seat:
            try:
                await seat.end()
            except AgentCacheError as error:
                failure = error
                continue
        result: BatchAnswer | None = flight.result
        if result is not None and not result.found:
            unusable = result
    return failure, unusable


async def ask(call: Call, items: Sequence[Item]) -> BatchAnswer:
    """Ask the upstream for the items and store what comes. Raises what `open_upstream` and reading raise."""
    clock = call.parts.clock
    started = clock.monotonic()
    response = await open_upstream(call, _upstream_body(call, items))
    head, body = await read_whole(response, ANSWER_BYTES_MAX)
    answer = BatchAnswer(head, body, upstream_us=int((clock.monotonic() - started) * 1e6))
    if not head.is_success:
        answer.reason = "upstream_error"
        return answer
    decoded = decoded_object(body)
    vectors = _read_vectors(call, decoded, items) if decoded is not None else None
    if decoded is None or vectors is None:
        answer.reason = "malformed"
        call.parts.meter.count_fill(stored=False)
        return answer
    assert call.endpoint is not None
    usage = call.endpoint.usage(decoded)
    model = call.model or str(decoded.get("model") or "")
    cost = call.parts.prices.cost_nanos(call.dialect.name, model, usage, clock.now()) or 0
    answer.cost_usd_nanos = cost
    await _keep(call, items, vectors, answer)
    return answer


def asks_everything(call: Call, items: Sequence[Item]) -> bool:
    """Say whether asking for `items` is asking just what the caller did."""
    given = call.body["input"]
    contents: list[Any] = [item.content for item in items]
    return given in (contents, contents[0] if len(contents) == 1 else contents)


def _upstream_body(call: Call, items: Sequence[Item]) -> bytes:
    assert call.endpoint is not None
    if asks_everything(call, items):
        prepared = call.endpoint.prepare(call.body)
        return call.raw_body if prepared is call.body else _JSON.encode(prepared)
    return _JSON.encode(call.endpoint.prepare({**call.body, "input": [item.content for item in items]}))


def _read_vectors(call: Call, answer: Json, items: Sequence[Item]) -> list[StoredVector] | None:
    """Return the vectors in the order of `items`; None unless there is one good vector of one length for each."""
    assert call.endpoint is not None
    if not call.endpoint.judge(answer).storable or len(answer["data"]) != len(items):
        return None
    around = surroundings(answer)
    has_usage = isinstance(answer.get("usage"), dict)
    tokens = shares(call.endpoint.usage(answer).input_tokens, [item.weight for item in items])
    ordered: list[StoredVector | None] = [None] * len(items)
    length = 0
    for listed in answer["data"]:
        index = listed.get("index")
        vector = read_embedding(listed["embedding"])
        if type(index) is not int or not 0 <= index < len(items) or ordered[index] is not None or vector is None:
            return None
        if length not in (0, len(vector.numbers)):
            return None
        length = len(vector.numbers)
        beside = {name: value for name, value in listed.items() if name not in ("index", "embedding")}
        ordered[index] = StoredVector(vector.form, vector.to_bytes(), around, beside, has_usage, tokens[index])
    return [vector for vector in ordered if vector is not None]


async def _keep(call: Call, items: Sequence[Item], vectors: list[StoredVector], answer: BatchAnswer) -> None:
    """Store each vector, and note in `answer` what became of it."""
    costs = shares(answer.cost_usd_nanos, [item.weight for item in items])
    has_cookie = sets_cookie(answer.head)
    puts: list[str] = []
    for start in range(0, len(items), STORE_OPERATIONS_MAX):
        part = range(start, min(start + STORE_OPERATIONS_MAX, len(items)))
        puts += await asyncio.gather(
            *(
                _put(call, items[index], vectors[index], costs[index], answer.upstream_us, has_cookie=has_cookie)
                for index in part
            )
        )
    for item, vector, cost, put in zip(items, vectors, costs, puts, strict=True):
        answer.found[item.key] = Asked(vector, cost, put)
    call.parts.meter.count_fill(stored=all(put == Put.STORED.value for put in puts))


async def _put(
    call: Call, item: Item, vector: StoredVector, cost_usd_nanos: int, upstream_us: int, *, has_cookie: bool
) -> str:
    if has_cookie:
        return "set_cookie"
    if not call.may_write:
        return "not_asked"
    if item.mark is None:
        return "store_unavailable"
    directives, parts, tenant = call.directives, call.parts, call.principal.tenant
    assert call.endpoint is not None
    kept = call.keeping
    meta = EntryMeta(
        namespace=call.namespace,
        dialect=call.dialect.name,
        endpoint=call.endpoint.name,
        model=call.model,
        label=call.endpoint.name,
        content_type=CONTENT_TYPE,
        stored_at=parts.clock.now(),
        lifetime_seconds=kept.lifetime_seconds,
        stale_while_revalidate_seconds=kept.stale_while_revalidate_seconds,
        stale_if_error_seconds=kept.stale_if_error_seconds,
        tags=directives.tags,
        sources=directives.sources,
        input_tokens=vector.tokens,
        cost_usd_nanos=cost_usd_nanos,
        upstream_ms=upstream_us / 1000,
        writer=call.principal.api_key_id,
        parts=fingerprint_parts(tenant, item.material),
    )
    try:
        put = await parts.entries.put(tenant, Entry(item.key, meta, pack(vector)), since=item.mark)
    except StoreUnavailable as error:
        parts.meter.count_store_error()
        return error.code
    if put is Put.STORED:
        parts.kept_requests.keep_item(call, item.content, item.key, meta)
    return put.value
