"""Second factors and passkeys of the user. Adding and removing needs a fresh session."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from agentcache.accounts import queries, services
from agentcache.accounts.access import user_of
from agentcache.accounts.api import schemas
from agentcache.accounts.session_auth import FreshSessionAuth, SessionAuth

router = Router(auth=FreshSessionAuth())


@router.get("/factors", auth=SessionAuth(), response=schemas.FactorList, operation_id="account.listFactors")
def list_factors(request: HttpRequest) -> Any:
    """List what proves the user beside the password."""
    return queries.factors_of(user_of(request))


@router.post("/totp", response=schemas.TotpOffer, operation_id="account.beginTotp")
def begin_totp(request: HttpRequest) -> Any:
    """Offer a seed to an authenticator app."""
    return services.begin_totp(request)


@router.post("/totp/confirm", response=schemas.RecoveryCodes, operation_id="account.confirmTotp")
def confirm_totp(request: HttpRequest, body: schemas.Code) -> Any:
    """Add the app, with a code that it shows."""
    return {"recovery_codes": services.confirm_totp(request, body.code)}


@router.delete("/totp", response={204: None}, operation_id="account.removeTotp")
def remove_totp(request: HttpRequest) -> Any:
    """Remove the authenticator app."""
    services.remove_totp(request)
    return Status(204, None)


@router.post("/recovery-codes", response=schemas.RecoveryCodes, operation_id="account.renewRecoveryCodes")
def renew_recovery_codes(request: HttpRequest) -> Any:
    """Replace the recovery codes."""
    return {"recovery_codes": services.renew_recovery_codes(request)}


@router.post("/passkeys/options", operation_id="account.beginPasskey")
def begin_passkey(request: HttpRequest) -> dict[str, Any]:
    """Return what to hand to `navigator.credentials.create`."""
    return services.begin_passkey(request)


@router.post("/passkeys", response={201: schemas.RecoveryCodes}, operation_id="account.addPasskey")
def add_passkey(request: HttpRequest, body: schemas.NewPasskey) -> Any:
    """Keep a passkey that was made."""
    return Status(201, {"recovery_codes": services.add_passkey(request, body.credential, body.name)})


@router.patch("/passkeys/{passkey_id}", auth=SessionAuth(), response={204: None}, operation_id="account.renamePasskey")
def rename_passkey(request: HttpRequest, passkey_id: int, body: schemas.Name) -> Any:
    """Call a passkey something else."""
    services.rename_passkey(request, passkey_id, body.name)
    return Status(204, None)


@router.delete("/passkeys/{passkey_id}", response={204: None}, operation_id="account.removePasskey")
def remove_passkey(request: HttpRequest, passkey_id: int) -> Any:
    """Remove a passkey."""
    services.remove_passkey(request, passkey_id)
    return Status(204, None)
