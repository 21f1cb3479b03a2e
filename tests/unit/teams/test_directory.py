import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from agentcache.gateway.ports import Scope
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.errors import Unavailable
from agentcache.teams import services
from agentcache.teams.directory import DjangoDirectory
from agentcache.teams.models import ApiKey
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
    threads = DatabaseThreads()
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


async def test_a_revoked_key_is_nobodys(directory, threads, team, created):
    await threads.run(lambda: services.revoke_api_key(team, created.row.id))
    assert await directory.find_principal(created.api_key) is None


async def test_an_expired_key_is_nobodys(directory, threads, created):
    ahead, past = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(seconds=1)
    await threads.run(lambda: ApiKey.objects.update(expires_at=ahead))
    assert await directory.find_principal(created.api_key) is not None
    await threads.run(lambda: ApiKey.objects.update(expires_at=past))
    assert await directory.find_principal(created.api_key) is None


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
            cursor.execute("DROP TABLE teams_apikey")

    await threads.run(drop)
    with pytest.raises(Unavailable) as caught:
        await directory.find_principal(created.api_key)
    assert "apikey" not in caught.value.message
