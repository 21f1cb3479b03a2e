"""Runs a blocking model on one thread, off the event loop: one text after the other, each told as soon as it is done.

Python code of two threads never runs at once, and one that goes on keeps the other out for up to 5 ms. So what the event loop does
meanwhile, it does when the thread says that it is about to enter the model, which lets other threads run.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Protocol

from agentcache.engine.semantic.embedders.port import EmbedderUnavailable, Meanwhile, Vector

#: Texts that may wait; beyond it the caller is told at once, because nobody would wait that long.
WAITING_MAX = 1024


class BlockingModel(Protocol):
    """A model in this process."""

    @property
    def id(self) -> str:
        """As of an embedder."""

    @property
    def dimensions(self) -> int:
        """As of an embedder."""

    @property
    def is_multilingual(self) -> bool:
        """As of an embedder."""

    def load(self) -> None:
        """Get ready. Blocks; raises `EmbedderUnavailable`."""

    def embed_one(self, text: str) -> Vector:
        """Return the vector of one text. Blocks."""

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the text has."""

    def pieces(self, text: str) -> bytes:
        """As of an embedder; asked for on another thread."""

    def close(self) -> None:
        """Release everything."""


#: A text, its caller's loop, the future of its vector, and what the loop does meanwhile.
_Job = tuple[str, asyncio.AbstractEventLoop, "asyncio.Future[Vector]", Meanwhile | None]


class ThreadedEmbedder:
    """An embedder around a blocking model; of a caller that gave up, nothing more is computed.

    The thread is fed by a queue of its own: an executor takes twice as long to hand a text over, 0.05 ms more.
    """

    def __init__(self, model: BlockingModel) -> None:
        self._model = model
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting: set[asyncio.Future[Vector]] = set()
        self._is_closed = False

    @property
    def id(self) -> str:
        """The model's."""
        return self._model.id

    @property
    def is_multilingual(self) -> bool:
        """The model's."""
        return self._model.is_multilingual

    @property
    def dimensions(self) -> int:
        """The length of each vector."""
        return self._model.dimensions

    async def embed(
        self, texts: Sequence[str], *, seconds: float | None = None, meanwhile: Meanwhile | None = None
    ) -> list[Vector]:
        """Return one vector per text; a deadline is the wrapper's business."""
        if self._is_closed:
            raise EmbedderUnavailable("the embedder is closed")
        if len(self._waiting) + len(texts) > WAITING_MAX:
            raise EmbedderUnavailable("too many texts are waiting for the embedder")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="semantic-embedder", daemon=True)
            self._thread.start()
            # Nobody may have closed it then, and the interpreter must not go from under a model that runs.
            atexit.register(self._end)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in texts]
        for text, future in zip(texts, futures, strict=True):
            self._waiting.add(future)
            future.add_done_callback(self._waiting.discard)
            self._jobs.put((text, loop, future, meanwhile))
            meanwhile = None
        try:
            return [await futures[0]] if len(futures) == 1 else list(await asyncio.gather(*futures))
        finally:
            # Whoever gave up or was told of trouble waits for none of them.
            for future in futures:
                future.cancel()

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the text has."""
        return self._model.count_tokens(text)

    def pieces(self, text: str) -> bytes:
        """Return the model's."""
        return self._model.pieces(text)

    async def aclose(self) -> None:
        """Let the text under way end, and fail what waits."""
        self._is_closed = True
        await asyncio.to_thread(self._end)
        self._model.close()

    def _end(self) -> None:
        self._is_closed = True
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            atexit.unregister(self._end)

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            self._embed(*job)
            # Not to be kept until the next one comes.
            del job

    def _embed(
        self, text: str, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Vector], meanwhile: Meanwhile | None
    ) -> None:
        """Make a vector, on the thread, and have the loop pass it on."""
        # Read from another thread, which is harmless: at worst one vector too many is made.
        if future.done():
            return
        outcome: Vector | EmbedderUnavailable
        try:
            if self._is_closed:
                raise EmbedderUnavailable("the embedder is closed")
            if meanwhile is not None:
                loop.call_soon_threadsafe(_do, meanwhile, future)
            outcome = self._model.embed_one(text)
        except EmbedderUnavailable as wrong:
            outcome = wrong
        except Exception as wrong:  # noqa: BLE001 - a model's errors have no common class, and each caller is to be told
            outcome = EmbedderUnavailable(f"the embedder failed: {type(wrong).__name__}")
        # A loop that is closed has nobody who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, future, outcome)


def _do(meanwhile: Meanwhile, future: asyncio.Future[Vector]) -> None:
    if future.done():
        return
    try:
        meanwhile()
    except Exception as wrong:  # noqa: BLE001 - whatever it is, it is the caller's, who gets it in place of a vector
        future.set_exception(wrong)


def _settle(future: asyncio.Future[Vector], outcome: Vector | EmbedderUnavailable) -> None:
    if future.done():
        return
    if isinstance(outcome, EmbedderUnavailable):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
