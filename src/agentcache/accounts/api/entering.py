"""What somebody does who is not signed in yet: register, verify, sign in, ask for a new password."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from agentcache.accounts import queries, services
from agentcache.accounts.api import schemas
from agentcache.accounts.models import User
from agentcache.accounts.services import SignIn
from agentcache.accounts.session_auth import SessionAuth
from agentcache.accounts.session_store import KEPT

router = Router()


@router.post("/register", auth=None, response={202: schemas.Status}, operation_id="account.register")
def register(request: HttpRequest, body: schemas.Address) -> Any:
    """Register; a link is mailed, and whoever opens it chooses the password. The same for an address with an account."""
    services.register(request, body.email)
    return Status(202, {"status": "mail_sent"})


@router.post(
    "/resend-verification", auth=None, response={202: schemas.Status}, operation_id="account.resendVerification"
)
def resend_verification(request: HttpRequest, body: schemas.Address) -> Any:
    """Have the link of a registration mailed again. The answer is the same for every address."""
    services.resend_verification(request, body.email)
    return Status(202, {"status": "mail_sent"})


@router.post("/verify", auth=None, response=schemas.Status, operation_id="account.verify")
def verify(request: HttpRequest, body: schemas.Verification) -> Any:
    """Use the token of a mailed link: finish a registration with a password, or move the account to a new address."""
    services.verify(request, body.token, body.password, body.name)
    return {"status": "verified"}


@router.post("/login", auth=None, response=schemas.SignedIn, operation_id="account.login")
def login(request: HttpRequest, body: schemas.Credentials) -> Any:
    """Sign in. With `second_factor_required`, go on at /login/second-factor with the session given."""
    outcome = services.sign_in(request, body.email, body.password)
    if outcome is SignIn.SECOND_FACTOR and body.code:
        services.finish_sign_in(request, body.code, keep=body.keep)
        outcome = SignIn.DONE
    return _signed_in(request, outcome)


@router.post("/login/second-factor", auth=None, response=schemas.SignedIn, operation_id="account.secondFactor")
def second_factor(request: HttpRequest, body: schemas.SecondFactor) -> Any:
    """Finish a sign-in with a code of the app or a recovery code."""
    services.finish_sign_in(request, body.code, keep=body.keep)
    return _signed_in(request, SignIn.DONE)


@router.post("/login/passkey-options", auth=None, operation_id="account.passkeyOptions")
def passkey_options(request: HttpRequest) -> dict[str, Any]:
    """Return what to hand to `navigator.credentials.get`, to sign in, as second factor or to prove oneself again."""
    options = services.passkey_options(request)
    _is_program(request)
    return options


@router.post("/login/passkey", auth=None, response=schemas.SignedIn, operation_id="account.passkeyLogin")
def passkey_login(request: HttpRequest, body: schemas.PasskeySignIn) -> Any:
    """Sign in with a passkey alone, or finish a sign-in with it."""
    if queries.pending_factors(request):
        services.finish_sign_in_with_passkey(request, body.credential, keep=body.keep)
    else:
        services.sign_in_with_passkey(request, body.credential, keep=body.keep)
    return _signed_in(request, SignIn.DONE)


@router.post("/logout", auth=SessionAuth(), response={204: None}, operation_id="account.logout")
def logout(request: HttpRequest) -> Any:
    """End this session."""
    services.sign_out(request)
    return Status(204, None)


@router.post("/forgot-password", auth=None, response={202: schemas.Status}, operation_id="account.forgotPassword")
def forgot_password(request: HttpRequest, body: schemas.Address) -> Any:
    """Have a link to a new password mailed. The answer is the same for every address."""
    services.forgot_password(request, body.email)
    return Status(202, {"status": "mail_sent"})


@router.post("/reset-password", auth=None, response=schemas.Status, operation_id="account.resetPassword")
def reset_password(request: HttpRequest, body: schemas.NewPassword) -> Any:
    """Set a new password by a mailed link; every session ends, and one has to sign in."""
    services.reset_password(request, body.token, body.password)
    return {"status": "password_changed"}


def account_of(user: User) -> dict[str, Any]:
    """Return a user as the API shows them."""
    return {
        "id": user.pk,
        "email": user.email,
        "name": user.name,
        "theme": user.theme,
        "created_at": user.created_at,
        "has_password": user.has_usable_password(),
        "has_second_factor": queries.has_second_factor(user),
    }


def _is_program(request: HttpRequest) -> bool:
    """Say whether a program calls, and then have the answer name the session in X-Session-Token and set no cookie."""
    # Browsers say where a request comes from; to their scripts the session stays out of reach.
    is_program = "Sec-Fetch-Site" not in request.headers and "Origin" not in request.headers
    if is_program:
        request.META["agentcache.by_token"] = True
        request.session.save()
    return is_program


def _signed_in(request: HttpRequest, outcome: SignIn) -> dict[str, Any]:
    is_program = _is_program(request)
    return {
        "status": outcome.value,
        "factors": list(queries.pending_factors(request)) if outcome is SignIn.SECOND_FACTOR else [],
        "session_token": request.session.session_key if is_program else None,
        "is_kept": outcome is SignIn.DONE and request.session.get(KEPT, False),
        "account": account_of(request.user) if isinstance(request.user, User) and outcome is SignIn.DONE else None,
    }
