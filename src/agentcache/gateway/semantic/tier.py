"""The semantic tier on the way of a miss: near questions are looked up within a budget, and what is well judged is served.

Whatever goes wrong in here is a miss: the call goes on to the provider, at most a budget later, and at once while the tier
is paused after trouble.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from agentcache.engine.entries import EntryMeta, Tenant
from agentcache.engine.freshness import may_serve
from agentcache.engine.semantic.calibration.calibrator import Calibrator
from agentcache.engine.semantic.embedders.port import Embedder, EmbedderUnavailable, Vector
from agentcache.engine.semantic.index.port import COSINE_MIN, IndexUnavailable, Neighbour, NeighbourIndex
from agentcache.engine.semantic.settings import SemanticMode, settings_for
from agentcache.engine.semantic.verifier import Verifier
from agentcache.engine.stores.port import EntryStore
from agentcache.gateway.asgi_types import HeaderList
from agentcache.gateway.limit_headers import with_headers
from agentcache.gateway.meter import Meter
from agentcache.gateway.ports import Principal, SemanticEvent
from agentcache.gateway.semantic.learning import TROUBLE, Filled, Learner
from agentcache.gateway.semantic.looking import (
    NORMALISED,
    UNCALIBRATED,
    UNFIT_EMBEDDER,
    Asking,
    Candidate,
    Look,
    Unfit,
    judge,
    refused,
    result_of,
    seems_refused,
    take_apart,
    take_in,
)
from agentcache.gateway.semantic.replies import near_headers, passed_headers
from agentcache.gateway.semantic.reported import Served, ServedRecently
from agentcache.gateway.semantic.spool import SemanticEvents, open_texts, seal_note, seal_texts
from agentcache.kit.clock import Clock
from agentcache.kit.ids import new_id
from agentcache.kit.logs import get_logger
from agentcache.providers.dialect import Json

if TYPE_CHECKING:
    from agentcache.gateway.calls import Call

#: Rows whose entry is gone are dropped and the next ones asked for, so many times.
_ROUNDS_MAX: Final = 3
#: So many look-ups in a row that used the budget up or failed, and the tier is left alone: for a second, then for twice as
#: long each time, until one is in time. An embedder that loads its model is soon well; one that is slow stays slow.
_FAILURES_MAX: Final = 3
_PAUSE_SECONDS: Final = 1.0
_PAUSE_SECONDS_MAX: Final = 30.0
#: What of the budget the vector may take; a look-up that took more than the other share and then failed was slow.
_EMBEDDING_SHARE: Final = 0.9
_SLOW_SHARE: Final = 0.5
#: So many look-ups at once; what comes beyond goes to the provider without one.
_LOOKS_MAX: Final = 256
_log = get_logger(__name__)


class SemanticTier:
    """Looks near questions up, and learns from what providers answer. Built once in each server process."""

    def __init__(
        self,
        *,
        embedder: Embedder,
        index: NeighbourIndex,
        verifier: Verifier,
        entries: EntryStore,
        learner: Learner,
        events: SemanticEvents,
        meter: Meter,
        clock: Clock,
        budget_seconds: float,
        calibrator: Calibrator | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.index = index
        self.verifier = verifier
        self.learner = learner
        self.events = events
        self.recent = ServedRecently()
        self._embedder = embedder
        self._entries = entries
        self._meter = meter
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._calibrator = calibrator
        self._chance = chance
        self._looking: dict[object, asyncio.Task[Look]] = {}
        self._failures = 0
        self._pause_seconds = _PAUSE_SECONDS
        self._paused_until = 0.0

    async def find(self, call: Call) -> Candidate | None:
        """Return the neighbour whose answer this call gets; None where the provider is to be asked. Never raises."""
        asking = asking_of(call)
        if asking is None:
            return None
        if asking.mode is SemanticMode.OFF:
            _tell(call, Look(asking, "off"))
            return None
        started = self._clock.monotonic()
        look = await self._look_within_budget(asking, call)
        call.look = look
        candidate = look.found
        if candidate is not None and look.is_shadowed and may_ask(call):
            look, candidate = replace(look, result="shadow"), None
        if candidate is not None and look.is_only_compared:
            candidate = None
        self._meter.count_look(look.result.partition(":")[0], int((self._clock.monotonic() - started) * 1e6))
        if candidate is None:
            _tell(call, look)
        return candidate

    def headers(self, call: Call, candidate: Candidate) -> HeaderList:
        """Return what the reply says of the neighbour whose answer it is."""
        assert call.look is not None
        return near_headers(call.look, candidate, self.verifier)

    def served(self, call: Call, candidate: Candidate) -> None:
        """Note that a neighbour's answer was served."""
        look = call.look
        assert look is not None
        event = self.learner.note(Filled.of(call, None), look, candidate, "hit")
        self.recent.add(call.request_id, Served(call.principal.tenant.id, candidate.key, event))

    def filled(self, call: Call, answer: Json | None, meta: EntryMeta | None) -> None:
        """Learn from a good answer of the provider, later; `meta` is its entry's. Never raises, never waits."""
        learn_filled(self.learner, call, answer, meta)

    def placed(self, filled: Filled, asking: Asking) -> None:
        """Learn the question of an answer that a caller placed, later. Never raises, never waits."""
        if asking.mode is not SemanticMode.OFF:
            self.learner.take(filled, Look(asking, "unasked"))

    def report(
        self,
        principal: Principal,
        key: bytes,
        *,
        request_id: str,
        served: Served | None,
        meta: EntryMeta | None,
        is_right: bool,
        note: str,
    ) -> SemanticEvent:
        """Tell the control plane that somebody judged an answer; `served` is what is known of it here, `meta` its entry's."""
        tenant, event_id = principal.tenant, new_id()
        event = SemanticEvent(
            id=event_id,
            at_ms=int(self._clock.now() * 1000),
            tenant_id=tenant.id,
            namespace=meta.namespace if meta is not None else "",
            kind="reported",
            request_id=request_id,
            entry_key=key.hex(),
            writer=meta.writer if meta is not None else "",
            api_key_id=principal.api_key_id,
            dialect=meta.dialect if meta is not None else "",
            model=meta.model if meta is not None else "",
            agreed=is_right,
            judged_by="caller",
            note=seal_note(tenant, event_id, note),
        )
        if served is not None:
            hit = served.event
            event = msgspec.structs.replace(
                hit,
                id=event_id,
                at_ms=event.at_ms,
                kind=event.kind,
                sealed=seal_texts(tenant, event_id, *open_texts(tenant, hit.id, hit.sealed)),
                agreed=is_right,
                judged_by=event.judged_by,
                saved_usd_nanos=0,
                api_key_id=event.api_key_id,
                note=event.note,
            )
        self.events.add(event)
        return event

    async def look(self, asking: Asking, seconds: float | None = None) -> Look:
        """Look a request up; raises what the parts raise. `seconds` bounds the embedding."""
        look = take_apart(asking, self._embedder, self.verifier)
        if look.question is None:
            return look
        try:
            if seems_refused(look, self._embedder):
                take_in(look, self._embedder)
            found = await self._normalised(look)
            if found is not None:
                look.candidates = [found]
            elif self._calibrator is not None and self._calibrator.is_busy:
                # Its vector would wait behind the texts that are embedded, beyond its budget; nothing could be served by it.
                take_in(look, self._embedder)
                look.held, look.result = UNCALIBRATED, "skipped"
                return look
            else:
                await self._embed(look, look.question.text, seconds)
                if self._calibrator is not None and not self._calibrated(look, self._calibrator):
                    look.result = "skipped"
                    return look
                found = await self._nearest(look)
        except Unfit as wrong:
            return refused(look, wrong)
        look.found = found
        look.result = result_of(look, self.verifier) if found is None else self._result_of_found(look)
        return look

    async def _embed(self, look: Look, question: str, seconds: float | None) -> None:
        """Fill in the vector and, while it is made, the analysis; raises `Unfit`, and what the embedder raises."""
        try:
            (look.vector,) = await self._embedder.embed(
                [question], seconds=seconds, meanwhile=partial(take_in, look, self._embedder)
            )
        except EmbedderUnavailable:
            # An unfit question is told to be so, whatever the embedder does.
            take_in(look, self._embedder)
            raise
        look.pieces = self._embedder.pieces(question)

    def _calibrated(self, look: Look, calibrator: Calibrator) -> bool:
        """Tell the look-up how the embedder's cosines are read, and whether they may be served by; False while nobody knows."""
        found = calibrator.of(self._embedder.id)
        if found is None:
            look.held = UNCALIBRATED
            return False
        look.scale, look.held = found.scale, UNFIT_EMBEDDER if found.unfit else ""
        return True

    async def forget(self, tenant: Tenant, keys: tuple[bytes, ...]) -> None:
        """Drop the rows of entries that were removed; what fails is dropped when it is next found."""
        try:
            await self.index.remove(tenant, keys)
        except IndexUnavailable as error:
            self._meter.count_store_error()
            self.learner.trouble.met(error)

    async def settle(self) -> None:
        """Return once everything that was taken to learn from is learned, and the embedder is calibrated or has failed to be."""
        await self.learner.settle()
        if self._calibrator is not None:
            await self._calibrator.settle()

    async def close(self) -> None:
        """Stop what is under way and release everything."""
        for task in set(self._looking.values()):
            task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)
        await self.learner.close()
        if self._calibrator is not None:
            await self._calibrator.close()
        await self._embedder.aclose()
        await self.index.aclose()

    async def _look_within_budget(self, asking: Asking, call: Call) -> Look:
        if self._clock.monotonic() < self._paused_until or len(self._looking) >= _LOOKS_MAX:
            return Look(asking, "skipped")
        # Whoever asks the same at the same time shares the look-up, as they would share the call to the provider.
        name = (asking.tenant.id, asking.key, asking.asked, asking.max_age, call.mark, asking.settings)
        task = self._looking.get(name)
        begins = task is None
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look(asking))
            self._looking[name] = task
            task.add_done_callback(lambda done: self._forget_task(name, done))
        try:
            async with asyncio.timeout(self._budget_seconds):
                return await asyncio.shield(task)
        except TimeoutError:
            if begins:
                self._failed("over its budget")
        return Look(asking, "skipped")

    async def _look(self, asking: Asking) -> Look:
        started = self._clock.monotonic()
        try:
            look = await self.look(asking, _EMBEDDING_SHARE * self._budget_seconds)
        except TROUBLE as error:
            # Each of these has a breaker or a budget of its own; what is refused at once costs nothing.
            self.learner.trouble.met(error)
            _log.debug("look_up_skipped", reason=error.code)
            if self._clock.monotonic() - started >= _SLOW_SHARE * self._budget_seconds:
                self._failed(error.code)
            return Look(asking, "skipped")
        except Exception:  # noqa: BLE001 - a defect of ours; the provider can answer all the same
            _log.exception("semantic_look_up_failed")
            self._failed("an error")
            return Look(asking, "skipped")
        self._failures, self._pause_seconds = 0, _PAUSE_SECONDS
        return look

    def _forget_task(self, name: object, task: asyncio.Task[Look]) -> None:
        if self._looking.get(name) is task:
            del self._looking[name]

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures >= _FAILURES_MAX:
            self._failures = 0
            self._paused_until = self._clock.monotonic() + self._pause_seconds
            _log.warning("semantic_tier_paused", reason=reason, seconds=self._pause_seconds)
            self._pause_seconds = min(2 * self._pause_seconds, _PAUSE_SECONDS_MAX)

    async def _normalised(self, look: Look) -> Candidate | None:
        """Return the entry of the same question in another spelling, if one may be served."""
        asking = look.asking
        key = await self.index.find_normalised(asking.tenant, look.partition, look.normal_digest)
        if key is None or key == asking.key:
            return None
        take_in(look, self._embedder)
        assert look.text is not None
        found = Candidate(key, look.text.normal, "", 1.0, 1.0, NORMALISED)
        return found if await self._fetched(asking, found) else None

    async def _nearest(self, look: Look) -> Candidate | None:
        """Fill in the candidates; return the best that may be served."""
        asking = look.asking
        assert look.text is not None and look.vector is not None
        for _ in range(_ROUNDS_MAX):
            neighbours = await self._neighbours(look, look.vector)
            others = [one for one in neighbours if one.key != asking.key]
            look.candidates = judge(look.text, others, asking.settings, self.verifier, asking.rule, look.pieces)
            gone = []
            for candidate in look.candidates:
                if look.why_not(candidate, self.verifier):
                    continue
                if await self._fetched(asking, candidate):
                    return candidate
                if candidate.entry is None:
                    gone.append(candidate.key)
            if not gone:
                return None
            await self.index.remove(asking.tenant, gone)
        return None

    async def _neighbours(self, look: Look, vector: Vector) -> list[Neighbour]:
        """Return the nearest, with cosines on the scale of the embedder that ships."""
        tenant, partition, scale = look.asking.tenant, look.partition, look.scale
        if scale is None:
            return await self.index.nearest(tenant, partition, self._embedder.id, vector)
        least = scale.least(COSINE_MIN)
        found = await self.index.nearest(tenant, partition, self._embedder.id, vector, cosine_min=least)
        return [replace(one, cosine=scale.of(one.cosine)) for one in found]

    async def _fetched(self, asking: Asking, candidate: Candidate) -> bool:
        """Fetch the entry through the store, where every invalidation holds; say whether it may be served now."""
        candidate.entry = (await self._entries.get(asking.tenant, candidate.key)).entry
        if candidate.entry is None:
            return False
        candidate.writer = candidate.entry.meta.writer
        return may_serve(candidate.entry.meta, self._clock.now(), max_age=asking.max_age)

    def _result_of_found(self, look: Look) -> str:
        assert look.found is not None
        settings = look.asking.settings
        look.is_shadowed = look.is_only_compared or (
            look.found.verifier != NORMALISED and self._chance() < settings.shadow_share
        )
        return "shadow" if look.is_only_compared else "hit"


class NoSemanticTier:
    """Stands where no embedder is installed."""

    async def find(self, call: Call) -> Candidate | None:
        """Find nothing; tell who asked why."""
        asking = asking_of(call)
        if asking is not None:
            _tell(call, Look(asking, "not_installed"))
        return None

    def headers(self, call: Call, candidate: Candidate) -> HeaderList:
        """Say nothing."""
        return []

    def served(self, call: Call, candidate: Candidate) -> None:
        """Do nothing."""

    def filled(self, call: Call, answer: Json | None, meta: EntryMeta | None) -> None:
        """Do nothing."""

    def placed(self, filled: Filled, asking: Asking) -> None:
        """Do nothing."""

    async def forget(self, tenant: Tenant, keys: tuple[bytes, ...]) -> None:
        """Do nothing."""

    async def settle(self) -> None:
        """Have nothing to wait for."""

    async def close(self) -> None:
        """Do nothing."""


def learn_filled(learner: Learner, call: Call, answer: Json | None, meta: EntryMeta | None) -> None:
    """Have an answer of the provider learned from, where its namespace and its caller want that."""
    if answer is None:
        return
    look = call.look
    asking = look.asking if look is not None else asking_of(call)
    if asking is None or asking.mode is SemanticMode.OFF:
        return
    learner.take(Filled.of(call, answer, meta), look or Look(asking, "unasked"))


def asking_of(call: Call) -> Asking | None:
    """Return what a call asks the tier; None where its namespace has it off and the caller says nothing of it."""
    principal, policy, asked = call.principal, call.policy, call.directives.semantic
    allowed = policy.semantic if policy is not None else None
    settings = settings_for(principal.semantics, call.namespace, allowed)
    if settings.mode is SemanticMode.OFF and not asked.is_given:
        return None
    if call.material is None or call.endpoint is None:
        return None
    return Asking(
        tenant=principal.tenant,
        settings=settings,
        endpoint=call.endpoint.name,
        body=call.body,
        material=call.material,
        key=call.key,
        asked=asked,
        max_age=call.directives.max_age,
    )


def may_ask(call: Call) -> bool:
    """Say whether the call could go to the provider at all."""
    return call.caller.has_provider_credential and not call.directives.only_if_cached


def _tell(call: Call, look: Look) -> None:
    call.send = with_headers(call.send, passed_headers(look, look.result))
