"""A team's picture over HTTP, in and out."""

from __future__ import annotations

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse

from agentcache.teams import queries
from agentcache.teams.errors import InvalidLogo, LogoNotFound
from agentcache.teams.models import Team


def of(team: Team) -> HttpResponse:
    """Answer with the picture, as a picture and nothing else. Raises `LogoNotFound`."""
    logo = queries.find_logo(team)
    if logo is None:
        raise LogoNotFound
    response = HttpResponse(bytes(logo.content), content_type=f"image/{logo.kind}")
    response["Content-Disposition"] = f'inline; filename="logo.{logo.kind}"'
    return response


def read_body(request: HttpRequest) -> bytes:
    """Return the picture in a request's body."""
    try:
        return request.body
    except RequestDataTooBig:
        raise InvalidLogo(param="logo") from None
