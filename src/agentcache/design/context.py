"""What every page knows: its theme, the side bar, and who is looking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest

from agentcache.design import navigation

THEMES = ("system", "light", "dark")
#: Of somebody who is not signed in.
THEME_COOKIE = "agentcache_theme"


def shell(request: HttpRequest) -> dict[str, Any]:
    """Return the members of every page's context. Costs no query."""
    context = getattr(request, "team_context", None)
    permissions: Iterable[str] = context.permissions if context is not None else ()
    user = getattr(request, "user", None)
    return {
        "theme": theme_of(request),
        "sections": navigation.links(request.path, {str(permission) for permission in permissions}),
        "open_team": context.team if context is not None else None,
        # Single keys can be turned off (WCAG 2.1.4).
        "has_shortcuts": getattr(user, "has_shortcuts", True),
    }


def theme_of(request: HttpRequest) -> str:
    """Return `system`, `light` or `dark`: the user's own choice, else this browser's."""
    chosen = getattr(getattr(request, "user", None), "theme", "") or request.COOKIES.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else "system"
