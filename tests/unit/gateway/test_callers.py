"""Credentials and header hygiene (A10, T11)."""

from __future__ import annotations

import itertools

import pytest

from agentcache.gateway.callers import CallerReader, ConflictingCredentials, HeadersTooLarge, read_caller
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.errors import BadRequest, Unauthenticated
from agentcache.providers.anthropic import DIALECT as ANTHROPIC
from agentcache.providers.dialect import Dialect
from agentcache.providers.openai import DIALECT as OPENAI

KEY, OTHER = new_api_key(), new_api_key()


def _raw(**headers: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


@pytest.mark.parametrize(
    "place",
    [
        {"x_agentcache_key": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"authorization": KEY},
        {"x_api_key": KEY},
        {"api_key": KEY},
        {"X-API-Key": KEY},
        {"AUTHORIZATION": f"BEARER {KEY}"},
        {"x_agentcache_key": KEY, "authorization": f"Bearer {KEY}"},
    ],
    ids="+".join,
)
def test_one_key_wherever_it_stands(place: dict[str, str]) -> None:
    caller = read_caller(OPENAI, _raw(**place))
    assert caller.api_key == KEY
    assert not caller.has_provider_credential
    assert KEY.encode() not in b"".join(value for _, value in caller.forward)


@pytest.mark.parametrize(
    ("one", "two"), list(itertools.permutations(["x_agentcache_key", "authorization", "x_api_key", "api_key"], 2))
)
def test_two_keys_that_disagree_are_refused(one: str, two: str) -> None:
    with pytest.raises(ConflictingCredentials) as caught:
        read_caller(OPENAI, _raw(**{one: KEY, two: OTHER}))
    assert caught.value.status == 401


@pytest.mark.parametrize("name", [b"x-agentcache-key", b"authorization", b"x-api-key", b"api-key", b"x-provider-key"])
def test_a_credential_header_occurs_once(name: bytes) -> None:
    with pytest.raises(ConflictingCredentials):
        read_caller(OPENAI, [(name, KEY.encode()), (name.upper(), KEY.encode())])


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-provider"}, {"cookie": f"key={KEY}"}])
def test_without_a_key_nobody_is_known(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        read_caller(OPENAI, _raw(**headers))


@pytest.mark.parametrize(
    ("dialect", "headers", "credential"),
    [
        (OPENAI, {"x_agentcache_key": KEY, "authorization": "Bearer sk-own"}, (b"authorization", b"Bearer sk-own")),
        (ANTHROPIC, {"x_agentcache_key": KEY, "x_api_key": "sk-ant-own"}, (b"x-api-key", b"sk-ant-own")),
        (OPENAI, {"authorization": f"Bearer {KEY}", "x_provider_key": "sk-p"}, (b"authorization", b"Bearer sk-p")),
        (OPENAI, {"authorization": f"Bearer {KEY}", "x_openai_key": "sk-o"}, (b"authorization", b"Bearer sk-o")),
    ],
)
def test_the_providers_credential_goes_upstream(
    dialect: Dialect, headers: dict[str, str], credential: tuple[bytes, bytes]
) -> None:
    caller = read_caller(dialect, _raw(**headers))
    assert caller.has_provider_credential
    assert credential in caller.forward


def test_an_alias_speaks_for_its_own_dialect_only() -> None:
    caller = read_caller(ANTHROPIC, _raw(x_api_key=KEY, x_openai_key="sk-openai"))
    assert not caller.has_provider_credential
    assert b"sk-openai" not in b"".join(value for _, value in caller.forward)


@pytest.mark.parametrize(
    "headers",
    [
        {"x_agentcache_key": KEY, "authorization": "Bearer sk-a", "x_provider_key": "sk-b"},
        {"x_agentcache_key": KEY, "x_provider_key": "sk-a", "x_openai_key": "sk-b"},
        {"x_agentcache_key": KEY, "x_provider_key": OTHER},
        {"x_agentcache_key": KEY, "x_provider_key": ""},
        {"x_agentcache_key": KEY, "x_provider_key": "a b"},
    ],
)
def test_doubtful_provider_credentials_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ConflictingCredentials):
        read_caller(OPENAI, _raw(**headers))


def test_what_is_not_the_providers_business_stays_here() -> None:
    private = {
        "cookie": "a=b",
        "x_forwarded_for": "10.0.0.1",
        "x_forwarded_host": "evil",
        "forwarded": "for=1",
        "via": "1.1 x",
        "connection": "keep-alive",
        "te": "trailers",
        "x_agentcache_tags": "secret-tag",
        "x_agentcache_namespace": "secret-ns",
        "cache_control": "no-cache",
        "host": "agentcache.example",
        "content_length": "5",
        "transfer_encoding": "chunked",
        "origin": "https://x.example",
        "accept_encoding": "gzip, br",
    }
    caller = read_caller(OPENAI, _raw(x_agentcache_key=KEY, openai_beta="a", x_custom="kept", **private))
    assert sorted(caller.forward) == [(b"accept-encoding", b"identity"), (b"openai-beta", b"a"), (b"x-custom", b"kept")]


def test_header_sets_do_not_depend_on_their_order() -> None:
    one = read_caller(ANTHROPIC, _raw(x_api_key=KEY, anthropic_version="2026-10-21", anthropic_beta="b, a"))
    two = read_caller(ANTHROPIC, _raw(anthropic_beta="a,b", x_api_key=KEY, anthropic_version="2026-10-21"))
    assert one.key_headers == two.key_headers == (("anthropic-beta", "a,b"), ("anthropic-version", "2026-10-21"))


def test_split_lists_are_joined_and_other_directives_must_not_repeat() -> None:
    base = _raw(x_agentcache_key=KEY)
    caller = read_caller(OPENAI, [*base, (b"x-agentcache-tags", b"a"), (b"X-AgentCache-Tags", b"b")])
    assert caller.directives.tags == ("a", "b")
    with pytest.raises(BadRequest):
        read_caller(OPENAI, [*base, (b"x-agentcache-mode", b"on"), (b"x-agentcache-mode", b"off")])


def test_too_many_and_too_large_headers_are_refused() -> None:
    with pytest.raises(HeadersTooLarge):
        read_caller(OPENAI, _raw(x_agentcache_key=KEY) + [(b"x-%d" % n, b"1") for n in range(100)])
    with pytest.raises(HeadersTooLarge):
        read_caller(OPENAI, _raw(x_agentcache_key=KEY, x_long="a" * 40_000))


def test_a_remembered_reading_belongs_to_its_exact_headers() -> None:
    reader = CallerReader(remembered_max=2)
    first = reader.read(OPENAI, _raw(x_agentcache_key=KEY))
    assert reader.read(OPENAI, _raw(x_agentcache_key=KEY)) is first
    assert reader.read(OPENAI, _raw(x_agentcache_key=OTHER)).api_key == OTHER
    assert reader.read(ANTHROPIC, _raw(x_agentcache_key=KEY)) is not first
    assert reader.read(OPENAI, _raw(x_agentcache_key=KEY)).api_key == KEY
