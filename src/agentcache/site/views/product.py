"""What the product is and what it costs."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings as django_conf
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

import agentcache
from agentcache.mails.outbox import is_shown
from agentcache.settings import Settings
from agentcache.site.first_steps import base_urls, snippets
from agentcache.site.live_figures import live_figures
from agentcache.site.plan_rows import plans, price, rows


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Say what it is, how to point a program here, and what it has saved so far."""
    settings = current_settings()
    context = {
        "base_urls": base_urls(settings),
        "snippets": snippets(settings.origin),
        "live": live_figures(settings),
        # Without sign-in this is for whoever sits at this machine, not for whoever finds the address.
        "is_own_machine": settings.is_local and settings.public_url is None,
        "has_outbox": is_shown(settings),
        "version": agentcache.__version__,
        "entries": "Redis" if settings.redis_url else "SQLite",
        "records": "PostgreSQL" if (settings.database_url or "").startswith("postgres") else "SQLite",
    }
    return public_page(request, "site/start.html", context)


@require_safe
def pricing(request: HttpRequest) -> HttpResponse:
    """Show the plans and what counts."""
    shown = [(plan, price(plan)) for plan in plans()]
    return public_page(request, "site/pricing.html", {"plans": shown, "rows": rows()})


def public_page(request: HttpRequest, template: str, context: Mapping[str, object]) -> HttpResponse:
    """Render a page that search engines may know, under the one address that counts."""
    return render(request, template, {"canonical": current_settings().origin + request.path, **context})


def current_settings() -> Settings:
    """Return the settings that Django was set up for."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings
