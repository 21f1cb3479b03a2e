"""The door to providers, against servers that misbehave: bounded, mapped, and never a dirty connection again (F15-F17, T5)."""

import asyncio
import random
import resource
import socket
import ssl
import struct
import time
from contextlib import suppress

import pytest

from agentcache.kit.egress.http1 import HEAD_BYTES_MAX
from agentcache.kit.egress.upstream import UpstreamClient, UpstreamTimeouts
from agentcache.kit.errors import AgentCacheError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from tests.support.certificates import TestAuthority
from tests.support.raw_server import Visit, always, once, once_then_wait, plain, serving

TIMES = UpstreamTimeouts(connect=2, first_byte=5, idle=5, total=10)
# In each only the deadline of its name is short: a busy machine is late for the others too.
SHORT_CONNECT = UpstreamTimeouts(connect=0.1, first_byte=30, idle=30, total=30)
SHORT_FIRST_BYTE = UpstreamTimeouts(connect=30, first_byte=0.1, idle=30, total=30)
SHORT_IDLE = UpstreamTimeouts(connect=30, first_byte=30, idle=0.1, total=30)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def client():
    client = UpstreamClient()
    yield client
    await client.aclose()


async def post(client, url, body=b"{}", times=TIMES):
    return await client.send("POST", url + "/", [], body, times)


async def fetch(client, url, times=TIMES):
    return await (await post(client, url, times=times)).aread()


GARBAGE = {
    "content length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunks and content length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two content lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative content length": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
    "huge content length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "tls alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "folded header": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "zero byte": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "status out of range": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "bad chunk size": CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n",
    "chunk without end": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "chunk size overflow": CHUNKED + b"fffffffffffffffff\r\nabc",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
    "large header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: bcdef\r\n" * 100_000 + b"\r\n",
    "endless status line": b"HTTP/1.1 200 " + b"a" * 1_000_000,
    "flood of 100-continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
    "endless chunk extension": CHUNKED + b"3;" + b"a" * 1_000_000,
    "endless trailers": CHUNKED + b"0\r\n" + b"X: y\r\n" * 100_000,
    "endless trailer": CHUNKED + b"0\r\nX: " + b"y" * 1_000_000,
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_an_answer_that_is_not_http_is_a_502_and_its_connection_is_closed(client, name):
    async with serving(once_then_wait(GARBAGE[name])) as server:
        with pytest.raises(UpstreamInvalid) as caught:
            await fetch(client, server.url)
        assert caught.value.status == 502
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
        await server.until_all_gone()
        assert client.connections == (0, 0)


CUT = {
    "head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "body": plain(b"x" * 50)[:-1],
    "chunk": CHUNKED + b"10\r\nabc",
    "before the last chunk": CHUNKED + b"3\r\nabc\r\n",
    "inside the last chunk": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "after an interim head": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("name", CUT)
async def test_an_answer_cut_short_is_never_taken_for_a_whole_one(client, name):
    async with serving(once(CUT[name])) as server:
        with pytest.raises(UpstreamInvalid, match="cut its answer short"):
            await fetch(client, server.url)
        assert client.connections == (0, 0)


async def test_a_reset_is_not_the_end_of_a_body_without_length(client):
    go = asyncio.Event()

    async def reset(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await go.wait()
        sock = visit.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        visit.writer.transport.abort()

    async with serving(reset) as server:
        chunks = (await post(client, server.url)).chunks()
        assert await anext(chunks) == b"some"
        go.set()
        with pytest.raises(UpstreamInvalid, match="cut its answer short"):
            await anext(chunks)


async def test_what_came_before_the_cut_is_delivered_first(client):
    async with serving(once(CHUNKED + b"3\r\nabc\r\n3\r\nde")) as server:
        seen = b""
        with pytest.raises(UpstreamInvalid):
            async for chunk in (await post(client, server.url)).chunks():
                seen += chunk
        assert seen == b"abcde"


@pytest.mark.parametrize("extra", [plain(b"for nobody"), b"HTTP/1.1 200", b"x"])
async def test_bytes_after_an_answer_never_reach_the_next_caller(client, extra):
    async with serving(always(plain(b"first") + extra)) as server:
        for _ in range(3):
            assert await fetch(client, server.url) == b"first"
        assert len(server.visits) == 3


async def test_bytes_that_come_while_idle_never_reach_the_next_caller(client):
    async def speaks_unasked(visit: Visit) -> None:
        while await visit.request():
            await visit.send(plain(b"right %d" % visit.number))
            await asyncio.sleep(0.02)
            await visit.send(plain(b"wrong"))

    async with serving(speaks_unasked) as server:
        for number in range(3):
            assert await fetch(client, server.url) == b"right %d" % number
            await asyncio.sleep(0.05)
        assert client.connections[0] == 0


async def test_no_answer_at_all(client):
    async with serving(once(b"")) as server:
        with pytest.raises(UpstreamUnreachable, match="without an answer"):
            await fetch(client, server.url)


async def test_a_refused_connection(client):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(UpstreamUnreachable, match=r"127\.0\.0\.1 could not be reached: connection refused"):
            await fetch(client, f"http://127.0.0.1:{unused.getsockname()[1]}")


async def test_a_host_that_does_not_exist(client, monkeypatch):
    async def no_such_host(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_such_host)
    with pytest.raises(UpstreamUnreachable, match=r"nowhere\.test could not be reached: name or service not known"):
        await fetch(client, "http://nowhere.test")


async def test_a_black_hole_ends_at_the_connect_deadline(client):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # The backlog is full after these; Linux then drops further SYNs, as a firewall would.
        plugs = [socket.socket() for _ in range(4)]
        for plug in plugs:
            plug.setblocking(False)
            with suppress(BlockingIOError):
                plug.connect(address)
        with pytest.raises(UpstreamTimeout, match="connected to in time"):
            await fetch(client, f"http://127.0.0.1:{address[1]}", SHORT_CONNECT)
        for plug in plugs:
            plug.close()
    assert client.connections == (0, 0)


async def test_a_stall_before_the_head(client):
    async with serving(once_then_wait(b"HTTP/1.1 200 OK\r\n")) as server:
        with pytest.raises(UpstreamTimeout, match="did not answer in time"):
            await fetch(client, server.url, SHORT_FIRST_BYTE)
        await server.until_all_gone()


async def test_a_head_that_drips_does_not_move_its_deadline(client):
    async def drip(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(1000):
            await visit.send(b"X: y\r\n")
            await asyncio.sleep(0.02)

    async with serving(drip) as server:
        with pytest.raises(UpstreamTimeout):
            await fetch(client, server.url, SHORT_FIRST_BYTE)
        await server.until_all_gone()


async def test_a_stall_midway(client):
    async with serving(once_then_wait(CHUNKED + b"3\r\nabc\r\n")) as server:
        response = await post(client, server.url, times=SHORT_IDLE)
        chunks = response.chunks()
        assert await anext(chunks) == b"abc"
        with pytest.raises(UpstreamTimeout, match="stopped sending in time"):
            await anext(chunks)
        await server.until_all_gone()
        assert client.connections == (0, 0)


async def test_an_endless_answer_ends_at_the_total_deadline(client):
    async def endless(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        while True:
            await visit.send(b"1\r\nx\r\n")
            await asyncio.sleep(0.005)

    async with serving(endless) as server:
        with pytest.raises(UpstreamTimeout):
            await fetch(client, server.url, UpstreamTimeouts(total=0.2))
        await server.until_all_gone()


async def test_an_endless_answer_ends_at_the_total_deadline_however_slowly_it_is_taken(client):
    """Where more has always come already nobody waits for it, so no timer of a wait can end it."""

    async def endless(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        while True:
            await visit.send(b"10000\r\n%b\r\n" % bytes(0x10000))

    async with serving(endless) as server:
        response = await client.send("GET", server.url, [], b"", UpstreamTimeouts(total=1))
        pieces = 0
        with pytest.raises(UpstreamTimeout):
            async for _ in response.chunks():
                pieces += 1
                assert pieces < 400
                time.sleep(0.005)  # noqa: ASYNC251 - the loop has no time to wait in
                await asyncio.sleep(0)
        await server.until_all_gone()


async def test_a_server_that_does_not_read_ends_at_the_deadline(client):
    async def deaf(visit: Visit) -> None:
        await asyncio.sleep(60)

    async def body():
        while True:
            yield b"x" * 1_000_000

    async with serving(deaf) as server:
        with pytest.raises(UpstreamTimeout):
            await post(client, server.url, body(), UpstreamTimeouts(first_byte=0.3))
        assert client.connections == (0, 0)


async def test_an_answer_before_the_end_of_the_question_is_read_and_the_connection_dropped(client):
    async def refuses(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        await visit.send(plain(b"too large", status=b"413 Content Too Large"))
        await visit.until_gone()

    async def body():
        for _ in range(1000):
            yield b"x" * 1000
            await asyncio.sleep(0.002)

    async with serving(refuses) as server:
        response = await post(client, server.url, body())
        assert (response.status, await response.aread()) == (413, b"too large")
        assert client.connections == (0, 0)


async def test_a_body_that_fails_takes_its_connection_along(client):
    async def body():
        yield b"x"
        raise RuntimeError("the caller hung up")

    async with serving(always(plain(b"x"))) as server:
        with pytest.raises(RuntimeError, match="hung up"):
            await post(client, server.url, body())
        await server.until_all_gone()
        assert client.connections == (0, 0)


async def test_garbage_and_endless_answers_use_bounded_memory(client):
    async def endless_head(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(500):
            await visit.send(b"y" * 100_000)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving(endless_head) as server:
        for _ in range(3):
            with pytest.raises(UpstreamInvalid):
                await fetch(client, server.url)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
    assert HEAD_BYTES_MAX <= 64 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return TestAuthority(tmp_path_factory.mktemp("certificates"))


async def test_a_trusted_certificate_is_accepted_and_its_connection_kept(authority):
    client = UpstreamClient(tls=authority.trusting())
    async with serving(always(plain(b"x" * 300_000)), authority.server("127.0.0.1")) as server:
        for _ in range(3):
            assert len(await fetch(client, f"https://127.0.0.1:{server.port}")) == 300_000
        assert len(server.visits) == 1
    await client.aclose()


@pytest.mark.parametrize(("name", "trusts"), [("127.0.0.1", False), ("other.test", True)])
async def test_a_certificate_that_is_untrusted_or_somebody_elses_is_refused(authority, name, trusts):
    client = UpstreamClient(tls=authority.trusting() if trusts else None)
    async with serving(always(plain(b"x")), authority.server(name)) as server:
        with pytest.raises(UpstreamUnreachable, match="certificate verify failed"):
            await fetch(client, f"https://127.0.0.1:{server.port}")
        assert server.requests == []
    assert client.connections == (0, 0)
    await client.aclose()


async def test_the_environment_does_not_decide_whom_to_trust(authority, monkeypatch, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(
        "".join(ssl.DER_cert_to_PEM_cert(der) for der in authority.trusting().get_ca_certs(binary_form=True))
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    client = UpstreamClient()
    async with serving(always(plain(b"x")), authority.server("127.0.0.1")) as server:
        with pytest.raises(UpstreamUnreachable, match="certificate verify failed"):
            await fetch(client, f"https://127.0.0.1:{server.port}")
    await client.aclose()


async def test_cancelled_requests_never_leak_an_answer_or_a_connection(client):
    """T5: cancel at random moments; whoever is not cancelled gets the answer to their own question."""

    async def echo(visit: Visit) -> None:
        while request := await visit.request():
            body = request.partition(b"\r\n\r\n")[2]
            await asyncio.sleep(0.001 * (len(body) % 3))
            await visit.send(CHUNKED + b"%x\r\n%b\r\n" % (len(body), body))
            await asyncio.sleep(0)
            await visit.send(b"0\r\n\r\n")

    chance = random.Random(11)
    answered = cancelled = 0
    async with serving(echo) as server:

        async def one(number: int) -> None:
            nonlocal answered
            body = b"question %d" % number
            assert await (await post(client, server.url, body)).aread() == body
            answered += 1

        for round_ in range(40):
            tasks = [asyncio.create_task(one(round_ * 25 + number)) for number in range(25)]
            await asyncio.sleep(chance.random() * 0.008)
            for task in chance.sample(tasks, 12):
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                cancelled += isinstance(result, asyncio.CancelledError)
                assert result is None or isinstance(result, asyncio.CancelledError), result
            assert client.connections[0] == 0
    assert answered >= 500
    assert cancelled > 50


async def test_every_error_names_the_host_and_nothing_of_the_request(client):
    async with serving(once(b"garbage")) as server:
        with pytest.raises(AgentCacheError) as caught:
            await client.send("POST", server.url + "/secret-path", [(b"authorization", b"Bearer k")], b"prompt", TIMES)
    assert "127.0.0.1" in str(caught.value)
    for secret in ("secret-path", "Bearer", "prompt"):
        assert secret not in str(caught.value)
