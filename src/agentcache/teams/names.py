"""Names that people give, and the addresses made from them."""

from __future__ import annotations

from django.utils.text import slugify

from agentcache.kit.ids import new_id
from agentcache.teams.errors import InvalidName
from agentcache.teams.models import Team

NAME_CHARS_MAX = 64
_SLUG_CHARS_MAX = 48


def checked_name(name: str) -> str:
    """Return a name without outer spaces; raise `InvalidName` unless it can be shown on one line."""
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise InvalidName(param="name")
    return name


def free_slug(wanted: str) -> str:
    """Return a slug that no team has."""
    slug = slugify(wanted)[:_SLUG_CHARS_MAX].strip("-") or "team"
    if not Team.objects.filter(slug=slug).exists():
        return slug
    # Random rather than counted: two teams that are made at the same moment must not meet.
    return f"{slug[: _SLUG_CHARS_MAX - 9]}-{new_id()[-8:]}"
