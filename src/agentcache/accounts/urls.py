"""Addresses of the pages of accounts."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from agentcache.accounts.views import entering, factors, own, passwords, providers

app_name = "accounts"

urlpatterns = [
    path("signup", entering.signup, name="signup"),
    path("login", entering.login, name="login"),
    path("login/mfa", entering.second_factor, name="second-factor"),
    path("logout", entering.logout, name="logout"),
    path("verify", entering.verify, name="verify"),
    path("resend", entering.resend, name="resend"),
    path("forgot", passwords.forgot, name="forgot"),
    path("reset", passwords.reset, name="reset"),
    path("reauthenticate", entering.reauthenticate, name="reauthenticate"),
    path("settings", RedirectView.as_view(pattern_name="accounts:profile"), name="settings"),
    path("settings/profile", own.profile, name="profile"),
    path("settings/profile/email", own.email, name="email"),
    path("settings/security", factors.security, name="security"),
    path("settings/security/password", passwords.change, name="password"),
    path("settings/security/app", factors.add_totp, name="totp-add"),
    path("settings/security/app/remove", factors.remove_totp, name="totp-remove"),
    path("settings/security/recovery-codes", factors.recovery_codes, name="recovery-codes"),
    path("settings/security/providers/<int:link_id>/remove", providers.disconnect, name="provider-disconnect"),
    path("settings/passkeys", factors.passkeys, name="passkeys"),
    path("settings/passkeys/new", factors.add_passkey, name="passkey-add"),
    path("settings/passkeys/<int:passkey_id>", factors.rename_passkey, name="passkey-rename"),
    path("settings/passkeys/<int:passkey_id>/remove", factors.remove_passkey, name="passkey-remove"),
    path("settings/sessions", own.sessions, name="sessions"),
    path("settings/sessions/end-others", own.end_other_sessions, name="sessions-end-others"),
    path("settings/sessions/<str:session_id>/end", own.end_session, name="session-end"),
    path("settings/appearance", own.appearance, name="appearance"),
    path("settings/danger", own.danger, name="danger"),
    path("settings/export", own.export, name="export"),
]
