"""What every flight board must do. Each adapter's test module inherits `FlightBoardContract`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from agentcache.engine.stores.port import FlightBoard, LeaderLost

BoardMaker = Callable[[], Awaitable[FlightBoard]]


async def read_all(board: FlightBoard, flight: str) -> list[bytes]:
    return [frame async for frame in board.follow(flight)]


class FlightBoardContract:
    """Inherit, and define `make_board` (another worker's board each time) and `kill` (its worker dies, at once)."""

    @pytest.fixture
    async def board(self, make_board: BoardMaker) -> AsyncIterator[FlightBoard]:
        board = await make_board()
        yield board
        await board.close()

    @pytest.fixture
    async def other(self, make_board: BoardMaker) -> AsyncIterator[FlightBoard]:
        board = await make_board()
        yield board
        await board.close()

    async def lead(self, board: FlightBoard, flight: str = "f") -> str:
        token = await board.claim(flight)
        assert token is not None
        return token

    async def test_one_worker_leads(self, board: FlightBoard, other: FlightBoard) -> None:
        tokens = await asyncio.gather(*(worker.claim("f") for worker in [board, other] * 10))
        assert len([token for token in tokens if token is not None]) == 1

    async def test_flights_are_apart(self, board: FlightBoard, other: FlightBoard) -> None:
        assert await self.lead(board, "a") != await self.lead(other, "b")

    async def test_followers_get_every_frame_in_order(self, board: FlightBoard, other: FlightBoard) -> None:
        token = await self.lead(board)
        await board.publish("f", token, [b"before"])
        following = asyncio.create_task(read_all(other, "f"))
        frames = [b"%d" % i for i in range(200)]
        for i, frame in enumerate(frames):
            await board.publish("f", token, [frame])
            if i % 40 == 0:
                await asyncio.sleep(0.01)
        await board.finish("f", token)
        assert await following == [b"before", *frames]

    async def test_frames_are_opaque_bytes(self, board: FlightBoard, other: FlightBoard) -> None:
        frames = [b"", b"\x00\xff\r\n", "🐘".encode(), b"x" * 300_000]
        token = await self.lead(board)
        await board.publish("f", token, frames)
        await board.finish("f", token)
        assert await read_all(other, "f") == frames

    async def test_a_frame_arrives_before_the_flight_ends(self, board: FlightBoard, other: FlightBoard) -> None:
        token = await self.lead(board)
        await board.publish("f", token, [b"first"])
        follow = other.follow("f")
        assert await anext(follow) == b"first"
        await board.publish("f", token, [b"second"])
        assert await anext(follow) == b"second"
        await board.finish("f", token)
        with pytest.raises(StopAsyncIteration):
            await anext(follow)

    async def test_many_followers_each_get_all(self, board: FlightBoard, other: FlightBoard) -> None:
        token = await self.lead(board)
        following = [asyncio.create_task(read_all(other, "f")) for _ in range(20)]
        await board.publish("f", token, [b"a", b"b"])
        await asyncio.sleep(0.02)
        await board.publish("f", token, [b"c"])
        await board.finish("f", token)
        assert await asyncio.gather(*following) == [[b"a", b"b", b"c"]] * 20

    async def test_a_late_follower_still_reads_a_finished_flight(self, board: FlightBoard, other: FlightBoard) -> None:
        token = await self.lead(board)
        await board.publish("f", token, [b"all"])
        await board.finish("f", token)
        assert await read_all(other, "f") == [b"all"]

    async def test_after_the_end_a_claim_leads_anew(self, board: FlightBoard, other: FlightBoard) -> None:
        first = await self.lead(board)
        await board.publish("f", first, [b"old"])
        reading = other.follow("f")
        assert await anext(reading) == b"old"
        await board.finish("f", first)
        second = await self.lead(other)
        assert second != first
        await other.publish("f", second, [b"new"])
        # Who was reading the old flight is not mixed up with the new one.
        assert [frame async for frame in reading] == []
        await other.finish("f", second)
        assert await read_all(board, "f") == [b"new"]

    async def test_following_nothing_is_a_lost_leader(self, board: FlightBoard) -> None:
        with pytest.raises(LeaderLost):
            await read_all(board, "never claimed")

    async def test_only_the_leader_can_publish_and_finish(self, board: FlightBoard, other: FlightBoard) -> None:
        token = await self.lead(board)
        await other.publish("f", "made up", [b"forged"])
        await other.finish("f", "made up")
        assert await other.claim("f") is None
        await board.publish("f", token, [b"real"])
        await board.finish("f", token)
        assert await read_all(other, "f") == [b"real"]

    async def test_a_worker_that_closes_gives_its_flights_up(self, make_board: BoardMaker, other: FlightBoard) -> None:
        leaving = await make_board()
        token = await self.lead(leaving)
        await leaving.publish("f", token, [b"half"])
        follow = other.follow("f")
        assert await anext(follow) == b"half"
        await leaving.close()
        with pytest.raises(LeaderLost):
            await anext(follow)
        await self.lead(other)

    async def test_a_dead_leader_is_noticed_and_replaced_while_a_living_one_keeps_its_lease(
        self,
        make_board: BoardMaker,
        board: FlightBoard,
        other: FlightBoard,
        kill: Callable[[FlightBoard], Awaitable[None]],
    ) -> None:
        alive = await self.lead(board, "alive")
        leader = await make_board()
        await leader.publish("f", await self.lead(leader), [b"half"])
        follow = other.follow("f")
        assert await anext(follow) == b"half"
        await kill(leader)
        async with asyncio.timeout(60):
            with pytest.raises(LeaderLost):
                await anext(follow)
            await self.lead(other)
        await asyncio.sleep(0.3)
        assert await other.claim("alive") is None
        await board.publish("alive", alive, [b"still here"])
        await board.finish("alive", alive)
        assert await read_all(other, "alive") == [b"still here"]
