"""Who may do what with which API key, and what a key may say of itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.audit.services import Actor
from agentcache.gateway.directives import parse_name
from agentcache.gateway.ports import Scope
from agentcache.kit.networks import parse_network
from agentcache.teams.errors import (
    ForeignApiKey,
    InvalidExpiry,
    InvalidNetwork,
    InvalidScope,
    ScopeAboveOwn,
)
from agentcache.teams.models import ApiKey
from agentcache.teams.permissions import Permission, grantable_scopes

#: A key may name this many networks.
NETWORKS_MAX = 64
LIFETIME_MAX = timedelta(days=3660)
_SCOPES = {scope.value: scope for scope in Scope}


@dataclass(frozen=True, slots=True)
class KeyManager:
    """Who manages keys: a member, an API key or, with neither, the operator of the server."""

    actor: Actor = field(default_factory=Actor.system)
    permissions: frozenset[Permission] = frozenset(Permission)
    user: User | None = None
    api_key: ApiKey | None = None

    @property
    def grantable(self) -> frozenset[Scope]:
        """The scopes this one may give: none that it does not have."""
        if self.api_key is None:
            return grantable_scopes(self.permissions)
        own = scopes_of(self.api_key)
        return frozenset(Scope) if Scope.ADMIN in own else own

    def require_grantable(self, scopes: Iterable[Scope]) -> None:
        """Raise `ScopeAboveOwn` for a scope that is not this one's to give."""
        above = sorted(scope.value for scope in set(scopes) - self.grantable)
        if above:
            raise ScopeAboveOwn(f"You cannot give more than you may do yourself: {', '.join(above)}.", param="scopes")

    def owns(self, row: ApiKey) -> bool:
        """Say whether a key is this one's business: the team's, one's own, or anybody's for who runs the team."""
        if row.is_shared or Permission.TEAM_MANAGE in self.permissions:
            return True
        return self.user is not None and row.created_by_id == self.user.pk

    def require_control(self, row: ApiKey) -> None:
        """Raise unless this one may change a key or learn its new value, which is to hold all of its rights."""
        self.require_owned(row)
        if not scopes_of(row) <= self.grantable:
            raise ScopeAboveOwn("This key may do more than you may: an admin has to do that.")

    def require_owned(self, row: ApiKey) -> None:
        """Raise `ForeignApiKey` for another member's own key."""
        if not self.owns(row):
            raise ForeignApiKey


def scopes_of(row: ApiKey) -> frozenset[Scope]:
    """Return the scopes written in a key; one that a newer release wrote means nothing here, and grants nothing."""
    return frozenset(_SCOPES[scope] for scope in row.scopes if scope in _SCOPES)


def read_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """Return scopes from their names; raise `InvalidScope` for another word, or none."""
    words = list(words)
    unknown = [word for word in words if word not in _SCOPES]
    if unknown or not words:
        known = ", ".join(_SCOPES)
        given = f"{unknown[0][:40]!r} is no scope; " if unknown else "A key needs a scope; "
        raise InvalidScope(f"{given}known are {known}.", param="scopes")
    return frozenset(_SCOPES[word] for word in words)


def checked_networks(texts: Iterable[str]) -> list[str]:
    """Return networks in their one spelling, each once; raise `InvalidNetwork`."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            found[parse_network(text)] = None
        except ValueError:
            raise InvalidNetwork(
                f"{text[:50]!r} is no address and no network such as 192.0.2.0/24 or 2001:db8::/32.",
                param="allowed_networks",
            ) from None
    if len(found) > NETWORKS_MAX:
        raise InvalidNetwork(f"A key can name at most {NETWORKS_MAX} networks.", param="allowed_networks")
    return list(found)


def checked_expiry(expires_at: datetime | None) -> datetime | None:
    """Return an expiry; raise `InvalidExpiry` for one that has passed or is more than ten years away."""
    now = timezone.now()
    if expires_at is not None and not now < expires_at <= now + LIFETIME_MAX:
        raise InvalidExpiry(param="expires_at")
    return expires_at


def checked_namespace(namespace: str) -> str:
    """Return a namespace; raise `InvalidDirective` for one that no request could name."""
    return parse_name(namespace.strip(), "namespace")
