"""What is beyond its time is deleted by the worker, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from agentcache.audit import services as audit
from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import ManualClock
from agentcache.mails.models import Mail, MailState
from agentcache.web.jobs import PRUNE_AUDIT, PRUNE_MAILS, job_kinds


async def nothing(_payload):
    return None


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def kinds(threads, clock):
    return job_kinds(threads, None, nothing, nothing, clock)


def ago(clock, **time):
    return datetime.fromtimestamp(clock.now(), UTC) - timedelta(**time)


async def test_mails_go_after_thirty_days_unless_they_are_still_to_be_sent(threads, clock, kinds):
    def fill():
        for subject, state, days in (
            ("old", MailState.SENT, 31),
            ("given up", MailState.FAILED, 31),
            ("waits", MailState.QUEUED, 31),
            ("new", MailState.SENT, 29),
        ):
            mail = Mail.objects.create(template="t", to="a@example.com", subject=subject, state=state)
            Mail.objects.filter(pk=mail.pk).update(created_at=ago(clock, days=days))

    await threads.run(fill)
    assert kinds[PRUNE_MAILS].period_seconds == 3600
    await kinds[PRUNE_MAILS].function({})
    assert await threads.run(lambda: set(Mail.objects.values_list("subject", flat=True))) == {"waits", "new"}


async def test_who_did_what_is_kept_for_a_year(threads, clock, kinds):
    def fill():
        for name, days in (("old", 366), ("new", 364)):
            audit.record(action="team.renamed", actor=Actor.system(), team_id=None, target_kind="team", target_id=name)
            AuditEvent.objects.filter(target_id=name).update(at=ago(clock, days=days))

    await threads.run(fill)
    assert kinds[PRUNE_AUDIT].period_seconds == 86400
    await kinds[PRUNE_AUDIT].function({})
    assert await threads.run(lambda: list(AuditEvent.objects.values_list("target_id", flat=True))) == ["new"]
