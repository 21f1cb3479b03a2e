"""How pages look and listen: kept with the account, or in the browser of whoever is not signed in."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings as django_conf
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_POST

from agentcache.accounts.access import is_own_path, user_of
from agentcache.accounts.services import change_profile
from agentcache.design.context import THEME_COOKIE, THEMES
from agentcache.operators.middleware import viewing_of
from agentcache.web.views import bad_request

_COOKIE_SECONDS = 365 * 86400
_SWITCH = {"on": True, "off": False}


@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Keep `theme` (system, light, dark) and `single_keys` (on, off), each if given, and go back to the page."""
    theme, single_keys = request.POST.get("theme"), request.POST.get("single_keys")
    if theme not in (None, *THEMES) or single_keys not in (None, *_SWITCH):
        return bad_request(request, ValueError("unknown preference"))
    response = _back(request)
    # An operator who looks on leaves the user's account as it is.
    if viewing_of(request) is not None:
        return response
    if request.user.is_authenticated:
        has_shortcuts = None if single_keys is None else _SWITCH[single_keys]
        change_profile(user_of(request), theme=theme, has_shortcuts=has_shortcuts)
    elif theme is not None:
        response.set_cookie(
            THEME_COOKIE,
            theme,
            max_age=_COOKIE_SECONDS,
            secure=django_conf.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    return response


def _back(request: HttpRequest) -> HttpResponse:
    if request.headers.get("X-Requested-With") == "fetch":
        # The page has changed itself already; following a redirect would build another for nobody.
        return HttpResponse(status=204)
    wanted = request.POST.get("next", "") or _referring_path(request)
    return HttpResponseRedirect(wanted if is_own_path(wanted) else "/")


def _referring_path(request: HttpRequest) -> str:
    try:
        parts = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return ""
    if parts.netloc != request.get_host():
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")
