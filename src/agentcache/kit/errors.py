"""The error tree: each error carries a stable code and an HTTP status; its docstring is its default message.

AgentCacheError
├── BadRequest            400   malformed or unknown input
├── Unauthenticated       401   no key, wrong key, two keys that disagree
├── Forbidden             403   a known caller without the scope
├── NotFound              404
├── PayloadTooLarge       413
├── Unavailable           503   a part of ours that must not fail open is gone
└── upstream
    ├── UpstreamUnreachable 502
    ├── UpstreamInvalid     502   the provider sent what no client could read
    └── UpstreamTimeout     504
"""

from __future__ import annotations

from inspect import cleandoc


class AgentCacheError(Exception):
    """Something went wrong inside AgentCache."""

    code = "internal_error"
    status = 500
    #: False for a status that programs take for a passing trouble although asking again changes nothing.
    may_pass = True
    #: Further response headers that belong to it.
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, message: str | None = None, *, param: str | None = None, code: str | None = None) -> None:
        self.message = message or cleandoc(type(self).__doc__ or "").split("\n\n")[0].replace("\n", " ")
        #: The header, body member or setting at fault, where there is one.
        self.param = param
        if code is not None:
            self.code = code
        super().__init__(self.message)


class BadRequest(AgentCacheError):
    """The request is malformed."""

    code = "invalid_request"
    status = 400


class Unauthenticated(AgentCacheError):
    """An AgentCache key is required."""

    code = "unauthenticated"
    status = 401


class Forbidden(AgentCacheError):
    """This key may not do that."""

    code = "forbidden"
    status = 403


class NotFound(AgentCacheError):
    """There is nothing here."""

    code = "not_found"
    status = 404


class PayloadTooLarge(AgentCacheError):
    """The request body is larger than this server accepts."""

    code = "payload_too_large"
    status = 413


class Unavailable(AgentCacheError):
    """A part of AgentCache that this call needs is not available; try again shortly."""

    code = "unavailable"
    status = 503


class UpstreamUnreachable(AgentCacheError):
    """The provider could not be reached."""

    code = "upstream_unreachable"
    status = 502


class UpstreamInvalid(AgentCacheError):
    """The provider sent an answer that is not valid HTTP."""

    code = "upstream_invalid"
    status = 502


class UpstreamTimeout(AgentCacheError):
    """The provider did not answer in time."""

    code = "upstream_timeout"
    status = 504
