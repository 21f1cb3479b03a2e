"""What every page answer gets: a request id, security headers, and a host we answer for."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from agentcache.kit.ids import new_id
from agentcache.web.security_policy import ADMIN, PAGE, PERMISSIONS_POLICY, csp_header

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestId:
    """Gives each request an id of ours, known to views as `request.META["agentcache.request_id"]`."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the header that the gateway's answers carry, too."""
        request_id = new_id("req_")
        request.META["agentcache.request_id"] = request_id
        response = self._get_response(request)
        response["X-AgentCache-Request-Id"] = request_id
        return response


class SecurityHeaders:
    """Sets the browser's guards; a view loosens its page's policy by `security_policy.use`, never by a header of its own."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with every security header."""
        response = self._get_response(request)
        is_admin = request.resolver_match is not None and request.resolver_match.app_name == "admin"
        policy = getattr(response, "security_policy", ADMIN if is_admin else PAGE)
        response["Content-Security-Policy"] = csp_header(policy)
        response["Permissions-Policy"] = PERMISSIONS_POLICY
        response["Cross-Origin-Opener-Policy"] = "same-origin"
        response["Cross-Origin-Resource-Policy"] = "same-origin"
        response["X-Content-Type-Options"] = "nosniff"
        response["X-Frame-Options"] = "DENY"
        response["Referrer-Policy"] = "no-referrer"
        # Pages show figures and may show secrets once; nothing of them is kept on disk or by a proxy.
        response["Cache-Control"] = "no-store"
        return response


class AllowedHost:
    """Refuses hosts that are not ours before any page is made, so that none is built around a forged one."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse | HttpResponseBase:
        """Answer, or raise `DisallowedHost`, which becomes a 400."""
        request.get_host()
        return self._get_response(request)
