"""Pages beside the console: setting up the first operator, and viewing the product as a user."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from agentcache.accounts.models import User
from agentcache.accounts.password_rules import CHARS_MIN
from agentcache.kit.errors import AgentCacheError
from agentcache.operators import services
from agentcache.operators.errors import SetupLinkInvalid
from agentcache.operators.middleware import viewing_of


class SetupForm(forms.Form):
    """The first operator's account."""

    email = forms.EmailField(label="E-mail address", max_length=254, widget=forms.EmailInput({"autocomplete": "email"}))
    name = forms.CharField(
        label="Name", max_length=100, required=False, widget=forms.TextInput({"autocomplete": "name"})
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        help_text=f"At least {CHARS_MIN} characters; a few words are easy to remember.",
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )


class ReasonForm(forms.Form):
    """Why an operator looks."""

    reason = forms.CharField(
        label="Reason",
        min_length=services.REASON_CHARS_MIN,
        max_length=300,
        help_text="Kept in the audit log. A ticket number and a few words.",
    )


@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """Make an operator: a new account, or the one that is signed in."""
    try:
        services.find_setup_link(token)
        if request.user.is_authenticated:
            return _setup_own(request, token)
        return _setup_new(request, token)
    except SetupLinkInvalid as error:
        return render(request, "operators/setup_invalid.html", {"error": error}, status=error.status)


setup.access = "setup_link"  # type: ignore[attr-defined]  # read by the walk over all routes


def _setup_own(request: HttpRequest, token: str) -> HttpResponse:
    if request.method == "POST":
        services.promote_by_link(request, token)
        return redirect("admin:index")
    return render(request, "operators/setup_own.html")


def _setup_new(request: HttpRequest, token: str) -> HttpResponse:
    form = SetupForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            services.set_up_operator(request, token, given["email"], given["password"], given["name"])
        except SetupLinkInvalid:
            raise
        except AgentCacheError as error:
            form.add_error(error.param if error.param in form.fields else None, error.message)
        else:
            messages.success(request, "You are an operator of this server. Sign in.")
            return redirect(f"{reverse('accounts:login')}?next={reverse('admin:index')}")
    return render(request, "operators/setup.html", {"form": form}, status=422 if form.is_bound else 200)


def view_as(request: HttpRequest, user_id: str) -> HttpResponse:
    """Ask an operator for a reason, then show the product as the user sees it. The console guards this page."""
    user = get_object_or_404(User, pk=user_id)
    if user.is_staff or not user.is_active:
        raise Http404
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        services.start_viewing(request, user, form.cleaned_data["reason"])
        return redirect("/dashboard")
    return render(request, "operators/view_as.html", {"form": form, "viewed": user})


@require_POST
def end_view_as(request: HttpRequest) -> HttpResponse:
    """Give the session back to the operator."""
    viewing = viewing_of(request)
    if viewing is None:
        raise Http404
    services.end_viewing(request, viewing, "ended by the operator")
    return redirect("admin:accounts_user_change", viewing.user_id)


end_view_as.access = "signed_in"  # type: ignore[attr-defined]
