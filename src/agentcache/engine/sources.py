"""Source URLs: which spellings mean the same place.

Two spellings are one source when RFC 3986, 6.2.2 and 6.2.3, make them equal without asking the server: scheme and host
in lower case, the scheme's own port left out, an empty path as `/`, `.` and `..` resolved, percent-encodings in upper
case and only where they are needed, no fragment. Anything a server may tell apart stays apart: `http` and `https`, the
query and its order, a slash at the end, the case of the path.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

_PORTS = {"http": 80, "https": 443}
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@lru_cache(maxsize=4096)
def normal_source(url: str) -> str:
    """Return the normal form of a source URL; what is no URL stays as it is."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        return url
    scheme = parts.scheme.lower()
    if not host or scheme not in _PORTS:
        return url
    host = f"[{host}]" if ":" in host else host
    netloc = host if port is None or port == _PORTS[scheme] else f"{host}:{port}"
    path = _without_dots(_ENCODED.sub(_decoded, parts.path)) or "/"
    return urlunsplit((scheme, netloc, path, _ENCODED.sub(_decoded, parts.query), ""))


def _decoded(match: re.Match[str]) -> str:
    char = chr(int(match[1], 16))
    return char if char in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    """Resolve `.` and `..` (RFC 3986, 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
