"""Policies to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from agentcache.policies.drafts import PolicyDraft

_HOUR, _DAY = 3600, 86400


@dataclass(frozen=True, slots=True)
class Preset:
    """How long answers of a kind hold, as we would begin."""

    code: str
    name: str
    #: What it is for and what it does, in a sentence.
    text: str
    lifetime_seconds: int
    #: How old an answer may be that is still served at once while it is asked for anew.
    stale_until_seconds: int
    #: Whether answers are asked for anew before their lifetime ends.
    refreshes_ahead: bool = False

    @property
    def draft(self) -> PolicyDraft:
        """The policy, without what it matches."""
        window = max(0, self.stale_until_seconds - self.lifetime_seconds)
        return PolicyDraft(
            name=self.name,
            preset=self.code,
            lifetime_seconds=self.lifetime_seconds,
            stale_while_revalidate_seconds=window,
            stale_if_error_seconds=window,
            refreshes_ahead=self.refreshes_ahead,
        )


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({
    preset.code: preset
    for preset in (
        Preset(
            "news", "News", "For what changes by the hour: good for an hour, and asked for anew before that is over; up to 6 "
            "hours old it is still served at once.", _HOUR, 6 * _HOUR, refreshes_ahead=True,
        ),
        Preset(
            "pricing", "Pricing", "For prices and stock: good for a day; up to 7 days old it is still served at once, and "
            "asked for anew behind the caller.", _DAY, 7 * _DAY,
        ),
        Preset(
            "docs", "Docs", "For documentation: good for 7 days; up to 30 days old it is still served at once, and asked for "
            "anew behind the caller.", 7 * _DAY, 30 * _DAY,
        ),
        Preset("general", "General", "For the rest: good for 30 days, then asked for anew.", 30 * _DAY, 30 * _DAY),
    )
})  # fmt: skip
