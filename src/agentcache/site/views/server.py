"""How this server is, how it is protected, and what has changed in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from agentcache.site import manual
from agentcache.site.server_status import server_status
from agentcache.site.views.product import current_settings, public_page

#: RFC 9116 wants less than a year, so that what nobody looks after ends by itself.
_SECURITY_TXT_DAYS = 180


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """Show each part and how it does."""
    return public_page(request, "site/status.html", {"status": server_status(request, current_settings())})


@require_safe
def security(request: HttpRequest) -> HttpResponse:
    """Show how to report a vulnerability, and what is protected and how."""
    contact = current_settings().security_contact
    context = {
        "text": manual.rendered("SECURITY.md"),
        "contact": contact,
        "contact_shown": (contact or "").removeprefix("mailto:"),
    }
    return public_page(request, "site/security.html", context)


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """Say to machines whom to tell of vulnerabilities (RFC 9116); 404 where the operator has named nobody."""
    settings = current_settings()
    if settings.security_contact is None:
        raise Http404
    # From midnight, so that the file is the same for everybody on one day.
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    expires = today + timedelta(days=_SECURITY_TXT_DAYS)
    lines = [
        f"Contact: {settings.security_contact}",
        f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: en",
        f"Canonical: {settings.origin}{reverse('security-txt')}",
        f"Policy: {settings.origin}{reverse('security')}",
    ]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


@require_safe
def changelog(request: HttpRequest) -> HttpResponse:
    """Show what has changed, newest first."""
    return public_page(request, "site/changelog.html", {"text": manual.rendered("CHANGELOG.md")})
