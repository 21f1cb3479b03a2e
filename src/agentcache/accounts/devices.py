"""Browsers that somebody has signed in with.

A signed cookie, which lets nobody in; it keeps strangers from locking the owner out and from signing in unnoticed.
"""

from __future__ import annotations

import secrets

from django.conf import settings as django_conf
from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac

_SALT = "agentcache.device"
_KEPT_SECONDS = 365 * 86400
_ACCOUNTS_MAX = 5
_NEW = "agentcache.device_cookie"


def device_of(request: HttpRequest, email: str) -> str:
    """Return the id of this browser if somebody has signed in to the account with it before, else an empty text."""
    return _accounts(request).get(_mark(email), "")


def remember(request: HttpRequest, email: str) -> None:
    """Have the answer tell this browser that it is known to the account."""
    accounts = _accounts(request)
    mark = _mark(email)
    device = accounts.pop(mark, "") or secrets.token_urlsafe(16)
    kept = dict(list(accounts.items())[-(_ACCOUNTS_MAX - 1) :])
    request.META[_NEW] = signing.dumps({**kept, mark: device}, salt=_SALT)


def set_cookie(request: HttpRequest, response: HttpResponseBase) -> None:
    """Put what `remember` made into an answer."""
    cookie = request.META.get(_NEW)
    if cookie:
        response.set_cookie(
            _cookie_name(),
            cookie,
            max_age=_KEPT_SECONDS,
            secure=django_conf.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )


def _accounts(request: HttpRequest) -> dict[str, str]:
    try:
        accounts = signing.loads(request.COOKIES.get(_cookie_name(), ""), salt=_SALT, max_age=_KEPT_SECONDS)
    except signing.BadSignature:
        return {}
    return {str(mark): str(device) for mark, device in accounts.items()}


def _cookie_name() -> str:
    return ("__Host-" if django_conf.SESSION_COOKIE_SECURE else "") + "agentcache_device"


def _mark(email: str) -> str:
    return salted_hmac(_SALT, email, algorithm="sha256").hexdigest()[:32]
