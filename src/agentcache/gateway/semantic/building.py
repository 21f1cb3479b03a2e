"""Puts the semantic tier together, where an embedder is installed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from agentcache.engine.semantic.calibration.calibrator import Calibrator
from agentcache.engine.semantic.embedders.opening import BUILT_IN, open_embedder, why_not
from agentcache.engine.semantic.index.examining import examine
from agentcache.engine.semantic.index.opening import open_index
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.engine.stores.port import EntryStore
from agentcache.gateway.meter import Meter
from agentcache.gateway.semantic.learning import Learner
from agentcache.gateway.semantic.learning_only import LearningOnly
from agentcache.gateway.semantic.spool import NoSemanticEvents, SemanticEvents, open_semantic_files
from agentcache.gateway.semantic.tier import SemanticTier
from agentcache.kit.clock import Clock
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.logs import get_logger
from agentcache.settings import Settings

_log = get_logger(__name__)


@contextlib.asynccontextmanager
async def running_semantic(
    settings: Settings, clock: Clock, entries: EntryStore, meter: Meter
) -> AsyncIterator[SemanticTier | None]:
    """Keep the tier and its files of events open, for a server process."""
    events = open_semantic_files(settings.data_dir, clock).start()
    tier = open_semantic(settings, clock, entries=entries, meter=meter, events=events)
    url = settings.semantic_index_url
    examining = None if tier is None or url is None else asyncio.create_task(_examine(url), name="index-examining")
    try:
        yield tier
    finally:
        if examining is not None:
            examining.cancel()
            await asyncio.gather(examining, return_exceptions=True)
        if tier is not None:
            await tier.close()
        await events.close()


async def _examine(url: str) -> None:
    """Say in the log what keeps an index from working. Whoever starts waits for no answer: calls go on without it."""
    try:
        examined = await asyncio.to_thread(examine, url)
    except AgentCacheError as error:
        _log.warning("semantic_index_unusable", reason=error.message)
        return
    if examined.problem:
        _log.warning("semantic_index_unusable", reason=examined.problem, mend=examined.mend)


def open_semantic(
    settings: Settings, clock: Clock, *, entries: EntryStore, meter: Meter, events: SemanticEvents
) -> SemanticTier | None:
    """Return the tier, to be closed before the entry store is; None where the server has no embedder.

    No model is loaded yet: the first look-up begins that, and goes on without.
    """
    embedder = open_embedder(settings, clock) if why_not(settings) is None else None
    if embedder is None:
        return None
    index, verifier = open_index(settings, clock), load_verifier()
    calibrator = None
    if settings.semantic_embedder != BUILT_IN:
        calibrator = Calibrator(embedder, settings.calibrations_dir, clock=clock)
    learner = Learner(
        embedder=embedder, index=index, verifier=verifier, entries=entries, events=events, meter=meter, clock=clock
    )
    return SemanticTier(
        embedder=embedder,
        index=index,
        verifier=verifier,
        entries=entries,
        learner=learner,
        events=events,
        meter=meter,
        clock=clock,
        budget_seconds=settings.semantic_budget_ms / 1000,
        calibrator=calibrator,
    )


def open_learning(settings: Settings, clock: Clock, *, entries: EntryStore, meter: Meter) -> LearningOnly | None:
    """Return what learns in the job worker, to be closed before the entry store is; None where there is no embedder.

    The model, about 90 MB, is loaded when the first answer is learned.
    """
    embedder = open_embedder(settings, clock) if why_not(settings) is None else None
    if embedder is None:
        return None
    index = open_index(settings, clock)
    learner = Learner(
        embedder=embedder,
        index=index,
        verifier=load_verifier(),
        entries=entries,
        events=NoSemanticEvents(),
        meter=meter,
        clock=clock,
    )
    return LearningOnly(learner, index)
