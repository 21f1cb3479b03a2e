"""Mails about API keys: to whom a key belongs, and to the admins of the team where that is nobody or not enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.mails import services as mails
from agentcache.teams.links import page_link
from agentcache.teams.models import ApiKey, Membership, Role
from agentcache.teams.services.key_rules import KeyManager
from agentcache.teams.tenancy import rows_of


def tell_created(row: ApiKey, by: KeyManager) -> None:
    """Tell the person in whose name a key was made, or the admins when another key made it."""
    if by.user is not None:
        _tell("api-key-created", row, [by.user], by)
    elif by.api_key is not None:
        _tell("api-key-created", row, _admins(row), by)


def tell_rotated(row: ApiKey, by: KeyManager, *, ends_at: datetime | None) -> None:
    """Tell the key's member, or the admins of a shared one, that its former value ends; at once without `ends_at`."""
    concerned = _admins(row) if row.is_shared or row.created_by is None else [row.created_by]
    _tell("api-key-rotated", row, concerned, by, {"ends_at": _time(ends_at)})


def tell_leaked(row: ApiKey, *, found_at: str, display: str, still_works: bool) -> None:
    """Tell the key's member and every admin that its value was found in the open, and where."""
    concerned = {user.pk: user for user in _admins(row)}
    if row.created_by is not None and row.created_by.is_active and not row.is_shared:
        concerned[row.created_by.pk] = row.created_by
    more = {"found_at": found_at, "display": display, "still_works": still_works}
    _tell("api-key-leaked", row, concerned.values(), KeyManager(), more)


def _tell(
    template: str, row: ApiKey, users: Iterable[User], by: KeyManager, more: Mapping[str, object] | None = None
) -> None:
    context = {
        "team": row.team.name,
        "key_name": row.name,
        "display": row.display,
        "scopes": ", ".join(row.scopes),
        "by": _called(by),
        "at": _time(timezone.now()),
        "link": page_link("dashboard:key", row.pk),
        **(more or {}),
    }
    for user in users:
        mails.send(template, user.email, context)


def _called(by: KeyManager) -> str:
    if by.user is not None:
        return by.user.name or by.user.email
    return f"the API key {by.api_key.name}" if by.api_key is not None else "The operator of the server"


def _admins(row: ApiKey) -> list[User]:
    admins = rows_of(row.team, Membership).select_related("user").filter(role=Role.ADMIN, user__is_active=True)
    return [membership.user for membership in admins.order_by("id")]


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at is not None else ""
