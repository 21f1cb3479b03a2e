"""Which embedder the settings ask for. Nothing is loaded and nothing of the optional extra is imported before its first use."""

from __future__ import annotations

from agentcache.engine.semantic.embedders.guarded import GuardedEmbedder
from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.embedders.minilm_files import missing_parts
from agentcache.engine.semantic.embedders.threaded import ThreadedEmbedder
from agentcache.kit.clock import Clock, SystemClock
from agentcache.settings import Settings


def why_not(settings: Settings) -> str | None:
    """Return why semantic look-ups cannot work as the server is set and installed, as one sentence; None if they can."""
    if settings.semantic_embedder == "off":
        return "This server's operator has switched semantic look-ups off (AGENTCACHE_SEMANTIC_EMBEDDER=off)."
    missing = missing_parts(settings.models_dir)
    if missing:
        names = ", ".join(missing)
        return f"Semantic caching is not installed on this server (missing: {names}). Run: pip install 'agentcache-server[semantic]'."
    return None


def open_embedder(settings: Settings, clock: Clock | None = None) -> GuardedEmbedder | None:
    """Return the embedder, guarded by deadline, checks and breaker; None where it is switched off. Costs nothing yet."""
    if settings.semantic_embedder == "off":
        return None
    embedder = ThreadedEmbedder(MinilmModel(settings.models_dir))
    return GuardedEmbedder(embedder, seconds=settings.semantic_budget_ms / 1000, clock=clock or SystemClock())
