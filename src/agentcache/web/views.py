"""The pages that belong to no noun: API documentation, errors."""

from __future__ import annotations

import sys

from django.core.exceptions import RequestDataTooBig
from django.db import Error as DatabaseError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from agentcache.design.context import theme_of
from agentcache.gateway.problems import problem
from agentcache.kit.errors import AgentCacheError, BadRequest, Forbidden, NotFound, PayloadTooLarge, Unavailable
from agentcache.web import security_policy


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """Show the OpenAPI document of the native API with Swagger UI."""
    return security_policy.use(security_policy.SWAGGER, render(request, "web/api_docs.html", {"is_api_docs": True}))


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Send browsers that guess the icon's address to the icon."""
    return HttpResponseRedirect(static("web/mark.svg"))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400: a host that is not ours, or a form that cannot be read; 413 when it is only too large."""
    if isinstance(exception, RequestDataTooBig):
        advice = "Go back and send less, or in several parts."
        return refuse(request, PayloadTooLarge(), "This is too large", advice)
    return refuse(request, BadRequest(), "This request cannot be read", "Check the address and try again.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    return refuse(request, Forbidden("This is not allowed."), "This is not allowed", "Ask an operator of this server.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return refuse(request, NotFound(), "There is nothing here", "The address may be mistyped, or the page has moved.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 without any detail, which the log has; 503 when it was the database that could not be had."""
    # Django calls this while it handles the exception, and names it nowhere else.
    if isinstance(sys.exception(), OperationalError):
        response = refuse(request, Unavailable(), "Busy at this moment", "Go back and try again shortly.")
        response["Retry-After"] = "1"
        return response
    error = AgentCacheError("Something went wrong.")
    advice = "Go back and try again: what you wrote is still there. If it stays, give the operator the id below."
    return refuse(request, error, "Something went wrong", advice)


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
