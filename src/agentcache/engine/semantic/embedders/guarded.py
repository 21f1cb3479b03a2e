"""An embedder that never keeps its caller waiting and never hands out a vector that is none."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence

from agentcache.engine.semantic.embedders.port import Embedder, EmbedderUnavailable, Meanwhile, Vector
from agentcache.engine.stores.breaker import Breaker
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.kit.clock import Clock

#: How far from 1 a vector's length may be before it is made 1 without a word.
_LENGTH_SLACK = 1e-3
_PROBE_TEXT = "Is the embedder well?"


class GuardedEmbedder:
    """Wraps an embedder: a deadline for each call, a check of each vector, a breaker after repeated trouble.

    `seconds` is the budget of a call that names none; probes and `warm` may take `patient_seconds`.
    """

    def __init__(self, embedder: Embedder, *, seconds: float, clock: Clock, patient_seconds: float = 30.0) -> None:
        self._embedder = embedder
        self._seconds = seconds
        self._patient_seconds = patient_seconds
        self._clock = clock
        self._warming: asyncio.Task[None] | None = None
        self._is_warm = False
        self.breaker = Breaker("embedder", self._probe, clock=clock, failures_max=2, probe_seconds=5.0)

    @property
    def id(self) -> str:
        """The wrapped embedder's."""
        return self._embedder.id

    @property
    def dimensions(self) -> int:
        """The length of each vector, 0 while it is not known."""
        return self._embedder.dimensions

    @property
    def is_multilingual(self) -> bool:
        """The wrapped embedder's."""
        return self._embedder.is_multilingual

    def count_tokens(self, text: str) -> int:
        """The wrapped embedder's count."""
        return self._embedder.count_tokens(text)

    def pieces(self, text: str) -> bytes:
        """The wrapped embedder's."""
        return self._embedder.pieces(text)

    async def embed(
        self, texts: Sequence[str], *, seconds: float | None = None, meanwhile: Meanwhile | None = None
    ) -> list[Vector]:
        """Return checked vectors within the budget, or raise `EmbedderUnavailable`; at once while the breaker is open.

        The first call begins to load a model that is not loaded yet, which goes on past the budget.
        """
        if not texts:
            return []
        if not self.breaker.lets_through:
            raise EmbedderUnavailable("the embedder does not answer; it is left alone until it does")
        started_at = self._clock.monotonic()
        budget = self._seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(budget):
                if not self._is_warm:
                    await asyncio.shield(self._warm_up())
                vectors = self._checked(await self._embedder.embed(texts, meanwhile=meanwhile), len(texts))
        except TimeoutError:
            if self._is_warm:
                # Loading takes as long as it takes; that is no sign of trouble.
                self.breaker.record_failure("slower than its budget", started_at)
            raise EmbedderUnavailable(f"the embedder took longer than {budget * 1000:.0f} ms") from None
        except EmbedderUnavailable as wrong:
            self.breaker.record_failure(wrong.message, started_at)
            raise
        self.breaker.record_success()
        return vectors

    async def warm(self) -> None:
        """Load what needs loading, so that the first question need not wait. Raises `EmbedderUnavailable`."""
        if not self._is_warm:
            await asyncio.shield(self._warm_up())

    async def aclose(self) -> None:
        """Stop probing and close the embedder."""
        await self.breaker.close()
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self._embedder.aclose()

    def _warm_up(self) -> asyncio.Task[None]:
        if self._warming is None or self._warming.done():
            self._warming = asyncio.get_running_loop().create_task(self._ask_once(), name="semantic-warming")
            # Whoever waited may be gone; an error that nobody takes is no news, the next call finds it again.
            self._warming.add_done_callback(_take_error)
        return self._warming

    async def _ask_once(self) -> None:
        try:
            async with asyncio.timeout(self._patient_seconds):
                self._checked(await self._embedder.embed([_PROBE_TEXT]), 1)
        except TimeoutError:
            raise EmbedderUnavailable(f"the embedder was not ready within {self._patient_seconds:.0f} s") from None
        self._is_warm = True

    async def _probe(self) -> None:
        try:
            await self._ask_once()
        except EmbedderUnavailable as wrong:
            raise StoreUnavailable(wrong.message) from wrong

    def _checked(self, vectors: Sequence[Vector], count: int) -> list[Vector]:
        import numpy as np

        if len(vectors) != count:
            raise EmbedderUnavailable(f"the embedder gave {len(vectors)} vectors for {count} texts")
        checked = []
        for vector in vectors:
            row = np.asarray(vector, np.float32)
            if row.ndim != 1 or row.shape[0] == 0:
                raise EmbedderUnavailable("the embedder gave something that is not a vector")
            if row.shape[0] != self.dimensions:
                raise EmbedderUnavailable(
                    f"the embedder gave {row.shape[0]} dimensions where {self.dimensions} were expected"
                )
            # Says nothing of numbers that are too large or none, as other ways to a length do.
            length = math.sqrt(float(np.dot(row, row)))
            if not math.isfinite(length) or length < _LENGTH_SLACK:
                raise EmbedderUnavailable("the embedder gave a vector that is not finite, or zero")
            checked.append(row if abs(length - 1) <= _LENGTH_SLACK else row / np.float32(length))
        return checked


def _take_error(task: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
