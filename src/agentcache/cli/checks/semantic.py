"""What semantic look-ups need: an embedder, and the index of questions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from agentcache.cli.checks.finding import Finding, fail, ok, skip, warn
from agentcache.engine.semantic.calibration.standing import standing_of
from agentcache.engine.semantic.embedders.minilm_files import are_whole
from agentcache.engine.semantic.embedders.opening import open_embedder, why_not
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable
from agentcache.engine.semantic.index.examining import examine
from agentcache.kit.errors import AgentCacheError
from agentcache.settings import Settings

PART = "semantic look-ups"
#: A service far away may take its time with the first answer.
_SERVICE_SECONDS = 10.0


def check_semantic(settings: Settings, *, network: bool) -> Iterator[Finding]:
    """Look at embedder and index; asks an embedding service only with `network`."""
    reason = why_not(settings)
    if reason is not None:
        is_off = settings.semantic_embedder == "off"
        yield skip(
            PART, "embedder", reason, "" if is_off else "Without it everything else works; exact hits need none."
        )
        return
    yield _embedder(settings, network=network)
    yield from _calibration(settings)
    yield _index(settings)


def _embedder(settings: Settings, *, network: bool) -> Finding:
    kind = settings.semantic_embedder.partition(":")[0]
    if kind == "minilm":
        whole = are_whole(settings.models_dir)
        if whole is None:
            return ok(PART, "embedder", f"minilm, to be made in {settings.models_dir} at first use (3 s)")
        if not whole:
            mend = "Nothing to do: it is made again at first use. Look at the disk if that happens again."
            return warn(PART, "embedder", f"the model in {settings.models_dir} is damaged", mend)
        return ok(PART, "embedder", f"minilm, in {settings.models_dir}")
    if kind == "openai" and not network:
        return skip(PART, "embedder", f"{settings.semantic_embedder}, not asked", "Run: agentcache doctor --network")
    if kind == "openai":
        try:
            dimensions = asyncio.run(_dimensions(settings))
        except EmbedderUnavailable as error:
            mend = "Mend AGENTCACHE_SEMANTIC_EMBEDDER or AGENTCACHE_SEMANTIC_API_KEY, or start the service."
            return fail(PART, "embedder", f"{settings.semantic_embedder}: {error.message}", mend)
        return ok(PART, "embedder", f"{settings.semantic_embedder}, {dimensions} dimensions")
    return ok(PART, "embedder", settings.semantic_embedder)


def _calibration(settings: Settings) -> Iterator[Finding]:
    """Say whether another embedder than the built-in one is served by, as the server last found; nothing is measured here."""
    standing = standing_of(settings)
    if standing is None:
        return
    if standing.word == "fit":
        yield ok(PART, "calibration", standing.found)
    else:
        tell = warn if standing.word == "unfit" else skip
        yield tell(PART, "calibration", standing.found, standing.mend)


async def _dimensions(settings: Settings) -> int:
    embedder = open_embedder(settings)
    assert embedder is not None
    try:
        (vector,) = await embedder.embed(["Is the embedder well?"], seconds=_SERVICE_SECONDS)
        return len(vector)
    finally:
        await embedder.aclose()


def _index(settings: Settings) -> Finding:
    url = settings.semantic_index_url
    if url is None:
        return ok(PART, "index", f"embedded: {settings.semantic_db}")
    try:
        examined = examine(url)
    except AgentCacheError as error:
        mend = "Start the server, mend the URL, or unset it for the embedded index."
        return fail(PART, "index", f"AGENTCACHE_SEMANTIC_INDEX_URL: no answer ({error.message})", mend)
    if examined.problem:
        return fail(PART, "index", examined.problem, examined.mend)
    return ok(PART, "index", examined.found)
