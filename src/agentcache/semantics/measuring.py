"""How near two prompts are, by the embedder that the server has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from agentcache.engine.semantic.calibration.standing import Standing, standing_of
from agentcache.engine.semantic.embedders.opening import make_ready, open_embedder, why_not
from agentcache.engine.semantic.embedders.port import Embedder, EmbedderUnavailable, estimated_tokens
from agentcache.settings import Settings
from agentcache.teams.secrets import current_settings

#: Loading a model takes a fraction of it; nobody's call waits.
_WITHIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """How near two prompts are, and how long each is."""

    #: On the scale of the built-in embedder. None where there is none, or it could not be used or read; then `problem` says why.
    cosine: float | None
    token_counts: tuple[int, int]
    #: Names model, version and digest; "" without one.
    embedder: str = ""
    is_multilingual: bool = False
    problem: str = ""
    #: The word pieces of both, where the embedder gives them.
    pieces: tuple[bytes, bytes] = (b"", b"")


def missing() -> str:
    """Return why near questions cannot be looked up on this server, in one sentence; "" where they can."""
    return why_not(current_settings()) or ""


def held_back() -> str:
    """Return why nothing is served by this server's embedder, and what can be done, in two sentences; "" where it is."""
    settings = current_settings()
    return _told(standing_of(settings) if why_not(settings) is None else None)


def measure(asked: str, stored: str) -> Measured:
    """Return how near two prompts are. Not for threads that run an event loop.

    The model is loaded for the call alone: who tries pairs of prompts now and then needs no 90 MB in between.
    """
    settings = current_settings()
    estimate = (estimated_tokens(asked), estimated_tokens(stored))
    problem = why_not(settings)
    if problem is not None:
        return Measured(None, estimate, problem=problem)
    try:
        # Not of the seconds that a vector has: whoever tries the first pair of all would see no score for it.
        make_ready(settings)
        return asyncio.run(_measure(settings, asked, stored))
    except EmbedderUnavailable as error:
        return Measured(None, estimate, problem=error.message)


async def _measure(settings: Settings, asked: str, stored: str) -> Measured:
    embedder = open_embedder(settings)
    if embedder is None:
        raise EmbedderUnavailable
    try:
        return _on_scale(settings, await _with(embedder, asked, stored))
    finally:
        await embedder.aclose()


def _on_scale(settings: Settings, measured: Measured) -> Measured:
    """Return what was measured by another embedder as look-ups read it."""
    standing = standing_of(settings, measured.embedder)
    if standing is None or measured.cosine is None:
        return measured
    kept = standing.calibration
    return replace(measured, cosine=None if kept is None else kept.scale.of(measured.cosine), problem=_told(standing))


def _told(standing: Standing | None) -> str:
    return "" if standing is None or standing.word == "fit" else f"{standing.found} {standing.mend}"


async def _with(embedder: Embedder, asked: str, stored: str) -> Measured:
    first, second = await embedder.embed([asked, stored], seconds=_WITHIN_SECONDS)
    # Both are of length 1. Rounding may take the same text a little beyond.
    cosine = max(-1.0, min(1.0, float(first @ second)))
    counts = (embedder.count_tokens(asked), embedder.count_tokens(stored))
    pieces = (embedder.pieces(asked), embedder.pieces(stored))
    return Measured(cosine, counts, embedder.id, embedder.is_multilingual, pieces=pieces)
