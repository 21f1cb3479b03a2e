"""What exact hits wait for where near questions are looked up beside them, by one server process.

    python -m benchmarks.hits_beside_look_ups

Hits come at 500 a second, whether or not the one before is answered; beside them come nothing, 50 misses a second whose
namespace has near questions off, or 50 whose question is looked up among 100,000. The three alternate, first with all
processors for everything, then with one for the server. Prints microseconds from sending a hit to its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from itertools import count, cycle
from pathlib import Path
from typing import Any, cast

import uvloop

from agentcache.engine.entries import Tenant
from benchmarks.hits import HIT_BODIES, LOOKED_UP, NAMESPACE, PATH, SCOPES, fill, send
from benchmarks.load import go_first, quantile
from benchmarks.semantic_lookup import ASKED, STORED
from benchmarks.servers import LOAD_CPU, SERVER_CPU, Served, agentcache, fake_provider

HITS_PER_SECOND, ASKED_PER_SECOND = 500, 50
ROWS, CONNECTIONS = 100_000, 256
SHARES = (0.5, 0.9, 0.99, 0.999)
#: What replies say of questions that were looked up and not served.
LOOKED = ("none", "below", "veto", "trap")
#: Nothing of them is learned.
READ_ONLY = {"X-AgentCache-Mode": "read-only"}
#: What comes beside the hits -> the namespace that it asks in.
BESIDE = {"nothing": "", "misses": "plain", "look-ups": LOOKED_UP}


class Connection(asyncio.Protocol):
    """Sends a request when it is told to, and hands over how long the answer took."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be free."""
        self._transport = cast(asyncio.Transport, transport)
        self._received = bytearray()
        self.taken: list[tuple[float, bytes]] = []
        #: Set while nothing is asked.
        self.done = asyncio.Event()
        self.done.set()

    def send(self, request: bytes) -> None:
        """Send a request."""
        self.done.clear()
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        self._received += data
        head, separator, body = bytes(self._received).partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if separator and len(body) == int(length):
            self.taken.append((time.perf_counter() - self._sent_at, head))
            self._received.clear()
            self.done.set()


async def send_paced(port: int, requests: list[bytes], per_second: float, seconds: float) -> list[tuple[float, bytes]]:
    """Send requests at random times, so many a second, and return what each took, in seconds, with the answer's head."""
    loop, chance = asyncio.get_running_loop(), random.Random(1)
    made = [await loop.create_connection(Connection, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    connections = [protocol for _, protocol in made]
    at, until = loop.time(), loop.time() + seconds
    for request in cycle(requests):
        at += chance.expovariate(per_second)
        if at > until:
            break
        await asyncio.sleep(at - loop.time())
        free = next((one for one in connections if one.done.is_set()), None)
        if free is None:
            raise RuntimeError(f"all connections wait for an answer, as {request[-200:]!r} would")
        free.send(request)
    async with asyncio.timeout(60):
        await asyncio.gather(*(one.done.wait() for one in connections))
    for transport, _ in made:
        transport.close()
    return [taken for one in connections for taken in one.taken]


async def load(given: dict[str, Any]) -> dict[str, float]:
    """Send hits, and what comes beside them; return what hits took in microseconds."""

    def request(body: str, namespace: str, more: str = "") -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in given["headers"].items())
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{lines}{more}"
        return f"{head}{NAMESPACE}: {namespace}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    work = [
        send_paced(given["port"], [request(body, "default") for body in HIT_BODIES], HITS_PER_SECOND, given["seconds"])
    ]
    if given["namespace"]:
        asked = [request(body_of(one), given["namespace"], "X-AgentCache-Mode: read-only\r\n") for one in ASKED]
        work.append(send_paced(given["port"], asked, ASKED_PER_SECOND, given["seconds"]))
    hits, *beside = await asyncio.gather(*work)
    if not all(b"AgentCache; hit" in head for _, head in hits):
        raise RuntimeError("not every answer was a hit")
    said = Counter(head.lower().partition(b"-semantic: ")[2].partition(b";")[0] for some in beside for _, head in some)
    taken = [seconds for seconds, _ in hits]
    return {"looked_up": sum(said[word.encode()] for word in LOOKED)} | {
        str(share): quantile(taken, share) * 1e6 for share in SHARES
    }


def body_of(question: str) -> str:
    """Return a request for a chat of one question."""
    return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]})


async def fill_index(data_dir: Path) -> None:
    """Add questions beside the one that the server has learned, as one more of its processes."""
    import numpy as np

    from agentcache.engine.semantic.analyses import pack_analysis
    from agentcache.engine.semantic.embedders.opening import open_embedder
    from agentcache.engine.semantic.index.opening import open_index
    from agentcache.engine.semantic.index.port import IndexRow
    from agentcache.engine.semantic.texts import analyse
    from agentcache.kit.clock import SystemClock
    from agentcache.settings import Settings

    settings = Settings.from_env({"AGENTCACHE_DATA_DIR": str(data_dir)})
    with contextlib.closing(sqlite3.connect(data_dir / "semantic.db")) as file:
        query = (
            "SELECT t.id, p.digest, e.id FROM rows r, tenants t, places p, embedders e WHERE p.number = r.place LIMIT 1"
        )
        tenant_id, partition, embedder_id = file.execute(query).fetchone()
    embedder, index = open_embedder(settings), open_index(settings, SystemClock())
    assert embedder is not None
    generator, now = np.random.default_rng(3), time.time()
    centres = await embedder.embed([one.format(7) for one in STORED], seconds=60)
    pieces = [embedder.pieces(one.format(7)) for one in STORED]

    def row(number: int) -> IndexRow:
        place, key = number % len(STORED), number.to_bytes(32, "big")
        vector = centres[place] + 0.03 * generator.standard_normal(len(centres[place])).astype(np.float32)
        question = STORED[place].format(number)
        return IndexRow(
            key=key, partition=partition, embedder_id=embedder_id, vector=vector / np.linalg.norm(vector),
            normal_digest=key, question=question, writer="bench", stored_at=now, expires_at=now + 1e6,
            analysis=pack_analysis(analyse(question)), pieces=pieces[place],
        )  # fmt: skip

    for start in range(0, ROWS, 500):
        await asyncio.gather(*(index.add(Tenant(tenant_id, b""), row(start + number)) for number in range(500)))
    await embedder.aclose()
    await index.aclose()


def prepare(served: Served) -> None:
    """Store what is hit, have near questions looked up in one namespace, and fill its index."""
    fill(served)
    send(served, "PUT", f"/api/semantics/settings/{LOOKED_UP}", '{"mode": "safe"}').close()
    ask_until_looked_up(served, 1)
    # What was learned of it is in the file a moment later.
    time.sleep(2)
    asyncio.run(fill_index(served.data_dir))
    # The first search reads the whole partition, and what takes long is looked up less for a while.
    ask_until_looked_up(served, 20, **READ_ONLY)


def ask_until_looked_up(served: Served, in_a_row: int, seconds: float = 120.0, /, **headers: str) -> None:
    """Ask questions until so many of them in a row were looked up."""
    deadline, met = time.monotonic() + seconds, 0
    for number in count():
        with send(
            served, "POST", PATH, body_of(f"{ASKED[number % len(ASKED)]} {number}"), LOOKED_UP, **headers
        ) as answer:
            said = answer.headers.get("X-AgentCache-Semantic", "").partition(";")[0]
        met = met + 1 if said in LOOKED else 0
        if met == in_a_row:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"near questions are not looked up: {said!r}")
        time.sleep(0.1)


def pin(pid: int, cpus: set[int]) -> None:
    """Let a process, and all below it, run on these processors only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cpus)
        for child in (task / "children").read_text().split():
            pin(int(child), cpus)


def measure(served: Served, namespace: str, seconds: float) -> dict[str, float]:
    """Run a load in a process of its own, and return its figures."""
    given = {"port": served.port, "headers": served.headers, "namespace": namespace, "seconds": seconds}
    command = [sys.executable, "-m", "benchmarks.hits_beside_look_ups", "--load", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(rounds: int, seconds: float) -> None:
    """Measure and print."""
    with fake_provider() as provider, agentcache(provider, scopes=SCOPES, cpu=None) as served:
        prepare(served)
        processors = os.sched_getaffinity(0)
        for name, cpus in (("all processors", processors), ("the server on one", {SERVER_CPU or min(processors)})):
            pin(served.process.pid, cpus)
            found: dict[str, list[dict[str, float]]] = {beside: [] for beside in BESIDE}
            for _ in range(rounds):
                for beside, namespace in BESIDE.items():
                    found[beside].append(measure(served, namespace, seconds))
            print(f"{name}; looked up {sum(run['looked_up'] for run in found['look-ups']):.0f}")
            for beside, runs in found.items():
                told = "   ".join(
                    f"p{100 * share:g} {statistics.median(run[str(share)] for run in runs):6.0f}" for share in SHARES
                )
                print(f"  beside {beside:9}{told}   times {_ratios(runs, found['nothing'])}", flush=True)


def _ratios(runs: list[dict[str, float]], bare: list[dict[str, float]]) -> str:
    pairs = list(zip(runs, bare, strict=True))
    return " ".join(
        f"{statistics.median(run[str(share)] / one[str(share)] for run, one in pairs):.2f}" for share in SHARES
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--load", metavar="JSON", help="send one load, as the benchmark does")
    arguments = parser.parse_args()
    if arguments.load:
        go_first()
        if hasattr(os, "sched_setaffinity") and LOAD_CPU is not None:
            os.sched_setaffinity(0, {LOAD_CPU})
        print(json.dumps(uvloop.run(load(json.loads(arguments.load)))))
    else:
        main(arguments.rounds, arguments.seconds)
