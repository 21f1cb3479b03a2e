"""`POST /api/account?action=…`: the account API behind one address. Each action answers as its own route does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pydantic
from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status

from agentcache.accounts.access import user_of
from agentcache.accounts.api import entering, own, schemas
from agentcache.accounts.errors import NotSignedIn
from agentcache.accounts.session_auth import SessionAuth
from agentcache.kit.errors import BadRequest
from agentcache.teams import queries as team_queries
from agentcache.teams import services as teams
from agentcache.teams.access import TeamAuth, TeamContext, TeamRequest, key_manager
from agentcache.teams.errors import ApiKeyNotFound
from agentcache.teams.models import ApiKey
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets

router = Router(tags=["Account"])

_HOW_TO = (
    "API keys are shown once, when they are made. To get a new one, use reset-api-key or the page /dashboard/keys."
)


class WhichKey(schemas.Body):
    """A key of the team; without an id the newest one that the caller made."""

    api_key_id: str = ""


class MaskedKey(Schema):
    """A key as it can be shown again and again."""

    api_key_id: str | None
    name: str | None
    masked: str | None
    team_id: str
    hint: str = _HOW_TO


class ResetKey(Schema):
    """A key with a new value, shown this once. The former value has ended."""

    api_key_id: str
    api_key: str
    masked: str
    team_id: str
    #: The former value, masked.
    replaced: str | None


def get_api_key(request: HttpRequest, body: WhichKey) -> Any:
    """Say which key the caller has, masked, and how to get another."""
    context: TeamContext = TeamAuth(Permission.KEYS_READ)(request)
    row = _find_key(context, request, body)
    if row is None:
        return {"api_key_id": None, "name": None, "masked": None, "team_id": context.team.pk}
    return {"api_key_id": row.pk, "name": row.name, "masked": row.display, "team_id": context.team.pk}


def reset_api_key(request: HttpRequest, body: WhichKey) -> Any:
    """Give a key a new value at once; name, rights, limits and usage stay with it. Without a key, one is made."""
    context: TeamContext = TeamAuth(Permission.KEYS_MANAGE, fresh=True)(request)
    manager = key_manager(cast("TeamRequest", request))
    former = _find_key(context, request, body)
    if former is None:
        created = teams.create_api_key(current_secrets(), context.team, "First key", by=manager)
    else:
        created = teams.reset_api_key(current_secrets(), context.team, former.pk, by=manager)
    return {
        "api_key_id": created.row.pk,
        "api_key": created.api_key,
        "masked": created.row.display,
        "team_id": context.team.pk,
        "replaced": former.display if former is not None else None,
    }


def _find_key(context: TeamContext, request: HttpRequest, body: WhichKey) -> ApiKey | None:
    live = team_queries.live_api_keys(context.team)
    if body.api_key_id:
        row = live.filter(pk=body.api_key_id).first()
        if row is None:
            raise ApiKeyNotFound(param="api_key_id")
        return row
    return live.filter(created_by=user_of(request)).order_by("-created_at", "-pk").first()


@dataclass(frozen=True, slots=True)
class _Action:
    body: type[Schema] | None
    act: Callable[..., Any]
    answer: type[Schema] | None
    status: int = 200
    needs_session: bool = False


ACTIONS = {
    "register": _Action(schemas.Address, entering.register, schemas.Status, 202),
    "login": _Action(schemas.Credentials, entering.login, schemas.SignedIn),
    "logout": _Action(None, entering.logout, None, 204, needs_session=True),
    "verify": _Action(schemas.Verification, entering.verify, schemas.Status),
    "resend-verification": _Action(schemas.Address, entering.resend_verification, schemas.Status, 202),
    "forgot-password": _Action(schemas.Address, entering.forgot_password, schemas.Status, 202),
    "reset-password": _Action(schemas.NewPassword, entering.reset_password, schemas.Status),
    "me": _Action(None, own.me, schemas.Account, needs_session=True),
    "get-api-key": _Action(WhichKey, get_api_key, MaskedKey, needs_session=True),
    "reset-api-key": _Action(WhichKey, reset_api_key, ResetKey, needs_session=True),
}


# Public here: every action names its own guard in the table above.
@router.post("", auth=None, operation_id="account.act")
def act(request: HttpRequest, action: str) -> HttpResponse:
    """Do what `action` says, with the JSON body of the route of that name."""
    found = ACTIONS.get(action)
    if found is None:
        raise BadRequest(f"An action is one of {', '.join(ACTIONS)}.", param="action")
    if found.needs_session and not SessionAuth()(request):
        raise NotSignedIn
    given = found.act(request, *([] if found.body is None else [_body(request, found.body)]))
    answer = given.value if isinstance(given, Status) else given
    if found.answer is None:
        return HttpResponse(status=found.status)
    shown = found.answer.model_validate(answer).model_dump_json()
    return HttpResponse(shown, status=found.status, content_type="application/json; charset=utf-8")


def _body(request: HttpRequest, schema: type[Schema]) -> Schema:
    try:
        return schema.model_validate_json(request.body or b"{}")
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = str(first["loc"][-1]) if first["loc"] else None
        raise BadRequest(f"{first['msg']}.", param=param) from None
