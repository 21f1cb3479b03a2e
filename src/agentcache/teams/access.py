"""Who may reach a page or a route of a team. Decided at every request from the database, so that a removal counts at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from urllib.parse import urlencode

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from ninja.security.base import AuthBase

from agentcache.accounts import client
from agentcache.accounts.access import fresh_session, is_fresh, require_fresh, signed_in, user_of
from agentcache.audit.services import Actor
from agentcache.gateway.authenticate import REFUSALS, AddressNotAllowed, InvalidAPIKey
from agentcache.gateway.callers import OWN_KEY_HEADER, read_caller
from agentcache.kit.api_keys import is_well_formed, looks_like_api_key
from agentcache.kit.errors import NotFound, Unauthenticated
from agentcache.kit.networks import Networks
from agentcache.teams import queries, services
from agentcache.teams.errors import MissingPermission, NoTeam, PeopleOnly, TeamNotFound
from agentcache.teams.models import ApiKey, Membership, Team
from agentcache.teams.permissions import DESCRIPTIONS, Permission, permissions_of_member, permissions_of_scopes
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import KeyManager

#: Where a request to the API names a team, by id or slug, when its path does not.
TEAM_HEADER = "X-AgentCache-Team"
#: Where a session keeps the team that is open in it.
SESSION_TEAM = "agentcache_team"
_KEY_HEADERS = (OWN_KEY_HEADER, "authorization", "x-api-key", "api-key")

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class TeamContext:
    """The team that a request is about, and what its caller may do there."""

    team: Team
    permissions: frozenset[Permission]
    #: None when an API key calls.
    membership: Membership | None = None
    #: None when a person calls.
    api_key: ApiKey | None = None

    def may(self, permission: Permission) -> bool:
        """Tell whether the caller may do that."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raise `MissingPermission` unless the caller may do that."""
        if permission not in self.permissions:
            raise MissingPermission.of(permission)

    @property
    def member(self) -> Membership:
        """The member who calls; raises `PeopleOnly` for an API key."""
        if self.membership is None:
            raise PeopleOnly
        return self.membership


class TeamRequest(HttpRequest):
    """A request that `team_page` or `TeamAuth` let through."""

    team_context: TeamContext


View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
TeamView = Callable[Concatenate[TeamRequest, P], HttpResponseBase]


def team_page(permission: Permission, *, fresh: bool = False, back: str = "") -> Callable[[TeamView[P]], View[P]]:
    """Let a signed-in member of the open team who has the permission see this page; sets `request.team_context`.

    With `fresh`, somebody who signed in more than 15 minutes ago is asked to prove who they are once more, and comes back to the
    page named `back` where the view itself only takes forms.
    """

    def decorate(view: TeamView[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            team_request = cast("TeamRequest", request)
            try:
                team_request.team_context = open_team(request)
            except NoTeam:
                return redirect("teams:new")
            if not team_request.team_context.may(permission):
                return _refused(team_request, permission)
            if back and fresh and not is_fresh(request):
                return redirect(f"{reverse('accounts:reauthenticate')}?{urlencode({'next': reverse(back)})}")
            try:
                return view(team_request, *args, **kwargs)
            except NotFound as error:
                raise Http404(error.message) from error

        page = signed_in(fresh_session(guarded) if fresh and not back else guarded)
        page.access = permission  # type: ignore[attr-defined]  # read by the walk over all routes
        return page

    return decorate


def _refused(request: TeamRequest, permission: Permission) -> HttpResponseBase:
    admins = queries.admins_of(request.team_context.team)
    context = {"needed": DESCRIPTIONS[permission], "permission": permission, "admins": admins}
    return render(request, "teams/forbidden.html", context, status=403)


class TeamAuth(AuthBase):
    """Lets members by session and API keys by scope use a route of the JSON API; sets `request.team_context`.

    The team is the one in the path (`team_id`), else the one in the header, else the session's open team. Another
    team's id is answered as one that nobody has.
    """

    openapi_type = "apiKey"
    openapi_in = "header"
    openapi_name = "X-Session-Token"

    def __init__(self, permission: Permission, *, people_only: bool = False, fresh: bool = False) -> None:
        self.permission = permission
        #: Whether a session has to be of somebody who signed in within 15 minutes. A key has no such age.
        self.needs_fresh_session = fresh
        self._people_only = people_only
        super().__init__()

    def __call__(self, request: HttpRequest) -> TeamContext:
        """Return the caller's context, or raise what the problem document then says."""
        api_key = find_api_key(request)
        context = _context_of_key(request, api_key) if api_key else _context_of_session(request)
        if self._people_only and context.membership is None:
            raise PeopleOnly
        context.require(self.permission)
        if self.needs_fresh_session and context.membership is not None:
            require_fresh(request)
        cast("TeamRequest", request).team_context = context
        return context


def open_team(request: HttpRequest) -> TeamContext:
    """Return the context of the signed-in user in the team that is open in the session.

    When that team is gone, or the user no longer in it, the team used last is opened. Raises `NoTeam`.
    """
    user = user_of(request)
    opened = request.session.get(SESSION_TEAM, "")
    membership = queries.find_membership(user, opened) if opened else None
    if membership is None:
        membership = queries.last_used_membership(user)
        if membership is None:
            raise NoTeam
        request.session[SESSION_TEAM] = membership.team_id
    return context_of(membership)


def open_after_signing_in(request: HttpRequest, team_id: str) -> None:
    """Have a team open for whoever signs in next in this browser, if they belong to it."""
    request.session[SESSION_TEAM] = team_id


def switch_team(request: HttpRequest, team_id_or_slug: str) -> Team:
    """Open another of the user's teams in this session. Raises `TeamNotFound`."""
    membership = queries.find_membership(user_of(request), team_id_or_slug)
    if membership is None:
        raise TeamNotFound
    request.session[SESSION_TEAM] = membership.team_id
    services.touch_membership(membership, timezone.now())
    return membership.team


def context_of(membership: Membership) -> TeamContext:
    """Return the context of a member, and note that the member was here."""
    services.touch_membership(membership, timezone.now())
    permissions = permissions_of_member(
        membership.role, is_owner=membership.is_owner, has_billing=membership.has_billing
    )
    return TeamContext(membership.team, permissions, membership=membership)


def key_manager(request: TeamRequest) -> KeyManager:
    """Return who is about to manage keys, as the services ask for it."""
    context = request.team_context
    user = user_of(request) if context.membership is not None else None
    return KeyManager(Actor.of(request), context.permissions, user, context.api_key)


def find_api_key(request: HttpRequest) -> str:
    """Return the AgentCache key of a request, "" without one; raises `Unauthenticated` when two disagree."""
    given = [
        (name.encode(), request.headers[name].encode("latin-1", "replace"))
        for name in _KEY_HEADERS
        if name in request.headers
    ]
    if not any(name == OWN_KEY_HEADER.encode() or _looks_own(value) for name, value in given):
        return ""
    return read_caller(None, given).api_key


def _looks_own(value: bytes) -> bool:
    return looks_like_api_key(value.decode("latin-1").rpartition(" ")[2])


def _context_of_key(request: HttpRequest, api_key: str) -> TeamContext:
    # A wrong checksum never reaches the database.
    if not is_well_formed(api_key):
        raise InvalidAPIKey
    found = queries.find_api_key(current_secrets().possible_hashes(api_key))
    now = timezone.now()
    if found is None:
        raise InvalidAPIKey
    if (refusal := found.refusal(now)) is not None:
        raise REFUSALS[refusal]
    row = found.row
    address = client.address(request)
    if row.allowed_networks and not Networks.of(row.allowed_networks).covers(address):
        raise AddressNotAllowed(f"This key may not be used from {address or 'an unknown address'}.")
    named = _named_team(request)
    if named and named not in (row.team_id, row.team.slug):
        raise TeamNotFound
    last_used_at = row.last_used_at if found.former is None else found.former.last_used_at
    if last_used_at is None or now - last_used_at > services.USE_NOTED_EVERY:
        former_hash = None if found.former is None else bytes(found.former.key_hash)
        services.touch_api_key(row.id, now, former_hash=former_hash)
    # For the audit log, which knows nothing of teams.
    request.api_key_id = row.pk  # type: ignore[attr-defined]
    return TeamContext(row.team, permissions_of_scopes(found.scopes()), api_key=row)


def _context_of_session(request: HttpRequest) -> TeamContext:
    if not request.user.is_authenticated:
        raise Unauthenticated("Sign in, or send an AgentCache key.")
    named = _named_team(request)
    if not named:
        return open_team(request)
    membership = queries.find_membership(user_of(request), named)
    if membership is None:
        raise TeamNotFound
    return context_of(membership)


def _named_team(request: HttpRequest) -> str:
    match = request.resolver_match
    in_path: Any = match.kwargs.get("team_id") if match is not None else None
    return str(in_path or request.headers.get(TEAM_HEADER, "")).strip()
