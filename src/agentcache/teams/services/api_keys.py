"""Writes to API keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.audit.services import Actor
from agentcache.gateway.ports import Scope
from agentcache.kit.api_keys import display_form, new_api_key
from agentcache.teams.errors import ApiKeyEnded, ApiKeyNotFound, InvalidOverlap
from agentcache.teams.models import ApiKey, FormerApiKey, Membership, Team
from agentcache.teams.names import checked_name
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services import key_notices
from agentcache.teams.services.key_rules import KeyManager, checked_expiry, checked_namespace, checked_networks
from agentcache.teams.services.notes import note
from agentcache.teams.tenancy import rows_of

#: What a key may do when nothing else is said: everything but administration.
DEFAULT_SCOPES = frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE, Scope.STATS_READ})
#: How exactly the last use of a key is known.
USE_NOTED_EVERY = timedelta(minutes=1)
#: How long a rotated key's former value goes on working when nothing else is said.
OVERLAP = timedelta(hours=24)
OVERLAP_MAX = timedelta(days=30)
#: The operator of the server, who may do everything.
OPERATOR = KeyManager()


@dataclass(frozen=True, slots=True)
class CreatedApiKey:
    """A new API key, or an old one with a new value: its row, and the key itself, which nobody can see again."""

    row: ApiKey
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """What of a key is to be changed; None leaves a member as it is."""

    name: str | None = None
    scopes: frozenset[Scope] | None = None
    namespace: str | None = None
    expires_at: datetime | None = None
    #: Takes the expiry away.
    never_expires: bool = False
    allowed_networks: Iterable[str] | None = None
    is_shared: bool | None = None


def create_api_key(
    secrets: ServerSecrets,
    team: Team,
    name: str,
    *,
    scopes: frozenset[Scope] = DEFAULT_SCOPES,
    is_test: bool = False,
    namespace: str = "",
    expires_at: datetime | None = None,
    allowed_networks: Iterable[str] = (),
    is_shared: bool | None = None,
    created_by: User | None = None,
    by: KeyManager = OPERATOR,
) -> CreatedApiKey:
    """Create an API key of a team, for its default namespace unless one is named. Only its hash is kept.

    A key that a person makes is that person's own unless it `is_shared`; one that a program makes is the team's.
    """
    by.require_grantable(scopes)
    maker = by.user or created_by
    api_key = new_api_key(test=is_test)
    with transaction.atomic():
        row = ApiKey.objects.create(
            team=team,
            name=checked_name(name),
            key_hash=secrets.hash_new_api_key(api_key),
            display=display_form(api_key),
            scopes=_written(scopes),
            is_test=is_test,
            namespace=checked_namespace(namespace or team.default_namespace),
            expires_at=checked_expiry(expires_at),
            allowed_networks=checked_networks(allowed_networks),
            created_by=maker,
            created_by_key=by.api_key,
            is_shared=is_shared is True or maker is None,
        )
        # The database's own stamp is not on the row yet.
        row.refresh_from_db(fields=["created_at"])
        note("api_key.created", row, by.actor, after=described(row))
        key_notices.tell_created(row, by)
    return CreatedApiKey(row, api_key)


def change_api_key(team: Team, api_key_id: str, changes: KeyChanges, *, by: KeyManager = OPERATOR) -> ApiKey:
    """Change what a key may do and where; running servers go by it within 5 seconds."""
    with transaction.atomic():
        row = _live_row(team, api_key_id)
        by.require_control(row)
        before = described(row)
        _apply(row, changes, by)
        after = described(row)
        if after != before:
            row.save()
            note("api_key.changed", row, by.actor, before=before, after=after)
    return row


def rotate_api_key(
    secrets: ServerSecrets, team: Team, api_key_id: str, *, overlap: timedelta = OVERLAP, by: KeyManager = OPERATOR
) -> CreatedApiKey:
    """Give a key a new value; the former one works for as long as the `overlap`, and then says that it was rotated.

    Name, rights, limits and usage stay with the key. Without an overlap every former value ends at once.
    """
    if not timedelta(0) <= overlap <= OVERLAP_MAX:
        raise InvalidOverlap(param="overlap_hours")
    now = timezone.now()
    with transaction.atomic():
        row = _live_row(team, api_key_id)
        by.require_control(row)
        api_key = new_api_key(test=row.is_test)
        _end_former_values(row, now + overlap)
        FormerApiKey.objects.create(
            key_hash=bytes(row.key_hash),
            api_key=row,
            display=row.display,
            ends_at=now + overlap,
            last_used_at=row.last_used_at,
        )
        former_display = row.display
        row.key_hash, row.display, row.rotated_at = secrets.hash_new_api_key(api_key), display_form(api_key), now
        row.save(update_fields=["key_hash", "display", "rotated_at"])
        after = {"display": row.display, "former_works_until": now + overlap}
        note("api_key.rotated", row, by.actor, before={"display": former_display}, after=after)
        key_notices.tell_rotated(row, by, ends_at=now + overlap if overlap else None)
    return CreatedApiKey(row, api_key)


def reset_api_key(secrets: ServerSecrets, team: Team, api_key_id: str, *, by: KeyManager = OPERATOR) -> CreatedApiKey:
    """Exchange a key's value at once: what still uses a former one stops within 5 seconds."""
    return rotate_api_key(secrets, team, api_key_id, overlap=timedelta(0), by=by)


def revoke_api_key(team: Team, api_key_id: str, *, by: KeyManager = OPERATOR, because: str = "") -> ApiKey:
    """Revoke a key for good; revoking it again changes nothing. Raises `ApiKeyNotFound`."""
    with transaction.atomic():
        row = _row(team, api_key_id)
        by.require_owned(row)
        if row.revoked_at is None:
            row.revoked_at, row.revoked_because = timezone.now(), because
            row.save(update_fields=["revoked_at", "revoked_because"])
            after = {"revoked_at": row.revoked_at, "because": because}
            note("api_key.revoked", row, by.actor, before=described(row), after=after)
    return row


def release_api_keys(member: Membership, *, revoke: bool, actor: Actor) -> list[str]:
    """Have the keys of a member who goes stay with the team, or revoke them; return what was revoked, masked."""
    own = rows_of(member.team, ApiKey).filter(created_by=member.user_id, revoked_at__isnull=True)
    if not revoke:
        for row in own.filter(is_shared=False):
            note("api_key.changed", row, actor, before={"is_shared": False}, after={"is_shared": True})
        own.update(is_shared=True)
        return []
    by = KeyManager(actor)
    return [revoke_api_key(member.team, key_id, by=by).display for key_id in own.values_list("pk", flat=True)]


def touch_api_key(api_key_id: str, at: datetime, *, former_hash: bytes | None = None) -> None:
    """Note that a key was used, to the minute, unless a later use is known; also of which former value."""
    minute = at.replace(second=0, microsecond=0)
    is_later = Q(last_used_at__isnull=True) | Q(last_used_at__lt=minute)
    ApiKey.objects.filter(is_later, pk=api_key_id).update(last_used_at=minute)
    if former_hash is not None:
        FormerApiKey.objects.filter(is_later, pk=former_hash).update(last_used_at=minute)


def described(row: ApiKey) -> dict[str, object]:
    """Return what the audit log says of a key."""
    return {
        "name": row.name,
        "display": row.display,
        "scopes": row.scopes,
        "namespace": row.namespace,
        "expires_at": row.expires_at,
        "allowed_networks": row.allowed_networks,
        "is_shared": row.is_shared,
    }


def _apply(row: ApiKey, changes: KeyChanges, by: KeyManager) -> None:
    if changes.name is not None:
        row.name = checked_name(changes.name)
    if changes.scopes is not None:
        by.require_grantable(changes.scopes)
        row.scopes = _written(changes.scopes)
    if changes.namespace is not None:
        row.namespace = checked_namespace(changes.namespace)
    if changes.never_expires:
        row.expires_at = None
    elif changes.expires_at is not None and changes.expires_at != row.expires_at:
        row.expires_at = checked_expiry(changes.expires_at)
    if changes.allowed_networks is not None:
        row.allowed_networks = checked_networks(changes.allowed_networks)
    if changes.is_shared is not None:
        row.is_shared = changes.is_shared or row.created_by_id is None


def _row(team: Team, api_key_id: str) -> ApiKey:
    # Locked, so that two rotations at once do not lose each other's former value.
    row = rows_of(team, ApiKey).select_for_update().filter(pk=api_key_id).first()
    if row is None:
        raise ApiKeyNotFound(param="api_key_id")
    return row


def _live_row(team: Team, api_key_id: str) -> ApiKey:
    row = _row(team, api_key_id)
    if row.revoked_at is not None:
        raise ApiKeyEnded
    return row


def _end_former_values(row: ApiKey, latest: datetime) -> None:
    FormerApiKey.objects.filter(api_key=row, ends_at__gt=latest).update(ends_at=latest)


def _written(scopes: frozenset[Scope]) -> list[str]:
    return sorted(scope.value for scope in scopes)
