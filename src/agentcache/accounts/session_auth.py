"""What guards API operations: a session. Apart from `access`, for the job worker serves no API and does without Ninja."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.security.base import AuthBase

from agentcache.accounts.access import require_fresh


class SessionAuth(AuthBase):
    """Guards an API operation: a session, by cookie from a browser or by X-Session-Token from a program."""

    openapi_type = "apiKey"
    openapi_in = "header"
    openapi_name = "X-Session-Token"

    def __call__(self, request: HttpRequest) -> Any | None:
        """Return the user, or None, which becomes a 401."""
        return request.user if request.user.is_authenticated else None


class FreshSessionAuth(SessionAuth):
    """Guards an API operation that cannot be undone: a session of somebody who signed in within 15 minutes."""

    needs_fresh_session = True

    def __call__(self, request: HttpRequest) -> Any | None:
        """Return the user or None; raise `ReauthRequired` when the sign-in is too old."""
        user = super().__call__(request)
        if user is not None:
            require_fresh(request)
        return user
