"""Pages about second factors: the authenticator app, recovery codes, passkeys."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from agentcache.accounts import queries, services
from agentcache.accounts.access import fresh_session, signed_in, user_of
from agentcache.accounts.errors import FactorNotFound, FactorRefused
from agentcache.accounts.queries import Passkey
from agentcache.accounts.views.forms import AppCodeForm, NewPasskeyForm, PasskeyNameForm, show_error
from agentcache.accounts.views.pages import answer, attempt, form_page, offered_providers, settings_tabs
from agentcache.kit.errors import AgentCacheError


@require_safe
@signed_in
def security(request: HttpRequest) -> HttpResponse:
    """Show how the user signs in, and what stands beside the password."""
    user = user_of(request)
    context = {
        "factors": queries.factors_of(user),
        "has_password": user.has_usable_password(),
        "providers": [
            (provider, queries.provider_links_of(user, provider.id))
            for provider in offered_providers(request, process="connect")
        ],
        **settings_tabs("security"),
    }
    return render(request, "accounts/security.html", context)


@form_page
@fresh_session
def add_totp(request: HttpRequest) -> HttpResponse:
    """Show the seed for an authenticator app, and take its first code."""
    form = AppCodeForm(request.POST or None)
    error = None
    if request.method == "POST" and form.is_valid():
        try:
            fresh_codes = services.confirm_totp(request, form.cleaned_data["code"])
        except AgentCacheError as refusal:
            error = refusal
            show_error(form, refusal)
        else:
            return _added(request, fresh_codes, "Your authenticator app is set up.", "accounts:security")
    try:
        setup = services.begin_totp(request)
    except FactorRefused as refusal:
        messages.info(request, refusal.message)
        return redirect("accounts:security")
    picture = "data:image/svg+xml;base64," + base64.b64encode(setup.qr_svg.encode()).decode()
    groups = [setup.secret[start : start + 4] for start in range(0, len(setup.secret), 4)]
    context = {"setup": setup, "picture": picture, "secret": " ".join(groups), **settings_tabs("security")}
    return answer(request, "accounts/totp_add.html", form, error, **context)


@form_page
@fresh_session
def remove_totp(request: HttpRequest) -> HttpResponse:
    """Remove the authenticator app, once that is confirmed."""
    return _removal(
        request,
        "accounts/totp_remove.html",
        partial(services.remove_totp, request),
        "The authenticator app is removed.",
        "security",
    )


@form_page
@fresh_session
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Replace the recovery codes, once that is confirmed, and show the new ones this once."""
    if request.method == "POST":
        try:
            return _added(request, services.renew_recovery_codes(request), "", "accounts:security")
        except FactorRefused as refusal:
            messages.error(request, refusal.message)
            return redirect("accounts:security")
    context = {"factors": queries.factors_of(user_of(request)), **settings_tabs("security")}
    return render(request, "accounts/recovery_codes_renew.html", context)


@require_safe
@signed_in
def passkeys(request: HttpRequest) -> HttpResponse:
    """List the user's passkeys."""
    context = {"passkeys": queries.factors_of(user_of(request)).passkeys, **settings_tabs("passkeys")}
    return render(request, "accounts/passkeys.html", context)


@form_page
@fresh_session
def add_passkey(request: HttpRequest) -> HttpResponse:
    """Take a passkey that the browser has made."""
    form = NewPasskeyForm(request.POST or None)
    error = None
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            fresh_codes = services.add_passkey(request, given["credential"], given["name"])
        except AgentCacheError as refusal:
            error = refusal
            show_error(form, refusal)
        else:
            return _added(request, fresh_codes, "Your passkey is added.", "accounts:passkeys")
    return answer(request, "accounts/passkey_add.html", form, error, **settings_tabs("passkeys"))


@form_page
@signed_in
def rename_passkey(request: HttpRequest, passkey_id: int) -> HttpResponse:
    """Call a passkey something else."""
    passkey = _passkey(request, passkey_id)
    form = PasskeyNameForm(request.POST or None, initial={"name": passkey.name})
    error = None
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["name"]
        error = attempt(form, partial(services.rename_passkey, request, passkey_id, name))
        if error is None:
            messages.success(request, "The passkey has its new name.")
            return redirect("accounts:passkeys")
    return answer(request, "accounts/passkey_rename.html", form, error, passkey=passkey, **settings_tabs("passkeys"))


@form_page
@fresh_session
def remove_passkey(request: HttpRequest, passkey_id: int) -> HttpResponse:
    """Remove a passkey, once that is confirmed."""
    return _removal(
        request,
        "accounts/passkey_remove.html",
        partial(services.remove_passkey, request, passkey_id),
        "The passkey is removed.",
        "passkeys",
        passkey=_passkey(request, passkey_id),
    )


def _passkey(request: HttpRequest, passkey_id: int) -> Passkey:
    for passkey in queries.factors_of(user_of(request)).passkeys:
        if passkey.id == passkey_id:
            return passkey
    raise Http404("There is no such passkey.")


def _removal(
    request: HttpRequest, template: str, work: Callable[[], None], done: str, tab: str, **context: object
) -> HttpResponse:
    form = forms.Form(request.POST or None)
    error = None
    if request.method == "POST":
        try:
            error = attempt(form, work) if form.is_valid() else None
        except FactorNotFound:
            error = None
        if not form.errors:
            messages.success(request, done)
            return redirect(f"accounts:{tab}")
    return answer(request, template, form, error, **context, **settings_tabs(tab))


def _added(request: HttpRequest, fresh_codes: list[str], done: str, then: str) -> HttpResponse:
    if not fresh_codes:
        messages.success(request, done)
        return redirect(then)
    # Shown in the answer itself, this once: they are in no address, no session and no page that can be opened again.
    text = "AgentCache recovery codes\n\n" + "\n".join(fresh_codes) + "\n\nEach code works once.\n"
    download = "data:text/plain;charset=utf-8;base64," + base64.b64encode(text.encode()).decode()
    context = {"codes": fresh_codes, "download": download, "done": done, "then": then, **settings_tabs("security")}
    return render(request, "accounts/recovery_codes.html", context)
