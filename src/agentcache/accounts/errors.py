"""What can be wrong with signing in and with accounts."""

from __future__ import annotations

from agentcache.kit.errors import AgentCacheError, BadRequest, Forbidden, NotFound, Unauthenticated


class NotSignedIn(Unauthenticated):
    """Sign in first, or send a session token in X-Session-Token."""

    code = "not_signed_in"


class InvalidCredentials(Unauthenticated):
    """The e-mail address or the password is wrong, or the address has not been verified yet."""

    code = "invalid_credentials"


class InvalidCode(Unauthenticated):
    """This code or passkey was not accepted."""

    code = "invalid_code"


class NoPendingLogin(BadRequest):
    """There is no sign-in to finish; begin again with e-mail address and password."""

    code = "no_pending_login"


class ReauthRequired(Forbidden):
    """This needs a sign-in that is not older than 15 minutes."""

    code = "reauth_required"


class ForeignOrigin(Forbidden):
    """This request came from another site, or a browser did not say where it came from."""

    code = "foreign_origin"


class TooManyAttempts(AgentCacheError):
    """Too many attempts; try again later."""

    code = "too_many_attempts"
    status = 429

    def __init__(self, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__()


class InvalidEmail(BadRequest):
    """This is not an e-mail address that mail can be sent to."""

    code = "invalid_email"


class PasswordRejected(BadRequest):
    """This password cannot be used."""

    code = "password_rejected"


class LinkInvalid(BadRequest):
    """This link is not valid any more: it was used, replaced, or is older than 30 minutes."""

    code = "link_invalid"


class EmailTaken(BadRequest):
    """This address cannot be used."""

    code = "email_taken"


class SessionNotFound(NotFound):
    """There is no such session."""

    code = "session_not_found"


class FactorNotFound(NotFound):
    """There is no such second factor."""

    code = "factor_not_found"


class FactorRefused(BadRequest):
    """This second factor cannot be added or removed now."""

    code = "factor_refused"


class TeamsNeedOwner(BadRequest):
    """Other members would be left without an owner: transfer these teams first."""

    code = "teams_need_owner"
