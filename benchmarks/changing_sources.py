"""`make soak-watch`: an hour of 200 changing pages under load, and how many answers came from before an acknowledged change.

    python -m benchmarks.changing_sources [--pages 200] [--minutes 60] [--interval 15] [--callers 4] [--faults 30]

The whole product on embedded stores: server, job worker, its reading process. Each call names its page as a source; the
provider is the web site itself, and says what the page says when it is asked. A change is acknowledged when the listener's webhook has told of it; from then
on, no answer may be older. Ends with exit code 1 if one is.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.growth import Grown, Growth
from benchmarks.misfortune import Misfortune
from benchmarks.servers import Served, agentcache, free_port, process, wait_for
from tests.support.chaos import ChaosProxy

_VERSION = re.compile(r"Version (\d+)\.")
_NEW_VERSION = re.compile(r"\+Version (\d+)\.")
#: Below what plans allow, or an hour would see four checks of each page.
SHORTEN = """
import sys
from agentcache.settings import Settings
from agentcache.web.project import configure
configure(Settings.load())
from django.db.models.functions import Now
from agentcache.listeners.models import Listener
Listener.objects.update(check_interval_seconds=int(sys.argv[1]), next_check_at=Now())
"""


class Truth:
    """What each page says, and what was acknowledged."""

    def __init__(self, pages: int) -> None:
        self.acknowledged = dict.fromkeys(range(pages), 0)
        self.counted: Counter[str] = Counter()
        self.delays: list[float] = []
        self.changed_at: dict[tuple[int, int], float] = {}
        self.odd: list[str] = []
        self.lock = threading.Lock()

    def hear_change(self, line: str) -> None:
        """Take a line of the web site."""
        words = line.split()
        if len(words) != 3 or not words[0].isdecimal():
            # Not a change: what the site has to say when it is stopped, or when something is wrong with it.
            self.odd.append(line.rstrip())
            return
        number, version, at = words
        with self.lock:
            self.changed_at[int(number), int(version)] = float(at)

    def hear_webhook(self, body: bytes) -> None:
        """Take what a listener tells."""
        told = json.loads(body)["data"]
        number = int(told["url"].rpartition("/")[2])
        versions = [int(found) for found in _NEW_VERSION.findall(told["summary"])]
        with self.lock:
            self.counted["acknowledged"] += 1
            for version in versions:
                self.acknowledged[number] = max(self.acknowledged[number], version)
                if (at := self.changed_at.get((number, version))) is not None:
                    self.delays.append(time.time() - at)


def receiver(truth: Truth) -> ThreadingHTTPServer:
    """Return a running server that takes webhooks."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            truth.hear_webhook(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def call(
    connection: http.client.HTTPConnection,
    served: Served,
    truth: Truth,
    number: int,
    url: str,
    is_excused: Callable[[float], bool],
) -> None:
    """Make one call and judge the answer."""
    began = time.monotonic()
    with truth.lock:
        least = truth.acknowledged[number]
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"What does page {number} say?"}]}
    headers = {**served.headers, "Content-Type": "application/json", "X-AgentCache-Sources": url}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        text, outcome = answer.read().decode(), answer.headers.get("Cache-Status", "")
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        text, outcome = repr(error), ""
    found = _VERSION.search(text)
    with truth.lock:
        truth.counted["answers"] += 1
        truth.counted["hits"] += "; hit" in outcome
        if found is None and is_excused(began):
            truth.counted["failed in a fault"] += 1
        elif found is None:
            truth.counted["errors"] += 1
            truth.odd.append(text[:200])
        elif int(found[1]) < least:
            truth.counted["violations"] += 1


def measure(
    pages: int, seconds: float, interval: int, callers: int, changes_per_second: float, faults: float
) -> dict[str, Any]:
    """Run it and return the figures."""
    truth = Truth(pages)
    os.environ |= {"AGENTCACHE_EGRESS_ALLOW": "127.0.0.0/8", "AGENTCACHE_LOG_LEVEL": "warning"}
    with ExitStack() as stack:
        port, hook = free_port(), receiver(truth)
        stack.callback(hook.shutdown)
        site = stack.enter_context(
            process("benchmarks.watched_pages", str(port), str(pages), str(changes_per_second), is_read=True)
        )
        threading.Thread(target=lambda: [truth.hear_change(line) for line in site.stdout or ()], daemon=True).start()
        wait_for(port)
        proxy = stack.enter_context(ChaosProxy(port))
        served = stack.enter_context(agentcache(proxy.port, cpu=None))
        # One host a second would be one page a second; each page has a host of its own here.
        urls = [f"http://127.{number // 250 + 1}.{number % 250 + 1}.1:{port}/p" for number in range(pages)]
        for number, url in enumerate(urls):
            _register_one(served, f"{url}/{number}", f"http://127.0.0.1:{hook.server_port}/hook")
        environ = {**os.environ, "AGENTCACHE_DATA_DIR": str(served.data_dir)}
        subprocess.run([sys.executable, "-c", SHORTEN, str(interval)], env=environ, check=True)
        misfortune = Misfortune(proxy, lambda: _job_worker(served), every=faults, kills_for=seconds / 3)
        with Growth(served.process.pid) as growth:
            if faults:
                stack.enter_context(misfortune)
            ends = time.monotonic() + seconds
            threads = [
                threading.Thread(target=_calls, args=(served, truth, urls, ends, seed, misfortune.excuses), daemon=True)
                for seed in range(callers)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        made = len(truth.changed_at)
        return {
            **truth.counted, **_listeners(served), "made": made, "odd": list(truth.odd), "delays": truth.delays,
            "grown": growth.grown(), "happened": dict(misfortune.happened),
        }  # fmt: skip


def _register_one(served: Served, url: str, hook: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    wanted = {"url": url, "checkInterval": 900_000, "webhook": hook}
    headers = {**served.headers, "Content-Type": "application/json"}
    connection.request("POST", "/api/listeners/register", json.dumps(wanted), headers)
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"{answer.status} {said}")


def _listeners(served: Served) -> dict[str, Any]:
    """Return what the API tells of the listeners."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", "/api/listeners?limit=200", headers=served.headers)
    rows = json.loads(connection.getresponse().read())["listeners"]
    connection.close()
    return {
        "checks": sum(row["checks"] for row in rows),
        "seen": sum(row["changes"] for row in rows),
        "failing": sum(row["state"] != "watching" for row in rows),
        "failures": sorted({row["failure"] for row in rows if row["failure"]}),
    }


def _job_worker(served: Served) -> psutil.Process | None:
    for one in psutil.Process(served.process.pid).children():
        if "agentcache.supervisor.worker" in one.cmdline():
            return one
    return None


def _calls(
    served: Served, truth: Truth, urls: list[str], ends: float, seed: int, is_excused: Callable[[float], bool]
) -> None:
    chance = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    while time.monotonic() < ends:
        number = chance.randrange(len(urls))
        call(connection, served, truth, number, f"{urls[number]}/{number}", is_excused)
        time.sleep(0.005)
    connection.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--interval", type=int, default=15, help="seconds between two checks of one page")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--changes", type=float, default=2.0, help="pages that change each second")
    parser.add_argument("--faults", type=float, default=30.0, help="seconds from one fault to the next; 0: none")
    given = parser.parse_args()
    found = measure(given.pages, given.minutes * 60, given.interval, given.callers, given.changes, given.faults)
    table = Table("what", "figure", title=f"{given.pages} changing pages under load for {given.minutes:g} minutes")
    for what, figure in _rows(found):
        table.add_row(what, figure)
    Console(width=110).print(table)
    print("\n".join(found["odd"][:20]))
    grows = [one.name for one in found["grown"] if one.minutes >= 40 and one.slope >= 1]
    if found.get("violations") or found.get("errors") or not found.get("acknowledged") or grows:
        sys.exit("the promise does not hold")


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    delays = sorted(found["delays"])
    failed = f"{found.get('errors', 0)}, {found.get('failed in a fault', 0)}"
    yield "answers, of which hits", f"{found['answers']:,}, {found['hits']:,}"
    yield "calls that failed without a fault, in one", failed
    yield "checks, sources that fail", f"{found['checks']:,}, {found['failing']} {found['failures'] or ''}"
    yield "changes made, seen (several at once are one)", f"{found['made']:,}, {found['seen']:,}"
    yield "changes acknowledged", f"{found.get('acknowledged', 0):,}"
    yield "answers past an acknowledged change", str(found.get("violations", 0))
    if delays:
        yield "from change to acknowledgement: median, worst", f"{delays[len(delays) // 2]:.1f}, {delays[-1]:.1f} s"
    for kind, times in sorted(found["happened"].items()):
        yield f"fault: {kind}", str(times)
    for one in found["grown"]:
        yield f"{one.name}, {one.minutes:.0f} min", _growth(one)


def _growth(one: Grown) -> str:
    memory = f"{one.memory[0]:.0f} → {one.memory[1]:.0f} MiB, {one.slope:+.2f} MiB in ten minutes"
    return f"{memory}; files {one.files[0]} → {one.files[1]}"


if __name__ == "__main__":
    main()
