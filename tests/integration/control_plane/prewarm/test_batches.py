"""Batches: what is asked, what is not, for how much money; by API, and on pages."""

import json
import re
import time
from dataclasses import replace

import httpx2 as httpx
import pytest

from agentcache.audit.models import AuditEvent
from agentcache.gateway.ports import Scope
from agentcache.gateway.usage_spool import read_events, spool_dir, waiting_files
from agentcache.kit.clock import SystemClock
from agentcache.prewarm.models import Batch, BatchRequest, ProviderCredential
from agentcache.tasks import services as tasks
from agentcache.tasks.models import Task
from agentcache.teams import services as teams
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks.models import Message
from tests.support.gateway import LightGateway
from tests.support.prewarming import CREDENTIAL, do, keep_credential, start
from tests.support.prewarming_requests import chat, lines
from tests.support.sessions import browser_of, program_of, program_with_key, stranger
from tests.support.teams import join, make_team
from tests.support.webhooks import make_endpoint

API = "/api/cache/prewarm"
PAGES = "/dashboard/prewarm"


class LaterClock(SystemClock):
    """A clock that is ahead."""

    def __init__(self, seconds):
        self._seconds = seconds

    def now(self):
        return time.time() + self._seconds


@pytest.fixture
def kept(settings, team):
    keep_credential(settings, team)


@pytest.fixture
def admin(people):
    return program_of(people["admin"].user)


def ask(program, method, path, body=None, content_type="application/json"):
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return program.generic(method, path, content, content_type)


def asked(provider):
    return [call for call in provider.calls if call.method == "POST"]


def events(settings):
    return [event for path in waiting_files(spool_dir(settings.data_dir)) for event in read_events(path)]


def results(batch):
    return list(BatchRequest.objects.filter(batch=batch).order_by("position").values_list("state", "reason"))


def test_what_was_prewarmed_is_a_hit_of_the_next_caller_and_is_not_asked_twice(settings, team, kept, provider):
    batch = do(settings, start(settings, team, [chat("one"), chat("two"), chat("one")], concurrency=1))
    assert (batch.state, batch.warmed, batch.skipped, batch.failed) == ("done", 2, 1, 0)
    assert [call.credential for call in asked(provider)] == [CREDENTIAL] * 2
    usage = events(settings)
    assert {(event.outcome, event.requests, event.agent, event.api_key_id) for event in usage} == {
        ("prewarm", 0, "prewarm", ""),
    }  # fmt: skip
    assert sum(event.cost_usd_nanos for event in usage) == batch.cost_usd_nanos > 0
    again = do(settings, start(settings, team, [chat("two"), chat("one")]))
    assert (again.warmed, again.skipped, again.cost_usd_nanos) == (0, 2, 0)
    assert len(asked(provider)) == 2
    # Nothing that was asked is kept longer than it takes.
    assert not BatchRequest.objects.exclude(sealed=b"").exists()


def test_a_callers_request_makes_the_same_key(settings, team, kept, provider):
    do(settings, start(settings, team, [{**chat("one"), "namespace": "prod"}]))
    with LightGateway(settings.data_dir, provider) as gateway:
        tenant = current_secrets().tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=False)
        api_key = gateway.key()
        principals = gateway.control_plane.principals
        principals[api_key] = replace(principals[api_key], tenant=tenant)
        answer = httpx.post(
            f"{gateway.url}/openai/v1/chat/completions",
            json=chat("one")["body"],
            headers={"Authorization": f"Bearer {api_key}", "X-AgentCache-Namespace": "prod"},
        )
    assert answer.status_code == 200
    assert "; hit" in answer.headers["cache-status"]
    assert len(asked(provider)) == 1


def test_what_has_grown_stale_is_asked_anew(settings, team, kept, provider):
    request = {**chat("one"), "ttl": 100}
    do(settings, start(settings, team, [request]))
    early = do(settings, start(settings, team, [request]), LaterClock(70))
    late = do(settings, start(settings, team, [request]), LaterClock(80))
    assert (early.skipped, late.warmed) == (1, 1)
    assert len(asked(provider)) == 2


def test_a_dry_run_asks_nobody_says_what_it_would_cost_and_can_then_be_run(settings, team, kept, provider, admin):
    do(settings, start(settings, team, [chat("one")]))
    requests = [chat("one"), chat("two"), chat("three", model="nobody-knows")]
    made = ask(admin, "POST", API, {"requests": requests, "dry_run": True, "cost_cap_usd": None})
    assert made.status_code == 202, made.content
    dry = do(settings, Batch.objects.get(pk=made.json()["id"]))
    shown = ask(admin, "GET", f"{API}/{dry.pk}").json()
    assert len(asked(provider)) == 1
    assert (shown["state"], shown["fresh"], shown["left_out"], shown["without_a_price"]) == ("done", 1, 2, 1)
    assert 0 < float(shown["likely_cost_usd"]) <= float(shown["most_cost_usd"])
    assert ask(admin, "POST", f"{API}/{dry.pk}/run").status_code == 202
    real = do(settings, Batch.objects.get(pk=dry.pk))
    assert (real.warmed, real.skipped, real.is_dry_run) == (2, 1, False)
    assert real.cost_usd_nanos <= dry.most_usd_nanos
    again = ask(admin, "POST", f"{API}/{dry.pk}/run")
    assert (again.status_code, again.json()["code"]) == (409, "prewarm_not_repeatable")


def test_the_cost_never_exceeds_the_cap_and_what_is_left_out_says_why(settings, team, kept, provider):
    one = do(settings, start(settings, team, [chat("one")]))
    requests = [chat(f"number {number}") for number in range(40)]
    requests += [chat("no price", model="nobody-knows")]
    cap = one.cost_usd_nanos * 20
    batch = do(settings, start(settings, team, requests, cost_cap_usd=f"{cap / 1e9:.9f}", concurrency=4))
    assert 0 < batch.cost_usd_nanos <= cap
    said = results(batch)
    assert ("left", "cost_cap") in said
    assert ("left", "price_unknown") in said
    assert batch.warmed == len(asked(provider)) - 1 == said.count(("warmed", ""))
    # There was no money left for one more.
    assert batch.warmed >= 10


def test_under_a_cap_what_nothing_bounds_is_bounded_by_its_model_or_left_out(settings, team, kept):
    endless = chat("one")
    del endless["body"]["max_tokens"]
    # gpt-4o-mini writes at most its 128,000 tokens of context: 0.0768 USD.
    poor = do(settings, start(settings, team, [endless], cost_cap_usd="0.05"))
    said = do(settings, start(settings, team, [endless], cost_cap_usd="0.05", output_tokens=100))
    assert results(poor) == [("left", "cost_cap")]
    assert (said.warmed, said.failed) == (1, 0)
    rich = do(settings, start(settings, team, [{**endless, "namespace": "b"}], cost_cap_usd="0.10"))
    assert rich.warmed == 1


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"status": 400}, ("failed", "provider_refused")),
        ({"finish_reason": "length"}, ("failed", "length")),
        ({"wire": "garbage"}, ("failed", "upstream_invalid")),
    ],
)
def test_what_fails_says_why_and_stops_nothing(settings, team, kept, provider, script, said):
    provider.script(**script)
    batch = do(settings, start(settings, team, [chat("one"), chat("two")], concurrency=1))
    assert results(batch) == [said, ("warmed", "")]
    assert (batch.failed, batch.warmed) == (1, 1)
    assert Task.objects.get(pk=batch.task_id).failed == 1


def test_a_busy_provider_is_asked_again(settings, team, kept, provider):
    provider.script(status=429, retry_after="0")
    batch = do(settings, start(settings, team, [chat("one")]))
    assert (batch.warmed, len(asked(provider))) == (1, 2)


def test_a_stream_and_a_plain_request_are_prewarmed_alike(settings, team, kept):
    batch = do(settings, start(settings, team, [chat("one", stream=True)]))
    assert (batch.warmed, batch.cost_usd_nanos > 0) == (1, True)
    assert do(settings, start(settings, team, [chat("one")])).skipped == 1


def test_a_cancelled_batch_ends_and_keeps_nothing_of_what_was_asked(settings, team, kept, provider):
    from agentcache.audit.services import Actor

    batch = start(settings, team, [chat("one")])
    tasks.cancel(team, batch.task_id, actor=Actor.system())
    ended = do(settings, batch)
    assert (ended.state, len(asked(provider))) == ("cancelled", 0)
    assert bytes(BatchRequest.objects.get().sealed) == b""


def test_the_end_is_told_to_webhooks(settings, team, kept):
    make_endpoint(team, event_types=["prewarm.finished"])
    batch = do(settings, start(settings, team, [chat("one"), chat("one")], concurrency=1))
    told = json.loads(Message.objects.get(event_type="prewarm.finished").body)["data"]
    assert (told["state"], told["requested"], told["warmed"], told["skipped"]) == ("done", 2, 1, 1)
    assert float(told["cost_usd"]) == batch.cost_usd_nanos / 1e9


def test_a_credential_that_was_deleted_meanwhile_fails_its_requests(settings, team, kept, provider):
    batch = start(settings, team, [chat("one")])
    ProviderCredential.objects.all().delete()
    assert results(do(settings, batch)) == [("failed", "credential_missing")]
    assert not asked(provider)


def test_json_lines_with_options_in_the_query(settings, team, kept, admin):
    path = f"{API}?concurrency=2&cost_cap_usd=1.50&title=nightly"
    made = ask(admin, "POST", path, lines(chat("one"), chat("two")) + b"\n\n", "application/x-ndjson")
    assert made.status_code == 202, made.content
    shown = made.json()
    assert (shown["requests"], shown["concurrency"], shown["cost_cap_usd"], shown["title"]) == (2, 2, "1.50", "nightly")
    event = AuditEvent.objects.get(action="prewarm.started")
    assert (event.after["requests"], event.after["cost_cap_usd"]) == (2, "1.50")
    do(settings, Batch.objects.get())
    page = ask(admin, "GET", f"{API}/{shown['id']}/results?limit=1").json()
    assert [(row["position"], row["state"], len(row["key"])) for row in page["results"]] == [(0, "warmed", 64)]
    rest = ask(admin, "GET", f"{API}/{shown['id']}/results?limit=1&cursor={page['cursor']}").json()
    assert (rest["results"][0]["position"], rest["cursor"]) == (1, None)
    assert len(ask(admin, "GET", API).json()["prewarmings"]) == 1


def embeddings(*items):
    return {"path": "/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": list(items)}}


def test_embeddings_are_asked_ahead_item_by_item(settings, team, kept, provider):
    first = do(settings, start(settings, team, [embeddings("red", "green")]))
    assert results(first) == [("warmed", "")] and first.cost_usd_nanos > 0
    # Of a request only what is not there.
    dry = do(settings, start(settings, team, [embeddings("green", "blue"), embeddings("red")], dry_run=True))
    assert results(dry) == [("left", "dry_run"), ("skipped", "")]
    assert 0 < dry.likely_usd_nanos <= dry.most_usd_nanos
    again = do(settings, start(settings, team, [embeddings("green", "blue"), embeddings("red")]))
    assert results(again) == [("warmed", ""), ("skipped", "")]
    assert 0 < again.cost_usd_nanos <= dry.most_usd_nanos
    late = do(
        settings, start(settings, team, [embeddings("red", "blue")]), LaterClock(0.8 * settings.default_ttl_seconds)
    )
    assert results(late) == [("warmed", "")]
    inputs = [call.json["input"] for call in provider.calls if call.path.endswith("/embeddings")]
    assert inputs == [["red", "green"], ["blue"], ["red", "blue"]]
    poor = do(settings, start(settings, team, [embeddings("yellow")], cost_cap_usd="0.000000001"))
    assert results(poor) == [("left", "cost_cap")]
    odd = do(settings, start(settings, team, [{**embeddings("x"), "body": {**embeddings("x")["body"], "input": {}}}]))
    assert results(odd) == [("failed", "not_cacheable: unsupported_input")]


def test_nobody_spends_without_a_cap_unless_they_say_so(settings, team, kept, admin, people):
    given = {"requests": [chat("a"), chat("b", model="nobody-knows")]}
    usual, own, none = (
        ask(admin, "POST", API, given | more).json()
        for more in ({"dry_run": True}, {"cost_cap_usd": "2.50"}, {"cost_cap_usd": None})
    )
    assert [shown["cost_cap_usd"] for shown in (usual, own, none)] == ["10.00", "2.50", None]
    for query, cap in (("", "10.00"), ("?cost_cap_usd=none", None)):
        made = ask(admin, "POST", API + query, lines(chat("a")), "application/x-ndjson").json()
        assert made["cost_cap_usd"] == cap
    dry = do(settings, Batch.objects.get(pk=usual["id"]))
    assert Task.objects.get(pk=dry.task_id).result["cost_cap_usd"] == "10.00"
    browser = browser_of(people["admin"].user)
    assert "$10.00" in browser.get(f"{PAGES}/{dry.pk}").content.decode()
    assert "under a cap they are left out" in browser.get(f"{PAGES}/{dry.pk}").content.decode()
    # What a dry run found out under a cap is done under it.
    ask(admin, "POST", f"{API}/{dry.pk}/run")
    assert results(do(settings, Batch.objects.get(pk=dry.pk))) == [("warmed", ""), ("left", "price_unknown")]
    asked_anyway = results(do(settings, Batch.objects.get(pk=none["id"])))
    assert asked_anyway == [("skipped", ""), ("warmed", "")]


@pytest.mark.parametrize(("typed", "cap"), [("", 10**10), ("none", None), ("0.25", 250_000_000)])
def test_the_form_shows_the_usual_cap_and_keeps_it_when_emptied(settings, team, kept, people, typed, cap):
    browser = browser_of(people["admin"].user)
    assert 'value="10.00"' in browser.get(f"{PAGES}/new").content.decode()
    form = {"lines": lines(chat("one")).decode(), "concurrency": "2", "cost_cap": typed, "dry_run": "1"}
    assert browser.post(f"{PAGES}/new", form).status_code == 302
    assert Batch.objects.get().cost_cap_usd_nanos == cap


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"requests": []}, 400, "invalid_batch", "requests"),
        ({"requests": [chat("a")] * 10_001}, 400, "invalid_batch", "requests"),
        ({"requests": [chat("a")], "sneed": 1}, 400, "invalid_batch", None),
        ({"requests": [{**chat("a"), "provider": "nobody"}]}, 400, "invalid_batch", "requests[0].provider"),
        ({"requests": [chat("a"), {**chat("a"), "path": "/v1/files"}]}, 400, "not_prewarmable", "requests[1].path"),
        ({"requests": [{**chat("a"), "path": "/v1/moderation"}]}, 400, "not_prewarmable", "requests[0].path"),
        ({"requests": [{**chat("a"), "body": [1]}]}, 400, "invalid_json", "requests[0]"),
        ({"requests": [{**chat("a"), "headers": {"authorization": "sk-x"}}]}, 400, "invalid_batch", "requests[0].headers"),
        ({"requests": [{**chat("a"), "namespace": "a b"}]}, 400, "invalid_directive", "requests[0].x-agentcache-namespace"),
        ({"requests": [chat("a")], "concurrency": 0}, 400, "invalid_batch", "concurrency"),
        ({"requests": [chat("a")], "requests_per_second": 0}, 400, "invalid_batch", "requests_per_second"),
        ({"requests": [chat("a")], "cost_cap_usd": "-1"}, 400, "invalid_batch", "cost_cap_usd"),
        ({"requests": [chat("a")], "cost_cap_usd": "cheap"}, 400, "invalid_batch", "cost_cap_usd"),
        ({"requests": [chat("a")], "cost_cap_usd": "0"}, 400, "invalid_batch", "cost_cap_usd"),
        ({"requests": [{**chat("a"), "provider": "together"}]}, 409, "credential_missing", "provider"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_and_named(kept, admin, body, status, code, param):
    answer = ask(admin, "POST", API, body)
    assert (answer.status_code, answer.json()["code"], answer.json().get("param")) == (status, code, param), (
        answer.content
    )
    assert not Batch.objects.exists()


def test_a_bad_line_is_named_and_too_much_is_refused(kept, admin):
    answer = ask(admin, "POST", API, lines(chat("a")) + b"\n{nope}", "application/x-ndjson")
    assert (answer.status_code, answer.json()["param"]) == (400, "line 2")
    assert ask(admin, "POST", API, b"x" * (33 * 1024 * 1024)).status_code == 413


def test_who_may_prewarm_and_who_may_look(settings, team, kept, people):
    batch = start(settings, team, [chat("one")])
    programs = {role: program_of(row.user) for role, row in people.items()}
    for scope in Scope:
        key = teams.create_api_key(current_secrets(), team, scope.value, scopes=frozenset({scope}))
        programs[f"key-{scope.value}"] = program_with_key(key.api_key)
    lookers, runners = {"admin", "member", "viewer", "key-admin"}, {"admin", "key-admin"}
    for caller, program in programs.items():
        for path in (API, f"{API}/{batch.pk}", f"{API}/{batch.pk}/results"):
            assert ask(program, "GET", path).status_code == (200 if caller in lookers else 403), (caller, path)
        run = ask(program, "POST", API, {"requests": [chat("a")]}).status_code
        assert run == (202 if caller in runners else 403), caller
        assert ask(program, "POST", f"{API}/{batch.pk}/run").status_code == (409 if caller in runners else 403), caller
    fox = program_of(join(make_team("Red Foxes"), "fox@example.com", "owner").user)
    assert ask(fox, "GET", API).json()["prewarmings"] == []
    for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/run")):
        assert ask(fox, method, f"{API}/{batch.pk}{path}").status_code == 404
    assert ask(stranger(), "GET", API).status_code == ask(stranger(), "POST", API, {}).status_code == 401


def test_the_pages_from_a_dry_run_to_its_results(settings, team, people, provider):
    admin, viewer = browser_of(people["admin"].user), browser_of(people["viewer"].user)
    assert "Keep a credential" in admin.get(PAGES).content.decode()
    assert viewer.get(f"{PAGES}/new").status_code == 403
    form = {"lines": lines(chat("one"), chat("two")).decode(), "concurrency": "2", "cost_cap": "1.00"}
    refused = admin.post(f"{PAGES}/new", {**form, "dry_run": "1"})
    assert refused.status_code == 422
    assert "keeps no credential for openai" in refused.content.decode()
    keep_credential(settings, team)
    made = admin.post(f"{PAGES}/new", {**form, "dry_run": "1"})
    here = made["Location"]
    assert "hx-trigger" in admin.get(here).content.decode()
    do(settings, Batch.objects.get())
    text = re.sub(r"\s+", " ", admin.get(here).content.decode())
    assert "Prewarm 2 requests for about" in text
    assert text.count(">To ask</") == 2
    assert f"{here}/run" not in viewer.get(here).content.decode()
    admin.post(f"{here}/run")
    do(settings, Batch.objects.get())
    assert len(asked(provider)) == 2
    text = re.sub(r"\s+", " ", admin.get(f"{here}?state=warmed").content.decode())
    assert text.count(">Warmed</") >= 2
    assert "Batch" in viewer.get(PAGES, headers={"HX-Request": "true"}).content.decode()
    assert "No request is in this state" in admin.get(f"{here}?state=failed").content.decode()
    fox = browser_of(join(make_team("Red Foxes"), "fox@example.com", "owner").user)
    assert fox.get(here).status_code == fox.post(f"{here}/run").status_code == 404


def test_a_file_of_lines_is_taken_and_a_bad_one_shown(settings, team, kept, people):
    from django.core.files.uploadedfile import SimpleUploadedFile

    admin = browser_of(people["admin"].user)
    bad = admin.post(f"{PAGES}/new", {"upload": SimpleUploadedFile("a.jsonl", b"{nope}"), "concurrency": "4"})
    assert "Line 1 cannot be read" in bad.content.decode()
    good = SimpleUploadedFile("a.jsonl", lines(chat("one")))
    assert admin.post(f"{PAGES}/new", {"upload": good, "concurrency": "4"}).status_code == 302
    assert admin.post(f"{PAGES}/new", {"concurrency": "4"}).status_code == 422
