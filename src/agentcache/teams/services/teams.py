"""Writes to teams."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import IntegrityError, transaction

from agentcache.accounts.models import User
from agentcache.gateway.ports import Scope
from agentcache.kit.ids import new_id
from agentcache.teams.models import Team
from agentcache.teams.names import NAME_CHARS_MAX, checked_name, free_slug
from agentcache.teams.queries import LOCAL_SLUG
from agentcache.teams.secrets import ServerSecrets, current_secrets
from agentcache.teams.services.api_keys import create_api_key
from agentcache.teams.services.members import add_owner


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What the first start of a server made, to be shown once."""

    team_id: str
    api_key_id: str
    api_key: str = field(repr=False)


def create_team(secrets: ServerSecrets, name: str, *, slug: str | None = None, is_personal: bool = False) -> Team:
    """Create a team with a data key of its own; its slug is made from the name and free."""
    name = checked_name(name)
    team_id = new_id()
    with transaction.atomic():
        return Team.objects.create(
            id=team_id,
            name=name,
            slug=free_slug(slug or name),
            is_personal=is_personal,
            wrapped_data_key=secrets.wrapped_new_data_key(team_id),
        )


def create_team_of(user: User, name: str, *, is_personal: bool = False) -> Team:
    """Create a team that the user owns."""
    with transaction.atomic():
        team = create_team(current_secrets(), name, is_personal=is_personal)
        add_owner(team, user)
    return team


def create_personal_team(user: User) -> Team:
    """Create the team that everybody gets with an account; part of the caller's transaction, if there is one."""
    called = user.name.strip() or user.email.partition("@")[0]
    called = "".join(character for character in called if character.isprintable()).strip() or "My"
    suffix = "’s team"
    return create_team_of(user, called[: NAME_CHARS_MAX - len(suffix)] + suffix, is_personal=True)


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
