"""How an operator is told that something is the user's alone."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from agentcache.gateway.problems import problem
from agentcache.operators.errors import NotWhileViewing


def refuse(request: HttpRequest) -> HttpResponse:
    """Answer 403: a problem below /api/, a page elsewhere."""
    error = NotWhileViewing()
    if not request.path.startswith("/api/"):
        return render(request, "operators/not_while_viewing.html", {"error": error}, status=error.status)
    headers, body = problem(error, request.META.get("agentcache.request_id", ""))
    response = HttpResponse(body, status=error.status)
    for name, value in headers:
        response[name.decode()] = value.decode()
    return response
