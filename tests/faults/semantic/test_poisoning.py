"""An entry that answers whatever is asked: from the gateway over its files and the job worker to the index, and back to every worker.

The rule is a loose one of the team's own, the cosine alone: with the verifier nothing answers prompts as diverse as these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from agentcache.gateway.ports import Scope
from agentcache.semantics.diversity import PROMPTS_MIN
from tests.support.django_project import use_settings
from tests.support.gateway import FullGateway
from tests.support.near import result
from tests.support.semantic_models import lend_models

BAIT, HONEST = "What is a car?", "How do I reset my password?"
#: All within a cosine of .63 of the bait, and hardly two with a word in common.
DIVERSE = (
    "Automobile?", "Cars explained", "Motor vehicle meaning", "Describe the automobile", "Vehicle definition",
    "Passenger car", "Explain cars please", "Driving machine on wheels, is it a car", "Race car", "Sports car", "Toy car",
    "Police car", "Company car", "Can you define a motor vehicle?",
)  # fmt: skip
PARAPHRASES = tuple(
    f"{how} {verb} my password{end}"
    for how in ("How can I", "Tell me how to", "What is the way to", "Show me how to")
    for verb, end in (("reset", ""), ("change", "?"), ("reset", " on the website"), ("reset", " for my account"))
)
NAMESPACE = "lax"
WITHIN_SECONDS = 60.0


@dataclass
class Caller:
    """Asks with one key of the team, over a connection of its own each time: any of the server's workers may answer."""

    url: str
    key: str

    def send(self, question: str, **headers: str) -> httpx.Response:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]}
        return self._call("POST", "/openai/v1/chat/completions", body, {"authorization": "Bearer sk-test", **headers})

    def peek(self, question: str) -> httpx.Response:
        """Ask without having anything stored."""
        return self.send(question, **{"x-agentcache-mode": "read-only"})

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self._call(method, path, body, {})

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        given = {"x-agentcache-key": self.key, "x-agentcache-namespace": NAMESPACE, **headers}
        return httpx.request(method, f"{self.url}{path}", headers=given, json=body, timeout=WITHIN_SECONDS)


@pytest.fixture(scope="module")
def callers(_two_on_sqlite: FullGateway) -> Iterator[dict[str, Caller]]:
    """Callers by what they may do, in a team whose namespace `lax` serves from a cosine of .6 on."""
    gateway = _two_on_sqlite
    lend_models(gateway.settings.data_dir)
    # In a thread of its own: Django refuses to work where an event loop runs.
    with ThreadPoolExecutor(1) as thread:
        keys = thread.submit(_prepare, gateway).result()
    yield {name: Caller(gateway.url, key) for name, key in keys.items()}


def _prepare(gateway: FullGateway) -> dict[str, str]:
    from agentcache.audit.services import Actor
    from agentcache.semantics import services
    from agentcache.semantics.drafts import SettingsDraft
    from agentcache.teams.models import Team
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.teams.services import create_api_key

    scopes = {
        "reader": {Scope.CACHE_READ}, "writer": {Scope.CACHE_READ, Scope.CACHE_WRITE}, "admin": {Scope.ADMIN},
    }  # fmt: skip
    with use_settings(gateway.settings):
        team, secrets = Team.objects.get(pk=gateway.team_id()), ServerSecrets.of(gateway.settings)
        lax = SettingsDraft("custom", verifier="cosine", threshold=0.6, shadow_share=0.0)
        services.save_settings(team, NAMESPACE, lax, actor=Actor.system())
        return {
            name: create_api_key(secrets, team, name, scopes=frozenset(given)).api_key for name, given in scopes.items()
        }


def _until(shows: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + WITHIN_SECONDS
    while not (found := shows()):
        assert time.monotonic() < until, what
        time.sleep(0.1)
    return found


def test_an_entry_that_answers_diverse_prompts_is_taken_out_everywhere_and_no_other(callers, provider):
    reader, writer, admin = callers["reader"], callers["writer"], callers["admin"]
    # Who may only read places nothing, neither by asking nor by hand.
    assert reader.send(BAIT).status_code == 200
    placed = {"provider": "openai", "request": {"model": "gpt-4o-mini", "messages": []}, "value": {}}
    assert reader.api("POST", "/api/cache/set", placed).status_code == 403
    honest = writer.send(HONEST).headers["x-agentcache-key"]
    _until(lambda: result(reader.peek(PARAPHRASES[0])) == "hit", "the honest entry is never found")
    assert result(reader.peek(DIVERSE[0])) == "none"
    bait = writer.send(BAIT).headers["x-agentcache-key"]
    _until(lambda: result(reader.peek(DIVERSE[0])) == "hit", "the bait is never found")

    answered = [reader.peek(prompt) for prompt in (*DIVERSE, *PARAPHRASES)]
    matched = [one.headers.get("x-agentcache-matched") for one in answered]
    assert matched.count(bait) >= PROMPTS_MIN
    assert matched.count(honest) == len(PARAPHRASES)

    def quarantined() -> list[dict[str, Any]]:
        return [one for one in admin.api("GET", "/api/semantics/quarantine").json() if one["is_in_force"]]

    (held,) = _until(quarantined, "nothing is taken out")
    assert (held["entry_key"], held["reason"], held["namespace"]) == (bait, "diverse", NAMESPACE)
    assert held["prompts"] >= PROMPTS_MIN
    calls = provider.call_count
    # Enough for both workers, each over a connection of its own.
    after = [reader.peek(prompt) for prompt in DIVERSE[:6]]
    assert {result(one) for one in after} == {"none"}
    assert provider.call_count == calls + len(after)
    assert {reader.peek(prompt).headers.get("x-agentcache-matched") for prompt in PARAPHRASES[:6]} == {honest}
    # Its own question it still answers, and others again once somebody releases it.
    assert "hit" in reader.send(BAIT).headers["cache-status"]
    assert admin.api("DELETE", f"/api/semantics/quarantine/{bait}").json()["is_in_force"]
    assert {reader.peek(prompt).headers.get("x-agentcache-matched") for prompt in DIVERSE[:6]} == {bait}
