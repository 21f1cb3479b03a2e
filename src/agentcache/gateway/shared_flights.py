"""Showing a flight to other workers, and reading one that another worker leads.

On the board a flight is a row of frames, each a tag byte and its content: the head, parts of the body, and at last
either the end or the error. A flight without one of these two has lost its leader. The board never holds a caller up
for longer than a claim's budget.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

import msgspec

from agentcache.engine.stores.port import FlightBoard, LeaderLost, StoreUnavailable
from agentcache.gateway.calls import Head
from agentcache.kit.errors import AgentCacheError

#: A claim is two or three operations of the store. The look-up just before it went well, so a board that takes longer
#: has only now got into trouble.
BUDGETS_PER_CLAIM = 3
#: How long a replacement stays on the board after its end: other workers' callers, whose first call failed just now as
#: well, find its end there instead of making a third call.
LINGER_SECONDS = 1.0
_HEAD, _PART, _END, _ERROR = b"h", b"p", b"e", b"x"
_TOO_LARGE = "too_large_to_share"
#: Response headers that concern every caller of a shared flight.
_SHARED_HEADERS = frozenset({b"content-type", b"content-encoding", b"retry-after"})
_background: set[asyncio.Task[Any]] = set()


class NotShared(AgentCacheError):
    """The flight that another worker leads cannot be followed."""

    code = "not_shared"


class SharedCallFailed(AgentCacheError):
    """The upstream call that another worker made for this request failed."""

    code = "shared_call_failed"

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, code=code)
        self.status = status


class Mirror(Protocol):
    """Where a leader shows what it gets."""

    async def head(self, head: Head) -> None:
        """Show the head."""

    async def part(self, raw: bytes) -> None:
        """Show a part of the body."""

    async def end(self) -> None:
        """Say that this was the whole."""

    async def fail(self, error: AgentCacheError) -> None:
        """Say that it will never be whole."""

    async def too_large(self) -> None:
        """Say that others have to ask for themselves."""

    async def close(self) -> None:
        """Let others lead the next flight of this name."""


class NoMirror:
    """Nobody else is listening."""

    async def head(self, head: Head) -> None:
        """Do nothing."""

    async def part(self, raw: bytes) -> None:
        """Do nothing."""

    async def end(self) -> None:
        """Do nothing."""

    async def fail(self, error: AgentCacheError) -> None:
        """Do nothing."""

    async def too_large(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


class BoardMirror:
    """Shows a flight on the board; one that `lingers` can still be read a moment after its end."""

    def __init__(self, board: FlightBoard, name: str, token: str, seconds: float, *, lingers: bool = False) -> None:
        self._board = board
        self._name = name
        self._token = token
        self._seconds = seconds
        self._lingers = lingers
        self._is_over = False
        self._is_closed = False

    async def head(self, head: Head) -> None:
        """Show the head."""
        shared = [pair for pair in head.headers if pair[0].lower() in _SHARED_HEADERS]
        await self._publish(_HEAD + msgspec.msgpack.encode((head.status, shared, head.streamed)))

    async def part(self, raw: bytes) -> None:
        """Show a part of the body."""
        await self._publish(_PART + raw)

    async def end(self) -> None:
        """Say that this was the whole."""
        await self._publish(_END)
        self._is_over = True

    async def fail(self, error: AgentCacheError) -> None:
        """Say that it will never be whole."""
        await self._publish(_ERROR + msgspec.msgpack.encode((error.status, error.code, error.message)))
        self._is_over = True

    async def too_large(self) -> None:
        """Say that others have to ask for themselves."""
        await self.fail(NotShared("The answer is too large to be shared.", code=_TOO_LARGE))

    async def close(self) -> None:
        """Let others lead the next flight of this name."""
        if not self._is_closed:
            self._is_closed = True
            if self._lingers:
                _in_background(_finish(self._board, self._name, self._token, after_seconds=LINGER_SECONDS))
                return
            await asyncio.wait({_in_background(_finish(self._board, self._name, self._token))}, timeout=self._seconds)

    async def _publish(self, frame: bytes) -> None:
        if not self._is_over:
            try:
                await self._board.publish(self._name, self._token, [frame])
            except StoreUnavailable:
                self._is_over = True


async def claim(board: FlightBoard, name: str, seconds: float) -> str | None:
    """Try to lead a flight; raises `StoreUnavailable`, after `seconds` at the latest."""
    claiming = _in_background(board.claim(name))
    try:
        return await asyncio.wait_for(asyncio.shield(claiming), seconds)
    except TimeoutError:
        claiming.add_done_callback(lambda task: _give_back(board, name, task))
        raise StoreUnavailable("the flight board is slow") from None
    except asyncio.CancelledError:
        claiming.add_done_callback(lambda task: _give_back(board, name, task))
        raise


async def follow(board: FlightBoard, name: str, *, lingers: bool = False) -> AsyncIterator[Head | bytes]:
    """Yield the head, then the parts of the body that another worker gets; returns only if that was the whole.

    The end of a flight that `lingers` is the end; another is followed until it has left the board as well when it
    failed, for whoever tries again must not meet it.

    Raises `NotShared` where nothing was lost and the caller can ask for itself, `LeaderLost`, or what the leader
    failed with.
    """
    head: Head | None = None
    failure: AgentCacheError | None = None
    is_whole = False
    try:
        async for frame in board.follow(name):
            tag, content = frame[:1], frame[1:]
            if tag == _HEAD:
                status, headers, streamed = msgspec.msgpack.decode(
                    content, type=tuple[int, list[tuple[bytes, bytes]], bool]
                )
                head = Head(status, headers, streamed)
                yield head
            elif tag == _PART:
                yield content
            elif tag == _END:
                is_whole = True
                if lingers or (head is not None and head.is_success):
                    return
            else:
                failure = SharedCallFailed(*msgspec.msgpack.decode(content, type=tuple[int, str, str]))
                if lingers or failure.code == _TOO_LARGE:
                    break
    except StoreUnavailable as error:
        raise (NotShared if head is None else LeaderLost) from error
    if failure is not None:
        raise NotShared if failure.code == _TOO_LARGE and head is None else failure
    if not is_whole:
        raise LeaderLost


def _in_background(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start what is to end by itself even when nobody waits for it any more."""
    task = asyncio.get_running_loop().create_task(work)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return task


def _give_back(board: FlightBoard, name: str, claiming: asyncio.Task[str | None]) -> None:
    if not claiming.cancelled() and claiming.exception() is None and (token := claiming.result()) is not None:
        _in_background(_finish(board, name, token))


async def _finish(board: FlightBoard, name: str, token: str, *, after_seconds: float = 0.0) -> None:
    if after_seconds:
        await asyncio.sleep(after_seconds)
    with contextlib.suppress(StoreUnavailable):
        await board.finish(name, token)
