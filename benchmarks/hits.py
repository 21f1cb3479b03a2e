"""`make bench`: what a hit and a miss cost, against the same server doing nothing and against a direct call.

Runs alternate (A B A B …) and medians of the ratios are shown, because machines are noisy and their speed drifts.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
import urllib.request
from http.client import HTTPResponse
from itertools import count
from typing import Any

from rich.console import Console
from rich.table import Table

from agentcache.gateway.usage_spool import spool_dir, waiting_files
from benchmarks.load import Load
from benchmarks.servers import LOAD_CPU, Served, agentcache, empty_server, fake_provider, memory_mib, run_load

PATH = "/v1/chat/completions"
SYSTEM = "You answer questions of our customers about invoices, deliveries and returns. " * 6
CHAT = (
    '{"model":"gpt-4o-mini","messages":[{"role":"system","content":"' + SYSTEM + '"},'
    '{"role":"user","content":"Where is my parcel? Order %s."}],"temperature":0}'
)
SCOPES = ("admin", "cache:read", "cache:write")
NAMESPACE = "X-AgentCache-Namespace"
#: The namespace in which misses look near questions up.
LOOKED_UP = "near"
#: A realistic few hundred different requests that come again and again.
HIT_BODIES = [CHAT % number for number in range(300)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    table = Table("what", "figure", "detail", title="AgentCache against the same server doing nothing")
    with fake_provider() as provider, agentcache(provider, scopes=SCOPES) as served:
        body_bytes = fill(served)
        table.add_row("ready after the first start", f"{served.ready_seconds:.1f} s", "")
        memory = memory_mib(served.process)
        detail = ", ".join(f"{name.split(' ')[0]} {size:.0f}" for name, size in memory.items())
        table.add_row("resident memory, all processes", f"{sum(memory.values()):.0f} MiB", detail)
        with empty_server(body_bytes) as empty:
            _measure_hits(table, served, empty, given.rounds, given.seconds)
        _measure_hits_beside_near_questions(table, served, given.rounds, given.seconds)
        wait_until_kept(served)
        _measure_misses(table, served, provider, given.rounds, given.seconds)
    Console(width=120).print(table)


def fill(served: Served, namespace: str = "default") -> int:
    """Ask everything once in a namespace; return the size of an answer."""
    size = 0
    for body in HIT_BODIES:
        with send(served, "POST", PATH, body, namespace) as answer:
            size = len(answer.read())
    return size


def send(served: Served, method: str, path: str, body: str, namespace: str = "default", **more: str) -> HTTPResponse:
    """Send one request, with these headers more."""
    headers = {**served.headers, "Content-Type": "application/json", NAMESPACE: namespace, **more}
    request = urllib.request.Request(
        f"http://127.0.0.1:{served.port}{path}", data=body.encode(), headers=headers, method=method
    )
    answer: HTTPResponse = urllib.request.urlopen(request)
    return answer


def wait_until_kept(served: Served, seconds: float = 120.0) -> None:
    """Wait until the usage so far is in the database: the job worker shares the server's core with what comes next."""
    deadline = time.monotonic() + seconds
    while waiting_files(spool_dir(served.data_dir)) and time.monotonic() < deadline:
        time.sleep(0.2)


def _measure_hits(table: Table, served: Served, empty: int, rounds: int, seconds: float) -> None:
    def hits(connections: int) -> dict[str, Any]:
        return run_load(Load(served.port, PATH, HIT_BODIES, served.headers, connections, seconds, cpu=LOAD_CPU))

    def nothing(connections: int) -> dict[str, Any]:
        return run_load(Load(empty, PATH, HIT_BODIES, served.headers, connections, seconds, cpu=LOAD_CPU))

    ratios, added = [], []
    for _ in range(rounds):
        hit, bare = hits(32), nothing(32)
        if hit["hits"] != hit["requests"]:
            raise RuntimeError("not every answer was a hit")
        ratios.append((hit["per_second"] / bare["per_second"], hit["per_second"], bare["per_second"]))
        one, one_bare = hits(1), nothing(1)
        added.append((one["p50_us"] - one_bare["p50_us"], one["p50_us"], one_bare["p50_us"]))
    ratio, added_us = statistics.median(r[0] for r in ratios), statistics.median(a[0] for a in added)
    table.add_row(
        "hits/s ÷ empty 200/s, one server core",
        f"{ratio:.2f}",
        ", ".join(f"{hit:,.0f}/{bare:,.0f}" for _, hit, bare in ratios),
    )
    table.add_row(
        "hit p50 added, one connection", f"{added_us:.0f} µs", ", ".join(f"{h:.0f}−{b:.0f}" for _, h, b in added)
    )


def _learned(served: Served) -> int:
    with send(served, "GET", "/metrics", "") as answer:
        found = re.search(rb"^agentcache_semantic_learned_total (\d+)", answer.read(), re.MULTILINE)
    return int(found[1]) if found else 0


def _measure_hits_beside_near_questions(table: Table, served: Served, rounds: int, seconds: float) -> None:
    """Compare the hits of a namespace in which misses look near questions up with those of one in which they do not."""
    send(served, "PUT", f"/api/semantics/settings/{LOOKED_UP}", '{"mode": "safe"}').close()
    deadline = time.monotonic() + 60
    for number in count():
        with send(served, "POST", PATH, CHAT % f"on {number}", LOOKED_UP) as answer:
            said = answer.headers.get("X-AgentCache-Semantic", "")
        if "mode=safe" in said and not said.startswith("skipped"):
            break
        if time.monotonic() > deadline:
            raise RuntimeError(f"near questions are not looked up: {said!r}")
        time.sleep(0.5)
    for namespace in (LOOKED_UP, "plain"):
        fill(served, namespace)
    # Learning goes on beside what is served, and is no part of it.
    while _learned(served) < len(HIT_BODIES):
        if time.monotonic() > deadline + 60:
            raise RuntimeError("the questions are not learned")
        time.sleep(0.2)

    def hits(namespace: str, connections: int) -> dict[str, Any]:
        headers = {**served.headers, NAMESPACE: namespace}
        return run_load(Load(served.port, PATH, HIT_BODIES, headers, connections, seconds, cpu=LOAD_CPU))

    many, one = [], []
    for _ in range(rounds):
        near, plain = hits(LOOKED_UP, 32), hits("plain", 32)
        if near["hits"] != near["requests"] or plain["hits"] != plain["requests"]:
            raise RuntimeError("not every answer was a hit")
        many.append((near["per_second"] / plain["per_second"], near["per_second"], plain["per_second"]))
        single, single_plain = hits(LOOKED_UP, 1), hits("plain", 1)
        one.append((single["p50_us"] / single_plain["p50_us"], single["p50_us"], single_plain["p50_us"]))
    table.add_row(
        "hits/s where near questions are on ÷ off",
        f"{statistics.median(ratio for ratio, _, _ in many):.2f}",
        ", ".join(f"{on:,.0f}/{off:,.0f}" for _, on, off in many),
    )
    table.add_row(
        "hit p50 where they are on ÷ off, one connection",
        f"{statistics.median(ratio for ratio, _, _ in one):.2f}",
        ", ".join(f"{on:.0f}/{off:.0f} µs" for _, on, off in one),
    )


def _measure_misses(table: Table, served: Served, provider: int, rounds: int, seconds: float) -> None:
    plain = CHAT % "{n}"
    stream = plain[:-1] + ',"stream":true}'
    for name, body, figure in (("plain", plain, "p50_us"), ("stream, first byte", stream, "first_byte_p50_us")):
        added = []
        next_number = 1_000_000
        for _ in range(rounds):
            through = run_load(
                Load(served.port, PATH, [body], served.headers, 1, seconds, first=next_number, cpu=LOAD_CPU)
            )
            next_number = int(through["next"])
            direct = run_load(
                Load(provider, PATH, [body], {"Authorization": "Bearer sk-bench"}, 1, seconds, cpu=LOAD_CPU)
            )
            added.append((through[figure] - direct[figure], through[figure], direct[figure]))
        detail = ", ".join(f"{t:.0f}−{d:.0f}" for _, t, d in added)
        median_ms = statistics.median(a[0] for a in added) / 1000
        table.add_row(f"miss added to a direct call, p50, {name}", f"{median_ms:.2f} ms", detail)


if __name__ == "__main__":
    main()
