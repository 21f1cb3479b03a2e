"""Pages about passwords: forgotten, reset, changed."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from agentcache.accounts import services
from agentcache.accounts.access import fresh_session, user_of
from agentcache.accounts.errors import LinkInvalid
from agentcache.accounts.views.forms import (
    AddressForm,
    ChangePasswordForm,
    FirstPasswordForm,
    NewPasswordForm,
)
from agentcache.accounts.views.pages import answer, attempt, form_page, settings_tabs


@form_page
def forgot(request: HttpRequest) -> HttpResponse:
    """Have a link mailed. The answer is the same whether or not the address has an account."""
    form = AddressForm(request.POST or None)
    error = None
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"]
        error = attempt(form, partial(services.forgot_password, request, email))
        if error is None:
            return render(request, "accounts/reset_sent.html", {"email": email})
    return answer(request, "accounts/forgot.html", form, error)


@form_page
def reset(request: HttpRequest) -> HttpResponse:
    """Set a new password by a mailed link."""
    form = NewPasswordForm(request.POST or None, initial={"token": request.GET.get("token", "")})
    error = None
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        error = attempt(form, partial(services.reset_password, request, given["token"], given["password"]))
        if error is None:
            messages.success(
                request, "Your password is changed, and every session has ended. Sign in with the new one."
            )
            return redirect("accounts:login")
    has_token = bool(form.initial["token"] or request.POST.get("token"))
    is_refused = isinstance(error, LinkInvalid) or not has_token
    return answer(request, "accounts/reset.html", form, error, is_refused=is_refused, address_form=AddressForm())


@form_page
@fresh_session
def change(request: HttpRequest) -> HttpResponse:
    """Change the password; the other sessions end."""
    has_password = user_of(request).has_usable_password()
    form = (ChangePasswordForm if has_password else FirstPasswordForm)(request.POST or None)
    error = None
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        work = partial(services.change_password, request, given.get("current_password", ""), given["new_password"])
        error = attempt(form, work)
        if error is None:
            messages.success(request, "Your password is changed. Your other sessions have ended.")
            return redirect("accounts:security")
    context = {"has_password": has_password, **settings_tabs("security")}
    return answer(request, "accounts/password.html", form, error, **context)
