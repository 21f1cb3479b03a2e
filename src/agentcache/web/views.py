"""The pages that belong to no noun: start, API documentation, errors."""

from __future__ import annotations

from datetime import timedelta

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.templatetags.static import static
from django.utils import timezone
from django.views.decorators.http import require_safe

import agentcache
from agentcache.analytics import queries as usage
from agentcache.analytics.periods import last_days
from agentcache.design.context import theme_of
from agentcache.gateway.problems import problem
from agentcache.kit.errors import AgentCacheError, BadRequest, Forbidden, NotFound
from agentcache.teams.queries import find_local_team
from agentcache.web import security_policy
from agentcache.web.project import current_settings
from agentcache.web.start_page import base_urls, figures, python_client, snippets

#: Time that the figures on the start page cover.
FIGURES_DAYS = 30


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Show that the server runs, where to point a client, and what it has saved."""
    settings = current_settings()
    context = {
        "version": agentcache.__version__,
        "settings": settings,
        "records": "PostgreSQL" if (settings.database_url or "").startswith("postgres") else "SQLite",
        "entries": "Redis" if settings.redis_url else "SQLite",
        "base_urls": base_urls(settings),
        "python_client": python_client(settings.origin),
        "snippets": snippets(settings.origin),
        "figures_days": FIGURES_DAYS,
    }
    # Without sign-in the figures are for whoever sits at this machine, not for whoever finds the address.
    if settings.is_local and settings.public_url is None:
        context |= _figures()
    return render(request, "web/start.html", context)


def _figures() -> dict[str, object]:
    since = timezone.now() - timedelta(days=FIGURES_DAYS)
    try:
        team = find_local_team()
        totals = usage.totals(team, last_days(FIGURES_DAYS, timezone.now())) if team is not None else None
        lost = usage.lost_events(since)
    except DatabaseError:
        return {"figures_missing": True}
    return {"figures": figures(totals) if totals is not None else (), "totals": totals, "lost": lost}


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """Show the OpenAPI document of the native API with Swagger UI."""
    return security_policy.use(security_policy.SWAGGER, render(request, "web/api_docs.html"))


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Send browsers that guess the icon's address to the icon."""
    return HttpResponseRedirect(static("web/mark.svg"))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400: a host that is not ours, or a form that cannot be read."""
    return refuse(request, BadRequest(), "This request cannot be read", "Check the address and try again.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    return refuse(request, Forbidden("This is not allowed."), "This is not allowed", "Ask an operator of this server.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return refuse(request, NotFound(), "There is nothing here", "The address may be mistyped, or the page has moved.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 without any detail; the log has them under the request id."""
    error = AgentCacheError("Something went wrong.")
    return refuse(request, error, "Something went wrong", "Try again; if it stays, give the operator the id below.")


def refuse(request: HttpRequest, error: AgentCacheError, title: str, advice: str) -> HttpResponse:
    """Answer with an error: as a problem below /api/, as a page elsewhere."""
    request_id = request.META.get("agentcache.request_id", "")
    if request.path.startswith("/api/"):
        headers, body = problem(error, request_id)
        response = HttpResponse(body, status=error.status)
        for name, value in headers:
            response[name.decode()] = value.decode()
        return security_policy.use(security_policy.NO_PAGE, response)
    # No request in the context: processors may need what has just failed.
    context = {
        "status": error.status,
        "title": title,
        "advice": advice,
        "request_id": request_id,
        "theme": _theme(request) if error.status < 500 else "system",
    }
    return render(None, "web/error.html", context, status=error.status)


def _theme(request: HttpRequest) -> str:
    try:
        return theme_of(request)
    except DatabaseError:
        return "system"
