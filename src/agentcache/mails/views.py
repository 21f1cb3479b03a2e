"""`/dev/mail`: what a server without an SMTP server would have sent. Exists on the machine it runs on only."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from ipaddress import ip_address
from typing import Concatenate, ParamSpec

from django.conf import settings as django_conf
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agentcache.mails.delivery import outbox_dir
from agentcache.mails.outbox import find_in_outbox, is_shown, list_outbox
from agentcache.settings import Settings

#: Of a mail's HTML: its own styles, no scripts, no forms, nothing loaded; it may only lead away by a link.
_MAIL_POLICY = {
    "default-src": "'none'",
    "style-src": "'unsafe-inline'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "sandbox": "",
}

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def _on_this_machine(view: View[P]) -> View[P]:
    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not is_shown(_settings()) or not _is_loopback(str(request.META.get("agentcache.client_ip", ""))):
            raise Http404
        return view(request, *args, **kwargs)

    guarded.access = "this_machine"  # type: ignore[attr-defined]  # read by the walk over all routes
    return guarded


@require_safe
@_on_this_machine
def outbox(request: HttpRequest) -> HttpResponse:
    """List the mails."""
    return render(request, "mails_pages/outbox.html", {"mails": list_outbox(outbox_dir(_settings()))})


@require_safe
@_on_this_machine
def mail(request: HttpRequest, mail_id: str) -> HttpResponse:
    """Show one mail as text."""
    found = find_in_outbox(outbox_dir(_settings()), mail_id)
    if found is None:
        raise Http404
    return render(request, "mails_pages/mail.html", {"mail": found})


@require_safe
@_on_this_machine
def mail_html(request: HttpRequest, mail_id: str) -> HttpResponse:
    """Show a mail as a mail program would, in a page that can do nothing."""
    found = find_in_outbox(outbox_dir(_settings()), mail_id)
    if found is None or not found.html:
        raise Http404
    response = HttpResponse(found.html)
    response.security_policy = _MAIL_POLICY  # type: ignore[attr-defined]  # read by web's middleware
    return response


def _settings() -> Settings:
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by web.project
    return settings


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
