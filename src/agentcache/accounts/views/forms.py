"""What the pages of accounts ask for. The services judge it; these say how it is typed in."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from agentcache.accounts.errors import TooManyAttempts
from agentcache.accounts.models import Theme
from agentcache.accounts.password_rules import CHARS_MIN
from agentcache.kit.errors import AgentCacheError

_PASSWORD_HELP = f"At least {CHARS_MIN} characters; a few words that only you put together are easy to remember."


def _password(label: str, autocomplete: str, help_text: str = "") -> forms.CharField:
    # Nothing is stripped: a space at the end is part of the password.
    widget = forms.PasswordInput(attrs={"autocomplete": autocomplete})
    return forms.CharField(label=label, strip=False, widget=widget, help_text=help_text)


def _email(label: str = "E-mail address", autocomplete: str = "email") -> forms.CharField:
    # Plain text with the keyboard for addresses: the service says what is wrong with one.
    widget = forms.EmailInput(attrs={"autocomplete": autocomplete, "spellcheck": "false"})
    return forms.CharField(label=label, max_length=254, widget=widget)


def _code(label: str, help_text: str = "", **attrs: str) -> forms.CharField:
    attrs = {"autocomplete": "one-time-code", "spellcheck": "false", "autocapitalize": "off", **attrs}
    return forms.CharField(label=label, max_length=40, widget=forms.TextInput(attrs=attrs), help_text=help_text)


def _keep() -> forms.BooleanField:
    return forms.BooleanField(required=False, label="Keep me signed in on this device")


class LoginForm(forms.Form):
    """Address and password."""

    email = _email(autocomplete="username")
    password = _password("Password", "current-password")


class CodeForm(forms.Form):
    """A code of an authenticator app, or a recovery code."""

    code = _code("Code", "Six digits from your authenticator app, or one of your recovery codes.")
    keep = _keep()


class AppCodeForm(forms.Form):
    """A code of an authenticator app."""

    code = _code("Code from the app", "The six digits that the app shows now.", inputmode="numeric")


class AddressForm(forms.Form):
    """Where a mail is to go."""

    email = _email()


class NewAddressForm(forms.Form):
    """Where the account is to move."""

    email = _email("New e-mail address")


class TokenForm(forms.Form):
    """The token of a mailed link, on its way from the address bar to the service."""

    token = forms.CharField(max_length=200, widget=forms.HiddenInput)


class FirstPasswordByLinkForm(TokenForm):
    """The password of a new account, chosen by whoever opened the mail."""

    password = _password("Password", "new-password", _PASSWORD_HELP)


class NewPasswordForm(TokenForm):
    """A new password, by a mailed link."""

    password = _password("New password", "new-password", _PASSWORD_HELP)


class ChangePasswordForm(forms.Form):
    """A new password, by the current one."""

    current_password = _password("Current password", "current-password")
    new_password = _password("New password", "new-password", _PASSWORD_HELP)


class FirstPasswordForm(forms.Form):
    """A password for somebody who signs in by other means so far."""

    new_password = _password("New password", "new-password", _PASSWORD_HELP)


class PasswordProofForm(forms.Form):
    """The password once more."""

    password = _password("Password", "current-password")


class PasskeyForm(forms.Form):
    """What a browser says about a passkey, as JSON."""

    credential = forms.CharField(max_length=20_000, widget=forms.HiddenInput)

    def clean_credential(self) -> dict[str, Any]:
        """Return it as an object."""
        try:
            found = json.loads(self.cleaned_data["credential"])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise forms.ValidationError("Your browser sent a passkey that cannot be read; try again.")
        return found


class PasskeySignInForm(PasskeyForm):
    """A passkey that signs in."""

    keep = _keep()

    def __init__(self, *given: Any, **options: Any) -> None:
        # Stands beside another form with a field of that name.
        super().__init__(*given, **{"auto_id": "passkey_%s", **options})


class PasskeyNameForm(forms.Form):
    """What a passkey is called."""

    name = forms.CharField(max_length=64, help_text="So that you know it again, for example “Work laptop”.")


class NewPasskeyForm(PasskeyForm, PasskeyNameForm):
    """A passkey that the browser has made."""

    field_order = ("name", "credential")


class ProfileForm(forms.Form):
    """What a user is called."""

    name = forms.CharField(
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        help_text="Members of your teams see it beside your address.",
    )


class AppearanceForm(forms.Form):
    """How pages look and listen."""

    theme = forms.ChoiceField(choices=Theme.choices, widget=forms.RadioSelect)
    has_shortcuts = forms.BooleanField(
        required=False,
        label="Keyboard shortcuts",
        help_text="Single keys such as / for search and ? for help. Turn them off if they get in the way of speech "
        "input or of your browser.",
    )


class DeletionForm(forms.Form):
    """The user's own address, typed to confirm the end of the account."""

    email = forms.CharField(
        label="Type your e-mail address to confirm",
        max_length=254,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}),
    )


def show_error(form: forms.Form, error: AgentCacheError) -> None:
    """Show what a service refused beside the field at fault, or above the form."""
    names = {"password": "new_password"} if "new_password" in form.fields else {}
    name = names.get(error.param or "", error.param)
    form.add_error(name if name in form.fields else None, _words(error))


def status_of(form: forms.Form, error: AgentCacheError | None = None) -> int:
    """Return the status of a page with a form: 200 unless something in it was refused."""
    if isinstance(error, TooManyAttempts) or (error is not None and error.status >= 500):
        return error.status
    return 422 if form.errors else 200


def _words(error: AgentCacheError) -> str:
    if not isinstance(error, TooManyAttempts):
        return error.message
    minutes = -(-error.retry_after_seconds // 60)
    if minutes > 90:
        return f"Too many attempts. Try again in {-(-minutes // 60)} hours."
    return f"Too many attempts. Try again in {minutes} minute{'s' if minutes != 1 else ''}."
