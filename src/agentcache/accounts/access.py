"""Who may see a page or call the API: somebody signed in, and for what cannot be undone, somebody who signed in just now."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from agentcache.accounts.errors import ReauthRequired
from agentcache.accounts.models import User
from agentcache.audit.services import IMPERSONATOR_SESSION_KEY

#: How old a sign-in may be for what cannot be undone.
FRESH_SECONDS = 15 * 60
#: When the user last proved who they are, in Unix seconds; kept in the session.
AUTHENTICATED_AT = "authenticated_at"
#: In `request.META`, says to the middleware that the answer shall empty the browser's stores.
SIGNED_OUT = "agentcache.signed_out"
#: In `request.META`, the origins that forms of the page lead on to, which the content security policy then allows.
FORMS_LEAD_TO = "agentcache.forms_lead_to"

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def user_of(request: HttpRequest) -> User:
    """Return who is signed in; only for requests that have passed one of the guards below."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("nobody is signed in, and no guard stands before this")
    return user


def is_fresh(request: HttpRequest) -> bool:
    """Say whether the user proved who they are within the last 15 minutes."""
    # Who views the product in another's place has proved to be somebody else.
    if IMPERSONATOR_SESSION_KEY in request.session:
        return False
    proved_at = request.session.get(AUTHENTICATED_AT)
    if not isinstance(proved_at, int | float):
        return False
    # A clock that was set back must not make an old proof new.
    return -5 <= time.time() - proved_at <= FRESH_SECONDS


def require_fresh(request: HttpRequest) -> None:
    """Raise `ReauthRequired` unless the session is fresh. For API operations."""
    if not is_fresh(request):
        raise ReauthRequired


def signed_in(view: View[P]) -> View[P]:
    """Have a page ask strangers to sign in, and bring them back afterwards."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _ask(request, "accounts:login")
        return view(request, *args, **kwargs)

    # Read by the test that walks all routes; a guard below that asks for more has said so already.
    guarded.access = getattr(view, "access", "signed_in")  # type: ignore[attr-defined]
    return guarded


def fresh_session(view: View[P]) -> View[P]:
    """Have a page ask for the password, a code or a passkey once more when the sign-in is older than 15 minutes.

    The address is asked for again afterwards by GET: a form that was sent is filled in anew, never repeated unseen.
    """

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _ask(request, "accounts:login")
        if not is_fresh(request):
            return _ask(request, "accounts:reauthenticate")
        return view(request, *args, **kwargs)

    guarded.access = getattr(view, "access", "signed_in")  # type: ignore[attr-defined]
    guarded.needs_fresh_session = True  # type: ignore[attr-defined]  # read by the test that walks all routes
    return guarded


def is_own_path(address: str) -> bool:
    """Say whether an address is a path of this server, so that nobody is led astray after signing in."""
    return url_has_allowed_host_and_scheme(address, allowed_hosts=None) and address.startswith("/")


def _ask(request: HttpRequest, url_name: str) -> HttpResponseBase:
    if request.method in ("GET", "HEAD") and request.headers.get("HX-Request") != "true":
        wanted = request.get_full_path()
    else:
        # A form's own address may know no GET; htmx says which page it is on.
        page = urlsplit(request.headers.get("HX-Current-URL", ""))
        wanted = page.path + (f"?{page.query}" if page.query else "")
    target = reverse(url_name) + (f"?{urlencode({'next': wanted})}" if is_own_path(wanted) else "")
    if request.headers.get("HX-Request") == "true":
        # htmx would put the sign-in page into the place of a fragment.
        response = HttpResponseRedirect(target, status=200)
        response["HX-Redirect"] = target
        del response["Location"]
        return response
    return HttpResponseRedirect(target)
