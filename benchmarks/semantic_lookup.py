"""What looking for a near question costs: loading the model, embedding, searching among 10,000 and 100,000 questions, judging.

    make bench-lookup

In one process, on one thread at a time; minutes of nothing else on the machine make it honest. `--pgvector URL` and
`--redis URL` measure the search on servers of yours, too. Prints milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.embedders.port import Embedder, Meanwhile, Vector
from agentcache.engine.semantic.index.port import IndexRow, NeighbourIndex
from agentcache.kit.clock import SystemClock
from agentcache.settings import Settings

if TYPE_CHECKING:
    from agentcache.gateway.semantic.looking import Asking

CALLS = 400
TENANT = Tenant("team_bench", bytes(32))
SEALED = Tenant("team_bench", bytes(32), bytes(range(32)))
#: Questions of 8, 16, 22 and 60 word pieces.
QUESTIONS = {
    8: "How do I reset my password?",
    16: "How do I reset the password of my account when I am logged out?",
    22: "How do I reset the password of my work account when I am logged out and have no phone with me?",
    60: "I am logged out of my work account and have no phone with me, because it was stolen last week on a journey. How do I reset "
    "the password without it, and how long does it usually take until somebody of the support team answers a request of that kind?",
}
#: The question of 22 pieces with other words in two places, so that no look-up asks what one before it did.
ASKED = [
    QUESTIONS[22].replace("work account", f"{account} account").replace("phone", thing)
    for account in "work home bank mail team shop game school music film arts club city church park lake".split()
    for thing in "phone key card book bag car watch desk map pen ring box hat coat cup door ball boat coin list note page plan road cat".split()
]
#: What the stored questions ask, each with another number: a look-up has three of them to judge that it never met.
STORED = (
    "How can I reset the password of my work account {} when I am logged out and have no phone?",
    "How do I change the password of my work account {} while I am logged in and have no phone with me?",
    "How is the phone number {} of my account reset when I am logged out of it?",
)


class NearMadeUp:
    """Embeds as the server does, and then tells a made-up vector in place of the question's: the index holds no others."""

    def __init__(self, embedder: Embedder, vectors: Sequence[Vector]) -> None:
        self._embedder = embedder
        self._vectors = iter(vectors)
        self.id, self.dimensions, self.is_multilingual = embedder.id, embedder.dimensions, embedder.is_multilingual
        self.count_tokens, self.pieces, self.aclose = embedder.count_tokens, embedder.pieces, embedder.aclose

    async def embed(
        self, texts: Sequence[str], *, seconds: float | None = None, meanwhile: Meanwhile | None = None
    ) -> list[Vector]:
        """Take as long as the embedder does."""
        await self._embedder.embed(texts, seconds=seconds, meanwhile=meanwhile)
        return [next(self._vectors)]


def asking(question: str, tenant: Tenant) -> Asking:
    """Return what the gateway looks up for a chat of one turn. No score is high enough, so that nothing is fetched and served."""
    from agentcache.engine.keys import KeyMaterial
    from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings
    from agentcache.gateway.semantic.looking import Asking

    body = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": question}]}
    material = KeyMaterial("openai", "chat.completions", "https://api.openai.com", "default", "", (), (), body)
    settings = SemanticSettings(SemanticMode.CUSTOM, threshold=1.0)
    return Asking(tenant, settings, "chat.completions", body, material, key=bytes(32))


def memory_mb() -> float:
    """Return what this process holds in memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def timed(call: Callable[[int], Awaitable[object]], calls: int = CALLS) -> str:
    """Return p50 and p99 of a call, in milliseconds."""
    taken = []
    for number in range(calls):
        started = time.perf_counter()
        await call(number)
        taken.append((time.perf_counter() - started) * 1000)
    taken.sort()
    return f"p50 {taken[calls // 2]:7.2f}   p99 {taken[calls * 99 // 100]:7.2f}"


async def measure_embedder(settings: Settings) -> Embedder:
    """Print how long the built-in embedder takes to be made, to load, and for texts of several lengths; return it."""
    from agentcache.engine.semantic.embedders.minilm_files import ensure_files
    from agentcache.engine.semantic.embedders.opening import open_embedder

    started = time.perf_counter()
    ensure_files(settings.models_dir)
    print(f"made from the package's weights       {time.perf_counter() - started:7.2f} s, once")
    before, embedder = memory_mb(), open_embedder(settings)
    assert embedder is not None
    started = time.perf_counter()
    await embedder.warm()
    print(f"cold start: imports, check, load      {(time.perf_counter() - started) * 1000:7.0f}")
    for question in QUESTIONS.values():
        count = embedder.count_tokens(question) + 2
        print(
            f"embed {count:3} tokens             {await timed(lambda _, q=question: embedder.embed([q], seconds=60))}"
        )  # type: ignore[misc]
    print(f"memory of the embedder                {memory_mb() - before:7.0f} MB")
    return embedder


async def filled(
    index: NeighbourIndex, tenant: Tenant, partition: bytes, rows: int, embedder: Embedder
) -> list[Vector]:
    """Add `rows` questions in one partition, and return vectors of questions near them."""
    import numpy as np

    from agentcache.engine.semantic.analyses import pack_analysis
    from agentcache.engine.semantic.texts import analyse
    from tests.support.questions import STORED_AT, make_row

    generator = np.random.default_rng(3)
    centres = generator.standard_normal((rows // 20, 384)).astype(np.float32)
    await embedder.embed(STORED, seconds=60)
    pieces = [embedder.pieces(question) for question in STORED]

    def vector() -> Vector:
        made = centres[generator.integers(len(centres))] + 0.5 * generator.standard_normal(384)
        return (made / np.linalg.norm(made)).astype(np.float32)

    def row(number: int) -> IndexRow:
        of = number % len(STORED)
        question = STORED[of].format(number)
        # Those of the question without its number, but for two bytes that tell them apart.
        kept = pieces[of][:-2] + (number % 65_536).to_bytes(2, "little")
        made = {"question": question, "analysis": pack_analysis(analyse(question)), "pieces": kept}
        place = {"partition": partition, "embedder_id": embedder.id, "expires_at": STORED_AT * 2}
        return make_row(f"row {number}", vector(), **made, **place)

    for start in range(0, rows, 64):
        batch = [row(number) for number in range(start, min(start + 64, rows))]
        await asyncio.gather(*(index.add(tenant, one) for one in batch))
    return [vector() for _ in range(CALLS)]


async def measure_index(
    name: str, url: str | None, rows: int, tenant: Tenant, folder: Path, embedder: Embedder
) -> None:
    """Fill an index with one partition of `rows`, and print what searching, adding, memory and a whole look-up come to."""
    from agentcache.engine.semantic.analyses import recall
    from agentcache.engine.semantic.index.opening import open_index
    from agentcache.engine.semantic.texts import analyse
    from agentcache.engine.semantic.verifier import load_verifier
    from agentcache.gateway.semantic.looking import take_apart
    from agentcache.gateway.semantic.tier import SemanticTier
    from tests.support.questions import digest

    environ = {"AGENTCACHE_DATA_DIR": str(folder)} | ({"AGENTCACHE_SEMANTIC_INDEX_URL": url} if url else {})
    index = open_index(Settings.from_env(environ), SystemClock())
    await index.forget_tenant(tenant)
    verifier, askings = load_verifier(), [asking(question, tenant) for question in ASKED]
    partition = take_apart(askings[0], embedder, verifier).partition
    before, started = memory_mb(), time.perf_counter()
    asked = await filled(index, tenant, partition, rows, embedder)
    added = (time.perf_counter() - started) / rows * 1e6
    started = time.perf_counter()
    await index.nearest(tenant, partition, embedder.id, asked[0])
    first = (time.perf_counter() - started) * 1000
    nearest = await timed(lambda n: index.nearest(tenant, partition, embedder.id, asked[n]))
    # A look-up alone: of these it has no use.
    unused: Any = None
    tier = SemanticTier(
        embedder=NearMadeUp(embedder, asked),
        index=index,
        verifier=verifier,
        entries=unused,
        learner=unused,
        events=unused,
        meter=unused,
        clock=SystemClock(),
        budget_seconds=60,
    )

    async def look(number: int) -> None:
        # Met in an earlier measurement.
        for cached in (analyse, recall):
            cached.cache_clear()
        found = await tier.look(askings[number], 60)
        assert len(found.candidates) == 3

    assert all(embedder.count_tokens(question) == 22 for question in ASKED)
    whole = await timed(look)
    normal = await timed(lambda n: index.find_normalised(tenant, partition, digest("normal", f"row {n}")))
    print(f"{name}, {rows:,} questions in one partition: +{memory_mb() - before:.0f} MB here, {added:.0f} us to add")
    print(f"  first search (reads the partition)  {first:7.1f}")
    print(f"  nearest                  {nearest}")
    print(f"  normalised               {normal}")
    print(f"  whole look-up, 24 tokens {whole}")
    await index.forget_tenant(tenant)
    await index.aclose()


async def main(arguments: argparse.Namespace) -> None:
    """Measure everything, in the order of a look-up."""
    with tempfile.TemporaryDirectory() as folder:
        embedder = await measure_embedder(Settings.from_env({"AGENTCACHE_DATA_DIR": folder}))
    indexes = [("embedded", None, TENANT), ("embedded, sealed", None, SEALED)]
    indexes += [("pgvector", arguments.pgvector, TENANT)] if arguments.pgvector else []
    indexes += [("Redis", arguments.redis, TENANT)] if arguments.redis else []
    for name, url, tenant in indexes:
        for rows in (10_000, 100_000):
            with tempfile.TemporaryDirectory() as folder:
                await measure_index(name, url, rows, tenant, Path(folder), embedder)
    await embedder.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pgvector", metavar="URL", help="a PostgreSQL with pgvector")
    parser.add_argument("--redis", metavar="URL", help="a Redis with the query engine")
    # The loop of the server.
    uvloop.run(main(parser.parse_args()))
