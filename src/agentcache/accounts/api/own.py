"""What users do with their own account: profile, password, address, sessions, export, deletion."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from agentcache.accounts import queries, services
from agentcache.accounts.access import user_of
from agentcache.accounts.api import schemas
from agentcache.accounts.api.entering import account_of
from agentcache.accounts.session_auth import FreshSessionAuth, SessionAuth
from agentcache.accounts.session_store import KEPT

router = Router(auth=SessionAuth())
_FRESH = FreshSessionAuth()


@router.get("/me", response=schemas.Account, operation_id="account.get")
def me(request: HttpRequest) -> Any:
    """Say who is signed in."""
    return account_of(user_of(request))


@router.patch("/me", response=schemas.Account, operation_id="account.change")
def change(request: HttpRequest, body: schemas.ProfileChange) -> Any:
    """Change name or theme."""
    user = user_of(request)
    services.change_profile(user, name=body.name, theme=body.theme)
    return account_of(user)


@router.delete("/me", auth=_FRESH, response={204: None}, operation_id="account.delete")
def delete(request: HttpRequest) -> Any:
    """Delete the account, and the teams that nobody else is in. Fetch /export first."""
    services.delete_account(request)
    return Status(204, None)


@router.get("/export", auth=_FRESH, operation_id="account.export")
def export(request: HttpRequest) -> dict[str, Any]:
    """Return everything that is kept about the user."""
    return queries.export_of(user_of(request))


@router.post("/password", auth=_FRESH, response=schemas.Status, operation_id="account.changePassword")
def change_password(request: HttpRequest, body: schemas.PasswordChange) -> Any:
    """Change the password; the other sessions end."""
    services.change_password(request, body.current_password, body.new_password)
    return {"status": "password_changed"}


@router.post("/email", auth=_FRESH, response={202: schemas.Status}, operation_id="account.changeEmail")
def change_email(request: HttpRequest, body: schemas.Address) -> Any:
    """Have a link mailed to a new address; the account moves when it is used."""
    services.change_email(request, body.email)
    return Status(202, {"status": "mail_sent"})


@router.post("/reauthenticate", response=schemas.SignedIn, operation_id="account.reauthenticate")
def reauthenticate(request: HttpRequest, body: schemas.Proof) -> Any:
    """Prove once more who one is; the session gets a new id, which programs find in X-Session-Token."""
    services.reauthenticate(request, password=body.password, code=body.code, credential=body.credential)
    by_token = request.META.get("agentcache.by_token")
    return {
        "status": "signed_in",
        "session_token": request.session.session_key if by_token else None,
        "is_kept": request.session.get(KEPT, False),
        "account": account_of(user_of(request)),
    }


@router.get("/sessions", response=schemas.SessionList, operation_id="account.listSessions")
def list_sessions(request: HttpRequest) -> Any:
    """List the live sessions."""
    return {"sessions": queries.sessions_of(user_of(request), request.session)}


@router.delete("/sessions", response=schemas.Ended, operation_id="account.endOtherSessions")
def end_other_sessions(request: HttpRequest) -> Any:
    """End every session but this one."""
    return {"ended": services.end_other_sessions(request)}


@router.delete("/sessions/{session_id}", response={204: None}, operation_id="account.endSession")
def end_session(request: HttpRequest, session_id: str) -> Any:
    """End one session."""
    services.end_session(user_of(request), session_id, request)
    return Status(204, None)
