"""The door for URLs that a user can aim (S2-S9), on real sockets."""

import asyncio
import gzip
import socket
from urllib.parse import urlsplit

import pytest

from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.egress.connecting import open_connection
from agentcache.kit.egress.guarded import EgressFailed, GuardedClient, GuardedLimits, parse_public_url
from agentcache.kit.egress.target import InvalidTarget
from tests.support.certificates import TestAuthority
from tests.support.raw_server import Visit, always, once, once_then_wait, plain, serving

LOOPBACK = AllowList.parse("127.0.0.0/8")


class resolving:  # noqa: N801 - reads as a verb where it is used
    """Resolve any name to the given lists of addresses, one list per look-up, the last one for ever."""

    def __init__(self, *answers):
        self._answers = answers
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append(host)
        found = self._answers[min(len(self.asked), len(self._answers)) - 1]
        return [(socket.AF_INET6, (a, port, 0, 0)) if ":" in a else (socket.AF_INET, (a, port)) for a in found]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return TestAuthority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def canary():
    """An internal server that must never see a connection."""
    async with serving(always(plain(b"internal"))) as server:
        yield server
        await asyncio.sleep(0.02)
        assert server.visits == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "127.8.8.8"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_internal_hosts_get_no_connection(canary, scheme, host):
    with pytest.raises(EgressFailed):
        await GuardedClient().request("POST", f"{scheme}://{host}:{canary.port}/", [])


@pytest.mark.parametrize("port", [80, 22, 25, 5432, 6379, 8443, 11211])
async def test_only_443_is_reached_by_default_and_not_even_the_name_is_asked_for_others(port):
    resolve = resolving(["127.0.0.1"])
    with pytest.raises(EgressFailed):
        await GuardedClient(resolver=resolve).request("POST", f"https://hooks.test:{port}/", [])
    with pytest.raises(EgressFailed):
        await GuardedClient(resolver=resolve).request("POST", f"http://hooks.test:{port}/", [])
    assert resolve.asked == []


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["::1", "2606:4700::1"],
        ["169.254.169.254"],
        ["2002:7f00:1::"],
        [],
    ],
)
async def test_every_answer_of_a_name_must_be_public(monkeypatch, answers):
    monkeypatch.setattr("agentcache.kit.egress.guarded.open_connection", never_called)
    with pytest.raises(EgressFailed):
        await GuardedClient(resolver=resolving(answers)).request("POST", "https://hooks.test/", [])


async def never_called(*_args):
    raise AssertionError("a socket was opened")


async def test_a_name_is_asked_once_and_the_judged_address_is_connected_to(monkeypatch):
    opened = []

    async def note(endpoints, _tls, server_name):
        opened.append((list(endpoints), server_name))
        raise ConnectionRefusedError

    monkeypatch.setattr("agentcache.kit.egress.guarded.open_connection", note)
    resolve = resolving(["93.184.216.34"], ["127.0.0.1"])
    with pytest.raises(EgressFailed):
        await GuardedClient(resolver=resolve).request("POST", "https://Hooks.test/", [])
    assert resolve.asked == ["hooks.test"]
    assert opened == [([(socket.AF_INET, ("93.184.216.34", 443))], "hooks.test")]


async def test_the_other_end_is_compared_with_what_was_judged(monkeypatch, canary):
    async def elsewhere(_endpoints, _tls, server_name):
        return await open_connection([(socket.AF_INET, ("127.0.0.1", canary.port))], None, server_name)

    monkeypatch.setattr("agentcache.kit.egress.guarded.open_connection", elsewhere)
    client = GuardedClient(resolver=resolving(["93.184.216.34"]))
    with pytest.raises(EgressFailed) as caught:
        await client.request("POST", "https://hooks.test/", [], b"payload")
    assert caught.value.reason == "connected to an address that was not judged"
    canary.visits.clear()


async def test_an_allowed_network_is_reached_over_http_and_any_port():
    async with serving(always(plain(b"pong", b"X-A: b"))) as server:
        client = GuardedClient(LOOPBACK)
        answer = await client.request(
            "POST", f"{server.url}/hook?x", [(b"X-Signature", b"s"), (b"Accept-Encoding", b"gzip")], b"{}"
        )
        assert (answer.status, answer.body) == (200, b"pong")
        assert (b"x-a", b"b") in answer.headers
        request = server.requests[0]
        assert request.startswith(b"POST /hook?x HTTP/1.1\r\n")
        assert b"accept-encoding: identity" in request
        assert b"gzip" not in request
        assert request.endswith(b"\r\n\r\n{}")
        await server.until_all_gone()


async def test_an_allowed_name_reaches_internal_addresses_but_no_metadata_service():
    async with serving(always(plain(b"pong"))) as server:
        allow = AllowList.parse("*.corp.test")
        url = f"http://hooks.corp.test:{server.port}/"
        inside = GuardedClient(allow, resolver=resolving(["127.0.0.1"]))
        assert (await inside.request("GET", url, [])).body == b"pong"
        for address in ("169.254.169.254", "fd00:ec2::254"):
            with pytest.raises(EgressFailed):
                await GuardedClient(allow, resolver=resolving([address])).request("GET", url, [])
        with pytest.raises(EgressFailed):
            await inside.request("GET", f"http://other.test:{server.port}/", [])
        assert b"host: hooks.corp.test:" in server.requests[0]


async def test_tls_is_verified_by_name(authority):
    async with serving(always(plain(b"x")), authority.server("hooks.test")) as server:
        for name, reached in (("hooks.test", True), ("other.test", False)):
            client = GuardedClient(LOOPBACK, tls=authority.trusting(), resolver=resolving(["127.0.0.1"]))
            if reached:
                assert (await client.request("POST", f"https://{name}:{server.port}/", [])).status == 200
            else:
                with pytest.raises(EgressFailed):
                    await client.request("POST", f"https://{name}:{server.port}/", [])
        assert len(server.requests) == 1


async def test_a_redirect_is_not_followed_unless_asked():
    async with serving(always(plain(b"", b"Location: http://127.0.0.1:1/", status=b"302 Found"))) as server:
        assert (await GuardedClient(LOOPBACK).request("POST", server.url + "/", [])).status == 302
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "where", ["http://[::1]:{}/", "http://localhost:{}/", "ftp://127.0.0.1/", "http://u@127.0.0.1/", "//0/"]
)
async def test_every_hop_is_judged(canary, where):
    location = where.format(canary.port).encode()
    async with serving(always(plain(b"", b"Location: " + location, status=b"307 Temporary Redirect"))) as server:
        allow = AllowList.parse("hooks.test")
        client = GuardedClient(
            allow, resolver=by_name({"hooks.test": "127.0.0.1", "::1": "::1", "localhost": "127.0.0.1"})
        )
        with pytest.raises(EgressFailed):
            await client.request("GET", f"http://hooks.test:{server.port}/", [], max_redirects=3)


def by_name(table):
    async def resolve(host, port):
        address = table[host]
        return [(socket.AF_INET6, (address, port, 0, 0)) if ":" in address else (socket.AF_INET, (address, port))]

    return resolve


async def test_credentials_stay_behind_when_a_redirect_leaves_the_origin():
    async with serving(always(plain(b"end"))) as second:
        location = b"Location: %s/next" % second.url.encode()
        async with serving(always(plain(b"", location, status=b"302 Found"))) as first:
            headers = [(b"Authorization", b"Bearer k"), (b"Cookie", b"a=b"), (b"X-Token", b"t"), (b"User-Agent", b"ua")]
            answer = await GuardedClient(LOOPBACK).request("POST", first.url + "/", headers, b"body", max_redirects=1)
            assert (answer.body, answer.url) == (b"end", second.url + "/next")
            assert b"Bearer k" in first.requests[0]
            assert second.requests[0].startswith(b"GET /next ")
            for secret in (b"Bearer", b"a=b", b"X-Token", b"body"):
                assert secret not in second.requests[0]
            assert b"User-Agent: ua" in second.requests[0]


async def test_a_redirect_within_the_origin_keeps_headers_and_307_keeps_the_body():
    async def hop(visit: Visit) -> None:
        while request := await visit.request():
            moved = plain(b"", b"Location: /there", status=b"307 Temporary Redirect")
            await visit.send(plain(b"end") if b"/there" in request else moved)

    async with serving(hop) as server:
        headers = [(b"Authorization", b"Bearer k")]
        await GuardedClient(LOOPBACK).request("POST", server.url + "/", headers, b"body", max_redirects=1)
        assert server.requests[1].startswith(b"POST /there ")
        assert b"Bearer k" in server.requests[1]
        assert server.requests[1].endswith(b"body")


async def test_redirects_end():
    async with serving(always(plain(b"", b"Location: /again", status=b"302 Found"))) as server:
        with pytest.raises(EgressFailed) as caught:
            await GuardedClient(LOOPBACK).request("GET", server.url + "/", [], max_redirects=3)
        assert caught.value.reason == "too many redirects"
        assert len(server.requests) == 4


async def test_a_large_answer_is_cut_off():
    limits = GuardedLimits(body_bytes_max=1000)
    for body, is_taken in ((b"x" * 1000, True), (b"x" * 1001, False)):
        async with serving(always(plain(body))) as server:
            client = GuardedClient(LOOPBACK, limits)
            if is_taken:
                assert (await client.request("GET", server.url + "/", [])).body == body
            else:
                with pytest.raises(EgressFailed):
                    await client.request("GET", server.url + "/", [])
            await server.until_all_gone()


async def test_a_compressed_answer_is_never_opened():
    bomb = gzip.compress(b"0" * 1_000_000)
    async with serving(always(plain(bomb, b"Content-Encoding: gzip"))) as server:
        with pytest.raises(EgressFailed):
            await GuardedClient(LOOPBACK).request("GET", server.url + "/", [])


SLOW = {
    "no head": once_then_wait(b""),
    "no body": once_then_wait(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"),
    "endless head": once_then_wait(b"HTTP/1.1 200 OK\r\nX: y\r\n"),
}


@pytest.mark.parametrize("name", SLOW)
async def test_the_total_deadline_holds(name):
    async with serving(SLOW[name]) as server:
        with pytest.raises(EgressFailed):
            await GuardedClient(LOOPBACK, GuardedLimits(total_seconds=0.1)).request("GET", server.url + "/", [])
        await server.until_all_gone()


async def test_a_drip_does_not_move_the_deadline():
    async def drip(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(1000):
            await visit.send(b"x")
            await asyncio.sleep(0.01)

    async with serving(drip) as server:
        with pytest.raises(EgressFailed):
            await GuardedClient(LOOPBACK, GuardedLimits(total_seconds=0.15)).request("GET", server.url + "/", [])
        await server.until_all_gone()


@pytest.mark.parametrize("garbage", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000])
async def test_garbage_is_one_more_failure(garbage):
    async with serving(once(garbage)) as server:
        with pytest.raises(EgressFailed):
            await GuardedClient(LOOPBACK).request("GET", server.url + "/", [])


async def test_nobody_learns_why_from_the_error():
    async def no_such_host(_host, _port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed_port = unused.getsockname()[1]
        told = set()
        for client, url in (
            (GuardedClient(), "https://127.0.0.1/"),
            (GuardedClient(), f"https://127.0.0.1:{closed_port}/"),
            (GuardedClient(resolver=no_such_host), "https://nowhere.test/"),
            (GuardedClient(resolver=resolving(["10.0.0.1"])), "https://internal.test/"),
            (GuardedClient(LOOPBACK), f"http://127.0.0.1:{closed_port}/"),
        ):
            with pytest.raises(EgressFailed) as caught:
                await client.request("GET", url, [])
            told.add((str(caught.value), caught.value.code, caught.value.status, caught.value.param))
    assert told == {("The URL could not be requested.", "url_not_reachable", 502, None)}


async def test_the_environment_moves_no_request(monkeypatch, canary, tmp_path):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, canary.url)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password p\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with serving(always(plain(b"x"))) as server:
        await GuardedClient(LOOPBACK).request("GET", server.url + "/", [])
        assert b"authorization" not in server.requests[0].lower()


ODD_SPELLINGS = """
    https://127.1/ https://2130706433/ https://0x7f000001/ https://0x7f.1/ https://0177.0.0.1/ https://127.0.0.01/
    https://1.2.3.4.5/ https://256.1.1.1/ https://a.0x1/ https://1.1/ https://0/ https://0x/ https://foo.1/
    https://user@example.com/ https://user:pw@example.com/ https://example.com@127.0.0.1/ https://@example.com/
    https://example.com\\@127.0.0.1/ https:\\\\example.com/ https:example.com https:///example.com ///example.com
    https://exa%6dple.com/ https://%31%32%37.0.0.1/ https://127.0.0.1%2f/ https://[fe80::1%25eth0]/ https://[fe80::1%eth0]/
    https://[::1/ https://::1/ https://[127.0.0.1]/ https://[::1]]/ https://[]/ https://[1]/ https://[::g]/
    https://example.com:/ https://example.com:0/ https://example.com:65536/ https://example.com:443:443/ https://example.com:+443/
    https://example..com/ https://.example.com/ https://-example.com/ https://example-.com/ https://exa*mple.com/
    https://example.com#@127.0.0.1/ https://example.com/#f https://example.com?x https://exa!mple.com/ https://a,b.com/
    gopher://example.com/ file:///etc/passwd ftp://example.com/ unix:///run/x javascript:alert(1) data:text/plain,x
    HTTPS://example.com/ example.com //example.com/ ws://example.com/
    https://①②⑦.0.0.1/ https://127。0。0。1/ https://ⓔxample.com/ https://bücher.example/ https://example.com/ü
""".split()


@pytest.mark.parametrize(
    "url",
    [
        *ODD_SPELLINGS,
        "",
        " https://example.com/",
        "https://example.com/ ",
        "https://exa mple.com/",
        "https://example.com/\t",
        "https://exa\nmple.com/",
        "https://example.com/\r\nX: y",
        "https://example.com\0.evil.com/",
        f"https://{'a' * 64}.com/",
        f"https://{'a' * 300}.com/",
        "https://" + "a." * 127 + "com/",
    ],
)
def test_odd_spellings_are_refused(url):
    with pytest.raises(InvalidTarget):
        parse_public_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com./x",
        "https://EXAMPLE.com:443/a?b=c&d=%20",
        "https://xn--bcher-kva.example/",
        "https://93.184.216.34/",
        "https://[2606:4700::1111]:8443/x",
        "https://a_b.example.com/~x/(y);z=1,2:3@4",
    ],
)
def test_plain_urls_are_accepted_and_read_as_the_standard_library_does(url):
    target = parse_public_url(url)
    parts = urlsplit(url)
    assert target.host == (parts.hostname or "").removesuffix(".")
    assert target.port == (parts.port or 443)
