"""Where a request goes, and the bytes of its head: both refuse everything that could mean two things."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agentcache.kit.errors import BadRequest

_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[(?=[^\]]*:)[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!$-;=?-\[\]^_`a-z{|}~]*)?"
)
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_DEFAULT_PORT: Final = {"http": 80, "https": 443}
#: Belong to the connection, not to the message; the door itself says what is true of its connection.
_CONNECTION_HEADERS: Final = frozenset(
    {b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"}
    | {b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"}
)

Headers = list[tuple[bytes, bytes]]


class InvalidTarget(BadRequest):
    """This URL cannot be requested."""

    code = "invalid_url"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart: lower-case host without brackets, port, and path with query as it goes on the wire."""

    is_tls: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What must be equal for two requests to share a connection."""
        return self.is_tls, self.host, self.port

    @property
    def authority(self) -> str:
        """The `Host` header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


@lru_cache(maxsize=1024)
def parse_target(url: str) -> Target:
    """Take an absolute http(s) URL apart; `InvalidTarget` for user info, fragments, blanks, non-ASCII, backslashes."""
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidTarget
    scheme = found["scheme"]
    port = int(found["port"]) if found["port"] else _DEFAULT_PORT[scheme]
    if not 0 < port < 65536:
        raise InvalidTarget
    host = found["host"].strip("[]").lower()
    return Target(scheme == "https", host.removesuffix("."), port, found["path"] or "/")


def request_head(method: str, target: Target, headers: Headers, framing: bytes) -> bytes:
    """Return request line and headers; `framing` is the one header line that says how long the body is, or empty.

    Headers of the connection (`Host`, `Content-Length`, `Transfer-Encoding`, ...) among `headers` are dropped.
    Raises `BadRequest` for methods, names and values that would end a line early.
    """
    if not (method.isascii() and method.isalpha()):
        raise BadRequest("This is not an HTTP method.")
    lines = [f"{method} {target.path} HTTP/1.1\r\nhost: {target.authority}\r\n".encode("ascii"), framing]
    ends = 4 if framing else 3
    for name, value in headers:
        is_sent = _judge_name(name)
        if is_sent:
            lines += (name, b": ", value, b"\r\n")
            ends += 1
        elif is_sent is None:
            raise BadRequest("A header name holds a character that HTTP does not allow.")
    lines.append(b"\r\n")
    head = b"".join(lines)
    # Each line ends once and nowhere else: a value with CR, LF or NUL in it would be a second message.
    if head.count(b"\r\n") != ends or head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise BadRequest("A header value holds a line break or a zero byte.")
    return head


@lru_cache(maxsize=512)
def _judge_name(name: bytes) -> bool | None:
    """Return True to send, False to drop, None for a name that is not allowed."""
    if _TOKEN.fullmatch(name) is None:
        return None
    return name.lower() not in _CONNECTION_HEADERS
