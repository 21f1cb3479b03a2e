"""Every write to accounts, their sessions and their second factors."""

from agentcache.accounts.services.deletion import delete_account
from agentcache.accounts.services.factors import begin_totp, confirm_totp, remove_totp, renew_recovery_codes
from agentcache.accounts.services.login import (
    SignIn,
    finish_sign_in,
    finish_sign_in_with_passkey,
    passkey_options,
    reauthenticate,
    sign_in,
    sign_in_with_passkey,
    sign_out,
)
from agentcache.accounts.services.passkeys import add_passkey, begin_passkey, remove_passkey, rename_passkey
from agentcache.accounts.services.passwords import change_password, forgot_password, reset_password
from agentcache.accounts.services.providers import connect_provider, disconnect_provider
from agentcache.accounts.services.registration import (
    change_email,
    change_profile,
    disable,
    enable,
    join_invited,
    register,
    resend_verification,
    verify,
)
from agentcache.accounts.services.sessions import end_all_sessions, end_other_sessions, end_session, renew_sessions

__all__ = [
    "SignIn",
    "add_passkey",
    "begin_passkey",
    "begin_totp",
    "change_email",
    "change_password",
    "change_profile",
    "confirm_totp",
    "connect_provider",
    "delete_account",
    "disable",
    "disconnect_provider",
    "enable",
    "end_all_sessions",
    "end_other_sessions",
    "end_session",
    "finish_sign_in",
    "finish_sign_in_with_passkey",
    "forgot_password",
    "join_invited",
    "passkey_options",
    "reauthenticate",
    "register",
    "remove_passkey",
    "remove_totp",
    "rename_passkey",
    "renew_recovery_codes",
    "renew_sessions",
    "resend_verification",
    "reset_password",
    "sign_in",
    "sign_in_with_passkey",
    "sign_out",
    "verify",
]
