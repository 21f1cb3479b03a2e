"""The data plane's ASGI application: routes, errors, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from itertools import count

from agentcache.gateway.admission import FREE, Pass
from agentcache.gateway.asgi_types import ASGIScope, ClientGone, HeaderList, Message, Receive, Send, send_whole
from agentcache.gateway.authenticate import InvalidAPIKey, require, require_address
from agentcache.gateway.callers import CallerReader
from agentcache.gateway.calls import Call, Parts
from agentcache.gateway.embeddings import answer_embeddings
from agentcache.gateway.health import Health
from agentcache.gateway.limit_headers import with_headers
from agentcache.gateway.native.api import NativeAPI
from agentcache.gateway.passthrough import pass_through
from agentcache.gateway.ports import Outcome, Scope
from agentcache.gateway.predictions import answer_prediction, serve_file, serves_file, serves_prediction_path
from agentcache.gateway.problems import dialect_error, problem
from agentcache.gateway.proxy import answer
from agentcache.gateway.refusals import is_refusal
from agentcache.kit.errors import AgentCacheError, BadRequest, NotFound
from agentcache.kit.ids import new_id
from agentcache.kit.logs import get_logger
from agentcache.providers.dialect import Dialect, Kind

URL_BYTES_MAX = 8 * 1024
REMEMBERED_PATHS_MAX = 512
REMEMBERED_PATH_CHARS_MAX = 200
#: First path segments that mean OpenAI, besides its own name.
_OPENAI_ALIASES = ("/api/v1/", "/v1/")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"})
_HANDLERS: dict[Kind, Callable[[Call], Awaitable[None]]] = {
    Kind.ANSWER: answer,
    Kind.BINARY: answer,
    Kind.EMBEDDINGS: answer_embeddings,
    Kind.PREDICTION: answer_prediction,
}
#: A key in a URL ends up in logs and histories; it is refused wherever it stands there.
_KEY_IN_QUERY = re.compile(rb"ac_(?:live|test)_")
_DOT_SEGMENT = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)|\\|%5c|%00", re.IGNORECASE)

_log = get_logger(__name__)


class PathInvalid(BadRequest):
    """The path is not one that AgentCache forwards."""

    code = "invalid_path"


class Gateway:
    """Answers provider routes, our own cache API, health and metrics; says which paths are its own."""

    def __init__(self, parts: Parts, native: NativeAPI, health: Health) -> None:
        self._parts = parts
        self._native = native
        self._health = health
        self._callers = CallerReader()
        # Request ids are the process's id and a number: unique, in order, and free of system calls.
        self._request_prefix = new_id() + "-"
        self._requests = count(1)
        self._prefixes = {f"/{name}/": dialect for name, dialect in parts.dialects.items()}
        self._prefixes.update(dict.fromkeys(_OPENAI_ALIASES, parts.dialects["openai"]))
        #: Programs ask the same few paths again and again.
        self._found: dict[str, tuple[Dialect, str]] = {}

    def owns(self, path: str) -> bool:
        """Say whether a path belongs to the data plane."""
        return self._find_dialect(path) is not None or self._native.owns(path) or self._health.owns(path)

    async def __call__(self, asgi_scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        path: str = asgi_scope["path"]
        found = self._find_dialect(path)
        if found is None or serves_file(path):
            await self._serve_own(asgi_scope, receive, send, path)
            return
        dialect, rest = found
        request_id = self._request_prefix + format(next(self._requests), "x")
        started = self._parts.clock.monotonic()
        watched = _Watched(send)
        call: Call | None = None
        # What a request that nobody has recorded ended with; unless an error says otherwise, its caller is gone.
        status, reason = ClientGone.status, ClientGone.code
        try:
            call = await self._admit(asgi_scope, receive, watched, dialect, rest, request_id, started)
            await self._serve(call)
        except ClientGone:
            return
        except AgentCacheError as error:
            status, reason = error.status, error.code
            if call is not None and not call.is_recorded and is_refusal(error):
                call.refuse(error)
            await self._refuse(watched, dialect, error, request_id)
        except Exception:  # noqa: BLE001 - the last resort: no trace of ours reaches a caller
            status, reason = AgentCacheError.status, AgentCacheError.code
            _log.exception("request_failed", request_id=request_id, dialect=dialect.name)
            await self._refuse(watched, dialect, AgentCacheError(), request_id)
        finally:
            if call is not None and not call.is_recorded:
                call.record(Outcome.ERROR, status, reason=reason)

    def _find_dialect(self, path: str) -> tuple[Dialect, str] | None:
        """Return the dialect and the provider's own path; `/v1/…` keeps its version segment."""
        found = self._found.get(path)
        if found is not None:
            return found
        if path.startswith(_OPENAI_ALIASES):
            found = self._prefixes["/v1/"], path.removeprefix("/api")
        else:
            end = path.find("/", 1)
            dialect = self._prefixes.get(path[: end + 1]) if end > 0 else None
            if dialect is None:
                return None
            found = dialect, path[end:]
        if len(path) <= REMEMBERED_PATH_CHARS_MAX:
            if len(self._found) >= REMEMBERED_PATHS_MAX:
                self._found.clear()
            self._found[path] = found
        return found

    async def _admit(
        self,
        asgi_scope: ASGIScope,
        receive: Receive,
        send: Send,
        dialect: Dialect,
        path: str,
        request_id: str,
        started: float,
    ) -> Call:
        """Know the caller and the endpoint."""
        _check_target(asgi_scope, path)
        caller = self._callers.read(dialect, asgi_scope["headers"])
        try:
            principal = await self._parts.authenticator.authenticate(caller.api_key)
        except InvalidAPIKey as error:
            self._parts.key_failures.check(error, asgi_scope, caller)
            raise
        call = Call(
            parts=self._parts,
            asgi_scope=asgi_scope,
            receive=receive,
            send=send,
            request_id=request_id,
            started=started,
            dialect=dialect,
            path=_encoded(asgi_scope, path),
            caller=caller,
            principal=principal,
        )
        found = dialect.find_endpoint(asgi_scope["method"], path)
        if found is not None:
            call.endpoint, call.path_params = found
        return call

    async def _serve(self, call: Call) -> None:
        # Where the key may be used before what it may do before what is left: no limit is charged for what is refused.
        if call.principal.networks is not None:
            require_address(call.principal, call.asgi_scope, call.caller, self._parts.settings.trusted_proxies)
        require(call.principal, Scope.CACHE_READ)
        admitted = self._parts.admission.admit(call.principal, call.caller.directives.agent)
        if admitted is not FREE:
            await _note_limits(call, admitted)
        handler = _HANDLERS.get(call.endpoint.kind) if call.endpoint is not None else None
        if handler is not None and _is_json(call):
            await handler(call)
        elif serves_prediction_path(call):
            await answer_prediction(call)
        else:
            await pass_through(call, None, detail="not_cacheable")

    async def _refuse(self, send: _Watched, dialect: Dialect, error: AgentCacheError, request_id: str) -> None:
        if send.started:
            # Too late for a status: break the connection, so that nobody takes the beginning for the whole.
            raise error
        headers, body = dialect_error(dialect, error, request_id)
        await send_whole(send, error.status, headers, body)

    async def _serve_own(self, asgi_scope: ASGIScope, receive: Receive, send: Send, path: str) -> None:
        request_id = self._request_prefix + format(next(self._requests), "x")
        watched = _Watched(send)
        try:
            _check_target(asgi_scope, path)
            if self._health.owns(path):
                await self._health.serve(asgi_scope, watched, self._callers, request_id)
            elif self._native.owns(path):
                await self._native.serve(asgi_scope, receive, watched, self._callers, request_id)
            elif serves_file(path):
                # The one route without a key: browsers and SDKs fetch files by a URL that nobody can guess.
                await serve_file(self._parts, asgi_scope, watched, request_id)
            else:
                raise NotFound
        except ClientGone:
            return
        except AgentCacheError as error:
            await _send_problem(watched, error, request_id)
        except Exception:  # noqa: BLE001 - the last resort
            _log.exception("request_failed", request_id=request_id)
            await _send_problem(watched, AgentCacheError(), request_id)


async def _note_limits(call: Call, admitted: Pass | Awaitable[Pass]) -> None:
    call.admitted = admitted if isinstance(admitted, Pass) else await admitted
    if call.admitted.headers:
        call.send = with_headers(call.send, call.admitted.headers)


async def _send_problem(send: _Watched, error: AgentCacheError, request_id: str) -> None:
    if send.started:
        raise error
    headers: HeaderList
    headers, body = problem(error, request_id)
    await send_whole(send, error.status, headers, body)


class _Watched:
    """An ASGI `send` that knows whether the response has started."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    def __call__(self, message: Message) -> Awaitable[None]:
        self.started = True
        return self._send(message)


def _encoded(asgi_scope: ASGIScope, path: str) -> str:
    """Return the provider's path as the caller spelled it: decoding and encoding again could change it."""
    raw_path: bytes = asgi_scope.get("raw_path") or b""
    if b"%" not in raw_path:
        return path
    raw = raw_path.decode("latin-1")
    prefix = asgi_scope["path"][: len(asgi_scope["path"]) - len(path)]
    if not raw.startswith(prefix):
        raise PathInvalid
    return raw[len(prefix) :]


def _is_json(call: Call) -> bool:
    content_type = call.caller.headers.get("content-type", "application/json")
    return content_type.startswith("application/json") or content_type == ""


def _check_target(asgi_scope: ASGIScope, path: str) -> None:
    """Refuse targets that two readers could understand differently, and keys in the query."""
    raw: bytes = asgi_scope.get("raw_path") or path.encode()
    query: bytes = asgi_scope["query_string"]
    if len(raw) + len(query) > URL_BYTES_MAX:
        raise URLTooLong
    if query and _KEY_IN_QUERY.search(query):
        raise BadRequest("An AgentCache key must not stand in a URL: send it in a header.", code="key_in_url")
    # The plain characters first: most paths hold none of them, and the pattern costs a microsecond.
    if "//" in path or (("." in path or "\\" in path) and _DOT_SEGMENT.search(path)):
        raise PathInvalid
    if b"%" in raw and _DOT_SEGMENT.search(raw.decode("latin-1")):
        raise PathInvalid
    if asgi_scope["method"] not in _METHODS:
        raise MethodNotAllowed


class MethodNotAllowed(BadRequest):
    """This method is not served here."""

    code = "method_not_allowed"
    status = 405


class URLTooLong(BadRequest):
    """The URL is longer than this server accepts."""

    code = "url_too_long"
    status = 414
