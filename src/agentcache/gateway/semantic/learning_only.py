"""The semantic tier of the job worker: what it has providers answer ahead is learned, and no near answer stands in for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentcache.engine.entries import EntryMeta
from agentcache.engine.semantic.index.port import NeighbourIndex
from agentcache.gateway.semantic.learning import Learner
from agentcache.gateway.semantic.looking import Candidate
from agentcache.gateway.semantic.tier import NoSemanticTier, learn_filled
from agentcache.providers.dialect import Json

if TYPE_CHECKING:
    from agentcache.gateway.calls import Call


class LearningOnly(NoSemanticTier):
    """Learns as a server does, and finds nothing."""

    def __init__(self, learner: Learner, index: NeighbourIndex) -> None:
        self._learner = learner
        self._index = index

    async def find(self, call: Call) -> Candidate | None:
        """Find nothing: an answer of its own is what a call is made for."""
        return None

    def filled(self, call: Call, answer: Json | None, meta: EntryMeta | None) -> None:
        """Learn from a good answer of the provider, later; `meta` is its entry's. Never raises, never waits."""
        learn_filled(self._learner, call, answer, meta)

    async def settle(self) -> None:
        """Return once everything that was taken is learned."""
        await self._learner.settle()

    async def close(self) -> None:
        """Stop what is under way and release everything."""
        await self._learner.close()
        await self._learner.embedder.aclose()
        await self._index.aclose()
