from datetime import timedelta

import pytest
from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.gateway.ports import Scope
from agentcache.kit.api_keys import hash_api_key, is_test_key, is_well_formed
from agentcache.kit.errors import AgentCacheError
from agentcache.teams import queries, services
from agentcache.teams.errors import ApiKeyNotFound, InvalidExpiry, InvalidName
from agentcache.teams.models import ApiKey, Team
from agentcache.teams.secrets import ServerSecrets


@pytest.fixture
def secrets(project):
    return ServerSecrets.of(project)


@pytest.fixture
def team(secrets):
    return services.create_team(secrets, "Blue Whales")


def test_a_team_has_a_128_bit_id_a_slug_and_a_data_key_of_its_own(secrets, team):
    other = services.create_team(secrets, "Red Foxes")
    assert len(team.id) == 32
    assert team.slug == "blue-whales"
    keys = {
        secrets.tenant(one.id, bytes(one.wrapped_data_key), encrypt_entries=False).key_secret for one in (team, other)
    }
    assert len(keys) == 2


def test_two_teams_of_one_name_get_two_slugs(secrets, team):
    other = services.create_team(secrets, "Blue Whales")
    assert other.slug != team.slug
    assert other.slug.startswith("blue-whales-")


@pytest.mark.parametrize("name", ["東京", "!!!"])
def test_a_name_without_latin_letters_gets_a_slug_too(secrets, name):
    assert services.create_team(secrets, name).slug == "team"


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "two\nlines", "nul\0"])
def test_a_name_that_cannot_be_shown_is_refused(secrets, name):
    with pytest.raises(InvalidName):
        services.create_team(secrets, name)
    assert not Team.objects.exists()


def test_a_data_key_opens_for_its_own_team_only(secrets, team):
    with pytest.raises(AgentCacheError):
        secrets.tenant("another", bytes(team.wrapped_data_key), encrypt_entries=False)


def test_an_api_key_is_kept_as_a_hash_and_nothing_more(secrets, team):
    created = services.create_api_key(secrets, team, "ci", namespace="eval")
    row = ApiKey.objects.get(pk=created.row.pk)
    assert is_well_formed(created.api_key)
    assert bytes(row.key_hash) == hash_api_key(created.api_key, secrets.peppers[0])
    assert row.display == f"ac_live_…{created.api_key[-4:]}"
    assert row.namespace == "eval"
    assert row.scopes == ["cache:read", "cache:write", "stats:read"]
    assert row.created_at is not None
    kept = " ".join(str(value) for value in ApiKey.objects.filter(pk=row.pk).values().get().values())
    assert created.api_key not in kept
    assert created.api_key[8:40] not in kept
    assert created.api_key not in repr(created)


def test_a_test_key_says_so(secrets, team):
    created = services.create_api_key(secrets, team, "try", is_test=True)
    assert is_test_key(created.api_key)
    assert created.row.is_test


def test_a_key_remembers_who_made_it(secrets, team):
    user = User.objects.create_user("ann@example.com")
    created = services.create_api_key(secrets, team, "ci", created_by=user)
    user.delete()
    created.row.refresh_from_db()
    assert created.row.created_by is None


def test_a_key_that_would_be_expired_is_not_made(secrets, team):
    with pytest.raises(InvalidExpiry):
        services.create_api_key(secrets, team, "ci", expires_at=timezone.now())


def test_revoking_a_key_is_final_and_harmless_to_repeat(secrets, team):
    created = services.create_api_key(secrets, team, "ci")
    first = services.revoke_api_key(team, created.row.id)
    again = services.revoke_api_key(team, created.row.id)
    assert first.revoked_at is not None
    assert again.revoked_at == first.revoked_at


def test_another_teams_key_cannot_be_revoked_or_seen(secrets, team):
    other = services.create_team(secrets, "Red Foxes")
    created = services.create_api_key(secrets, other, "theirs")
    with pytest.raises(ApiKeyNotFound):
        services.revoke_api_key(team, created.row.id)
    assert list(queries.list_api_keys(team)) == []
    created.row.refresh_from_db()
    assert created.row.revoked_at is None


def test_keys_are_listed_newest_first(secrets, team):
    names = ["first", "second", "third"]
    for name in names:
        services.create_api_key(secrets, team, name)
    assert [row.name for row in queries.list_api_keys(team)] == names[::-1]


def test_the_last_use_is_kept_to_the_minute_and_never_goes_back(secrets, team):
    row = services.create_api_key(secrets, team, "ci").row
    now = timezone.now()
    services.touch_api_key(row.id, now)
    row.refresh_from_db()
    assert row.last_used_at == now.replace(second=0, microsecond=0)
    services.touch_api_key(row.id, now - timedelta(hours=1))
    row.refresh_from_db()
    assert row.last_used_at == now.replace(second=0, microsecond=0)


def test_the_first_start_makes_a_team_and_a_key_once(secrets):
    first = services.ensure_local_team(secrets)
    assert first is not None
    assert services.ensure_local_team(secrets) is None
    team = queries.find_local_team()
    assert team is not None and team.id == first.team_id
    [row] = queries.list_api_keys(team)
    assert row.id == first.api_key_id
    assert set(row.scopes) == {scope.value for scope in Scope}
    assert first.api_key not in repr(first)


def test_there_is_no_first_start_where_teams_are_already(secrets, team):
    assert services.ensure_local_team(secrets) is None
    assert queries.find_local_team() is None


def test_of_two_first_starts_at_once_one_makes_the_team(secrets, monkeypatch):
    services.ensure_local_team(secrets)
    # As the slower of two servers sees it: no team when it looks, one when it writes.
    monkeypatch.setattr(type(Team.objects.all()), "exists", lambda _rows: False)
    assert services.ensure_local_team(secrets) is None
    monkeypatch.undo()
    assert Team.objects.count() == 1
    assert ApiKey.objects.count() == 1
