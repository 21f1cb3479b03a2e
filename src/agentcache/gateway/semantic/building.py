"""Puts the semantic tier together, where an embedder is installed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from agentcache.engine.semantic.embedders.opening import open_embedder, why_not
from agentcache.engine.semantic.index.opening import open_index
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.engine.stores.port import EntryStore
from agentcache.gateway.meter import Meter
from agentcache.gateway.semantic.learning import Learner
from agentcache.gateway.semantic.learning_only import LearningOnly
from agentcache.gateway.semantic.spool import NoSemanticEvents, SemanticEvents, open_semantic_files
from agentcache.gateway.semantic.tier import SemanticTier
from agentcache.kit.clock import Clock
from agentcache.settings import Settings


@contextlib.asynccontextmanager
async def running_semantic(
    settings: Settings, clock: Clock, entries: EntryStore, meter: Meter
) -> AsyncIterator[SemanticTier | None]:
    """Keep the tier and its files of events open, for a server process."""
    events = open_semantic_files(settings.data_dir, clock).start()
    tier = open_semantic(settings, clock, entries=entries, meter=meter, events=events)
    try:
        yield tier
    finally:
        if tier is not None:
            await tier.close()
        await events.close()


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
