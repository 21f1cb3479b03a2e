"""Shows the product to an operator as a user sees it, and keeps what is the user's alone out of reach meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from agentcache.accounts.models import User
from agentcache.operators import services
from agentcache.operators.refusal import refuse
from agentcache.operators.viewing import Viewing, find_viewing

GetResponse = Callable[[HttpRequest], HttpResponseBase]

#: Views of `accounts` that an operator may open in a user's place: they show, and change nothing by a GET.
_SHOWN = frozenset({"profile", "appearance", "sessions", "security", "settings"})
_ACCOUNT_API = "/api/account"
_END = "impersonation-end"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class ViewingAs:
    """Puts the viewed user into `request.user` and the operator into `request.impersonator`."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer as that user, or end what has lasted too long."""
        viewing = find_viewing(request)
        if viewing is None:
            return self._get_response(request)
        if viewing.over:
            services.end_viewing(request, viewing, viewing.over)
            if request.path.startswith("/api/"):
                return self._get_response(request)
            return HttpResponseRedirect(reverse("admin:index") if viewing.operator is not None else reverse("start"))
        assert viewing.user is not None
        request.user = viewing.user
        request.impersonator = viewing.operator  # type: ignore[attr-defined]  # read by the context processor
        request.viewing = viewing  # type: ignore[attr-defined]
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: Sequence[Any], _kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        """Refuse what is the user's alone."""
        if viewing_of(request) is None or _is_open(request, view):
            return None
        return refuse(request)


def viewing_of(request: HttpRequest) -> Viewing | None:
    """Return who views as whom, for a request that passed the middleware."""
    return getattr(request, "viewing", None)


def impersonator(request: HttpRequest) -> dict[str, User | None]:
    """Tell every page's frame who looks on (context processor)."""
    return {"impersonator": getattr(request, "impersonator", None)}


def _is_open(request: HttpRequest, view: Callable[..., Any]) -> bool:
    match = request.resolver_match
    if match is not None and match.view_name == _END:
        return True
    is_read = request.method in _SAFE_METHODS
    if match is not None and match.app_name == "accounts":
        return match.url_name == "logout" or (is_read and match.url_name in _SHOWN)
    if match is not None and match.app_name == "admin":
        return False
    if request.path.startswith(_ACCOUNT_API):
        return is_read and "/export" not in request.path
    return not getattr(view, "needs_fresh_session", False)
