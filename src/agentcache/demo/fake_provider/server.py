"""The fake provider as a server: in a thread of the test, or a process of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec
import uvloop

from agentcache.demo.fake_provider.answers import find_canary, make_answer
from agentcache.demo.fake_provider.delivery import Delivery
from agentcache.demo.fake_provider.exchange import (
    APIError,
    DialectName,
    Exchange,
    Json,
    State,
    encode,
    error_reply,
    scripted_error,
)
from agentcache.demo.fake_provider.replicate import Predictions
from agentcache.demo.fake_provider.routes import PUBLIC, find_route
from agentcache.demo.fake_provider.script import PLAIN, Queued, Script, parse_script
from agentcache.demo.fake_provider.wire import Connection, Reply, Request, whole

_decode = msgspec.json.Decoder().decode
#: What a caller asks for with these changes how the answer travels, not what it says.
_STREAM_MEMBERS = frozenset({"stream", "stream_options"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request that the provider received. `credential` is the bare key or token, empty when there was none."""

    number: int
    method: str
    #: Provider path without dialect prefix and query (`/v1/messages`).
    path: str
    dialect: str
    query: str
    headers: Mapping[str, str]
    #: All header lines as received, names in lower case.
    header_pairs: tuple[tuple[str, str], ...]
    body: bytes
    credential: str

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return _decode(self.body)

    @property
    def tenant(self) -> str:
        """Whom the credential's canary names (`sk-canary-<tenant>`), or an empty string."""
        return find_canary(self.credential)


class FakeProvider:
    """A provider on loopback. `start()` runs it in a thread of its own; `with FakeProvider() as provider:` does too.

    `latency` is the seconds before every answer and `chunk_delay` those between stream events, where a script does
    not say otherwise. `calls` keeps the last `keep_calls` requests; the counts keep all.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        latency: float = 0.0,
        chunk_delay: float = 0.0,
        keep_calls: int = 10_000,
        prediction_seconds: float = 0.05,
        file_lifetime: float = 3600.0,
    ) -> None:
        self.host = host
        self.port = port
        self.latency = latency
        self.chunk_delay = chunk_delay
        self.calls: deque[Call] = deque(maxlen=keep_calls)
        self.calls_by_path: Counter[str] = Counter()
        self.calls_by_tenant: Counter[str] = Counter()
        self.calls_by_credential: Counter[str] = Counter()
        #: Connections open now, and requests being answered now.
        self.open_connections = 0
        self.in_flight = 0
        self._number = 0
        self._queue: list[Queued] = []
        self._queue_lock = threading.Lock()
        self._state = State(Predictions(prediction_seconds, file_lifetime))
        self._connections: set[Connection] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._released: asyncio.Event
        self._stopping: asyncio.Event
        self._arrived = threading.Condition()
        self._failure: BaseException | None = None

    # -- life

    @property
    def url(self) -> str:
        """Base URL without a path; every dialect answers below it."""
        return f"http://{self.host}:{self.port}"

    @property
    def call_count(self) -> int:
        """How many requests came in since the start or the last `reset()`."""
        return self._number

    def start(self) -> Self:
        """Listen in a new thread and return once connections are accepted. Raises `OSError` if the port is taken."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="fake-provider", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def stop(self) -> None:
        """Close every connection and end the thread. Does nothing when it is not running."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = self._loop = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _run(self, ready: threading.Event) -> None:
        try:
            uvloop.run(self.serve_until_stopped(ready.set))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that called start()
            self._failure = error
        finally:
            ready.set()

    async def serve_until_stopped(self, on_ready: Callable[[], object] = lambda: None) -> None:
        """Listen on the running loop until `stop()` or cancellation; `on_ready` is called once it listens."""
        self._loop = asyncio.get_running_loop()
        self._released, self._stopping = asyncio.Event(), asyncio.Event()
        server = await self._loop.create_server(
            lambda: Connection(self), self.host, self.port, backlog=4096, reuse_address=True
        )
        self.port = server.sockets[0].getsockname()[1]
        self._state.base_url = self.url
        on_ready()
        try:
            await self._stopping.wait()
        finally:
            server.close()
            for connection in list(self._connections):
                connection.transport.abort()
            await asyncio.sleep(0)  # lets connection_lost run before the loop closes

    # -- what tests steer and see

    def script(
        self,
        script: Script | None = None,
        *,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
        path: str | None = None,
        **members: Any,
    ) -> None:
        """Say how the next `times` matching calls go (None: all). Members are those of `Script`.

        A call takes the oldest script that matches; `X-Fake-Script` on the request goes before all of them.
        """
        chosen = script or msgspec.convert(members, Script)

        def matches(call: Call) -> bool:
            return (path is None or call.path == path) and (when is None or when(call))

        with self._queue_lock:
            self._queue.append(Queued(chosen, times, matches))

    def clear_scripts(self) -> None:
        """Forget the scripts that no call has used."""
        with self._queue_lock:
            self._queue.clear()

    def release(self) -> None:
        """Let every held answer go on, and hold those that come later anew."""

        def wake() -> None:
            self._released.set()
            self._released = asyncio.Event()

        assert self._loop is not None, "start() first"
        self._loop.call_soon_threadsafe(wake)

    def wait_for_calls(self, count: int, timeout: float = 60.0) -> None:
        """Block until `count` requests have come in. Raises `TimeoutError`."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._number >= count, timeout):
                raise TimeoutError(f"{self._number} of {count} calls came in within {timeout} s")

    def reset(self) -> None:
        """Forget calls, counts and scripts; connections and predictions stay."""
        self.clear_scripts()
        self._number = 0
        self.calls.clear()
        for counter in (self.calls_by_path, self.calls_by_tenant, self.calls_by_credential):
            counter.clear()

    def expire_files(self) -> None:
        """Make every prediction's files, input and output older than their lifetime."""
        self._state.predictions.expire()

    # -- answering

    def opened(self, connection: Connection) -> None:
        """Count a connection."""
        self._connections.add(connection)
        self.open_connections = len(self._connections)

    def closed(self, connection: Connection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        self.open_connections = len(self._connections)

    def serve(self, connection: Connection, request: Request) -> asyncio.Task[None] | None:
        """Answer one request: at once when nothing is to be waited for, else in a task."""
        reply, script = self._reply(request)
        waits = self.latency or reply.delay or (self.chunk_delay and reply.events)
        if not waits and not script.changes_bytes:
            connection.transport.write(whole(reply))
            return None
        if self.latency and not script.delay:
            script = msgspec.structs.replace(script, delay=self.latency)
        if self.chunk_delay and not script.chunk_delay and reply.events:
            script = msgspec.structs.replace(script, chunk_delay=self.chunk_delay)
        assert self._loop is not None
        return self._loop.create_task(self._deliver(Delivery(connection, reply, script, self._wait_for_release)))

    async def _wait_for_release(self) -> None:
        await self._released.wait()

    async def _deliver(self, delivery: Delivery) -> None:
        self.in_flight += 1
        try:
            await delivery.run()
        finally:
            self.in_flight -= 1

    def _reply(self, request: Request) -> tuple[Reply, Script]:
        call, endpoint, parts = self._record(request)
        script, reply = PLAIN, None
        try:
            script = self._find_script(call)
            exchange = Exchange(
                request=request,
                dialect=_dialect(call.dialect),
                path=call.path,
                body={},
                credential=call.credential,
                answer=make_answer(call.number, call.path, call.body, call.credential),
                state=self._state,
                now=time.time(),
                script=script,
                parts=parts,
            )
            if not 200 <= script.status < 300:
                reply = scripted_error(exchange)
            elif endpoint is None:
                raise APIError(404, f"Invalid URL ({request.method} {call.path})")
            else:
                if endpoint not in PUBLIC:
                    _check_credential(call)
                exchange.body = _read_body(request)
                if "stream" in exchange.body:
                    basis = encode({name: v for name, v in exchange.body.items() if name not in _STREAM_MEMBERS})
                    exchange.answer = make_answer(call.number, call.path, basis, call.credential)
                reply = endpoint(exchange)
                reply.status = script.status if script.status != 200 else reply.status
        except APIError as error:
            reply = error_reply(_dialect(call.dialect), error, f"req_{call.number:08d}")
        _add_headers(reply, call, script)
        return reply, script

    def _record(self, request: Request) -> tuple[Call, Callable[[Exchange], Reply] | None, dict[str, str]]:
        dialect, path, endpoint, parts = find_route(request)
        with self._arrived:
            self._number += 1
            call = Call(
                self._number, request.method, path, dialect, request.query, request.headers, tuple(request.pairs),
                request.body, _find_credential(request.headers),
            )  # fmt: skip
            self.calls.append(call)
            self.calls_by_path[path] += 1
            self.calls_by_credential[call.credential] += 1
            if tenant := call.tenant:
                self.calls_by_tenant[tenant] += 1
            self._arrived.notify_all()
        return call, endpoint, parts

    def _find_script(self, call: Call) -> Script:
        text = call.headers.get("x-fake-script")
        if text is not None:
            try:
                return parse_script(text)
            except ValueError as error:
                raise APIError(400, str(error), param="X-Fake-Script") from error
        if not self._queue:
            return PLAIN
        with self._queue_lock:
            for queued in self._queue:
                if queued.matches(call):
                    if queued.remaining is not None:
                        queued.remaining -= 1
                        if not queued.remaining:
                            self._queue.remove(queued)
                    return queued.script
        return PLAIN


def _dialect(name: str) -> DialectName:
    assert name in ("openai", "anthropic", "replicate", "together")
    return name  # type: ignore[return-value]  # the assertion above is the check


def _find_credential(headers: Mapping[str, str]) -> str:
    # Anthropic prefers x-api-key when both are there.
    given = headers.get("x-api-key") or headers.get("authorization", "")
    scheme, _, value = given.partition(" ")
    return value.strip() if scheme.lower() in ("bearer", "token") else given


def _check_credential(call: Call) -> None:
    if call.credential and not call.credential.startswith("invalid"):
        return
    match call.dialect:
        case "anthropic":
            raise APIError(401, "invalid x-api-key" if call.credential else "x-api-key header is required")
        case "replicate":
            raise APIError(401, "You did not pass a valid authentication token")
    if not call.credential:
        raise APIError(401, "You didn't provide an API key.", code="missing_api_key")
    raise APIError(401, f"Incorrect API key provided: {call.credential[:7]}***.", code="invalid_api_key")


def _read_body(request: Request) -> Json:
    if not request.body or "json" not in request.headers.get("content-type", "json"):
        return {}
    try:
        body = _decode(request.body)
    except msgspec.DecodeError as error:
        raise APIError(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise APIError(400, "The JSON body of your request must be an object.")
    return body


def _add_headers(reply: Reply, call: Call, script: Script) -> None:
    identifier = f"req_fake{call.number:08d}"
    if call.dialect == "anthropic":
        reply.headers += [("request-id", identifier), ("anthropic-ratelimit-requests-remaining", "999")]
    else:
        reply.headers += [("x-request-id", identifier), ("x-ratelimit-remaining-requests", "999")]
    reply.headers += script.headers
    if script.retry_after:
        reply.headers.append(("retry-after", script.retry_after))
    if script.set_cookie:
        reply.headers.append(("set-cookie", script.set_cookie))
