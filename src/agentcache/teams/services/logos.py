"""Writes to the pictures of teams."""

from __future__ import annotations

import hashlib

from agentcache.audit.services import Actor
from agentcache.teams.errors import InvalidLogo
from agentcache.teams.models import Team, TeamLogo
from agentcache.teams.services.locking import locked
from agentcache.teams.services.notes import note
from agentcache.teams.tenancy import rows_of

LOGO_BYTES_MAX = 256 * 1024


def set_logo(team: Team, content: bytes, *, actor: Actor) -> TeamLogo:
    """Keep a picture as the team's logo. What kind it is says its own first bytes, never its name."""
    if len(content) > LOGO_BYTES_MAX:
        raise InvalidLogo(param="logo")
    kind = kind_of(content)
    with locked(team) as row:
        digest = hashlib.sha256(content).hexdigest()[:16]
        logo, _ = rows_of(row, TeamLogo).update_or_create(
            team=row, defaults={"kind": kind, "content": content, "digest": digest}
        )
        note("team.logo_changed", team, actor, after={"kind": kind, "bytes": len(content)})
    return logo


def remove_logo(team: Team, *, actor: Actor) -> None:
    """Forget the team's logo, if it has one."""
    with locked(team):
        if rows_of(team, TeamLogo).delete()[0]:
            note("team.logo_changed", team, actor)


def kind_of(content: bytes) -> str:
    """Return `png`, `jpeg` or `webp`; raise `InvalidLogo` for anything else, SVG included, which can hold scripts."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR":
        return "png"
    if content.startswith(b"\xff\xd8\xff") and content.rstrip(b"\x00").endswith(b"\xff\xd9"):
        return "jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP" and content[12:15] == b"VP8":
        return "webp"
    raise InvalidLogo(param="logo")
