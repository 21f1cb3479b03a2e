"""Versions: each save one more, none changed, any brought back; and what the gateway gets of them."""

import asyncio

import pytest

from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.engine.policies import NO_POLICIES
from agentcache.gateway.authenticate import Authenticator
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import ManualClock
from agentcache.policies import queries, services
from agentcache.policies.drafts import MatchDraft, PolicyDraft
from agentcache.policies.errors import InvalidPolicy, PoliciesChanged, PolicyNotFound, PolicyVersionNotFound
from agentcache.policies.models import PolicyVersion
from agentcache.policies.policy_book import PolicyBook
from agentcache.teams.directory import DjangoDirectory
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services import create_api_key
from tests.support.teams import join, make_team

SYSTEM = Actor.system()


@pytest.fixture
def team(project):
    return make_team()


def names(team):
    return [draft.name for draft in queries.current_policies(team).drafts]


def test_every_save_is_a_version_and_none_changes(team):
    admin = join(team, "admin@example.com", "admin").user
    actor = Actor(user_id=str(admin.pk), user_email=admin.email)
    assert queries.current_policies(team).version == 0
    first = services.add_policy(team, PolicyDraft("News", lifetime_seconds=3600), actor=actor)
    services.add_policy(team, PolicyDraft("Docs"), actor=actor, place=0)
    services.change_policy(team, first.id, PolicyDraft("News", lifetime_seconds=60), actor=actor)
    services.move_policy(team, first.id, 0, actor=actor)
    assert names(team) == ["News", "Docs"]
    services.remove_policy(team, first.id, actor=actor)
    assert names(team) == ["Docs"]
    rows = list(queries.list_versions(team))
    assert [row.number for row in rows] == [5, 4, 3, 2, 1]
    assert [row.note for row in rows] == ["Removed News", "Moved News", "Changed News", "Added Docs", "Added News"]
    assert {row.author for row in rows} == {admin}
    restored = services.restore_version(team, 2, actor=actor)
    assert (restored.number, restored.note, names(team)) == (6, "Restored version 2", ["Docs", "News"])
    assert queries.get_policy(team, first.id).lifetime_seconds == 3600
    assert [draft.name for draft in queries.drafts_of(queries.get_version(team, 1))] == ["News"]
    told = AuditEvent.objects.filter(team_id=team.pk, action="policies.changed").order_by("at", "id")
    assert told.count() == 6
    changed = next(event for event in told if "Changed News" in event.target_name)
    assert [event["policies"][0]["lifetime_seconds"] for event in (changed.before, changed.after)] == [3600, 60]


def test_a_save_that_changes_nothing_is_none(team):
    kept = services.add_policy(team, PolicyDraft("News"), actor=SYSTEM)
    services.change_policy(team, kept.id, kept, actor=SYSTEM)
    services.move_policy(team, kept.id, 7, actor=SYSTEM)
    assert queries.current_policies(team).version == 1


def test_nobodys_change_is_lost(team):
    kept = services.add_policy(team, PolicyDraft("News"), actor=SYSTEM)
    services.add_policy(team, PolicyDraft("Docs"), actor=SYSTEM, based_on=1)
    with pytest.raises(PoliciesChanged):
        services.change_policy(team, kept.id, PolicyDraft("Late"), actor=SYSTEM, based_on=1)
    with pytest.raises(PoliciesChanged):
        services.save_all(team, [], actor=SYSTEM, based_on=1)
    assert names(team) == ["News", "Docs"]


def test_what_is_refused_leaves_no_trace(team):
    with pytest.raises(InvalidPolicy):
        services.add_policy(team, PolicyDraft("News", match=MatchDraft(prompt="(")), actor=SYSTEM)
    assert PolicyVersion.objects.count() == 0
    assert not AuditEvent.objects.filter(action="policies.changed").exists()


def test_another_teams_policies_are_nobodys(team):
    other = make_team("Other")
    kept = services.add_policy(team, PolicyDraft("News"), actor=SYSTEM)
    for act in (
        lambda: queries.get_policy(other, kept.id),
        lambda: services.change_policy(other, kept.id, kept, actor=SYSTEM),
        lambda: services.remove_policy(other, kept.id, actor=SYSTEM),
        lambda: services.move_policy(other, kept.id, 0, actor=SYSTEM),
    ):
        with pytest.raises(PolicyNotFound):
            act()
    with pytest.raises(PolicyVersionNotFound):
        services.restore_version(other, 1, actor=SYSTEM)
    with pytest.raises(PolicyVersionNotFound):
        queries.get_version(team, 10**12)


def test_the_book_gives_the_same_object_until_the_next_save(team):
    book = PolicyBook()
    assert book.of(team.pk) is NO_POLICIES
    kept = services.add_policy(team, PolicyDraft("News", lifetime_seconds=60), actor=SYSTEM)
    first = book.of(team.pk)
    assert first.policies[0].lifetime_seconds == 60 and book.of(team.pk) is first
    services.change_policy(team, kept.id, PolicyDraft("News", is_on=False), actor=SYSTEM)
    assert book.of(team.pk).policies == ()
    assert PolicyBook().of(team.pk) == book.of(team.pk)


def test_a_policy_that_is_not_understood_leaves_the_others(team):
    services.add_policy(team, PolicyDraft("Good"), actor=SYSTEM)
    row = PolicyVersion.objects.get()
    broken = {**row.document[0], "id": "broken", "name": "Broken", "match": {"prompt": "("}}
    PolicyVersion.objects.create(team=team, number=2, document=[broken, *row.document])
    assert [policy.name for policy in PolicyBook().of(team.pk).policies] == ["Good"]


async def test_a_principal_carries_them_within_seconds(project, team):
    secrets, threads, clock = ServerSecrets.of(project), DatabaseThreads(answer_within_seconds=60), ManualClock(0.0)
    try:
        created = await threads.run(lambda: create_api_key(secrets, team, "ci"))
        directory = DjangoDirectory(project, secrets, threads, PolicyBook().of)
        authenticator = Authenticator(directory, clock)
        before = await authenticator.authenticate(created.api_key)
        assert before.policies is NO_POLICIES
        await threads.run(lambda: services.add_policy(team, PolicyDraft("News"), actor=SYSTEM))
        clock.move(5.1)
        after = await authenticator.authenticate(created.api_key)
        assert [policy.name for policy in after.policies.policies] == ["News"]
        clock.move(5.1)
        # Nothing has changed, so what others remember of the principal still holds.
        assert await authenticator.authenticate(created.api_key) is after
    finally:
        await asyncio.to_thread(threads.close)
