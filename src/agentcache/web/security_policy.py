"""Content security policies, one per kind of page, as tables of directive -> sources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeVar

from django.contrib.staticfiles import finders
from django.http.response import HttpResponseBase

from agentcache.settings import Settings

Policy = Mapping[str, str]

_TRUSTED_TYPES = frozenset({"require-trusted-types-for", "trusted-types"})
#: What the front end's build says of the style that Observable Plot puts into its drawings.
_PLOT_STYLE = "design/built/plot-style.json"
#: Our own pages; `csp_header` adds the hash of Plot's style.
PAGE: Policy = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "object-src": "'none'",
    "require-trusted-types-for": "'script'",
    # The one of the pages' own scripts, under which htmx parses answers of this server.
    "trusted-types": "agentcache",
}
#: Swagger UI writes style attributes and feeds its own markup to the parser. Scripts stay those of this origin.
SWAGGER: Policy = {
    **{name: sources for name, sources in PAGE.items() if name not in _TRUSTED_TYPES},
    "style-src": "'self' 'unsafe-inline'",
}
#: The operator console, whose jQuery hands strings to the parser.
ADMIN: Policy = {name: sources for name, sources in PAGE.items() if name not in _TRUSTED_TYPES}
#: Answers that are not pages.
NO_PAGE: Policy = {"default-src": "'none'", "frame-ancestors": "'none'", "sandbox": ""}

#: How long browsers insist on TLS once they have seen it here: two years.
HSTS_SECONDS = 63072000
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer", "autoplay", "browsing-topics", "camera", "display-capture", "encrypted-media",
        "fullscreen", "gamepad", "geolocation", "gyroscope", "hid", "idle-detection", "local-fonts", "magnetometer",
        "microphone", "midi", "payment", "picture-in-picture", "screen-wake-lock", "serial", "usb",
        "xr-spatial-tracking",
    )
)  # fmt: skip

Response = TypeVar("Response", bound=HttpResponseBase)


def uses_tls(settings: Settings) -> bool:
    """Say whether people reach this server over TLS."""
    return (settings.public_url or "").startswith("https://")


def transport_security(settings: Settings) -> list[tuple[bytes, bytes]]:
    """Return the header that has browsers insist on TLS, where there is TLS; Django sets its own on pages."""
    value = f"max-age={HSTS_SECONDS}; includeSubDomains".encode()
    return [(b"strict-transport-security", value)] if uses_tls(settings) else []


def use(policy: Policy, response: Response) -> Response:
    """Have `response` sent with this policy instead of that of our own pages."""
    response.security_policy = policy  # type: ignore[attr-defined]  # read by the middleware only
    return response


def csp_header(policy: Policy, forms_lead_to: Sequence[str] = ()) -> str:
    """Return a policy as the value of its header. Browsers ask it about redirects after a form, too."""
    if policy is PAGE:
        form_action = " ".join([PAGE["form-action"], *forms_lead_to])
        policy = {**PAGE, "style-src": f"{PAGE['style-src']}{_plot_style()}", "form-action": form_action}
    return "; ".join(f"{name} {sources}".strip() for name, sources in policy.items())


@cache
def _plot_style() -> str:
    found = finders.find(_PLOT_STYLE)
    if not isinstance(found, str):
        return ""  # without the built scripts nothing is drawn
    with open(found, encoding="utf-8") as file:  # noqa: PTH123 - the finder gives a text
        return f" '{json.load(file)['hash']}'"
