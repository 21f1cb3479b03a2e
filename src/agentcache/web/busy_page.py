"""The page for a browser that is refused before Django sees its request."""

from __future__ import annotations

from django.http import HttpRequest

from agentcache.gateway.asgi_types import HeaderList
from agentcache.kit.errors import Unavailable
from agentcache.settings import Settings
from agentcache.web.middleware import SecurityHeaders
from agentcache.web.security_policy import transport_security
from agentcache.web.turns import BusyPages
from agentcache.web.views import refuse


def busy_pages(settings: Settings) -> BusyPages:
    """Return what gives the page for an error. Each is made once: a flood is to cost next to nothing."""
    made: dict[type[Unavailable], tuple[HeaderList, bytes]] = {}

    def page(error: type[Unavailable]) -> tuple[HeaderList, bytes]:
        if error not in made:
            made[error] = _make(settings, error)
        return made[error]

    return page


def _make(settings: Settings, error: type[Unavailable]) -> tuple[HeaderList, bytes]:
    request = HttpRequest()
    page = refuse(
        request, error(), "Busy at this moment", "Go back and send it again shortly; what you wrote is still there."
    )
    response = SecurityHeaders(lambda _request: page)(request)
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.items()]
    return [*headers, (b"retry-after", b"1"), *transport_security(settings)], page.content
