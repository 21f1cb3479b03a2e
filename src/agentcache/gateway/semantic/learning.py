"""What is learned from an answer of the provider, after it went out: the question's row, and whether a neighbour agreed.

One task works a short queue off; what does not fit in is let go, for it comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentcache.engine.entries import EntryMeta, Tenant
from agentcache.engine.semantic.analyses import pack_analysis
from agentcache.engine.semantic.calibration.fitting import CALIBRATED, UNFIT
from agentcache.engine.semantic.embedders.port import Embedder, EmbedderUnavailable
from agentcache.engine.semantic.index.port import IndexRow, IndexUnavailable, NeighbourIndex
from agentcache.engine.semantic.settings import SemanticMode
from agentcache.engine.semantic.verifier import Verifier
from agentcache.engine.stores.port import EntryStore, StoreUnavailable
from agentcache.gateway.meter import Meter
from agentcache.gateway.ports import SemanticEvent
from agentcache.gateway.semantic.answers import (
    COMPARED_CHARS_MAX,
    answer_text,
    compare_at_once,
    compare_by_meaning,
    stored_answer,
)
from agentcache.gateway.semantic.index_trouble import IndexTrouble
from agentcache.gateway.semantic.looking import COSINE, NORMALISED, Candidate, Look, prepare
from agentcache.gateway.semantic.spool import SemanticEvents, seal_texts
from agentcache.kit.clock import Clock
from agentcache.kit.ids import new_id
from agentcache.kit.logs import get_logger
from agentcache.providers.dialect import Endpoint, Json

if TYPE_CHECKING:
    from agentcache.gateway.calls import Call

WAITING_MAX: Final = 1_000
#: Nobody waits for these vectors, so they may take longer than a look-up's.
_EMBED_SECONDS: Final = 5.0
#: From which score on a neighbour that was not served is worth comparing: far below any threshold, above chance.
_JUDGED_FROM: Final = 0.5
_JUDGED_FROM_COSINE: Final = 0.8
#: With so many waiting, only a share of the neighbours that were not served is compared: it takes vectors of two answers.
_BUSY: Final = 16
_BUSY_SHARE: Final = 0.1
#: What of embedder, index and store is no defect, but passes.
TROUBLE: Final = (EmbedderUnavailable, IndexUnavailable, StoreUnavailable)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Filled:
    """A call and what became of it, without the call itself."""

    tenant: Tenant
    api_key_id: str
    namespace: str
    request_id: str
    dialect: str
    model: str
    endpoint: Endpoint
    key: bytes
    answer: Json | None
    #: Of the entry that was stored; None where none was.
    meta: EntryMeta | None = None

    @classmethod
    def of(cls, call: Call, answer: Json | None, meta: EntryMeta | None = None) -> Filled:
        """Take what is needed out of a call."""
        assert call.endpoint is not None
        return cls(
            tenant=call.principal.tenant,
            api_key_id=call.principal.api_key_id,
            namespace=call.namespace,
            request_id=call.request_id,
            dialect=call.dialect.name,
            model=call.model,
            endpoint=call.endpoint,
            key=call.key,
            answer=answer,
            meta=meta,
        )


def _scored_by(candidate: Candidate, look: Look) -> str:
    """Return what gave the score, under a name of its own where another embedder gave the cosine."""
    if look.scale is None:
        return candidate.verifier
    return candidate.verifier + (UNFIT if look.held else CALIBRATED)


class Learner:
    """Keeps rows and compares answers, behind the calls."""

    def __init__(
        self,
        *,
        embedder: Embedder,
        index: NeighbourIndex,
        verifier: Verifier,
        entries: EntryStore,
        events: SemanticEvents,
        meter: Meter,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._chance = chance
        self.embedder = embedder
        self.trouble = IndexTrouble(clock)
        self._index = index
        self._verifier = verifier
        self._entries = entries
        self._events = events
        self._meter = meter
        self._clock = clock
        self._waiting: deque[tuple[Filled, Look]] = deque()
        self._task: asyncio.Task[None] | None = None

    def take(self, filled: Filled, look: Look) -> None:
        """Take an answer to learn from. Never raises, never waits."""
        if len(self._waiting) >= WAITING_MAX:
            self._meter.count_semantic("dropped")
            return
        self._waiting.append((filled, look))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work_off(), name="semantic-learning")

    def note(
        self,
        filled: Filled,
        look: Look,
        candidate: Candidate,
        kind: str,
        *,
        agreed: bool | None = None,
        judged_by: str = "",
        share: float = 1.0,
    ) -> SemanticEvent:
        """Tell the control plane of a near question."""
        event_id = new_id()
        asked = look.question.text if look.question is not None else ""
        event = SemanticEvent(
            id=event_id,
            at_ms=int(self._clock.now() * 1000),
            tenant_id=filled.tenant.id,
            namespace=filled.namespace,
            kind=kind,
            request_id=filled.request_id,
            entry_key=candidate.key.hex(),
            sealed=seal_texts(filled.tenant, event_id, asked, candidate.question),
            cosine=candidate.cosine,
            score=candidate.score,
            threshold=look.threshold,
            risk=candidate.risk,
            risk_limit=look.risk_limit,
            verifier=_scored_by(candidate, look),
            veto=candidate.veto,
            features=candidate.named_features(),
            reasons=candidate.reasons(self._verifier),
            agreed=agreed,
            judged_by=judged_by,
            share=share,
            saved_usd_nanos=candidate.entry.meta.cost_usd_nanos if candidate.entry is not None else 0,
            writer=candidate.writer,
            api_key_id=filled.api_key_id,
            dialect=filled.dialect,
            model=filled.model,
            # Named only where somebody else may have to read both answers.
            asked_key=filled.key.hex() if agreed is None and filled.meta is not None else "",
            agreement=candidate.agreement,
        )
        self._events.add(event)
        return event

    async def settle(self) -> None:
        """Return once everything that was taken is worked off."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Stop; what waits is let go."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _work_off(self) -> None:
        while self._waiting:
            filled, look = self._waiting.popleft()
            try:
                await self._learn(filled, look)
            except TROUBLE as error:
                self._meter.count_semantic("dropped")
                self.trouble.met(error)
                _log.debug("answer_not_learned", reason=error.code)
            except Exception:  # noqa: BLE001 - a defect of ours must not end the task
                self._meter.count_semantic("dropped")
                _log.exception("semantic_learning_failed")

    async def _learn(self, filled: Filled, look: Look) -> None:
        was_looked_up = look.result not in ("unasked", "skipped")
        if not was_looked_up and look.vector is None:
            look = prepare(look.asking, self.embedder, self._verifier)
        text = answer_text(filled.endpoint.name, filled.answer) if filled.answer is not None else None
        if look.question is None or text is None:
            return
        repeats = b""
        try:
            if was_looked_up:
                repeats = await self._compare(filled, look, text)
        finally:
            # Kept all the same where comparing failed: then nobody knows whose answer it repeats.
            if filled.meta is not None:
                await self._keep_row(filled, filled.meta, look, repeats)

    async def _keep_row(self, filled: Filled, meta: EntryMeta, look: Look, repeats: bytes) -> None:
        assert look.question is not None
        vector, pieces = look.vector, look.pieces
        if vector is None:
            (vector,) = await self.embedder.embed([look.question.text], seconds=_EMBED_SECONDS)
            pieces = self.embedder.pieces(look.question.text)
        row = IndexRow(
            key=filled.key,
            partition=look.partition,
            embedder_id=self.embedder.id,
            vector=vector,
            normal_digest=look.normal_digest,
            question=look.question.text,
            writer=meta.writer,
            stored_at=meta.stored_at,
            expires_at=meta.expires_at,
            analysis=pack_analysis(look.text) if look.text is not None else b"",
            pieces=pieces,
            repeats=repeats,
        )
        await self._index.add(filled.tenant, row)
        self._meter.count_semantic("learned")

    async def _compare(self, filled: Filled, look: Look, text: str) -> bytes:
        """Compare the provider's answer with the neighbour's, which might have been served in its place.

        Return what all that repeat the neighbour's answer have in common where both say the same, else nothing.
        """
        candidate = look.found or self._worth_comparing(look)
        if candidate is None:
            return b""
        is_would_be = look.found is not None
        share = 1.0 if is_would_be or len(self._waiting) < _BUSY else _BUSY_SHARE
        if share < 1 and self._chance() >= share:
            return b""
        if is_would_be and not look.is_only_compared:
            share = look.asking.settings.shadow_share
        entry = candidate.entry or (await self._entries.get(filled.tenant, candidate.key)).entry
        answer = stored_answer(filled.endpoint, entry) if entry is not None else None
        other = answer_text(filled.endpoint.name, answer) if answer is not None else None
        if entry is None or other is None:
            return b""
        candidate.entry, candidate.writer = entry, entry.meta.writer
        agreed, judged_by = compare_at_once(text, other)
        if not judged_by:
            ours, theirs = await self.embedder.embed(
                [text[:COMPARED_CHARS_MAX], other[:COMPARED_CHARS_MAX]], seconds=_EMBED_SECONDS
            )
            cosine = float(ours @ theirs)
            cosine = cosine if look.scale is None else look.scale.of(cosine)
            agreed, judged_by = compare_by_meaning(text, other, cosine, self._verifier)
        self.note(
            filled,
            look,
            candidate,
            "shadow" if is_would_be else "judged",
            agreed=agreed,
            judged_by=judged_by if agreed is not None else "",
            share=share,
        )
        return (candidate.answer or candidate.key) if agreed else b""

    def _worth_comparing(self, look: Look) -> Candidate | None:
        best = look.candidates[0] if look.candidates else None
        if best is None or best.veto or best.verifier == NORMALISED:
            return None
        mode, is_by_trees = look.asking.mode, best.verifier != COSINE
        # What evidence may open has to be seen before it is opened.
        if is_by_trees and mode in (SemanticMode.BALANCED, SemanticMode.SHADOW) and best.may_open(self._verifier):
            return best
        # Never above what the controller may let down to, or it would not see what it decides on.
        least = min(_JUDGED_FROM, self._verifier.balanced_threshold) if is_by_trees else _JUDGED_FROM_COSINE
        return best if best.score >= least else None
