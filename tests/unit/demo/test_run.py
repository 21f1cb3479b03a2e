import asyncio
import json
from decimal import Decimal

import pytest

from agentcache.demo import run
from agentcache.demo.prompts import DemoCall
from agentcache.demo.run import Answer, DemoFailed, Round, send_round


def round_of(*milliseconds):
    return Round(tuple(Answer(True, number / 1000, Decimal("0.001")) for number in milliseconds))


@pytest.mark.parametrize(
    ("milliseconds", "percent", "expected"),
    [((5,), 50, 5), ((1, 2, 3, 4), 50, 2), ((4, 3, 2, 1), 95, 4), (tuple(range(1, 101)), 95, 95)],
)
def test_percentiles_are_by_nearest_rank(milliseconds, percent, expected):
    assert round_of(*milliseconds).latency_ms(percent) == pytest.approx(expected)


def test_hits_and_savings_are_added_up_exactly():
    figure = Round((Answer(True, 1, Decimal("0.1")), Answer(True, 1, Decimal("0.2")), Answer(False, 1, Decimal(0))))
    assert (figure.hits, figure.saved_usd) == (2, Decimal("0.3"))


class Server:
    """Answers every request with fixed bytes, one connection after the other, and counts how many wait at once."""

    def __init__(self, answer):
        self.answer = answer
        self.bodies = []
        self.at_once = self.at_once_max = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.bodies.append(json.loads(await reader.readexactly(length)))
                self.at_once += 1
                self.at_once_max = max(self.at_once, self.at_once_max)
                await asyncio.sleep(0.001)
                self.at_once -= 1
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        writer.close()


HIT = b"HTTP/1.1 200 OK\r\ncache-status: AgentCache; hit\r\nx-agentcache-saved-usd: 0.00042\r\ncontent-length: 2\r\n\r\n{}"
MISS = b"HTTP/1.1 200 OK\r\ncache-status: AgentCache; fwd=miss; stored\r\ncontent-length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 11\r\n\r\nno such key"
CALLS = [DemoCall("code", "openai", "/v1/chat/completions", {"number": number}) for number in range(30)]


async def test_every_call_is_sent_once_with_bounded_concurrency():
    seen = []
    async with Server(HIT) as server:
        figure = await send_round(server.url, "ac_live_x", CALLS, lambda: seen.append(1))
    assert sorted(body["number"] for body in server.bodies) == list(range(30))
    assert server.at_once_max <= run.CONCURRENCY
    assert len(seen) == figure.hits == 30
    assert figure.saved_usd == 30 * Decimal("0.00042")


async def test_a_miss_saves_nothing():
    async with Server(MISS) as server:
        figure = await send_round(server.url, "ac_live_x", CALLS)
    assert (figure.hits, figure.saved_usd) == (0, 0)


async def test_a_refusal_says_what_the_server_said():
    async with Server(REFUSED) as server:
        with pytest.raises(DemoFailed, match="401: no such key"):
            await send_round(server.url, "ac_live_x", CALLS)
