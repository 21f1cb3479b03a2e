"""Asking for embeddings anew behind a caller that was served stale ones: one call for all of them that nobody asks for yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from agentcache.engine.freshness import may_serve
from agentcache.engine.stores.port import Put, StoreUnavailable
from agentcache.gateway.calls import Call
from agentcache.gateway.embeddings.batch import STORE_OPERATIONS_MAX, Batch, join, wait
from agentcache.gateway.embeddings.items import Item
from agentcache.gateway.ports import Outcome
from agentcache.gateway.refreshing import claim_name, own_call
from agentcache.gateway.shared_flights import BUDGETS_PER_CLAIM, claim
from agentcache.kit.logs import get_logger

_log = get_logger(__name__)
_background: set[asyncio.Task[None]] = set()


def begin_refresh(call: Call, items: Sequence[Item]) -> str:
    """Refresh items in the background, each once; say what becomes of them, in a word for the caller. Never waits."""
    refreshes = call.parts.refreshes
    if not refreshes.may_begin(call):
        return "none"
    words = [refreshes.standing(call, item.key) for item in items]
    due = [item for item, word in zip(items, words, strict=True) if not word and item.mark is not None]
    if not due or not refreshes.has_room:
        return next((word for word in ("running", "waiting") if word in words), "none")
    refreshes.note_begun([item.key for item in due])
    task = asyncio.get_running_loop().create_task(_refresh(own_call(call), due))
    _background.add(task)
    task.add_done_callback(_background.discard)
    return "started"


async def _refresh(call: Call, items: Sequence[Item]) -> None:
    tokens: dict[bytes, str] = {}
    try:
        mine = await _claim(call, items, tokens)
        due = await _still_due(call, mine)
        if due:
            await _ask(call, due)
    except Exception:  # noqa: BLE001 - nobody waits for it, and the stale answers stay
        _log.exception("refresh_failed", request_id=call.request_id)
    finally:
        call.parts.refreshes.note_over([item.key for item in items])
        for key, token in tokens.items():
            # A claim that cannot be given back runs out by itself.
            with contextlib.suppress(StoreUnavailable):
                await asyncio.shield(call.parts.board.finish(claim_name(key), token))


async def _claim(call: Call, items: Sequence[Item], tokens: dict[bytes, str]) -> list[Item]:
    """Return the items that no other worker asks for; fill in what this one has claimed."""
    parts = call.parts
    if not parts.is_shared:
        return list(items)
    seconds = BUDGETS_PER_CLAIM * parts.settings.store_budget_ms / 1000
    mine: list[Item] = []
    for start in range(0, len(items), STORE_OPERATIONS_MAX):
        part = items[start : start + STORE_OPERATIONS_MAX]
        claims = await asyncio.gather(
            *(claim(parts.board, claim_name(item.key), seconds) for item in part), return_exceptions=True
        )
        for item, token in zip(part, claims, strict=True):
            if isinstance(token, str):
                tokens[item.key] = token
            elif token is None:
                parts.refreshes.note_elsewhere(item.key)
                continue
            elif not isinstance(token, StoreUnavailable):
                raise token
            # A board in trouble keeps nobody from asking.
            mine.append(item)
    return mine


async def _still_due(call: Call, items: Sequence[Item]) -> list[Item]:
    """Return the items that have not been refreshed between the look-up and now."""
    entries, tenant, now = call.parts.entries, call.principal.tenant, call.parts.clock.now()
    due: list[Item] = []
    for start in range(0, len(items), STORE_OPERATIONS_MAX):
        part = items[start : start + STORE_OPERATIONS_MAX]
        try:
            lookups = await asyncio.gather(*(entries.get(tenant, item.key) for item in part))
        except StoreUnavailable:
            # Whether they are due cannot be told: asked once too often is better than stale for longer.
            due += items[start:]
            break
        for item, lookup in zip(part, lookups, strict=True):
            if lookup.entry is None or not may_serve(lookup.entry.meta, now):
                item.mark = lookup.mark
                due.append(item)
    return due


async def _ask(call: Call, items: Sequence[Item]) -> None:
    refreshes, batch = call.parts.refreshes, Batch(call)
    flights = join(call, batch, items, after_failure=False)
    failure, unusable = await wait(flights)
    answer = batch.answer or unusable
    status = failure.status if failure is not None else answer.head.status if answer is not None else 0
    puts: set[str] = set()
    for item, flight in zip(items, flights, strict=True):
        found = flight.result.found if flight.result is not None else {}
        put = found[item.key].put if item.key in found else ""
        puts.add(put)
        refreshes.note_outcome(call, item.key, put, status)
    if not batch.items:
        return  # all of them were asked for by others, whose events tell of it
    refusals = sorted(puts - {Put.STORED.value, ""})
    why = (
        failure.code if failure is not None else (answer.reason if answer is not None else "") or "".join(refusals[:1])
    )
    call.record(
        Outcome.REFRESH,
        status or 200,
        input_tokens=sum(asked.vector.tokens for asked in answer.found.values()) if answer is not None else 0,
        cost_usd_nanos=answer.cost_usd_nanos if answer is not None else 0,
        upstream_us=answer.upstream_us if answer is not None else 0,
        reason=f"stale; {why}" if why else "stale",
    )
