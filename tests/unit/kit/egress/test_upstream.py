"""The door to providers, against servers that do as they should."""

import asyncio
import socket

import pytest

from agentcache.kit.egress import upstream
from agentcache.kit.egress.upstream import UpstreamClient, UpstreamTimeouts
from agentcache.kit.errors import UpstreamTimeout, UpstreamUnreachable
from tests.support.raw_server import Visit, always, plain, serving

TIMES = UpstreamTimeouts(connect=2, first_byte=5, idle=5, total=10)
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def client():
    client = UpstreamClient()
    yield client
    await client.aclose()


async def post(client, url, body=b"{}", headers=(), times=TIMES):
    return await client.send("POST", url, list(headers), body, times)


async def test_a_request_arrives_as_sent_and_the_answer_as_it_came(client):
    answer = plain(b'{"a": 1}', b"Content-Type: application/json", b"Set-Cookie: a=b", b"X-Twice: 1", b"x-twice: 2")
    async with serving(always(answer)) as server:
        response = await post(
            client, f"{server.url}/v1/x?y=z", b'{"q"}', [(b"Authorization", b"Bearer k"), (b"Cookie", b"")]
        )
        assert response.status == 200
        assert response.headers == [
            (b"content-length", b"8"),
            (b"content-type", b"application/json"),
            (b"set-cookie", b"a=b"),
            (b"x-twice", b"1"),
            (b"x-twice", b"2"),
        ]
        assert await response.aread() == b'{"a": 1}'
        assert server.requests == [
            b"POST /v1/x?y=z HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-length: 5\r\nAuthorization: Bearer k\r\n"
            b'Cookie: \r\n\r\n{"q"}' % server.port
        ]


async def test_connections_are_kept_and_cookies_are_not(client):
    async with serving(always(plain(b"x", b"Set-Cookie: sid=1"))) as server:
        for _ in range(20):
            assert await (await post(client, server.url + "/")).aread() == b"x"
        assert len(server.visits) == 1
        assert not any(b"cookie" in request.lower() for request in server.requests)
        assert client.connections == (0, 1)


async def test_concurrent_requests_get_their_own_connection_and_their_own_answer(client):
    async def echo(visit: Visit) -> None:
        while request := await visit.request():
            await asyncio.sleep(0.01)
            await visit.send(plain(request.partition(b"\r\n\r\n")[2]))

    async with serving(echo) as server:

        async def one(number):
            body = b"question %d" % number
            assert await (await post(client, server.url + "/", body)).aread() == body

        for _ in range(3):
            await asyncio.gather(*(one(number) for number in range(50)))
        assert len(server.visits) == 50
        assert client.connections == (0, 50)


async def test_a_stream_passes_piece_by_piece(client):
    go = asyncio.Event()

    async def drip(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + b"5\r\nfirst\r\n")
        await go.wait()
        await visit.send(b"6;ext=1\r\nsecond\r\n0\r\nTrailer: x\r\n\r\n")
        await visit.until_gone()

    async with serving(drip) as server:
        response = await post(client, server.url + "/")
        chunks = response.chunks()
        assert await anext(chunks) == b"first"
        go.set()
        assert [chunk async for chunk in chunks] == [b"second"]
        assert client.connections == (0, 1)


async def test_a_body_is_sent_in_pieces(client):
    async def pieces():
        yield b"abc"
        yield b""
        await asyncio.sleep(0)
        yield b"d" * 20

    async with serving(always(plain(b"ok"))) as server:
        for _ in range(2):
            response = await post(client, server.url + "/", pieces(), [(b"Content-Length", b"999")])
            assert await response.aread() == b"ok"
        assert len(server.visits) == 1
        head, _, body = server.requests[1].partition(b"\r\n\r\n")
        assert body == b"3\r\nabc\r\n14\r\n" + b"d" * 20 + b"\r\n0\r\n\r\n"
        assert b"transfer-encoding: chunked" in head
        assert b"999" not in head


async def test_a_large_body_and_a_large_answer_arrive_whole(client):
    async def echo(visit: Visit) -> None:
        while request := await visit.request():
            await visit.send(plain(request.partition(b"\r\n\r\n")[2]))

    body = bytes(range(256)) * 20_000
    async with serving(echo) as server:
        for _ in range(2):
            assert await (await post(client, server.url + "/", body)).aread() == body
        assert len(server.visits) == 1


async def test_a_slow_reader_slows_the_server_down(client):
    sent = 0

    async def flood(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n")
        for _ in range(2000):
            await visit.send(b"x" * 100_000)
            sent += 100_000

    async with serving(flood) as server:
        response = await post(client, server.url + "/")
        await anext(response.chunks())
        await asyncio.sleep(0.2)
        # What the kernel's socket buffers and ours can hold, far from everything.
        assert sent < 50_000_000
        await response.aclose()
        await server.until_all_gone()


async def test_interim_answers_are_passed_over(client):
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + plain(b"real")
    async with serving(always(answer)) as server:
        for _ in range(2):
            response = await post(client, server.url + "/")
            assert response.headers == [(b"content-length", b"4")]
            assert await response.aread() == b"real"
        assert len(server.visits) == 1


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_without_body_ends_with_its_head(client, status):
    async with serving(always(b"HTTP/1.1 " + status + b"\r\nEtag: x\r\n\r\n")) as server:
        for _ in range(2):
            assert await (await post(client, server.url + "/")).aread() == b""
        assert len(server.visits) == 1


async def test_head_requests_have_no_body(client):
    async with serving(always(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as server:
        for _ in range(2):
            response = await client.send("HEAD", server.url + "/", [], b"", TIMES)
            assert await response.aread() == b""
        assert b"content-length" not in server.requests[0]


async def test_an_answer_may_end_with_the_connection(client):
    async def until_close(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with serving(until_close) as server:
        for _ in range(2):
            assert await (await post(client, server.url + "/")).aread() == b"all of it"
        assert len(server.visits) == 2
        assert client.connections == (0, 0)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: close", b"HTTP/1.0 200 OK"])
async def test_a_connection_that_the_server_will_close_is_not_kept(client, head):
    async with serving(always(head + b"\r\nContent-Length: 1\r\n\r\nx")) as server:
        for _ in range(2):
            assert await (await post(client, server.url + "/")).aread() == b"x"
        assert len(server.visits) == 2


async def test_redirects_are_handed_on(client):
    async with serving(
        always(plain(b"", b"Location: http://127.0.0.1:1/", status=b"307 Temporary Redirect"))
    ) as server:
        response = await post(client, server.url + "/")
        assert response.status == 307
        assert len(server.requests) == 1


async def test_the_environment_moves_no_request(client, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(always(plain(b"x"))) as server:
        assert await (await post(client, server.url + "/")).aread() == b"x"


async def test_a_connection_that_died_while_idle_is_replaced_before_anything_is_sent(client):
    async def one_each(visit: Visit) -> None:
        await visit.request()
        await visit.send(plain(b"x"))

    async with serving(one_each) as server:
        for _ in range(10):
            assert await (await post(client, server.url + "/")).aread() == b"x"
        assert len(server.requests) == 10


async def test_a_repeatable_request_is_repeated_once_on_a_fresh_connection(client):
    async def answers_once(visit: Visit) -> None:
        await visit.request()
        await visit.send(plain(b"x"))
        await visit.request()

    async with serving(answers_once) as server:
        for _ in range(2):
            response = await client.send("GET", server.url + "/", [], b"", TIMES)
            assert await response.aread() == b"x"
        assert [len(visit.requests) for visit in server.visits] == [2, 1]


async def test_a_request_that_is_not_repeatable_is_sent_once(client):
    async def answers_once(visit: Visit) -> None:
        await visit.request()
        await visit.send(plain(b"x"))
        await visit.request()

    async with serving(answers_once) as server:
        await (await post(client, server.url + "/")).aread()
        with pytest.raises(UpstreamUnreachable):
            await post(client, server.url + "/")
        assert len(server.requests) == 2


async def test_the_number_of_connections_is_bounded():
    client = UpstreamClient(max_connections=2)
    async with serving(always(plain(b"x"))) as server:
        held = [await post(client, server.url + "/") for _ in range(2)]
        with pytest.raises(UpstreamTimeout, match="busy"):
            await post(client, server.url + "/", times=UpstreamTimeouts(connect=0.05))
        waiting = asyncio.create_task(post(client, server.url + "/"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await held[0].aclose()
        assert await (await waiting).aread() == b"x"
        await held[1].aclose()
        async with serving(always(plain(b"y"))) as other:
            for _ in range(3):
                responses = [await post(client, f"{each.url}/") for each in (server, other)]
                assert [await response.aread() for response in responses] == [b"x", b"y"]
                assert sum(client.connections) <= 2
    await client.aclose()


async def test_an_answer_that_is_forgotten_gives_its_place_back():
    client = UpstreamClient(max_connections=1)
    async with serving(always(plain(b"x" * 10))) as server:
        for _ in range(3):
            response = await post(client, server.url + "/")
            del response
        assert client.connections == (0, 0)
    await client.aclose()


async def test_closing_the_client_ends_everything(client):
    async with serving(always(plain(b"x"))) as server:
        await (await post(client, server.url + "/")).aread()
        held = await post(client, server.url + "/")
        await client.aclose()
        await server.until_all_gone()
        await held.aclose()
        assert client.connections == (0, 0)
        with pytest.raises(UpstreamUnreachable):
            await post(client, server.url + "/")


async def test_the_second_address_of_a_host_is_tried(client, monkeypatch):
    async with serving(always(plain(b"x"))) as server:

        async def two_addresses(_host, port):
            return [(socket.AF_INET6, ("::1", port, 0, 0)), (socket.AF_INET, ("127.0.0.1", port))]

        monkeypatch.setattr(upstream, "resolve", two_addresses)
        assert await (await post(client, f"http://two.test:{server.port}/")).aread() == b"x"
