"""Has an embedder calibrated in the background, once for all workers of a machine. No call ever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from agentcache.engine.semantic.calibration.fitting import fit_scale
from agentcache.engine.semantic.calibration.keeping import Calibration, keep, read_kept
from agentcache.engine.semantic.calibration.pairs import load_pairs
from agentcache.engine.semantic.embedders.guarded import GuardedEmbedder
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable, Vector
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

#: Texts in one call: most services take as many, and a model in this process is kept from other texts for a moment only.
BATCH: Final = 8
_ALONE: Final = "Is the embedder well?"
#: A batch may take so long; nobody waits for it.
_BATCH_SECONDS: Final = 30.0
#: After a failure so long until the next try, and twice as long after each further one.
_PAUSE_SECONDS: Final = 5.0
_PAUSE_SECONDS_MAX: Final = 300.0
#: While another worker calibrates, so often it is looked whether it is done.
_LOOK_SECONDS: Final = 0.25
_log = get_logger(__name__)


class Calibrator:
    """The calibrations of one embedder, whose id changes with its model; of one process."""

    def __init__(self, embedder: GuardedEmbedder, folder: Path, *, clock: Clock) -> None:
        self._embedder = embedder
        self._folder = folder
        self._clock = clock
        self._known: dict[str, Calibration] = {}
        #: Fewer once a service has refused as many.
        self._batch = BATCH
        self._task: asyncio.Task[None] | None = None
        self._pause_seconds = _PAUSE_SECONDS
        self._paused_until = float("-inf")

    @property
    def is_busy(self) -> bool:
        """Whether the embedder is being calibrated."""
        return self._task is not None and not self._task.done()

    def of(self, embedder_id: str) -> Calibration | None:
        """Return the calibration of the model with this id; where there is none yet, begin to make it and return None."""
        found = self._known.get(embedder_id)
        if found is not None:
            return found
        # Read at once: after a restart not even the first look-up is held back.
        found = read_kept(self._folder, embedder_id)
        if found is not None:
            self._take(found)
        elif not self.is_busy and self._clock.monotonic() >= self._paused_until:
            self._task = asyncio.get_running_loop().create_task(self._calibrate(), name="semantic-calibrating")
        return found

    async def settle(self) -> None:
        """Return once nothing is under way."""
        while self.is_busy:
            assert self._task is not None
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Stop what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _take(self, found: Calibration) -> None:
        # One model at a time is behind a name; what it was before is in its file.
        self._known = {found.embedder: found}

    async def _calibrate(self) -> None:
        try:
            await self._embedder.warm()
            embedder_id = self._embedder.id
            async with _turn(self._folder, embedder_id) as kept:
                found = kept or await self._made(embedder_id)
        except (EmbedderUnavailable, OSError) as error:
            reason = error.message if isinstance(error, EmbedderUnavailable) else f"{self._folder}: {error.strerror}"
            self._failed(reason)
        except Exception:  # noqa: BLE001 - a defect of ours: calls go on, and nothing is served by cosines that nobody can read
            _log.exception("calibration_failed")
            self._failed("an error of ours")
        else:
            self._pause_seconds = _PAUSE_SECONDS
            self._take(found)

    def _failed(self, reason: str) -> None:
        _log.warning("embedder_not_calibrated", reason=reason, retry_seconds=self._pause_seconds)
        self._paused_until = self._clock.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _PAUSE_SECONDS_MAX)

    async def _made(self, embedder_id: str) -> Calibration:
        chosen = load_pairs()
        texts, vectors = chosen.texts, list[Vector]()
        while len(vectors) < len(texts):
            vectors += await self._some_of(texts[len(vectors) : len(vectors) + self._batch])
            if self._embedder.id != embedder_id:
                raise EmbedderUnavailable("the embedder became another model while it was calibrated")
        at = dict(zip(texts, vectors, strict=True))
        # Both are of length 1. Rounding may take the same direction a little beyond.
        cosines = [max(-1.0, min(1.0, float(at[pair.one] @ at[pair.other]))) for pair in chosen.pairs]
        # Some 30 ms of Python, during which calls go on.
        scale, agreement = await asyncio.to_thread(fit_scale, chosen.pairs, cosines)
        made = Calibration(embedder_id, chosen.digest, scale, agreement, self._clock.now())
        try:
            await asyncio.to_thread(keep, self._folder, made)
        except OSError as error:
            # It holds for this process all the same; the next one makes it again.
            _log.warning("calibration_not_kept", path=str(self._folder), reason=error.strerror)
        if made.unfit:
            _log.warning("embedder_unfit", model=embedder_id, reason=f"{made.unfit} ({agreement.told})")
        else:
            _log.info("embedder_calibrated", model=embedder_id, reason=agreement.told)
        return made

    async def _some_of(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of these texts, or of the first ones where they are too many at once."""
        while True:
            try:
                return await self._embedder.embed(texts, seconds=_BATCH_SECONDS)
            except EmbedderUnavailable:
                if len(texts) == 1:
                    raise
            # Who refuses many answers to one, and who is away does not. It tells the breaker, too, which opens after two failures.
            await self._embedder.embed([_ALONE], seconds=_BATCH_SECONDS)
            self._batch = len(texts) // 2
            texts = texts[: self._batch]


@contextlib.asynccontextmanager
async def _turn(folder: Path, embedder_id: str) -> AsyncIterator[Calibration | None]:
    """Wait for the turn of this process, and yield what another one has made in the meantime; None for nothing."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        while True:
            # Another process has its turn: asked again in a moment.
            with contextlib.suppress(BlockingIOError):
                # Given back by the system, too, where the process that holds it is killed.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            await asyncio.sleep(_LOOK_SECONDS)
        yield await asyncio.to_thread(read_kept, folder, embedder_id)
    finally:
        os.close(lock)
