"""The imagined cache, against policies, by hand and beside the gateway's own arithmetic."""

import pytest

from agentcache.engine.policies import Match, Policy, PolicySet
from agentcache.gateway.ports import NOT_NAMED
from agentcache.policies.dry_run import PastRequest, simulate

DAY = 86400.0
COST = 1_000


def asked(at: float, key: str = "k", outcome: str = "miss", **more) -> PastRequest:
    given = {
        "at_ms": int(at * 1000), "key": key, "dialect": "openai", "model": "gpt-5", "namespace": "prod",
        "outcome": outcome, "reason": "miss", "cost_usd_nanos": COST if outcome == "miss" else 0,
        "saved_usd_nanos": 0 if outcome == "miss" else COST, "temperature_milli": NOT_NAMED,
    }  # fmt: skip
    return PastRequest(**{**given, **more})


def policies(*found: Policy) -> PolicySet:
    return PolicySet(1, found)


def test_a_longer_lifetime_would_have_hit_more():
    requests = [asked(at * DAY) for at in range(10)]
    short = simulate(requests, policies(Policy("a", "A", lifetime_seconds=DAY / 2)), DAY)
    assert (short.total.hits, short.total.misses, short.total.saved_usd_nanos) == (0, 10, 0)
    long = simulate(requests, policies(Policy("a", "A", lifetime_seconds=5.5 * DAY)), DAY)
    assert (long.total.hits, long.total.misses) == (8, 2)
    assert (long.total.saved_usd_nanos, long.total.spent_usd_nanos) == (8 * COST, 2 * COST)
    assert long.total.hit_ratio == pytest.approx(0.8)
    assert (long.was.hits, long.was.misses, long.was.spent_usd_nanos) == (0, 10, 10 * COST)


def test_a_stale_hit_costs_a_refresh_and_saves_the_waiting_only():
    policy = Policy("a", "A", lifetime_seconds=10, stale_while_revalidate_seconds=10)
    run = simulate([asked(0), asked(5), asked(15), asked(24), asked(45)], policies(policy), DAY)
    total = run.total
    # Stored at 0; fresh at 5; stale at 15, then refreshed; fresh at 24; gone at 45.
    assert (total.hits, total.stale_hits, total.refreshes, total.misses) == (3, 1, 1, 2)
    assert (total.saved_usd_nanos, total.spent_usd_nanos) == (2 * COST, 3 * COST)
    unrefreshed = [asked(0, is_refreshed=False), asked(15, is_refreshed=False)]
    assert simulate(unrefreshed, policies(policy), DAY).total.misses == 2


def test_the_first_policy_that_matches_decides_and_what_is_kept_out_is_paid():
    out = Policy("out", "Out", Match(namespaces=("secret",)), stores=False)
    rest = Policy("rest", "Rest", lifetime_seconds=DAY)
    requests = [asked(at, namespace=name, key=name) for at in range(3) for name in ("secret", "prod")]
    run = simulate(requests, policies(out, rest), DAY)
    by_name = {one.name: one for one in run.by_policy}
    assert (by_name["Out"].kept_out, by_name["Out"].spent_usd_nanos, by_name["Out"].hits) == (3, 3 * COST, 0)
    assert (by_name["Rest"].requests, by_name["Rest"].hits) == (3, 2)
    assert by_name["No policy"].requests == 0


def test_answers_past_a_source_change_are_counted():
    source = "https://example.com/prices"
    requests = [
        asked(at * 100, sources="https://EXAMPLE.com:443/prices", outcome="miss" if at == 0 else "exact")
        for at in range(5)
    ]
    policy = Policy("a", "A", Match(source_hosts=("example.com",)), lifetime_seconds=250)
    run = simulate(requests, policies(policy), DAY, {source: [150.0]})
    # Stored at 0, served at 100 and, past the change at 150, at 200; asked anew at 300, served at 400.
    assert (run.total.hits, run.total.past_changes) == (3, 1)


def test_a_failing_provider_is_stood_in_for_within_the_window():
    policy = Policy("a", "A", lifetime_seconds=10, stale_if_error_seconds=100)
    requests = [asked(0), asked(50, outcome="error", failed=True), asked(500, outcome="error", failed=True)]
    total = simulate(requests, policies(policy), DAY).total
    assert (total.on_error, total.misses) == (1, 2)


def test_what_events_do_not_tell_is_said():
    by_prompt = Policy("p", "Prompt", Match(prompt="news"), lifetime_seconds=1)
    cold = Policy("c", "Cold", Match(temperature_max=0.2), lifetime_seconds=DAY, ignore=(("seed",),))
    requests = [
        asked(0, key="told", temperature_milli=100),
        asked(1, key="told", outcome="exact", temperature_milli=-2),
        asked(2, key="untold", outcome="exact", temperature_milli=-2),
    ]
    run = simulate(requests, policies(by_prompt, cold), DAY)
    assert (run.by_prompt, run.with_ignored, run.undetermined) == (["Prompt"], ["Cold"], 1)
    assert {one.name: one.requests for one in run.by_policy} == {"Cold": 2, "No policy": 1}


def test_whoever_insists_on_a_new_answer_gets_one():
    run = simulate([asked(0), asked(1, reason="request"), asked(2)], policies(), DAY)
    assert (run.total.hits, run.total.misses) == (1, 2)


def test_nothing_played_is_nothing():
    run = simulate([], policies(), DAY)
    assert run.total.hit_ratio is None and run.total.requests == 0
