"""Which embedder the settings ask for. Nothing is loaded and nothing of the optional extra is imported before its first use."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from agentcache.engine.semantic.embedders.guarded import GuardedEmbedder
from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.embedders.minilm_files import ensure_files, missing_parts
from agentcache.engine.semantic.embedders.port import Embedder
from agentcache.engine.semantic.embedders.threaded import ThreadedEmbedder
from agentcache.kit.clock import Clock, SystemClock
from agentcache.settings import Settings

#: The embedder on whose scale of cosines the verifier was trained; every other one is calibrated to it.
BUILT_IN: Final = "minilm"


def why_not(settings: Settings) -> str | None:
    """Return why semantic look-ups cannot work as the server is set and installed, as one sentence; None if they can."""
    kind = settings.semantic_embedder.partition(":")[0]
    if kind == "off":
        return "This server's operator has switched semantic look-ups off (AGENTCACHE_SEMANTIC_EMBEDDER=off)."
    needed = {"openai": ("numpy",), "sentence-transformers": ("numpy", "sentence_transformers")}
    if kind == BUILT_IN:
        missing = missing_parts(settings.models_dir)
    else:
        missing = [name for name in needed[kind] if find_spec(name) is None]
    if not missing:
        return None
    how = "agentcache-server[semantic]" if "sentence_transformers" not in missing else "sentence-transformers"
    names = ", ".join(missing)
    return f"Semantic caching is not installed on this server (missing: {names}). Its operator can run: pip install '{how}'."


def make_ready(settings: Settings) -> None:
    """Make the files of the built-in embedder where they are not there yet; other embedders need none.

    Blocks, seconds at first use, many on a busy machine: nobody who is in a hurry calls it. Raises `EmbedderUnavailable`.
    """
    if settings.semantic_embedder == "minilm":
        ensure_files(settings.models_dir)


def open_embedder(settings: Settings, clock: Clock | None = None) -> GuardedEmbedder | None:
    """Return the embedder, guarded by deadline, checks and breaker; None where it is switched off. Costs nothing yet."""
    clock = clock or SystemClock()
    kind, _, rest = settings.semantic_embedder.partition(":")
    embedder: Embedder
    if kind == "off":
        return None
    if kind == "openai":
        from agentcache.engine.semantic.embedders.openai import OpenAIEmbedder

        model, _, url = rest.rpartition("@")
        embedder = OpenAIEmbedder(
            model,
            url,
            api_key=settings.semantic_api_key,
            is_multilingual=settings.semantic_multilingual,
            clock=clock,
        )
    elif kind == "sentence-transformers":
        from agentcache.engine.semantic.embedders.sentence_transformers import SentenceTransformersModel

        embedder = ThreadedEmbedder(SentenceTransformersModel(rest, is_multilingual=settings.semantic_multilingual))
    else:
        embedder = ThreadedEmbedder(MinilmModel(settings.models_dir))
    return GuardedEmbedder(embedder, seconds=settings.semantic_budget_ms / 1000, clock=clock)
