"""Who calls and what they ask, read once from a request's headers.

Programs send the same headers again and again, so the reading is remembered by the headers' exact bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentcache.gateway.directives import Directives, parse_directives
from agentcache.kit.api_keys import looks_like_api_key
from agentcache.kit.errors import BadRequest, Unauthenticated
from agentcache.providers.dialect import Dialect

RawHeaders = Sequence[tuple[bytes, bytes]]

OWN_KEY_HEADER = "x-agentcache-key"
PROVIDER_KEY_HEADER = "x-provider-key"
#: Provider key headers that speak for one dialect only.
PROVIDER_KEY_ALIASES = {"openai": "x-openai-key", "anthropic": "x-anthropic-key"}
#: Wherever a caller may put a credential; each may occur once.
_CREDENTIAL_HEADERS = ("authorization", "x-api-key", "api-key")
_SINGLE = frozenset({*_CREDENTIAL_HEADERS, OWN_KEY_HEADER, PROVIDER_KEY_HEADER, *PROVIDER_KEY_ALIASES.values()})
#: Never sent upstream: hop-by-hop (RFC 9110, 7.6.1), who the caller is to us, and what a browser or a proxy added.
NOT_FORWARDED = frozenset(
    """connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding
    upgrade host content-length expect accept-encoding cache-control pragma cookie forwarded via x-real-ip x-client-ip
    x-cluster-client-ip x-original-url x-original-host x-rewrite-url x-host cf-connecting-ip true-client-ip
    fastly-client-ip remote-user origin referer x-provider-key x-openai-key x-anthropic-key""".split()
)
_NOT_FORWARDED_PREFIXES = ("x-agentcache-", "x-forwarded-", "sec-fetch-")
#: Connection options that nominate no header that would matter here.
_USUAL_OPTIONS = frozenset({b"", b"keep-alive", b"close"})
HEADER_COUNT_MAX = 100
HEADER_BYTES_MAX = 32 * 1024


class ConflictingCredentials(Unauthenticated):
    """The request carries two credentials that disagree."""

    code = "conflicting_credentials"


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """A request's headers, understood. Compared by identity."""

    api_key: str
    directives: Directives
    #: Names in lower case, values as text; repeated ones joined by ", ".
    headers: dict[str, str]
    #: What goes upstream, without `content-length` and `host`; holds the provider's credential if there is one.
    forward: tuple[tuple[bytes, bytes], ...]
    has_provider_credential: bool
    #: The dialect's output-affecting headers, sorted.
    key_headers: tuple[tuple[str, str], ...]


class CallerReader:
    """Reads callers, remembering the most recent header blocks."""

    def __init__(self, remembered_max: int = 2048) -> None:
        self._remembered: dict[tuple[str, tuple[tuple[bytes, bytes], ...]], Caller] = {}
        self._remembered_max = remembered_max

    def read(self, dialect: Dialect | None, raw: RawHeaders) -> Caller:
        """Return the caller; raise `Unauthenticated` or `BadRequest`. `dialect` is None for our own API."""
        identity = (dialect.name if dialect else "", tuple(raw))
        caller = self._remembered.get(identity)
        if caller is None:
            caller = read_caller(dialect, raw)
            if len(self._remembered) >= self._remembered_max:
                self._remembered.clear()
            self._remembered[identity] = caller
        return caller


def read_caller(dialect: Dialect | None, raw: RawHeaders) -> Caller:
    """Understand a block of request headers."""
    raw = _without_nominated(raw)
    headers = _fold(raw)
    api_key = _find_api_key(headers)
    return _understood(dialect, raw, headers, api_key, _find_provider_credential(dialect, headers))


def inside_caller(dialect: Dialect, raw: RawHeaders, credential: str) -> Caller:
    """Understand the headers of a request that the server makes for a team, with the credential that the team keeps.

    Raises `ConflictingCredentials` when they hold a credential of their own, and `BadRequest`.
    """
    headers = _fold(raw)
    own = {*_SINGLE, *dialect.credential_headers}.intersection(headers)
    if own:
        raise ConflictingCredentials("The credential comes from the team's own.", param=min(own))
    return _understood(dialect, raw, headers, "", credential)


def _understood(
    dialect: Dialect | None, raw: RawHeaders, headers: dict[str, str], api_key: str, credential: str | None
) -> Caller:
    forward = [
        (name, value)
        for name, value in raw
        if (text := name.decode("latin-1").lower()) not in NOT_FORWARDED
        and not text.startswith(_NOT_FORWARDED_PREFIXES)
        and not (text in _CREDENTIAL_HEADERS and _is_own(headers[text]))
    ]
    if credential is not None and dialect is not None:
        name, prefix = dialect.credential_form
        forward.append((name.encode(), (prefix + credential).encode("latin-1")))
    forward.append((b"accept-encoding", b"identity"))
    native = any(name in headers and not _is_own(headers[name]) for name in _CREDENTIAL_HEADERS)
    return Caller(
        api_key=api_key,
        directives=parse_directives(headers),
        headers=headers,
        forward=tuple(forward),
        has_provider_credential=native or credential is not None,
        key_headers=key_headers(dialect, headers),
    )


def _without_nominated(raw: RawHeaders) -> RawHeaders:
    """Leave out what the caller's `Connection` header says is meant for this connection alone (RFC 9110, 7.6.1).

    Before anything is read, so that no such header is in the key and yet not sent upstream.
    """
    given = b",".join(value for name, value in raw if name.lower() == b"connection").lower()
    nominated = {option.strip() for option in given.split(b",")} - _USUAL_OPTIONS
    return [pair for pair in raw if pair[0].lower() not in nominated] if nominated else raw


def _fold(raw: RawHeaders) -> dict[str, str]:
    if len(raw) > HEADER_COUNT_MAX or sum(len(name) + len(value) for name, value in raw) > HEADER_BYTES_MAX:
        raise HeadersTooLarge
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise ConflictingCredentials(f"The header {name} occurs twice.", param=name)
        elif name == "cache-control" or name in ("x-agentcache-tags", "x-agentcache-sources", "x-agentcache-ignore"):
            headers[name] += ", " + value
        elif name.startswith("x-agentcache-"):
            raise BadRequest(f"The header {name} occurs twice.", param=name, code="invalid_directive")
        else:
            headers[name] += ", " + value
    return headers


class HeadersTooLarge(BadRequest):
    """The request has more headers, or longer ones, than this server accepts."""

    code = "headers_too_large"
    status = 431


def _bare(value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if rest and scheme.lower() in ("bearer", "token") else value.strip()


def _is_own(value: str) -> bool:
    return looks_like_api_key(_bare(value))


def _find_api_key(headers: dict[str, str]) -> str:
    found = {_bare(headers[name]) for name in _CREDENTIAL_HEADERS if name in headers and _is_own(headers[name])}
    if OWN_KEY_HEADER in headers:
        found.add(headers[OWN_KEY_HEADER].strip())
    if len(found) > 1:
        raise ConflictingCredentials("The request carries two different AgentCache keys.")
    if not found:
        raise Unauthenticated(
            "No AgentCache key: send it as X-AgentCache-Key, or in the provider's usual header (Authorization: Bearer "
            "ac_live_…) with the provider's own key in X-Provider-Key."
        )
    return found.pop()


def _find_provider_credential(dialect: Dialect | None, headers: dict[str, str]) -> str | None:
    """Return the credential given in a header of ours, to be put into the provider's usual header."""
    names = [PROVIDER_KEY_HEADER]
    if dialect is not None and dialect.name in PROVIDER_KEY_ALIASES:
        names.append(PROVIDER_KEY_ALIASES[dialect.name])
    found = {headers[name].strip() for name in names if name in headers}
    if not found:
        return None
    if len(found) > 1 or any(name in headers and not _is_own(headers[name]) for name in _CREDENTIAL_HEADERS):
        raise ConflictingCredentials("The request carries two provider credentials.")
    credential = _bare(found.pop())
    if not credential or not credential.isprintable() or " " in credential or looks_like_api_key(credential):
        raise ConflictingCredentials("X-Provider-Key does not hold a provider's key.", param=PROVIDER_KEY_HEADER)
    return credential


def key_headers(dialect: Dialect | None, headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the headers that change the dialect's answers, as they go into the key. Names are in lower case."""
    if dialect is None:
        return ()
    found = []
    for name in dialect.key_headers:
        if name in headers:
            # Comma lists (`anthropic-beta`) are sets: order does not change the answer.
            items = sorted({item.strip() for item in headers[name].split(",")} - {""})
            found.append((name, ",".join(items)))
    return tuple(sorted(found))
