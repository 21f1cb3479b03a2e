"""What every request to the pages and the account API goes through, in the order of the list in `web.project`."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from django.conf import settings as django_conf
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from agentcache.accounts import devices
from agentcache.accounts.access import FORMS_LEAD_TO, SIGNED_OUT
from agentcache.accounts.errors import ForeignOrigin
from agentcache.accounts.session_store import SessionStore
from agentcache.gateway.native.api import MethodNotServed
from agentcache.kit.ids import new_id
from agentcache.settings import Settings
from agentcache.site.server_status import records_answer
from agentcache.web.security_policy import ADMIN, NO_PAGE, PAGE, PERMISSIONS_POLICY, Policy, csp_header

#: Pages that say how the server is have to be there while sessions cannot be read: everybody is a stranger then.
_WITHOUT_RECORDS = frozenset({"/", "/status"})
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
        policy = getattr(response, "security_policy", None) or _usual_policy(request, response)
        response["Content-Security-Policy"] = csp_header(policy, request.META.get(FORMS_LEAD_TO, ()))
        response["Permissions-Policy"] = PERMISSIONS_POLICY
        response["Cross-Origin-Opener-Policy"] = "same-origin"
        response["Cross-Origin-Resource-Policy"] = "same-origin"
        response["X-Content-Type-Options"] = "nosniff"
        response["X-Frame-Options"] = "DENY"
        response["Referrer-Policy"] = "no-referrer"
        # Pages show figures and may show secrets once; nothing of them is kept on disk or by a proxy.
        response["Cache-Control"] = "no-store"
        return response


def _usual_policy(request: HttpRequest, response: HttpResponseBase) -> Policy:
    if not response.headers.get("Content-Type", "text/html").startswith("text/html"):
        return NO_PAGE
    return ADMIN if request.resolver_match is not None and request.resolver_match.app_name == "admin" else PAGE


class AllowedHost:
    """Refuses hosts that are not ours before any page is made, so that none is built around a forged one."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse | HttpResponseBase:
        """Answer, or raise `DisallowedHost`, which becomes a 400."""
        request.get_host()
        return self._get_response(request)


class WrongMethod:
    """Gives a 405 a page, or a problem below /api/: Django's own has no body, which browsers show as a broken server."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer."""
        response = self._get_response(request)
        if response.status_code != MethodNotServed.status or request.method == "HEAD":
            return response
        from agentcache.web.views import refuse

        title, advice = "There is no page at this address", "A form of another page is sent here. Go back and send it."
        page = refuse(request, MethodNotServed(), title, advice)
        page["Allow"] = response["Allow"]
        return page


class CallerAddress:
    """Finds the caller's address: `request.META["agentcache.client_ip"]`.

    X-Forwarded-For is read from its right end, only as many entries as there are proxies of ours: what stands further
    left was written by whoever called.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with the address known."""
        address = request.META.get("REMOTE_ADDR") or ""
        proxies = _settings().trusted_proxies
        if proxies:
            forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
            address = forwarded[-proxies] if len(forwarded) >= proxies else address
        try:
            parsed = ip_address(address)
        except ValueError:
            address = ""
        else:
            address = str(getattr(parsed, "ipv4_mapped", None) or parsed)
        request.META["agentcache.client_ip"] = address
        return self._get_response(request)


class Sessions(SessionMiddleware):
    """Opens the session named by X-Session-Token, for programs, or else by the cookie.

    Whoever sends the token gets no cookie; should the session get a new id, the answer names it in X-Session-Token.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Open the session; nothing is read before somebody asks."""
        token = request.headers.get("X-Session-Token")
        request.META["agentcache.by_token"] = token is not None
        session_id = token or request.COOKIES.get(django_conf.SESSION_COOKIE_NAME)
        if session_id and request.path in _WITHOUT_RECORDS and not records_answer():
            session_id = None
        request.session = SessionStore(session_id)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Keep the session and tell its id."""
        devices.set_cookie(request, response)
        if request.META.get(SIGNED_OUT):
            response["Clear-Site-Data"] = '"cache", "storage"'
        session: SessionStore | None = getattr(request, "session", None)
        if session is None:
            return response
        if session.needs_new_id and session.session_key is not None:
            session.cycle_key()
        if not request.META.get("agentcache.by_token"):
            return super().process_response(request, response)
        given = request.headers.get("X-Session-Token")
        if session.modified and not session.is_empty() and response.status_code < 500:
            session.save()
        if session.session_key is not None and session.session_key != given:
            response["X-Session-Token"] = session.session_key
        return response


class OwnOrigin:
    """Refuses unsafe requests that a page of another site made with the visitor's cookie. No tokens in forms.

    Sec-Fetch-Site decides where the browser sends it, Origin where it does not; neither is refused once there is a
    cookie to abuse. X-Session-Token is no such thing: no page of another site can set it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, or refuse."""
        # Django's own check, which the operator console's views bring along, looks for tokens in forms.
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]  # noqa: SLF001 - the switch that Django has
        if request.method in ("GET", "HEAD", "OPTIONS") or _is_own(request):
            return self._get_response(request)
        from agentcache.web.views import refuse

        return refuse(request, ForeignOrigin(), "This came from another site", "Open the page here and try again.")


def _is_own(request: HttpRequest) -> bool:
    if request.META.get("agentcache.by_token"):
        return True
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin in (f"{request.scheme}://{request.get_host()}", _settings().public_url)
    return django_conf.SESSION_COOKIE_NAME not in request.COOKIES


def _settings() -> Settings:
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings
