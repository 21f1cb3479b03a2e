"""Near questions over a running gateway, with official clients: what is served, what never is, and what is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from hashlib import md5
from typing import Any

import anthropic
import httpx
import openai
import pytest

from agentcache.engine.policies import Policy, PolicySet
from agentcache.engine.semantic.risk_rule import RiskRule
from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings
from agentcache.engine.semantic.weighing import Weighing
from agentcache.gateway.ports import Scope
from agentcache.gateway.semantic.spool import open_note, open_texts
from tests.support.near import NearGateway, NearTeam, result, text
from tests.support.reliability import record
from tests.support.sdk_results import plain

SERVES = SemanticSettings(SemanticMode.CUSTOM, threshold=0.5, shadow_share=0.0)
ASKED, NEAR = "How do I reset my password?", "What is the way to reset my password?"
MORE = ("Tell me the way to reset my password.", "What is a way to reset my password?")
OPPOSITE, FAR = "How do I not reset my password?", "Which planets have rings?"
NUMBER, OTHER_NUMBER = "Summarise invoice 4711 for me.", "Give me a summary of invoice 4712."


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, _provider):
    with NearGateway(tmp_path_factory.mktemp("near"), _provider) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def _client():
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture
def team(gateway, provider, _client, request):
    return NearTeam(gateway, _client, md5(request.node.nodeid.encode()).hexdigest(), SERVES)


def test_a_paraphrase_is_served_and_says_so(team, provider):
    first = team.send(ASKED)
    assert result(first) == "none"
    hit = team.send(NEAR)
    assert (result(hit), text(hit)) == ("hit", text(first))
    assert provider.call_count == 1
    stored_key = first.headers["x-agentcache-key"]
    status = hit.headers["cache-status"].split("; ")
    assert status[:2] == ["AgentCache", "hit"]
    assert status[3:] == [f'key="{stored_key}"', "detail=semantic"]
    assert hit.headers["x-agentcache-matched"] == stored_key
    assert hit.headers["x-agentcache-key"] not in ("", stored_key)
    assert 0.6 <= float(hit.headers["x-agentcache-similarity"]) < 1
    assert 0.5 <= float(hit.headers["x-agentcache-score"]) < 1
    assert "effect=" in hit.headers["x-agentcache-reasons"]
    event = team.gateway.events[-1]
    assert (event.outcome, event.reason, event.entry_key) == ("semantic", "semantic", stored_key)
    assert event.saved_usd_nanos > 0
    assert event.cost_usd_nanos == 0
    near = team.gateway.near_events[-1]
    assert (near.kind, near.entry_key, near.request_id) == ("hit", stored_key, event.id)
    assert open_texts(team.gateway.tenant(team.team), near.id, near.sealed) == (NEAR, ASKED)


def test_another_spelling_needs_no_vector(team, provider):
    first = team.send(ASKED)
    hit = team.send("  how do I reset   my password")
    assert text(hit) == text(first)
    assert hit.headers["cache-status"].endswith("detail=semantic-normalised")
    assert provider.call_count == 1


@pytest.mark.parametrize(("stored", "asked"), [(ASKED, OPPOSITE), (NUMBER, OTHER_NUMBER), (ASKED, FAR)])
def test_what_means_something_else_goes_to_the_provider(team, provider, stored, asked):
    team.send(stored)
    other = team.send(asked)
    assert result(other) in ("below", "veto", "none")
    assert provider.call_count == 2


def test_only_the_last_user_turn_may_differ(team, provider):
    """Traps: the same last question, or a paraphrase of it, after something else. None may be served."""
    subjects = ("the router", "my bank account", "the blue server", "the red server", "our staging database")
    for number, subject in enumerate(subjects):
        told = {"role": "assistant", "content": "Noted."}
        for last in (ASKED, NEAR):
            asked = team.send(f"I talk about {subject}.", told, last)
            # Within one conversation the second question is a paraphrase of the first; across them it is a trap.
            assert result(asked) == ("none" if last == ASKED else "hit")
        assert provider.call_count == number + 1
    for system in ("Answer for children.", "Answer for experts."):
        assert result(team.send({"role": "system", "content": system}, NEAR)) == "none"
    for members in ({"model": "gpt-4o"}, {"max_tokens": 50}, {"tools": [TOOL]}, {"seed": 3}):
        assert result(team.send(NEAR, **members)) == "none"
    assert provider.call_count == len(subjects) + 6


TOOL = {"type": "function", "function": {"name": "reset", "parameters": {"type": "object", "properties": {}}}}


def test_what_is_no_question_takes_no_part(team):
    team.send(ASKED)
    for unfit in ({"temperature": 0.7}, {"n": 2}, {"logprobs": True}):
        assert result(team.send(NEAR, **unfit)) == "unfit"
    assert "reason=time-bound" in team.send("What is the weather like today?").headers["x-agentcache-semantic"]


class Clients:
    """The official clients with one team's key, and every form in which they ask one question."""

    def __init__(self, gateway: NearGateway, key: str) -> None:
        headers = {"X-AgentCache-Key": key}
        self.openai = openai.OpenAI(
            base_url=f"{gateway.url}/openai/v1", api_key="sk-test", default_headers=headers, max_retries=0
        )
        self.anthropic = anthropic.Anthropic(
            base_url=f"{gateway.url}/anthropic", api_key="sk-test", default_headers=headers, max_retries=0
        )

    def ask(self, form: str, question: str, *, stream: bool) -> Any:
        said: Any = [{"role": "user", "content": question}]
        if form == "chat":
            return self.openai.chat.completions.create(model="gpt-4o-mini", messages=said, stream=stream)
        if form == "responses":
            return self.openai.responses.create(model="gpt-4o-mini", input=question, stream=stream)
        if form == "completions":
            return self.openai.completions.create(model="gpt-3.5-turbo-instruct", prompt=question, stream=stream)
        model = "claude-sonnet-4-6"
        return self.anthropic.messages.create(model=model, max_tokens=50, messages=said, stream=stream)

    def close(self) -> None:
        self.openai.close()
        self.anthropic.close()


@pytest.mark.parametrize("form", ["chat", "responses", "completions", "messages"])
@pytest.mark.parametrize("stored_as_stream", [False, True], ids=["from plain", "from stream"])
async def test_official_clients_get_what_an_exact_hit_gives(team, provider, form, stored_as_stream):
    with closing(Clients(team.gateway, team.key)) as clients:
        await _near_is_as_exact(team, clients, form, stored_as_stream=stored_as_stream)
    assert provider.call_count == 1


async def _near_is_as_exact(team: NearTeam, clients: Clients, form: str, *, stored_as_stream: bool) -> None:
    await plain(clients.ask(form, ASKED, stream=stored_as_stream))
    team.gateway.settle()
    for stream in (False, True):
        exact = await plain(clients.ask(form, ASKED, stream=stream))
        near = await plain(clients.ask(form, NEAR, stream=stream))
        assert near == exact
        assert team.last_reply().headers["x-agentcache-semantic"].startswith("hit")


def test_shadow_asks_the_provider_and_compares(team, provider):
    team.key = team.new_key(semantics={"*": replace(SERVES, mode=SemanticMode.SHADOW)})
    provider.script(text="Use the link on the sign-in page.", times=2)
    assert result(team.send(ASKED)) == "none"
    assert result(team.send(NEAR)) == "shadow"
    provider.script(text="No, that is not possible.")
    assert result(team.send(MORE[0])) == "shadow"
    assert provider.call_count == 3
    found = [(event.kind, event.agreed, event.share) for event in team.gateway.near_events[-2:]]
    assert found[0] == ("shadow", True, 1.0)
    assert found[1][:2] == ("shadow", False)


def test_questions_with_one_answer_speak_for_each_other(team, provider):
    """Of four near questions three were found to have one answer; the fourth has another."""
    team.key = team.new_key(semantics={"*": replace(SERVES, mode=SemanticMode.SHADOW)})
    provider.script(text="Use the link on the sign-in page.", times=3)
    for question in (ASKED, NEAR, MORE[0]):
        team.send(question)
    provider.script(text="No, that is not possible.", times=2)
    alone = team.send(MORE[1]).headers["x-agentcache-key"]
    team.send("Which way do I reset my password?")
    events = team.gateway.near_events[-4:]
    assert [event.agreement for event in events[:3]] == [1.0, 1.0, 1.0]
    assert 0 < events[3].agreement < 1
    assert (events[3].agreement < 0.5) == (events[3].entry_key == alone)


def test_what_is_known_to_have_a_reported_answer_is_not_served_in_its_place(team, provider):
    shadow = team.new_key(semantics={"*": replace(SERVES, mode=SemanticMode.SHADOW)})
    provider.script(text="Use the link on the sign-in page.", times=2)
    first, second = (team.send(question, key=shadow) for question in (ASKED, NEAR))
    provider.script(text="Use the link on the sign-in page.", hold=True)
    with ThreadPoolExecutor(1) as pool:
        # Looked up before the report, answered after it.
        late = pool.submit(team.send, MORE[0], key=shadow)
        provider.wait_for_calls(3)
        served = team.send(MORE[1])
        assert text(served) == "Use the link on the sign-in page."
        verdict = {"request_id": served.headers["x-agentcache-request-id"], "verdict": "wrong"}
        said = team.api("feedback", verdict).json()
        assert (said["key"], said["quarantined"]) == (served.headers["x-agentcache-matched"], True)
        provider.release()
        assert late.result(60).status_code == 200
    team.gateway.settle()
    provider.script(text="There is no such link.")
    again = team.send(MORE[1])
    assert (result(again), text(again)) == ("none", "There is no such link.")
    assert {text(team.send(question)) for question in (ASKED, NEAR, MORE[0])} == {text(first)}, "their own questions"
    assert provider.call_count == 4
    # A release lets all of them answer near questions again.
    tenant, index = team.gateway.tenant(team.team), team.gateway.tier.index
    assert len(team.gateway.run(index.quarantined(tenant))) == 3
    team.gateway.run(index.release(tenant, bytes.fromhex(said["key"])))
    assert team.gateway.run(index.quarantined(tenant)) == []
    assert text(second) == text(first)


def test_what_is_placed_is_found_under_the_same_rules(team, provider):
    value = team.send(FAR).json()
    value["choices"][0]["message"]["content"] = "Placed by hand."
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": ASKED}]}
    placed = {"provider": "openai", "request": asked, "value": value}

    def place(key="", **members):
        said = team.api("set", {**placed, **members}, key=key)
        team.gateway.settle()
        return said.status_code

    # Who may not write, wants it otherwise, or has it off by a policy or the namespace, places nothing that is found.
    assert place(team.new_key(scopes=frozenset({Scope.CACHE_READ}))) == 403
    assert place(headers={"X-AgentCache-Semantic": "off"}) == 201
    assert place(team.new_key(semantics={})) == 201
    kept_off = PolicySet(1, (Policy(id="p", name="apart", semantic=False),))
    assert place(team.new_key(policies=kept_off)) == 201
    assert place(value={"no": "answer"}) == 201
    assert result(team.send(NEAR, headers={"x-agentcache-mode": "read-only"})) in ("none", "below")
    calls = provider.call_count
    assert place() == 201
    hit = team.send(NEAR)
    assert (result(hit), text(hit)) == ("hit", "Placed by hand.")
    assert provider.call_count == calls
    writer = team.gateway.control_plane.principals[team.key].api_key_id
    assert team.gateway.near_events[-1].writer == writer


def test_what_comparing_leaves_open_names_both_answers_for_a_judge(team, provider):
    team.key = team.new_key(semantics={"*": replace(SERVES, mode=SemanticMode.SHADOW)})
    provider.script(text="Use the link on the sign-in page.")
    first = team.send(ASKED)
    provider.script(text="Open the sign-in page and choose the link below the form.")
    second = team.send(NEAR)
    event = team.gateway.near_events[-1]
    assert (event.kind, event.agreed, event.judged_by) == ("shadow", None, "")
    keys = second.headers["x-agentcache-key"], first.headers["x-agentcache-key"]
    assert (event.asked_key, event.entry_key) == keys
    # What is not stored cannot be read by anybody else.
    provider.script(text="Open the sign-in page and choose the link below the form.")
    team.send(MORE[0], headers={"x-agentcache-mode": "read-only"})
    assert (team.gateway.near_events[-1].agreed, team.gateway.near_events[-1].asked_key) == (None, "")


def test_a_share_of_hits_is_compared(team, provider):
    team.key = team.new_key(semantics={"*": replace(SERVES, shadow_share=1.0)})
    team.send(ASKED)
    assert result(team.send(NEAR)) == "shadow"
    assert provider.call_count == 2
    # Who cannot ask the provider is served all the same.
    hit = team.send(MORE[0], headers={"cache-control": "only-if-cached"})
    assert (hit.status_code, result(hit)) == (200, "hit")


def test_callers_can_only_tighten(team, provider):
    team.send(ASKED)
    for asked, question, came_to in (("off", NEAR, "off"), ("0.9999", MORE[0], "below"), ("shadow", MORE[1], "shadow")):
        assert result(team.send(question, headers={"x-agentcache-semantic": asked})) == came_to
    assert provider.call_count == 4
    bad = team.send(NEAR, headers={"x-agentcache-semantic": "loose"})
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "invalid_directive")
    off = team.new_key(semantics={})
    for asked in ("safe", "0.1"):
        other = team.send(f"What is the way to reset it, {asked}?", key=off, headers={"x-agentcache-semantic": asked})
        assert result(other) == "off"
    # What is looser than the namespace's rule changes nothing.
    strict = team.new_key(semantics={"*": replace(SERVES, threshold=0.9999)})
    looser = team.send("How could I reset my password?", key=strict, headers={"x-agentcache-semantic": "0.1"})
    assert result(looser) == "below"


def test_a_policy_decides_over_the_namespace(team):
    team.send(ASKED)
    policies = PolicySet(1, (Policy(id="p", name="apart", semantic=False),))
    apart = team.new_key(policies=policies)
    assert result(team.send(NEAR, key=apart)) == ""
    together = team.new_key(policies=PolicySet(1, (Policy(id="p", name="near", semantic=True),)), semantics={})
    told = team.send(MORE[0], key=together).headers["x-agentcache-semantic"]
    assert "mode=safe" in told


def test_modes_ages_and_invalidations_hold(team, provider):
    first = team.send(ASKED, headers={"x-agentcache-tags": "account"})
    for mode in ("off", "write-only", "refresh"):
        assert result(team.send(NEAR, headers={"x-agentcache-mode": mode})) == ""
    team.api("invalidate", {"tags": ["account"]})
    # The paraphrase was stored by write-only and has a row of its own; what was invalidated answers nothing.
    near = team.send(MORE[0])
    assert near.headers.get("x-agentcache-matched") != first.headers["x-agentcache-key"]
    assert team.send(FAR, headers={"cache-control": "only-if-cached"}).status_code == 504
    team.gateway.clock.move(60)
    too_old = team.send(MORE[1], headers={"cache-control": "max-age=30"})
    assert result(too_old) in ("below", "none")
    assert result(team.send("What's the way to reset my password")) == "hit"


def test_namespaces_and_tenants_are_apart(team, provider):
    team.send(ASKED, headers={"x-agentcache-namespace": "one"})
    assert result(team.send(NEAR, headers={"x-agentcache-namespace": "two"})) == "none"
    stranger = NearTeam(team.gateway, team.client, team.team + "-other", SERVES)
    # The very same question, so the very same vector, and a near one: neither is met across tenants.
    strange = [stranger.send(asked, headers={"x-agentcache-namespace": "one"}) for asked in (NEAR, ASKED)]
    assert [result(one) for one in strange] == ["none", "hit"]
    assert strange[1].headers["x-agentcache-matched"] == strange[0].headers["x-agentcache-key"]
    assert result(team.send(NEAR, headers={"x-agentcache-namespace": "one"})) == "hit"
    record("T4 answers", leaks=0, hits_of_own=1)


def test_who_may_not_write_places_nothing(team, provider):
    reader = team.new_key(scopes=frozenset({Scope.CACHE_READ}))
    team.send(ASKED, key=reader)
    assert result(team.send(NEAR)) == "none"
    assert result(team.send(ASKED, key=reader)) == "hit"
    assert provider.call_count == 2


def test_explain_shows_candidates_and_verdicts(team):
    team.send(ASKED)
    team.send(FAR)

    def explained(question: str) -> Any:
        request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]}
        return team.api("explain", {"provider": "openai", "request": request}).json()["near"]

    near = explained(NEAR)
    (candidate,) = near["candidates"]
    assert (near["result"], near["mode"], near["threshold"]) == ("hit", "custom", 0.5)
    assert (candidate["question"], candidate["verdict"], candidate["veto"]) == (ASKED, "answers", "")
    assert candidate["features"]["cosine"] == pytest.approx(candidate["similarity"], abs=1e-3)
    assert len(candidate["reasons"]) == 3
    opposite = explained(OPPOSITE)
    assert opposite["candidates"][0]["verdict"] == "below"
    assert explained("What time is it now?")["reason"] == "time-bound"
    assert explained(ASKED) is None


def test_a_rule_of_risk_serves_says_so_and_opens_no_trap(team):
    rule = RiskRule(Weighing((3.0, 0.0, 2.0, 0.0, 0.0)), limit=0.05, opens=True)
    opened = SemanticSettings(SemanticMode.BALANCED, shadow_share=0.0, learned_rule=rule)
    key = team.new_key(semantics={"*": opened})
    team.send(ASKED, key=key)
    said = team.send(NEAR, key=key).headers["x-agentcache-semantic"]
    assert said.startswith("hit; mode=balanced; threshold=0.05; ")
    assert float(said.partition("; risk=")[2].partition(";")[0]) <= 0.05
    assert said.endswith("; risk-limit=0.0500")
    event = team.gateway.near_events[-1]
    assert (event.kind, event.risk_limit, event.risk <= 0.05) == ("hit", 0.05, True)
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": OPPOSITE}]}
    near = team.api("explain", {"provider": "openai", "request": request}, key=key).json()["near"]
    assert (near["risk_limit"], near["result"]) == (0.05, "trap")
    assert [(one["verdict"], one["trap"]) for one in near["candidates"]] == [("trap", "negation_parity")]
    assert result(team.send(OPPOSITE, key=key)) == "trap"
    assert result(team.send(MORE[0], key=key, headers={"x-agentcache-semantic": "1"})) == "below"


def test_a_reported_answer_is_served_no_more(team, provider):
    first = team.send(ASKED)
    hit = team.send(NEAR)
    request_id = hit.headers["x-agentcache-request-id"]
    verdict = {"request_id": request_id, "verdict": "wrong", "note": "Another product."}
    stranger = NearTeam(team.gateway, team.client, team.team + "-other", SERVES)
    reader = team.new_key(scopes=frozenset({Scope.CACHE_READ}))
    assert stranger.api("feedback", verdict).status_code == 404
    assert stranger.api("feedback", {"key": first.headers["x-agentcache-key"], "verdict": "wrong"}).status_code == 404
    assert team.api("feedback", verdict, key=reader).status_code == 403
    both, neither, unknown = {**verdict, "key": "ab" * 32}, {"verdict": "wrong"}, {**verdict, "verdict": "bad"}
    for bad in (both, neither, unknown, {"key": "x", "verdict": "wrong"}):
        assert team.api("feedback", bad).status_code == 400
    assert result(team.send(NEAR)) == "hit"
    said = team.api("feedback", verdict)
    assert said.status_code == 200
    assert (said.json()["key"], said.json()["quarantined"]) == (first.headers["x-agentcache-key"], True)
    assert result(team.send(NEAR)) == "none"
    assert result(team.send(ASKED)) == ""
    assert "hit" in team.last_reply().cache_status
    event = next(event for event in team.gateway.near_events if event.id == said.json()["id"])
    tenant = team.gateway.tenant(team.team)
    assert (event.agreed, event.request_id, event.score > 0) == (False, request_id, True)
    assert open_texts(tenant, event.id, event.sealed) == (NEAR, ASKED)
    assert open_note(tenant, event.id, event.note) == "Another product."


def test_a_report_finds_what_another_process_served(team):
    first = team.send(ASKED)
    hit = team.send(NEAR)
    request_id = hit.headers["x-agentcache-request-id"]
    assert team.gateway.events
    team.gateway.tier.recent = type(team.gateway.tier.recent)()
    said = team.api("feedback", {"request_id": request_id, "verdict": "right"})
    assert (said.status_code, said.json()["quarantined"]) == (200, False)
    assert said.json()["key"] == first.headers["x-agentcache-key"]
    assert result(team.send(MORE[0])) == "hit"


def test_a_deleted_entry_leaves_the_index(team):
    key = team.send(ASKED).headers["x-agentcache-key"]
    tenant = team.gateway.tenant(team.team)
    assert team.gateway.run(team.gateway.tier.index.count(tenant)) == 1
    headers = {"x-agentcache-key": team.key}
    assert team.client.delete(f"{team.gateway.url}/api/cache/entries/{key}", headers=headers).status_code == 204
    assert team.gateway.run(team.gateway.tier.index.count(tenant)) == 0


def test_same_questions_at_once_are_looked_up_once(team, provider):
    team.send(ASKED)
    provider.script(delay=0.3)
    started = team.gateway.parts.flights.started
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: team.send(FAR), range(8)))
    assert len({text(answer) for answer in answers}) == 1
    assert provider.call_count == 2
    assert team.gateway.parts.flights.started == started + 1


def test_look_ups_are_counted(team):
    team.send(ASKED)
    team.send(NEAR)
    exposed = team.gateway.metrics.exposition().decode()
    assert 'agentcache_semantic_look_seconds_count{result="hit"}' in exposed
    assert "agentcache_semantic_learned_total" in exposed
