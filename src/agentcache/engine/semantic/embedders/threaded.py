"""Runs a blocking model on one thread, off the event loop; what arrives while it works waits and goes in one batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from agentcache.engine.semantic.embedders.port import EmbedderUnavailable, Vector

#: Texts that go to the thread at once: with the hop shared, one core does 1.2 times as many short texts.
BATCH_TEXTS = 16
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

    def close(self) -> None:
        """Release everything."""


class ThreadedEmbedder:
    """An embedder around a blocking model; of a caller that gave up, nothing more is computed."""

    def __init__(self, model: BlockingModel) -> None:
        self._model = model
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[tuple[str, asyncio.Future[Vector]]] = deque()
        self._running: asyncio.Task[None] | None = None
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

    async def embed(self, texts: Sequence[str], *, seconds: float | None = None) -> list[Vector]:
        """Return one vector per text; a deadline is the wrapper's business."""
        if self._is_closed:
            raise EmbedderUnavailable("the embedder is closed")
        if len(self._waiting) + len(texts) > WAITING_MAX:
            raise EmbedderUnavailable("too many texts are waiting for the embedder")
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in texts]
        self._waiting.extend(zip(texts, futures, strict=True))
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._work(), name="semantic-embedder")
        # Through gather, so that a caller that is cancelled cancels what waits for it.
        return list(await asyncio.gather(*futures))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the text has."""
        return self._model.count_tokens(text)

    async def aclose(self) -> None:
        """Let the batch under way end, and fail what waits."""
        self._is_closed = True
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(EmbedderUnavailable("the embedder is closed"))
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)
        if self._thread is not None:
            self._thread.shutdown(wait=False)
        self._model.close()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="semantic-embedder")
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_TEXTS, len(self._waiting)))]
            batch = [(text, future) for text, future in batch if not future.done()]
            if not batch:
                continue
            outcome = await loop.run_in_executor(self._thread, self._embed_batch, batch)
            for (_, future), result in zip(batch, outcome, strict=True):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _embed_batch(self, batch: list[tuple[str, asyncio.Future[Vector]]]) -> list[Vector | EmbedderUnavailable]:
        results: list[Vector | EmbedderUnavailable] = []
        for text, future in batch:
            # Read from another thread, which is harmless: at worst one vector too many is made.
            if future.done():
                results.append(EmbedderUnavailable("nobody waits any more"))
                continue
            try:
                results.append(self._model.embed_one(text))
            except EmbedderUnavailable as wrong:
                results.append(wrong)
            except Exception as wrong:  # noqa: BLE001 - a model's errors have no common class, and one must not stop all
                results.append(EmbedderUnavailable(f"the embedder failed: {type(wrong).__name__}"))
        return results
