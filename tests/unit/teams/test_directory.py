import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.gateway.ports import Refusal, Scope
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.errors import Unavailable
from agentcache.teams import services
from agentcache.teams.directory import DjangoDirectory
from agentcache.teams.models import ApiKey, FormerApiKey, Membership
from agentcache.teams.secrets import ServerSecrets


@pytest.fixture
def secrets(project):
    return ServerSecrets.of(project)


@pytest.fixture
def team(secrets):
    return services.create_team(secrets, "Blue Whales")


@pytest.fixture
def created(secrets, team):
    return services.create_api_key(secrets, team, "ci", namespace="eval")


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


@pytest.fixture
def directory(project, secrets, threads):
    return DjangoDirectory(project, secrets, threads)


async def test_a_live_key_names_its_team_scopes_and_namespace(directory, team, created):
    principal = await directory.find_principal(created.api_key)
    assert principal.tenant.id == team.id
    assert principal.api_key_id == created.row.id
    assert principal.scopes == {Scope.CACHE_READ, Scope.CACHE_WRITE, Scope.STATS_READ}
    assert principal.namespace == "eval"
    assert not principal.is_test


async def test_the_tenants_secret_is_always_the_same_and_never_stored(directory, team, created):
    first = await directory.find_principal(created.api_key)
    second = await directory.find_principal(created.api_key)
    assert first.tenant.key_secret == second.tenant.key_secret
    assert len(first.tenant.key_secret) == 32
    assert first.tenant.key_secret not in bytes(team.wrapped_data_key)


async def test_entries_have_a_key_only_where_they_are_encrypted(project, directory, secrets, threads, created):
    plain = await directory.find_principal(created.api_key)
    encrypting = DjangoDirectory(replace(project, encrypt_entries=True), secrets, threads)
    encrypted = await encrypting.find_principal(created.api_key)
    assert plain.tenant.data_key is None
    assert len(encrypted.tenant.data_key) == 32
    assert encrypted.tenant.data_key != encrypted.tenant.key_secret
    assert encrypted.tenant.key_secret == plain.tenant.key_secret


async def test_an_unknown_key_is_nobodys(directory, created):
    assert await directory.find_principal(new_api_key()) is None


async def test_a_key_that_differs_in_one_character_is_nobodys(directory, created):
    changed = created.api_key[:-1] + ("A" if created.api_key[-1] != "A" else "B")
    assert await directory.find_principal(changed) is None


async def test_a_revoked_key_says_so(directory, threads, team, created):
    await threads.run(lambda: services.revoke_api_key(team, created.row.id))
    assert await directory.find_principal(created.api_key) is Refusal.REVOKED


async def test_an_expired_key_says_so(directory, threads, created):
    ahead, past = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(seconds=1)
    await threads.run(lambda: ApiKey.objects.update(expires_at=ahead))
    assert await directory.find_principal(created.api_key) is not None
    await threads.run(lambda: ApiKey.objects.update(expires_at=past))
    assert await directory.find_principal(created.api_key) is Refusal.EXPIRED


async def test_a_rotated_key_works_for_its_overlap_and_then_says_so(directory, secrets, threads, team, created):
    renewed = await threads.run(lambda: services.rotate_api_key(secrets, team, created.row.id))
    former, present = [await directory.find_principal(each.api_key) for each in (created, renewed)]
    assert former == present
    assert present.api_key_id == created.row.id
    await threads.run(lambda: FormerApiKey.objects.update(ends_at=timezone.now()))
    assert await directory.find_principal(created.api_key) is Refusal.ROTATED
    assert (await directory.find_principal(renewed.api_key)) == present


async def test_the_use_of_a_former_value_is_noted_as_such(directory, secrets, threads, team, created):
    renewed = await threads.run(lambda: services.rotate_api_key(secrets, team, created.row.id))
    await directory.find_principal(renewed.api_key)
    while (await threads.run(lambda: ApiKey.objects.get().last_used_at)) is None:
        await asyncio.sleep(0.01)
    assert await threads.run(lambda: FormerApiKey.objects.get().last_used_at) is None
    await directory.find_principal(created.api_key)
    while (await threads.run(lambda: FormerApiKey.objects.get().last_used_at)) is None:
        await asyncio.sleep(0.01)


async def test_a_members_own_key_goes_with_the_member(directory, secrets, threads, team, member):
    own = await threads.run(lambda: services.create_api_key(secrets, team, "own", created_by=member.user))
    assert (await directory.find_principal(own.api_key)).user_id == str(member.user.pk)
    await threads.run(lambda: User.objects.update(is_active=False))
    assert await directory.find_principal(own.api_key) is Refusal.INACTIVE
    await threads.run(lambda: User.objects.update(is_active=True))
    assert (await directory.find_principal(own.api_key)).user_id == str(member.user.pk)
    # By no service of ours: what counts is asked at the check, not noted by whoever removes somebody.
    await threads.run(lambda: Membership.objects.all().delete())
    assert await directory.find_principal(own.api_key) is Refusal.INACTIVE
    await threads.run(lambda: User.objects.all().delete())
    assert await directory.find_principal(own.api_key) is Refusal.INACTIVE


async def test_a_shared_key_stays_when_its_maker_goes(directory, secrets, threads, team, member):
    shared = await threads.run(
        lambda: services.create_api_key(secrets, team, "ours", created_by=member.user, is_shared=True)
    )
    await threads.run(lambda: User.objects.all().delete())
    assert (await directory.find_principal(shared.api_key)).user_id == ""


async def test_a_members_own_key_may_no_more_than_the_member_does_now(directory, secrets, threads, team, admin):
    own = await threads.run(
        lambda: services.create_api_key(secrets, team, "own", scopes=frozenset(Scope), created_by=admin.user)
    )
    assert (await directory.find_principal(own.api_key)).scopes == set(Scope)
    await threads.run(lambda: Membership.objects.update(role="viewer"))
    assert (await directory.find_principal(own.api_key)).scopes == {Scope.CACHE_READ, Scope.STATS_READ}


async def test_the_keys_of_a_deleted_team_are_nobodys(directory, threads, team, created):
    await threads.run(team.delete)
    assert await directory.find_principal(created.api_key) is None


async def test_a_key_names_where_it_may_be_used_from(directory, secrets, threads, team):
    narrow = await threads.run(
        lambda: services.create_api_key(secrets, team, "ci", allowed_networks=["198.51.100.7", "2001:db8::/32"])
    )
    networks = (await directory.find_principal(narrow.api_key)).networks
    assert networks.covers("198.51.100.7") and networks.covers("2001:db8:1::1")
    assert not networks.covers("198.51.100.8") and not networks.covers("")


async def test_a_key_stored_under_another_pepper_is_nobodys(project, secrets, threads, created):
    other = replace(secrets, peppers=(b"x" * 32,))
    assert await DjangoDirectory(project, other, threads).find_principal(created.api_key) is None


async def test_a_key_stored_under_a_former_pepper_is_found(project, secrets, threads, created):
    rotated = replace(secrets, peppers=(b"x" * 32, *secrets.peppers))
    principal = await DjangoDirectory(project, rotated, threads).find_principal(created.api_key)
    assert principal.api_key_id == created.row.id


async def test_a_scope_from_a_newer_release_grants_nothing(directory, threads, created):
    await threads.run(lambda: ApiKey.objects.update(scopes=["cache:read", "world:rule"]))
    principal = await directory.find_principal(created.api_key)
    assert principal.scopes == {Scope.CACHE_READ}


async def test_the_use_of_a_key_is_noted_once_a_minute(directory, threads, created, monkeypatch):
    noted = []
    touch = services.touch_api_key
    monkeypatch.setattr(services, "touch_api_key", lambda *arguments: (noted.append(1), touch(*arguments)))
    await directory.find_principal(created.api_key)
    while (await threads.run(lambda: ApiKey.objects.get().last_used_at)) is None:
        await asyncio.sleep(0.01)
    await directory.find_principal(created.api_key)
    long_ago = timezone.now() - timedelta(hours=1)
    await threads.run(lambda: ApiKey.objects.update(last_used_at=long_ago))
    await directory.find_principal(created.api_key)
    while (await threads.run(lambda: ApiKey.objects.get().last_used_at)) == long_ago:
        await asyncio.sleep(0.01)
    assert len(noted) == 2


async def test_a_database_that_hangs_is_unavailable(project, secrets, created):
    threads = DatabaseThreads(threads=1, answer_within_seconds=0.01)
    release = threading.Event()
    threads.post(release.wait)
    with pytest.raises(Unavailable):
        await DjangoDirectory(project, secrets, threads).find_principal(created.api_key)
    release.set()
    threads.close()


async def test_a_database_without_its_tables_is_unavailable_and_tells_nothing(directory, threads, created):
    def drop():
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE teams_formerapikey")
            cursor.execute("DROP TABLE teams_apikey")

    await threads.run(drop)
    with pytest.raises(Unavailable) as caught:
        await directory.find_principal(created.api_key)
    assert "apikey" not in caught.value.message


async def test_the_teams_own_lifetime_comes_with_its_keys(directory, threads, team, created):
    assert (await directory.find_principal(created.api_key)).lifetime_seconds is None
    team.default_lifetime_seconds = 90
    await threads.run(team.save)
    assert (await directory.find_principal(created.api_key)).lifetime_seconds == 90.0
