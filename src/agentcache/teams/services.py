"""Every write to teams and API keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify

from agentcache.accounts.models import User
from agentcache.gateway.ports import Scope
from agentcache.kit.api_keys import display_form, new_api_key
from agentcache.kit.ids import new_id
from agentcache.teams.errors import ApiKeyNotFound, InvalidExpiry, InvalidName
from agentcache.teams.models import ApiKey, Team
from agentcache.teams.queries import LOCAL_SLUG
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

#: What a key may do when nothing else is said: everything but administration.
DEFAULT_SCOPES = frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE, Scope.STATS_READ})
#: How exactly the last use of a key is known.
USE_NOTED_EVERY = timedelta(minutes=1)
_NAME_CHARS_MAX = 64
_SLUG_CHARS_MAX = 48


@dataclass(frozen=True, slots=True)
class CreatedApiKey:
    """A new API key: its row, and the key itself, which nobody can see again."""

    row: ApiKey
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What the first start of a server made, to be shown once."""

    team_id: str
    api_key_id: str
    api_key: str = field(repr=False)


def create_team(secrets: ServerSecrets, name: str, *, slug: str | None = None) -> Team:
    """Create a team with a data key of its own; its slug is made from the name and free."""
    name = _checked_name(name)
    team_id = new_id()
    with transaction.atomic():
        return Team.objects.create(
            id=team_id,
            name=name,
            slug=_free_slug(slug or name),
            wrapped_data_key=secrets.wrapped_new_data_key(team_id),
        )


def create_api_key(
    secrets: ServerSecrets,
    team: Team,
    name: str,
    *,
    scopes: frozenset[Scope] = DEFAULT_SCOPES,
    is_test: bool = False,
    namespace: str = "default",
    expires_at: datetime | None = None,
    created_by: User | None = None,
) -> CreatedApiKey:
    """Create an API key of a team. Only its hash is kept."""
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidExpiry(param="expires_at")
    api_key = new_api_key(test=is_test)
    row = ApiKey.objects.create(
        team=team,
        name=_checked_name(name),
        key_hash=secrets.hash_new_api_key(api_key),
        display=display_form(api_key),
        scopes=sorted(scope.value for scope in scopes),
        is_test=is_test,
        namespace=namespace,
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


def ensure_local_team(secrets: ServerSecrets) -> FirstStart | None:
    """Make the local team and its first key where there is no team yet; None on every later start."""
    if Team.objects.exists():
        return None
    try:
        with transaction.atomic():
            team = create_team(secrets, "Local", slug=LOCAL_SLUG)
            if team.slug != LOCAL_SLUG:
                raise IntegrityError
            created = create_api_key(secrets, team, "First key", scopes=frozenset(Scope))
    except IntegrityError:
        return None  # another server of the same database started first
    return FirstStart(team.id, created.row.id, created.api_key)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= _NAME_CHARS_MAX or not name.isprintable():
        raise InvalidName(param="name")
    return name


def _free_slug(wanted: str) -> str:
    slug = slugify(wanted)[:_SLUG_CHARS_MAX].strip("-") or "team"
    if not Team.objects.filter(slug=slug).exists():
        return slug
    # Random rather than counted: two teams that are made at the same moment must not meet.
    return f"{slug[: _SLUG_CHARS_MAX - 9]}-{new_id()[-8:]}"
