"""What the pages of accounts have in common: where to go on, answers with forms, the tabs of the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings as django_conf
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from agentcache.accounts import queries
from agentcache.accounts.access import FORMS_LEAD_TO, is_own_path
from agentcache.accounts.errors import TooManyAttempts
from agentcache.accounts.queries import Provider
from agentcache.accounts.views.forms import show_error, status_of
from agentcache.kit.errors import AgentCacheError

#: Of pages with a form.
form_page = require_http_methods(["GET", "HEAD", "POST"])

_TABS = ("profile", "security", "passkeys", "sessions", "appearance", "danger")
_LABELS = {"danger": "Danger zone"}


def next_of(request: HttpRequest) -> str:
    """Return the path to go on to after signing in; never one of another site."""
    wanted = request.GET.get("next", "")
    return wanted if is_own_path(wanted) else str(django_conf.LOGIN_REDIRECT_URL)


def with_next(request: HttpRequest, url_name: str) -> str:
    """Return the address of a page that hands on where this one would go."""
    wanted = request.GET.get("next", "")
    return reverse(url_name) + (f"?{urlencode({'next': wanted})}" if is_own_path(wanted) else "")


def go_on(request: HttpRequest) -> HttpResponse:
    """Answer by leading on to where the visitor wanted to go."""
    return HttpResponseRedirect(next_of(request))


def attempt(form: forms.Form, work: Callable[[], Any]) -> AgentCacheError | None:
    """Do a service's work; show in the form what it refuses, and return that."""
    try:
        work()
    except AgentCacheError as error:
        show_error(form, error)
        return error
    return None


def answer(
    request: HttpRequest, template: str, form: forms.Form, error: AgentCacheError | None = None, **context: Any
) -> HttpResponse:
    """Show a page with a form, under the status that fits what was refused."""
    response = render(request, template, {"form": form, **context}, status=status_of(form, error))
    if isinstance(error, TooManyAttempts):
        response["Retry-After"] = str(error.retry_after_seconds)
    return response


def offered_providers(request: HttpRequest, **query: str) -> list[Provider]:
    """Return the providers that the page offers, and let its forms lead on to them, and back to where this page would."""
    found = queries.sign_in_providers(request)
    request.META[FORMS_LEAD_TO] = [provider.origin for provider in found]
    wanted = request.GET.get("next", "")
    if is_own_path(wanted):
        query = {"next": wanted, **query}
    return [
        replace(provider, login_url=provider.login_url + (f"?{urlencode(query)}" if query else ""))
        for provider in found
    ]


def settings_tabs(current: str) -> dict[str, Any]:
    """Return what the tabs of the settings are made of."""
    tabs = [(_LABELS.get(name, name.capitalize()), reverse(f"accounts:{name}")) for name in _TABS]
    return {"settings_tabs": tabs, "current_tab": reverse(f"accounts:{current}")}
