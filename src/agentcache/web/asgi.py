"""The control plane as an ASGI application, and as the ports that the gateway needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agentcache.settings import Settings
from agentcache.web.project import configure
from agentcache.web.turns import Turns, hashes_password

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


#: Requests at the doors where passwords are hashed that run beside those with a slot.
_BESIDE_HASHES = 3
#: Answers what /readyz says: its status and its report.
Ready = Callable[[], Awaitable[tuple[int, dict[str, object]]]]


def get_control_plane_app(settings: Settings, ready: Ready | None = None) -> ASGIApp:
    """Return the application of pages and static files; answers `http` scopes only, whatever their path.

    `ready` tells the page about the server's status how the gateway beside it is.
    """
    configure(settings)
    from django.core.handlers.asgi import ASGIHandler

    from agentcache.accounts.hashing import QUEUE, SLOTS, TooManyHashes
    from agentcache.site.server_status import READY
    from agentcache.web import urls  # noqa: F401 - all pages are loaded before the first is asked for
    from agentcache.web.busy_page import busy_pages
    from agentcache.web.security_policy import transport_security
    from agentcache.web.static_files import STATIC_URL, StaticFiles

    django: ASGIApp = ASGIHandler()  # type: ignore[assignment]  # asgiref types the same calls by TypedDict
    busy = busy_pages(settings)
    pages = Turns(django, pages=busy)
    # Those that run beyond the slots look up and write down, so that no slot waits for a database.
    doors = Turns(django, SLOTS + _BESIDE_HASHES, QUEUE, TooManyHashes, busy)
    static_files = StaticFiles(transport_security(settings))

    async def control_plane(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(STATIC_URL):
            await static_files(scope, send)
        else:
            turns = doors if hashes_password(scope) else pages
            await turns({**scope, READY: ready}, receive, send)

    return control_plane
