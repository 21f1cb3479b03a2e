"""Writes to API keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.gateway.ports import Scope
from agentcache.kit.api_keys import display_form, new_api_key
from agentcache.teams.errors import ApiKeyNotFound, InvalidExpiry
from agentcache.teams.models import ApiKey, Team
from agentcache.teams.names import checked_name
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

#: What a key may do when nothing else is said: everything but administration.
DEFAULT_SCOPES = frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE, Scope.STATS_READ})
#: How exactly the last use of a key is known.
USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class CreatedApiKey:
    """A new API key: its row, and the key itself, which nobody can see again."""

    row: ApiKey
    api_key: str = field(repr=False)


def create_api_key(
    secrets: ServerSecrets,
    team: Team,
    name: str,
    *,
    scopes: frozenset[Scope] = DEFAULT_SCOPES,
    is_test: bool = False,
    namespace: str = "",
    expires_at: datetime | None = None,
    created_by: User | None = None,
) -> CreatedApiKey:
    """Create an API key of a team, for its default namespace unless one is named. Only its hash is kept."""
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidExpiry(param="expires_at")
    api_key = new_api_key(test=is_test)
    row = ApiKey.objects.create(
        team=team,
        name=checked_name(name),
        key_hash=secrets.hash_new_api_key(api_key),
        display=display_form(api_key),
        scopes=sorted(scope.value for scope in scopes),
        is_test=is_test,
        namespace=namespace or team.default_namespace,
        expires_at=expires_at,
        created_by=created_by,
    )
    return CreatedApiKey(row, api_key)


def revoke_api_key(team: Team, api_key_id: str) -> ApiKey:
    """Revoke a key for good; revoking it again changes nothing. Raises `ApiKeyNotFound`."""
    rows_of(team, ApiKey).filter(pk=api_key_id, revoked_at__isnull=True).update(revoked_at=timezone.now())
    row = rows_of(team, ApiKey).filter(pk=api_key_id).first()
    if row is None:
        raise ApiKeyNotFound(param="api_key_id")
    return row


def touch_api_key(api_key_id: str, at: datetime) -> None:
    """Note that a key was used, to the minute, unless a later use is known."""
    minute = at.replace(second=0, microsecond=0)
    is_later = Q(last_used_at__isnull=True) | Q(last_used_at__lt=minute)
    ApiKey.objects.filter(is_later, pk=api_key_id).update(last_used_at=minute)
