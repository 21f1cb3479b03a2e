"""Writes to teams."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from agentcache.accounts.errors import TeamsNeedOwner
from agentcache.accounts.models import User
from agentcache.audit.services import Actor
from agentcache.gateway.directives import parse_lifetime, parse_name
from agentcache.gateway.ports import Scope
from agentcache.jobs import services as jobs
from agentcache.kit.ids import new_id
from agentcache.mails import services as mails
from agentcache.teams.errors import NameMismatch
from agentcache.teams.jobs import PURGE_TEAM
from agentcache.teams.models import Membership, Team
from agentcache.teams.names import NAME_CHARS_MAX, checked_name, free_slug
from agentcache.teams.permissions import Permission
from agentcache.teams.queries import LOCAL_SLUG, memberships_of
from agentcache.teams.secrets import ServerSecrets, current_secrets
from agentcache.teams.services.api_keys import create_api_key
from agentcache.teams.services.locking import locked, still_may
from agentcache.teams.services.members import add_owner, leave_team
from agentcache.teams.services.notes import note
from agentcache.teams.tenancy import rows_of

#: Workers may still store answers for calls that began before the team was gone.
_PURGE_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What the first start of a server made, to be shown once."""

    team_id: str
    api_key_id: str
    api_key: str = field(repr=False)


def create_team(secrets: ServerSecrets, name: str, *, slug: str | None = None, is_personal: bool = False) -> Team:
    """Create a team with a data key of its own; its slug is made from the name and free."""
    team_id = new_id()
    team = Team(
        id=team_id,
        name=checked_name(name),
        is_personal=is_personal,
        wrapped_data_key=secrets.wrapped_new_data_key(team_id),
    )
    try:
        with transaction.atomic():
            team.slug = free_slug(slug or team.name)
            team.save(force_insert=True)
    except IntegrityError:
        # Another team took the slug between the look and the write; this time it is seen.
        with transaction.atomic():
            team.slug = free_slug(slug or team.name)
            team.save(force_insert=True)
    return team


def create_team_of(user: User, name: str, *, actor: Actor, is_personal: bool = False) -> Team:
    """Create a team that the user owns; part of the caller's transaction, if there is one."""
    with transaction.atomic():
        team = create_team(current_secrets(), name, is_personal=is_personal)
        add_owner(team, user)
        note("team.created", team, actor, after={"name": team.name})
    return team


def create_personal_team(user: User) -> Team:
    """Create the team that everybody gets with an account; part of the caller's transaction, if there is one."""
    called = user.name.strip() or user.email.partition("@")[0]
    called = "".join(character for character in called if character.isprintable()).strip() or "My"
    suffix = "’s team"
    name = called[: NAME_CHARS_MAX - len(suffix)] + suffix
    return create_team_of(user, name, actor=Actor.system(), is_personal=True)


def update_team(
    team: Team,
    *,
    actor: Actor,
    name: str | None = None,
    default_namespace: str | None = None,
    default_lifetime: str | None = None,
) -> Team:
    """Change what is given. A lifetime is in seconds or with a unit (`12h`); "" means the server's own."""
    with locked(team) as row:
        before = _described(row)
        if name is not None:
            row.name = checked_name(name)
        if default_namespace is not None:
            row.default_namespace = parse_name(default_namespace.strip(), "default_namespace")
        if default_lifetime is not None:
            text = default_lifetime.strip()
            row.default_lifetime_seconds = int(parse_lifetime(text, "default_lifetime")) if text else None
        after = _described(row)
        changed = {name for name in after if after[name] != before[name]}
        if changed:
            row.save(update_fields=sorted(changed))
            note(
                "team.updated",
                row,
                actor,
                before={name: before[name] for name in changed},
                after={name: after[name] for name in changed},
            )
    return row


def replace_webhook_key(team: Team, *, actor: Actor) -> Team:
    """Sign the team's webhooks with a new key; the former one signs along for a day."""
    with locked(team) as row:
        row.webhook_key_number += 1
        row.webhook_key_since = timezone.now()
        row.save(update_fields=["webhook_key_number", "webhook_key_since"])
        note("team.webhook_key_replaced", row, actor, after={"number": row.webhook_key_number})
    return row


def delete_team(team: Team, typed_name: str, *, by: Membership, actor: Actor) -> None:
    """Delete a team with its keys, members and settings; its cached entries follow within minutes.

    Its keys stop working within 5 seconds. The audit log stays.
    """
    with locked(team) as row:
        acting = still_may(by, Permission.TEAM_DELETE)
        if typed_name.strip() != row.name:
            raise NameMismatch(param="name")
        members = rows_of(row, Membership).select_related("user").exclude(pk=by.pk)
        for member in members:
            context = {"team": row.name, "by": acting.user.name or acting.user.email}
            mails.send("team-deleted", member.user.email, context)
        note("team.deleted", row, actor, before={**_described(row), "members": len(members) + 1})
        _remove(row)


def leave_every_team(user: User) -> None:
    """Take a user out of all teams before the account is deleted; teams of nobody else are deleted.

    Raises `TeamsNeedOwner`, and changes nothing, when others would be left without an owner. API keys that the
    user made for a team stay with it.
    """
    with transaction.atomic():
        # In the order of their ids, so that two who leave the same teams at once do not wait for each other.
        memberships = sorted(memberships_of(user), key=lambda row: row.team_id)
        orphaned = []
        for membership in memberships:
            with locked(membership.team) as team:
                others = rows_of(team, Membership).exclude(user=user)
                if not others.exists():
                    note("team.deleted", team, Actor.system(), before=_described(team))
                    _remove(team)
                elif membership.is_owner and not others.filter(is_owner=True).exists():
                    orphaned.append(team.name)
                else:
                    leave_team(team, by=membership, actor=Actor.system())
        if orphaned:
            raise TeamsNeedOwner(f"Transfer these teams first: {', '.join(orphaned)}.")


def _remove(team: Team) -> None:
    # Taken before the delete, which clears it on the row.
    team_id = team.pk
    team.delete()
    jobs.enqueue(new_id(), PURGE_TEAM, {"team_id": team_id}, timezone.now() + _PURGE_AFTER)


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


def _described(team: Team) -> dict[str, object]:
    return {
        "name": team.name,
        "default_namespace": team.default_namespace,
        "default_lifetime_seconds": team.default_lifetime_seconds,
    }
