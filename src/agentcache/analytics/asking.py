"""What a page's address asks for: period, filters, comparison. All state of the pages is in their addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from agentcache.analytics.labels import labels_of
from agentcache.analytics.periods import Period, Preset, period_of, preset_period
from agentcache.analytics.queries import NO_FILTERS, NONE, Filters
from agentcache.kit.errors import BadRequest
from agentcache.teams.models import Team

TITLES: Mapping[str, str] = {
    "api_key": "API key", "member": "Member", "model": "Model", "namespace": "Namespace", "agent": "Agent",
    "outcome": "Outcome", "status": "Status", "freshness": "Freshness when served", "reason": "Why",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is on, and the address without it."""

    title: str
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Asking:
    """A question about usage, as a page's address has it."""

    period: Period
    filters: Filters
    compares: bool
    #: What was wrong with the address; the page then shows its default.
    problem: str = ""
    custom_start: str = ""
    custom_end: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], default: Preset = Preset.MONTH, now: datetime | None = None) -> Asking:
        """Read an address; what cannot be read is said and replaced by the default."""
        now = now or datetime.now(UTC)
        start, end = query.get("start", ""), query.get("end", "")
        preset = query.get("period", "")
        if query.get("dates") and (start or end):
            preset = "custom"
        if preset != "custom" and preset:
            start = end = ""
        try:
            period = period_of(
                preset="" if preset == "custom" else preset, start=start, end=end, zone=query.get("zone", ""), now=now,
                default=default,
            )  # fmt: skip
            return cls(period, Filters.of(query), query.get("compare") == "1", "", start, end)
        except BadRequest as error:
            return cls(preset_period(default, "UTC", now), NO_FILTERS, compares=False, problem=error.message)

    @property
    def code(self) -> str:
        """The period as the address has it."""
        return self.period.preset.code if self.period.preset is not None else "custom"

    @property
    def presets(self) -> list[tuple[str, str, bool]]:
        """The periods to choose from: code, label, whether it is the current one."""
        found = [(preset.code, preset.label, preset is self.period.preset) for preset in Preset]
        return found if self.period.preset is not None else [*found, ("custom", "Custom", True)]

    @property
    def before(self) -> Period | None:
        """The period to compare with, when that is wanted."""
        return self.period.previous() if self.compares else None

    @property
    def members(self) -> dict[str, str]:
        """The address's query as pairs."""
        found = {"period": self.code}
        if self.code == "custom":
            found |= {"start": self.custom_start, "end": self.custom_end}
        if self.period.zone != "UTC":
            found["zone"] = self.period.zone
        if self.compares:
            found["compare"] = "1"
        return found | self.filters.query

    def url(self, path: str = "", **changes: str) -> str:
        """Return the address of the same question with some members changed; "" takes one out."""
        members = {name: value for name, value in (self.members | changes).items() if value}
        return f"{path}?{urlencode(members)}"

    def filtered(self, by: str, value: str) -> str:
        """Return the address that looks at one value of a dimension only."""
        return self.url(**{by: value or NONE})

    def chips(self, team: Team) -> list[Chip]:
        """Return the filters that are on."""
        return [
            Chip(TITLES[name], labels_of(team, name, [shown])[shown], self.url(**{name: ""}))
            for name, value in self.filters.query.items()
            for shown in ["" if value == NONE else value]
        ]
