"""What the account API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Schema
from pydantic import ConfigDict, Field


class Body(Schema):
    """A request body; unknown members are errors, not silence."""

    model_config = ConfigDict(extra="forbid")


class Verification(Body):
    """The token of a mailed link. One that finishes a registration asks for the password to sign in with."""

    token: str
    password: str = ""
    name: str = ""


class Credentials(Body):
    """Who signs in. The second factor may come along, and with it the wish to be kept signed in."""

    email: str
    password: str
    code: str = ""
    keep: bool = False


class Code(Body):
    """A code of an authenticator app, or a recovery code."""

    code: str


class SecondFactor(Code):
    """A code that finishes a sign-in. `keep` asks for the longer limits of a session."""

    keep: bool = False


class PasskeyAnswer(Body):
    """What `navigator.credentials.get` returned, as JSON."""

    credential: dict[str, Any]


class PasskeySignIn(PasskeyAnswer):
    """A passkey that signs in. `keep` asks for the longer limits of a session."""

    keep: bool = False


class NewPasskey(PasskeyAnswer):
    """What `navigator.credentials.create` returned, as JSON, and how to call it."""

    name: str = ""


class Address(Body):
    """An e-mail address."""

    email: str


class NewPassword(Body):
    """The token of a mailed link, and the password to set."""

    token: str
    password: str


class PasswordChange(Body):
    """The password now, and the one to come. Without a password so far, the first is empty."""

    current_password: str = ""
    new_password: str


class Proof(Body):
    """One proof of who one is: password, code of the app, or passkey."""

    password: str = ""
    code: str = ""
    credential: dict[str, Any] | None = None


class ProfileChange(Body):
    """What to change; what is left out stays."""

    name: str | None = None
    theme: str | None = None


class Name(Body):
    """How to call something."""

    name: str


class Status(Schema):
    """What has happened."""

    status: str


class Account(Schema):
    """Who is signed in."""

    id: str
    email: str
    name: str
    theme: str
    created_at: datetime
    has_password: bool
    has_second_factor: bool


class SignedIn(Schema):
    """How far a sign-in has come. `session_token` is for programs; browsers get a cookie instead."""

    status: str
    factors: list[str] = Field(default_factory=list)
    session_token: str | None = None
    is_kept: bool = False
    account: Account | None = None


class Session(Schema):
    """A session of the user."""

    id: str
    browser: str
    system: str
    network: str
    started_at: datetime
    last_seen_at: datetime
    is_current: bool
    is_kept: bool


class SessionList(Schema):
    """The live sessions of the user, the one last used first."""

    sessions: list[Session]


class Ended(Schema):
    """How many sessions ended."""

    ended: int


class Passkey(Schema):
    """A passkey of the user."""

    id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


class FactorList(Schema):
    """What proves the user beside the password."""

    totp_since: datetime | None
    recovery_codes_left: int
    passkeys: list[Passkey]


class TotpOffer(Schema):
    """What to tell an authenticator app."""

    secret: str
    uri: str
    qr_svg: str


class RecoveryCodes(Schema):
    """New recovery codes, shown this once; none when there were some already."""

    recovery_codes: list[str]
