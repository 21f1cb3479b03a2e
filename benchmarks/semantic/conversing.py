"""Sends the conversations of `conversations` through the whole product, and counts what it serves across them."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from benchmarks.semantic.conversations import Case, cases
from benchmarks.servers import Served, agentcache, fake_provider

#: name -> the namespace's settings. The first serves whatever is near in the same partition.
RULES: Final[dict[str, dict[str, Any]]] = {
    "any cosine ≥ .60": {"mode": "custom", "verifier": "cosine", "threshold": 0.6},
    "safe": {"mode": "safe"},
}
DIALECTS: Final = ("openai", "anthropic", "together")
_AT_ONCE: Final = 4
_LEARNED: Final = re.compile(r"^agentcache_semantic_(learned|dropped)_total (\d+)", re.MULTILINE)
_PATIENT_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Counted:
    """Of one form and rule: traps and controls, how many of each were asked, looked up at all, and served; hits by kind of trap."""

    form: str
    rule: str
    traps: int
    looked_up: int
    served: int
    controls: int
    controls_served: int
    by_kind: Counter[str]


def run(only: Iterable[Case] = ()) -> Iterator[Counted]:
    """Start the product once and yield the counts by form, under each rule."""
    asked = list(only) or list(cases())
    with _product() as served:
        for rule, settings in RULES.items():
            _set(served, settings)
            results = _ask_all(served, f"under-{len(settings)}", asked)
            for form in dict.fromkeys(case.form for case in asked):
                yield _counted(form, rule, [(case, said) for case, said in results if case.form == form])


def _counted(form: str, rule: str, results: list[tuple[Case, str]]) -> Counted:
    traps = [(case, said) for case, said in results if case.is_trap]
    controls = [said for case, said in results if not case.is_trap]
    return Counted(
        form,
        rule,
        traps=len(traps),
        looked_up=sum(said not in ("unfit", "skipped", "off") for _, said in traps),
        served=sum(said == "hit" for _, said in traps),
        controls=len(controls),
        controls_served=controls.count("hit"),
        by_kind=Counter(case.kind for case, said in traps if said == "hit"),
    )


@contextmanager
def _product() -> Iterator[Served]:
    with fake_provider() as port:
        upstreams = {f"AGENTCACHE_UPSTREAM_{name.upper()}": f"http://127.0.0.1:{port}/{name}" for name in DIALECTS}
        # It is no measure of time: a busy machine must skip nothing.
        patient = {"AGENTCACHE_SEMANTIC_BUDGET_MS": "10000", **upstreams}
        with agentcache(port, scopes=("admin", "cache:read", "cache:write"), **patient) as served:
            yield served


def _ask_all(served: Served, namespaces: str, asked: list[Case]) -> list[tuple[Case, str]]:
    """Ask the first request of each case, wait until all are learned, then the second; return what that came to."""
    before = _learning(served)

    def ask_first(case: Case) -> str:
        return _ask(served, f"{namespaces}-{case.number}", case.path, case.first)

    def ask_second(case: Case) -> str:
        return _ask(served, f"{namespaces}-{case.number}", case.path, case.second)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        fit = sum(said != "unfit" for said in pool.map(ask_first, asked))
        deadline = time.monotonic() + _PATIENT_SECONDS
        while (now := _learning(served))["learned"] - before["learned"] < fit:
            if time.monotonic() > deadline or now["dropped"] > before["dropped"]:
                raise RuntimeError(f"of {fit} questions not all were learned: {now}")
            time.sleep(0.1)
        said = list(pool.map(ask_second, asked))
    return list(zip(asked, said, strict=True))


def _ask(served: Served, namespace: str, path: str, body: dict[str, Any]) -> str:
    """Return the word that the reply has for what near questions came to."""
    more = {"X-AgentCache-Namespace": namespace, "Anthropic-Version": "2023-06-01"}
    headers = _send(served, "POST", path, body, more)
    return headers.get("x-agentcache-semantic", "").partition(";")[0]


def _set(served: Served, settings: dict[str, Any]) -> None:
    """Give every namespace these settings; return once they are in force."""
    _send(served, "PUT", "/api/semantics/settings/*", {"shadow_share": 0, **settings}, {})
    deadline = time.monotonic() + _PATIENT_SECONDS
    for number in count():
        messages = [{"role": "user", "content": f"Is it on, {settings['mode']} {number}?"}]
        body = {"model": "gpt-4o-mini", "messages": messages}
        said = _send(served, "POST", "/openai/v1/chat/completions", body, {}).get("x-agentcache-semantic", "")
        if f"mode={settings['mode']}" in said and not said.startswith("skipped"):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the settings do not come into force")
        time.sleep(0.5)


def _learning(served: Served) -> Counter[str]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("GET", "/metrics", headers=served.headers)
    found = Counter({what: int(count) for what, count in _LEARNED.findall(connection.getresponse().read().decode())})
    connection.close()
    return found


def _send(served: Served, method: str, path: str, body: dict[str, Any], more: dict[str, str]) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    headers = {**served.headers, "Content-Type": "application/json", **more}
    connection.request(method, path, json.dumps(body), headers)
    response = connection.getresponse()
    said = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path} answered {response.status}: {said[:300]!r}")
    return {name.lower(): value for name, value in response.getheaders()}
