"""Finding and replacing file URLs in a prediction's output, whatever its shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from agentcache.providers.dialect import Dialect

_URL_CHARACTERS_MAX = 2048
_DEFAULT_PORTS = {"https": 443, "http": 80}
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def find_file_urls(output: Any, dialect: Dialect) -> list[str]:
    """Return every URL in `output` that names a file of this provider, each once, in order."""
    found: dict[str, None] = {}
    stack = [output]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            if names_file(value, dialect):
                found[value] = None
        elif isinstance(value, dict):
            stack.extend(reversed(value.values()))
        elif isinstance(value, list):
            stack.extend(reversed(value))
    return list(found)


def names_file(text: str, dialect: Dialect) -> bool:
    """Say whether a string is a URL from which we copy: the provider's file hosts, or its own configured origin."""
    if not text.startswith(("https://", "http://")) or len(text) > _URL_CHARACTERS_MAX:
        return False
    try:
        url = urlsplit(text)
        port = url.port or _DEFAULT_PORTS[url.scheme]
        upstream = urlsplit(dialect.upstream)
        upstream_port = upstream.port or _DEFAULT_PORTS.get(upstream.scheme)
    except ValueError:
        return False
    if "@" in url.netloc or not url.hostname:
        return False
    if (url.scheme, url.hostname, port) == (upstream.scheme, upstream.hostname, upstream_port):
        return True
    return url.scheme == "https" and port == 443 and any(_matches(url.hostname, host) for host in dialect.file_hosts)


def replace_urls(output: Any, urls: Mapping[str, str]) -> Any:
    """Return `output` with every string that is a key of `urls` replaced."""
    if isinstance(output, str):
        return urls.get(output, output)
    if isinstance(output, dict):
        return {name: replace_urls(value, urls) for name, value in output.items()}
    if isinstance(output, list):
        return [replace_urls(value, urls) for value in output]
    return output


def file_name(url: str) -> str:
    """Return a file's name for our own URL: the last segment of the provider's, with nothing but safe characters."""
    name = _UNSAFE.sub("-", unquote(urlsplit(url).path.rpartition("/")[2]))[-100:].lstrip(".-")
    return name or "output"


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
