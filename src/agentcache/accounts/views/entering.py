"""Pages of somebody who is not signed in yet, or who is about to leave."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from agentcache.accounts import links, queries, services
from agentcache.accounts.access import signed_in, user_of
from agentcache.accounts.errors import LinkInvalid, NoPendingLogin
from agentcache.accounts.models import LinkPurpose
from agentcache.accounts.services import SignIn
from agentcache.accounts.views import providers
from agentcache.accounts.views.forms import (
    AddressForm,
    AppCodeForm,
    CodeForm,
    FirstPasswordByLinkForm,
    LoginForm,
    PasskeyForm,
    PasskeySignInForm,
    PasswordProofForm,
    TokenForm,
    show_error,
)
from agentcache.accounts.views.pages import answer, attempt, form_page, go_on, offered_providers, with_next
from agentcache.kit.errors import AgentCacheError


@form_page
def signup(request: HttpRequest) -> HttpResponse:
    """Take a registration. The answer is the same whether or not the address has an account."""
    if request.user.is_authenticated:
        return go_on(request)
    form = AddressForm(request.POST or None)
    error = None
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"]
        error = attempt(form, partial(services.register, request, email))
        if error is None:
            return _mail_sent(request, email)
    context = {"providers": offered_providers(request), "login_url": with_next(request, "accounts:login")}
    return answer(request, "accounts/signup.html", form, error, **context)


@form_page
def resend(request: HttpRequest) -> HttpResponse:
    """Send the link of a registration once more."""
    form = AddressForm(request.POST or None)
    error = None
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"]
        error = attempt(form, partial(services.resend_verification, request, email))
        if error is None:
            return _mail_sent(request, email, is_again=True)
    return answer(request, "accounts/resend.html", form, error)


def _mail_sent(request: HttpRequest, email: str, *, is_again: bool = False) -> HttpResponse:
    form = AddressForm(initial={"email": email})
    return render(request, "accounts/mail_sent.html", {"email": email, "form": form, "is_again": is_again})


@form_page
def verify(request: HttpRequest) -> HttpResponse:
    """Use a mailed link: by a button, so that a mail scanner that follows links uses nothing up.

    A new account gets its password here, from whoever holds the mail, and not from whoever asked for the mail.
    """
    token = request.POST.get("token") or request.GET.get("token", "")
    link = links.peek(token, LinkPurpose.REGISTER, LinkPurpose.CHANGE_EMAIL)
    is_new = link is not None and link.purpose == LinkPurpose.REGISTER
    form = (FirstPasswordByLinkForm if is_new else TokenForm)(request.POST or None, initial={"token": token})
    error = None
    if request.method == "POST" and form.is_valid():
        error = attempt(form, partial(services.verify, request, token, form.cleaned_data.get("password", "")))
        if error is None:
            done = (
                "Your account is open. Sign in with your password." if is_new else "Your e-mail address is confirmed."
            )
            messages.success(request, done)
            return redirect("accounts:profile" if request.user.is_authenticated else "accounts:login")
    is_refused = isinstance(error, LinkInvalid) or link is None
    context = {"address_form": AddressForm(), "is_refused": is_refused, "is_new": is_new, "link": link}
    return answer(request, "accounts/verify.html", form, error, **context)


@form_page
def login(request: HttpRequest) -> HttpResponse:
    """Sign in with address and password, with a passkey, or by way of a provider."""
    if request.user.is_authenticated:
        return go_on(request)
    form, passkey_form = LoginForm(), PasskeySignInForm()
    error = None
    if request.method == "POST" and "credential" in request.POST:
        passkey_form = PasskeySignInForm(request.POST)
        if passkey_form.is_valid():
            error = attempt(passkey_form, partial(services.sign_in_with_passkey, request, **passkey_form.cleaned_data))
            if error is None:
                return go_on(request)
    elif request.method == "POST":
        form = LoginForm(request.POST)
        if form.is_valid():
            try:
                outcome = services.sign_in(request, form.cleaned_data["email"], form.cleaned_data["password"])
            except AgentCacheError as refusal:
                error = refusal
                show_error(form, refusal)
            else:
                waits = outcome is SignIn.SECOND_FACTOR
                return redirect(with_next(request, "accounts:second-factor")) if waits else go_on(request)
    return answer(
        request,
        "accounts/login.html",
        form,
        error,
        passkey_form=passkey_form,
        providers=offered_providers(request),
        provider_news=providers.NEWS.get(request.GET.get("provider", "")),
        is_interrupted="next" in request.GET,
        signup_url=with_next(request, "accounts:signup"),
    )


@form_page
def second_factor(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor of a sign-in that has begun."""
    factors = queries.pending_factors(request)
    if not factors:
        if request.method == "POST":
            messages.info(request, "That took too long. Sign in again.")
        return redirect(with_next(request, "accounts:login"))
    form, passkey_form = CodeForm(), PasskeySignInForm()
    error = None
    try:
        if request.method == "POST" and "credential" in request.POST:
            passkey_form = PasskeySignInForm(request.POST)
            if passkey_form.is_valid():
                services.finish_sign_in_with_passkey(request, **passkey_form.cleaned_data)
                return go_on(request)
        elif request.method == "POST":
            form = CodeForm(request.POST)
            if form.is_valid():
                services.finish_sign_in(request, **form.cleaned_data)
                return go_on(request)
    except NoPendingLogin:
        return redirect(with_next(request, "accounts:login"))
    except AgentCacheError as refusal:
        error = refusal
        show_error(passkey_form if passkey_form.is_bound else form, refusal)
    context = {"factors": factors, "passkey_form": passkey_form, "login_url": with_next(request, "accounts:login")}
    return answer(request, "accounts/second_factor.html", form, error, **context)


@form_page
@signed_in
def reauthenticate(request: HttpRequest) -> HttpResponse:
    """Ask once more who it is, before what cannot be undone."""
    user = user_of(request)
    factors = queries.factors_of(user)
    forms = {"password_form": PasswordProofForm(), "code_form": AppCodeForm(), "passkey_form": PasskeyForm()}
    error = None
    if request.method == "POST":
        kinds = {"credential": PasskeyForm, "code": AppCodeForm}
        name = next((name for name in kinds if name in request.POST), "password")
        form = kinds.get(name, PasswordProofForm)(request.POST)
        forms[{"credential": "passkey"}.get(name, name) + "_form"] = form
        if form.is_valid():
            error = attempt(form, partial(services.reauthenticate, request, **form.cleaned_data))
            if error is None:
                return go_on(request)
    context = {
        "has_password": user.has_usable_password(),
        "factors": factors,
        "providers": [] if user.has_usable_password() else offered_providers(request),
        **forms,
    }
    bound = next((form for form in forms.values() if form.is_bound), forms["password_form"])
    return answer(request, "accounts/reauthenticate.html", bound, error, **context)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End this session."""
    services.sign_out(request)
    return redirect(reverse("accounts:login"))
