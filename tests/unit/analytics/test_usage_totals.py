import time

from agentcache.analytics import services
from agentcache.analytics.usage_totals import DjangoUsageTotals
from agentcache.gateway import ports
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.ids import new_id
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services import create_team


def event(team, outcome, at_ms, **figures):
    return ports.UsageEvent(
        id=new_id(), at_ms=at_ms, tenant_id=team.id, api_key_id="key", dialect="openai", endpoint="chat.completions",
        model="gpt-5-mini", namespace="default", outcome=outcome.value, status=200, **figures,
    )  # fmt: skip


async def test_a_tenants_totals_are_its_own_and_begin_when_asked(project):
    secrets = ServerSecrets.of(project)
    now_ms = int(time.time() * 1000)
    threads = DatabaseThreads(threads=1, answer_within_seconds=60)
    try:
        ours = await threads.run(lambda: create_team(secrets, "Blue Whales"))
        theirs = await threads.run(lambda: create_team(secrets, "Red Foxes"))
        events = [
            event(ours, ports.Outcome.MISS, now_ms, cost_usd_nanos=5),
            event(ours, ports.Outcome.EXACT, now_ms - 3_600_000, saved_usd_nanos=7),
            event(ours, ports.Outcome.EXACT, now_ms - 25 * 3_600_000, saved_usd_nanos=11),
            event(theirs, ports.Outcome.EXACT, now_ms, saved_usd_nanos=13),
        ]
        await threads.run(lambda: services.record_events(events))
        found = await DjangoUsageTotals(threads).tenant_totals(ours.id, now_ms - 86_400_000)
    finally:
        threads.close()
    assert found == ports.TenantTotals(requests=2, hits=1, coalesced=0, misses=1, cost_usd_nanos=5, saved_usd_nanos=7)
