"""`POST /api/cache/invalidate`: what it takes, what it does, what it says and what it hands over."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from agentcache.gateway.ports import RECORD_INVALIDATION, AskAgain, EntryHits, Scope
from tests.unit.gateway.native.samples import QUESTION, chat_answer


async def fill(bench, number=3, first=0, **members):
    keys = []
    for index in range(first, first + number):
        request = {**QUESTION, "seed": index}
        asked = {"provider": "openai", "request": request, "value": chat_answer(str(index) or "0"), **members}
        keys.append((await bench.post("set", asked, 201))["key"])
    return keys


async def left(bench):
    return {entry["key"] for entry in (await bench.get("entries"))["entries"]}


async def test_the_reply_tells_what_was_met(bench):
    keys = await fill(bench, 3, tags=["prices"], cost_usd=0.25)
    await fill(bench, 1, namespace="prod", tags=["prices"], cost_usd="0.5")
    (other,) = await fill(bench, 1, first=9, tags=["news"])
    reply = await bench.post("invalidate", {"tags": ["prices"], "reason": "New price list"})
    assert reply.pop("id").startswith("inv_")
    assert reply == {
        "invalidated": 4,
        "namespaces": ["default", "prod"],
        "estimatedCostImpact": 1.25,
        "preWarmed": 0,
        "preWarmProblem": None,
        "soft": False,
        "dry_run": False,
        "recorded": True,
        "job": None,
        "preview": None,
    }
    assert await left(bench) == {other}
    await bench.get(f"get?key={keys[0]}", 404)


@pytest.mark.parametrize(
    "criteria",
    [
        {"pattern": "prod/openai/*"},
        {"namespace": "prod"},
        {"tags": ["absent", "t"]},
        {"url": "HTTPS://Example.com:443/#top"},
        {"olderThan": 60_000},
        {"older_than": 60},
        {"older_than": "1m"},
        {"model": "gpt-4o-mini", "namespace": "prod"},
        {"provider": "openai", "tags": ["t"]},
        {"keys": ["KEY"]},
        {"pattern": "*", "namespace": "prod", "tags": ["t"], "url": "https://example.com/", "olderThan": 60_000,
         "model": "gpt-4o-mini", "provider": "openai", "keys": ["KEY"]},
    ],
    ids=lambda criteria: "+".join(f"{name}" for name in criteria),
)  # fmt: skip
async def test_each_criterion_means_what_it_says(bench, criteria):
    (wanted,) = await fill(bench, 1, namespace="prod", tags=["t"], sources=["https://example.com"])
    bench.clock.move(60)
    (other,) = await fill(bench, 1, first=1)
    if "keys" in criteria:
        criteria = {**criteria, "keys": [wanted]}
    assert (await bench.post("invalidate", {**criteria, "dry_run": True}))["invalidated"] == 1
    assert await left(bench) == {wanted, other}
    assert (await bench.post("invalidate", criteria))["invalidated"] == 1
    assert await left(bench) == {other}


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        ({}, "no_criterion", None),
        ({"dry_run": True}, "no_criterion", None),
        ({"reason": "because", "soft": True, "notify": False}, "no_criterion", None),
        ({"tags": []}, "invalid_member", "tags"),
        ({"keys": []}, "invalid_member", "keys"),
        ({"keys": ["abc"]}, "invalid_member", "keys[0]"),
        ({"pattern": ""}, "invalid_member", "pattern"),
        ({"url": "example.com"}, "invalid_directive", "url"),
        ({"url": "ftp://example.com/"}, "invalid_directive", "url"),
        ({"namespace": "a b"}, "invalid_directive", "namespace"),
        ({"olderThan": -1}, "invalid_member", "olderThan"),
        ({"olderThan": "1h"}, "invalid_member", "olderThan"),
        ({"older_than": "soon"}, "invalid_directive", "older_than"),
        ({"older_than": -5}, "invalid_member", "older_than"),
        ({"older_than": 5, "olderThan": 5000}, "invalid_member", "older_than"),
        ({"tags": ["t"], "preWarm": "yes"}, "invalid_member", "preWarm"),
        ({"tags": ["t"], "preWarm": {"limit": 0}}, "invalid_member", "preWarm.limit"),
        ({"tags": ["t"], "preWarm": {"cost_cap_usd": "much"}}, "invalid_member", "preWarm.cost_cap_usd"),
        ({"tags": ["t"], "preWarm": {"cost_cap_usd": "0"}}, "invalid_member", "preWarm.cost_cap_usd"),
        ({"tags": ["t"], "preWarm": {"most": 1}}, "invalid_member", "preWarm.most"),
        ({"tags": ["t"], "soft": "yes"}, "invalid_member", "soft"),
        ({"tags": ["t"], "reason": "x" * 501}, "invalid_member", "reason"),
        ({"tags": ["t"], "dryRun": True}, "invalid_member", "dryRun"),
        ({"tags": ["t"], "all": True}, "invalid_member", "all"),
    ],
)
async def test_what_cannot_be_meant_is_named(bench, asked, code, param):
    keys = await fill(bench, 2, tags=["t"])
    said = await bench.post("invalidate", asked, 400)
    assert (said["code"], said.get("param")) == (code, param), said
    assert await left(bench) == set(keys)
    assert bench.jobs.kept == []


async def test_an_entry_marked_stale_is_a_miss_and_still_there(bench):
    keys = await fill(bench, 2, tags=["t"])
    bench.clock.move(10)
    reply = await bench.post("invalidate", {"tags": ["t"], "soft": True})
    assert (reply["invalidated"], reply["soft"]) == (2, True)
    found = await bench.post("get", {"key": keys[0]})
    assert (found["hit"], found["reason"]) == (False, "expired")
    for shown in ((await bench.get("entries"))["entries"][0], await bench.get(f"entries/{keys[0]}")):
        assert shown["marked_stale_at"] == shown["expires_at"] == "2027-01-15T08:00:10.000Z"
        assert (shown["freshness"], shown["ttl"]) == ("expired", 0)
    await fill(bench, 1, tags=["t"])
    assert (await bench.post("get", {"key": keys[0]}))["hit"] is True


async def test_a_dry_run_shows_the_blast_radius(bench):
    keys = await fill(bench, 3, tags=["t"], cost_usd=0.5)
    (other,) = await fill(bench, 1, first=9)
    week_ago_ms = int(bench.clock.now() * 1000) - 7 * 86_400_000
    bench.totals.hits = EntryHits({keys[0]: (7, 3_000_000_000), keys[2]: (1, 500_000_000), other: (99, 1)}, week_ago_ms)
    reply = await bench.post("invalidate", {"tags": ["t"], "dry_run": True})
    assert (reply["id"], reply["dry_run"], reply["recorded"], reply["invalidated"]) == ("", True, False, 3)
    assert reply["preview"] == {
        "entries": 3,
        "bytes": reply["preview"]["bytes"],
        "by_namespace": {"default": 3},
        "hits_last_7_days": 8,
        "saved_last_7_days_usd": 3.5,
        "hits_since": "2027-01-08T08:00:00.000Z",
        "hits_complete": True,
    }
    assert bench.totals.asked == [("team_a", week_ago_ms)]
    by_key = await bench.post("invalidate", {"keys": [keys[0], other], "dry_run": True})
    assert by_key["preview"]["hits_last_7_days"] == 106
    assert len(await left(bench)) == 4
    assert bench.jobs.kept == []


async def test_a_dry_run_without_usage_says_so(bench):
    await fill(bench, 1, tags=["t"])
    shown = (await bench.post("invalidate", {"tags": ["t"], "dry_run": True}))["preview"]
    assert (shown["entries"], shown["hits_last_7_days"], shown["saved_last_7_days_usd"]) == (1, None, None)


async def test_what_was_done_is_handed_over_to_be_written_down(bench):
    await fill(bench, 2, tags=["t"], cost_usd=0.5)
    asked = {"tags": ["t"], "olderThan": 0, "reason": "Prices changed", "soft": True, "notify": False}
    reply = await bench.post("invalidate", asked)
    ((name, payload),) = bench.jobs.kept
    assert name == RECORD_INVALIDATION
    assert payload.pop("body_bytes") > 0
    assert payload == {
        "id": reply["id"],
        "tenant_id": "team_a",
        "at": bench.clock.now(),
        "criteria": {"tags": ["t"], "olderThan": 0},
        "entries": 2,
        "namespaces": {"default": 2},
        "cost_usd_nanos": 1_000_000_000,
        "is_soft": True,
        "reason": "Prices changed",
        "notify": False,
        "api_key_id": "key_1",
        "address": "127.0.0.1",
    }


async def test_a_purge_is_handed_over_in_the_same_words(bench):
    await fill(bench, 1, sources=["https://example.com/"])
    await bench.post("purge", {"source": "https://example.com/", "dialect": "openai", "dry_run": True})
    assert bench.jobs.kept == []
    await bench.post("purge", {"source": "https://example.com/", "dialect": "openai"})
    await bench.post("purge", {"all": True})
    criteria = [payload["criteria"] for _, payload in bench.jobs.kept]
    assert criteria == [{"url": "https://example.com/", "provider": "openai"}, {"all": True}]


async def test_what_was_asked_is_asked_again_where_that_is_wanted(bench):
    await fill(bench, 2, tags=["t"])
    admin = bench.make_key("team_a", frozenset({Scope.ADMIN}), key_id="key_admin")
    capped = {"limit": 50, "cost_cap_usd": "1.5", "concurrency": 2}
    planned = await bench.post("invalidate", {"tags": ["t"], "preWarm": capped, "dry_run": True}, key=admin)
    assert (planned["preWarmed"], planned["job"], bench.prewarmer.asked) == (5, None, [])
    done = await bench.post("invalidate", {"tags": ["t"], "preWarm": capped}, key=admin)
    assert (done["invalidated"], done["preWarmed"], done["job"], done["preWarmProblem"]) == (2, 7, "job_1", None)
    ((team, selector, how, who),) = bench.prewarmer.asked
    assert (team, selector.tags, how) == ("team_a", ("t",), AskAgain(50, 2, 1_500_000_000))
    assert who == {"api_key_id": "key_admin", "user_id": "", "address": "127.0.0.1"}
    # No cap is something to be said; nothing said is the server's own.
    for given, cap in (({"cost_cap_usd": None}, None), ({}, UNSET)):
        await bench.post("invalidate", {"tags": ["t"], "preWarm": given}, key=admin)
        assert bench.prewarmer.asked[-1][2].cost_cap_usd_nanos is cap


async def test_asking_again_costs_money_so_it_needs_the_scope_admin_before_anything_goes(bench):
    keys = await fill(bench, 2, tags=["t"])
    refused = await bench.post("invalidate", {"tags": ["t"], "preWarm": True}, 403)
    assert refused["code"] == "insufficient_scope"
    assert await left(bench) == set(keys)
    assert bench.jobs.kept == []


async def test_entries_are_gone_although_they_cannot_be_asked_again(bench):
    await fill(bench, 2, tags=["t"])
    admin = bench.make_key("team_a", frozenset({Scope.ADMIN}))
    bench.prewarmer.answer = None
    done = await bench.post("invalidate", {"tags": ["t"], "preWarm": True}, key=admin)
    assert (done["invalidated"], done["preWarmed"], done["preWarmProblem"]) == (2, 0, "unavailable")
    assert await left(bench) == set()


async def test_a_command_and_a_deleted_entry_are_handed_over_too(bench):
    keys = await fill(bench, 2, tags=["t"], cost_usd=0.5)
    assert (await bench.call("DELETE", f"/api/cache/entries/{keys[0]}")).status_code == 204
    await bench.post("invalidate", {"keys": [keys[1]]}, user_agent="agentcache-command/1.0")
    told = [(payload["criteria"], payload["entries"], payload.get("cause", "api")) for _, payload in bench.jobs.kept]
    assert told == [({"keys": [keys[0]]}, 1, "api"), ({"keys": [keys[1]]}, 1, "command")]
    assert (await bench.call("DELETE", f"/api/cache/entries/{keys[0]}")).status_code == 404
    assert len(bench.jobs.kept) == 2


async def test_entries_are_gone_although_nobody_can_write_it_down(bench):
    await fill(bench, 2, tags=["t"])
    bench.jobs.is_up = False
    reply = await bench.post("invalidate", {"tags": ["t"]})
    assert (reply["invalidated"], reply["recorded"]) == (2, False)
    assert await left(bench) == set()


async def test_it_needs_the_scope_to_write_and_means_ones_own_team(bench):
    keys = await fill(bench, 2, tags=["t"])
    reader = bench.make_key("team_a", frozenset({Scope.CACHE_READ, Scope.STATS_READ}))
    assert (await bench.post("invalidate", {"tags": ["t"]}, 403, key=reader))["code"] == "insufficient_scope"
    assert (await bench.call("POST", "/api/cache/invalidate", {"tags": ["t"]}, key="")).status_code == 401
    assert (await bench.call("GET", "/api/cache/invalidate")).status_code == 405
    stranger = bench.make_key("team_b")
    for body in ({"tags": ["t"]}, {"keys": keys}, {"pattern": "*"}, {"olderThan": 0}):
        assert (await bench.post("invalidate", body, key=stranger))["invalidated"] == 0
    assert await left(bench) == set(keys)
