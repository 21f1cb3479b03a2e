"""One call as the endpoints see it, and the errors that each dialect answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from agentcache.demo.fake_provider.answers import Answer
from agentcache.demo.fake_provider.script import PLAIN, Script
from agentcache.demo.fake_provider.wire import Reply, Request

if TYPE_CHECKING:
    from agentcache.demo.fake_provider.replicate import Predictions

Json: TypeAlias = dict[str, Any]
DialectName: TypeAlias = Literal["openai", "anthropic", "replicate", "together"]

encode = msgspec.json.Encoder().encode


class APIError(Exception):
    """A provider's refusal of one call; rendered in the dialect's own shape."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


@dataclass(slots=True)
class State:
    """What outlives a call: stored responses and predictions. `base_url` is where the server listens."""

    predictions: Predictions
    base_url: str = ""
    responses: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class Exchange:
    """One call: what came in, who sent it, how it is scripted, and the answer's raw material."""

    request: Request
    dialect: DialectName
    #: The provider's own path, without a dialect prefix, query or trailing slash.
    path: str
    body: Json
    credential: str
    answer: Answer
    state: State
    now: float
    script: Script = PLAIN
    #: Values of `{name}` segments in the path.
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the model says, unless a schema or a tool decides otherwise."""
        if self.script.echo_headers:
            return encode(self.request.headers).decode()
        return self.answer.text if self.script.text is None else self.script.text

    def require(self, *members: str) -> None:
        """Raise the dialect's 400 for the first member that the body lacks."""
        for member in members:
            if member not in self.body:
                if self.dialect == "anthropic":
                    raise APIError(400, f"{member}: Field required")
                message = f"Missing required parameter: '{member}'."
                raise APIError(400, message, code="missing_required_parameter", param=member)


def json_reply(value: Any, status: int = 200) -> Reply:
    """Return a JSON answer."""
    return Reply(status, encode(value))


_OPENAI_TYPES = {
    401: ("invalid_request_error", "invalid_api_key"), 403: ("invalid_request_error", "forbidden"),
    404: ("invalid_request_error", "not_found"), 429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None), 502: ("server_error", None), 503: ("server_error", "service_unavailable"),
}  # fmt: skip
_ANTHROPIC_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 405: "invalid_request_error", 409: "conflict_error", 413: "request_too_large",
    429: "rate_limit_error", 500: "api_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
_MESSAGES = {
    429: "Rate limit reached for this model. Please try again shortly.", 500: "The server had an error.",
    502: "Bad gateway.", 503: "The engine is currently overloaded, please try again later.", 529: "Overloaded",
}  # fmt: skip


def error_body(dialect: DialectName, error: APIError, request_id: str) -> Json:
    """Return a dialect's own JSON for an error."""
    if dialect == "anthropic":
        kind = error.code or _ANTHROPIC_TYPES.get(error.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}
    if dialect == "replicate":
        titles = {401: "Unauthenticated", 404: "Not found", 422: "Input validation failed"}
        if error.status in titles:
            return {"title": titles[error.status], "detail": error.message, "status": error.status}
        return {"detail": error.message}
    kind, code = _OPENAI_TYPES.get(error.status, ("invalid_request_error" if error.status < 500 else "api_error", None))
    return {
        "error": {"message": error.message, "type": kind, "param": error.param, "code": error.code or code},
    }


def error_reply(dialect: DialectName, error: APIError, request_id: str) -> Reply:
    """Return the answer that refuses a call."""
    return json_reply(error_body(dialect, error, request_id), error.status)


def scripted_error(exchange: Exchange) -> Reply:
    """Return the error that the script asks for."""
    script = exchange.script
    message = _MESSAGES.get(script.status, f"Scripted status {script.status}.")
    if exchange.dialect == "replicate" and script.status == 429:
        message = "Request was throttled. Your rate limit resets in ~30s."
    error = APIError(script.status, message, code=script.code or None)
    return error_reply(exchange.dialect, error, exchange.answer.id("req_"))


def data_event(value: Any) -> bytes:
    """Return one unnamed server-sent event."""
    return b"data: %b\n\n" % encode(value)


def named_event(name: str, value: Any) -> bytes:
    """Return one named server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(value))
