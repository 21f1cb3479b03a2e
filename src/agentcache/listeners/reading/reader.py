"""The way to the process that reads documents: started when first asked, ended when it takes too long, started anew."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final, Self

from agentcache.kit.logs import get_logger
from agentcache.listeners.reading.messages import (
    LENGTH_BYTES,
    MESSAGE_BYTES_MAX,
    Answer,
    Question,
    Unreadable,
    decode_answer,
    encode,
)

#: A page takes a tenth of a millisecond to some; whatever takes this long was made to.
ANSWER_WITHIN_SECONDS: Final = 5.0
#: After so many answers the process is replaced: memory that packages leak goes with it.
_ANSWERS_MAX: Final = 20_000
_STOPS_WITHIN_SECONDS: Final = 2.0
_log = get_logger(__name__)


class Reader:
    """Asks one reading process, one question at a time. Use `async with`."""

    def __init__(self, answer_within_seconds: float = ANSWER_WITHIN_SECONDS) -> None:
        self._within = answer_within_seconds
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._answers = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ask(self, asked: Question) -> Answer:
        """Return the answer; `Unreadable` too when the process died of the question, or took too long."""
        message = encode(asked)
        async with self._turn:
            process = await self._running()
            try:
                async with asyncio.timeout(self._within):
                    answer = await _exchange(process, message)
            except TimeoutError:
                await self._end()
                return Unreadable("The document takes too long to read.")
            except (OSError, asyncio.IncompleteReadError, ValueError):
                _log.warning("reader_died", exit_code=process.returncode)
                await self._end()
                return Unreadable("The document cannot be read.")
            except BaseException:
                # The answer would be taken for the next question's.
                await self._end()
                raise
            self._answers += 1
            if self._answers >= _ANSWERS_MAX:
                await self._end()
            return answer

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "agentcache.listeners.reading.program",
                stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
                # Nothing of the environment, which may hold secrets; and no Ctrl-C, which is for its parent.
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}, start_new_session=True,
            )  # fmt: skip
            self._answers = 0
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOPS_WITHIN_SECONDS):
                await process.wait()


async def _exchange(process: Process, message: bytes) -> Answer:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(len(message).to_bytes(LENGTH_BYTES, "big"))
    process.stdin.write(message)
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
    if length > MESSAGE_BYTES_MAX:
        raise ValueError("an answer that long is none")
    answer: Answer = decode_answer(await process.stdout.readexactly(length))
    return answer
