"""What a setting is, and how its value is read; each parser raises `ValueError` with the second half of a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from agentcache.kit.money import NANOS_PER_USD, parse_usd
from agentcache.kit.networks import parse_network

_SIZE: Final = re.compile(r"([0-9]+)\s*(B|[KMGT]i?B)?", re.IGNORECASE)
_UNIT_BYTES: Final[dict[str, int]] = {
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\Z"
)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings table; `default` is spelled as it would be in the environment."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: str | None
    description: str
    example: str
    #: Never shown, not even when it is wrong.
    is_secret: bool = False

    @property
    def is_family(self) -> bool:
        """Say whether this row stands for many names (`AGENTCACHE_UPSTREAM_<NAME>`)."""
        return self.name.endswith(">")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text) or not least <= int(text) <= most:
            raise ValueError(f"is not a whole number from {least} to {most}")
        return int(text)

    return parse


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Return a parser of seconds, with or without a fraction, from `least` to `most`."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or not least <= float(text) <= most:
            raise ValueError(f"is not a number of seconds from {least:g} to {most:g}")
        return float(text)

    return parse


def usd_or_none(most: int) -> Callable[[str], int | None]:
    """Return a parser of amounts in US dollars up to `most`, into 1e-9 USD; "none" is None."""

    def parse(text: str) -> int | None:
        if text.lower() == "none":
            return None
        try:
            nanos = parse_usd(text)
        except ValueError:
            nanos = 0
        if not 0 < nanos <= most * NANOS_PER_USD:
            raise ValueError(f'is neither "none" nor an amount in US dollars above 0 and up to {most}')
        return nanos

    return parse


def boolean(text: str) -> bool:
    """Read on/off, true/false, yes/no or 1/0."""
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("is neither on nor off")


def byte_size(least: int, most: int = 1024**5) -> Callable[[str], int]:
    """Return a parser of sizes such as `10GiB`, `500MB` or plain bytes."""

    def parse(text: str) -> int:
        found = _SIZE.fullmatch(text)
        if found is None:
            raise ValueError("is not a size in bytes, such as 10GiB, 500MB or 1048576")
        size = int(found[1]) * _UNIT_BYTES[(found[2] or "B").lower()]
        if not least <= size <= most:
            raise ValueError(f"is {size} bytes, outside {least} to {most}")
        return size

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of one word out of a fixed set; letter case does not matter."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text.lower()

    return parse


def host(text: str) -> str:
    """Read an address or a host name to listen on."""
    bare = text.removeprefix("[").removesuffix("]").lower()
    if not (is_address(bare) or (_HOST_NAME.match(bare) and not re.fullmatch(r"[0-9.]+", bare))):
        raise ValueError("is neither an IP address nor a host name")
    return bare


def host_list(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of host names as they stand in `Host` headers, without port."""
    hosts = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        bare = item.removeprefix("*.") if item != "*" else "any"
        try:
            host(bare)
        except ValueError:
            raise ValueError(f'holds "{item}", which is not a host name (no scheme, no port, no path)') from None
        hosts.append(item.lower())
    return tuple(hosts)


def network_list(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of addresses and networks."""
    networks = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(parse_network(item))
        except ValueError:
            raise ValueError(f'holds "{item}", which is neither an address nor a network (10.0.0.0/24)') from None
    return tuple(networks)


def directory(text: str) -> Path:
    """Read a directory that exists already or can be made; relative ones start at the working directory."""
    path = _path(text)
    if path.exists() and not path.is_dir():
        raise ValueError("exists but is not a directory")
    return path


def readable_file(text: str) -> Path:
    """Read the path of a file that must exist."""
    path = _path(text)
    if not path.is_file():
        raise ValueError("is not the path of a file that exists")
    return path


def base_url(text: str) -> str:
    """Read an http(s) URL without credentials, query or fragment; a trailing slash is dropped."""
    parts = _split(text, ("http", "https"))
    if "@" in parts.netloc:
        raise ValueError("carries a user name or password; credentials do not belong into this URL")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("has a query or fragment; only scheme, host, port and path are meant")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def origin_url(text: str) -> str:
    """Read an http(s) URL that ends after host and port."""
    url = base_url(text)
    if urlsplit(url).path:
        raise ValueError("has a path; only scheme, host and port are meant")
    return url


def database_url(text: str) -> str:
    """Read a PostgreSQL or SQLite URL."""
    if text.lower().startswith("sqlite:"):
        if not re.fullmatch(r"sqlite:///[^?#]+", text):
            raise ValueError("is not of the form sqlite:///path/to/app.db")
        return text
    parts = _split(text, ("postgres", "postgresql"))
    if len(parts.path) < 2:
        raise ValueError("names no database; add it as the path, as in postgresql://host/agentcache")
    return text


def redis_url(text: str) -> str:
    """Read a Redis or Valkey URL; `+cluster` after the scheme means Redis Cluster."""
    if re.fullmatch(r"unix:///[^\s#]+", text):
        return text
    _split(text, ("redis", "rediss", "redis+cluster", "rediss+cluster"))
    return text


def embedder(text: str) -> str:
    """Read which embedder turns questions into vectors; what follows the first colon is kept as it is spelled."""
    kind, _, rest = text.partition(":")
    kind = kind.lower()
    if kind in ("minilm", "off") and not rest:
        return kind
    if kind == "openai":
        model, _, url = rest.rpartition("@")
        if model and model.isprintable():
            return f"openai:{model}@{base_url(url)}"
    if kind == "sentence-transformers" and rest and rest.isprintable():
        return f"{kind}:{rest}"
    raise ValueError("is none of minilm, off, openai:<model>@<base URL> and sentence-transformers:<name or folder>")


def index_url(text: str) -> str:
    """Read the URL of a server that keeps vectors: Redis with the query engine, or PostgreSQL with pgvector."""
    if text.lower().startswith(("postgres:", "postgresql:")):
        return database_url(text)
    if text.lower().startswith(("redis+cluster:", "rediss+cluster:")):
        raise ValueError("names a Redis Cluster, whose nodes search their own rows only; name one Redis, or PostgreSQL")
    parts = _split(text, ("redis", "rediss"))
    if parts.path.strip("/") not in ("", "0"):
        raise ValueError("names another database than 0, and the query engine of Redis has only that one")
    return text


def smtp_url(text: str) -> str:
    """Read `smtp://[user:password@]host[:port][?starttls]` or `smtps://…`."""
    parts = _split(text, ("smtp", "smtps"))
    if parts.path not in ("", "/") or parts.query not in ("", "starttls", "starttls=1"):
        raise ValueError("must end after the port, but for ?starttls")
    return text


def mail_address(text: str) -> str:
    """Read `name@example.com` or `Name <name@example.com>`."""
    _, address = parseaddr(text)
    if not address or "@" not in address or not text.isprintable():
        raise ValueError("must be an address like AgentCache <cache@example.com>")
    return text


def contact_url(text: str) -> str:
    """Read where somebody can be reached: an https URL, or a mail address with or without `mailto:`."""
    if text.lower().startswith("https://"):
        _split(text, ("https",))
        return text
    address = re.sub(r"(?i)\Amailto:", "", text)
    if not re.fullmatch(r"[\x21-\x7e]+@[a-z0-9.-]+\.[a-z]+", address, re.IGNORECASE) or set(address) & set(
        '<>,;:?&%"\\'
    ):
        raise ValueError("is neither an address like mailto:security@example.com nor an https:// URL")
    return f"mailto:{address}"


def token(text: str) -> str:
    """Read an id or secret that somebody else has given out."""
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", text):
        raise ValueError("holds a space or a character outside ASCII, or is longer than 512 characters")
    return text


def secret(text: str) -> str:
    """Read a secret of at least 32 bytes that is not one character over and over."""
    if len(text.encode()) < 32:
        raise ValueError("is shorter than 32 bytes, so it could be guessed")
    if len(set(text)) < 8:
        raise ValueError("repeats a few characters, so it could be guessed")
    return text


def secret_list(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of secrets, newest first."""
    return tuple(secret(part.strip()) for part in text.split(",") if part.strip())


def _path(text: str) -> Path:
    if "\0" in text:
        raise ValueError("holds a zero byte")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("begins with ~, but there is no home directory") from None


def _split(text: str, schemes: tuple[str, ...]) -> SplitResult:
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("holds a space, a backslash or another character that a URL cannot have")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as wrong:
        raise ValueError(f"is not a URL ({str(wrong).lower()})") from None
    if parts.scheme not in schemes:
        raise ValueError(f"is not a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not parts.hostname or port == 0 or parts.netloc.endswith(":"):
        raise ValueError("is a URL without a usable host and port")
    try:
        host(parts.hostname)
    except ValueError:
        raise ValueError(f'has "{parts.hostname}" where a host name or an address should be') from None
    return parts


def is_address(text: str) -> bool:
    """Say whether a text is an IP address in its usual spelling."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
