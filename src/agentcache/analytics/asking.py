"""What a page's address asks for: period, filters, comparison. All state of the pages is in their addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from agentcache.analytics.labels import labels_of
from agentcache.analytics.periods import Period, Preset, period_of, preset_period
from agentcache.analytics.queries import NO_FILTERS, NONE, Filters
from agentcache.analytics.retention import Reach, comparable, reach_of
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
class Choice:
    """A period to choose from."""

    code: str
    label: str
    is_current: bool
    #: Why it cannot be had, or "".
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Asking:
    """A question about usage, as a page's address has it."""

    reach: Reach
    period: Period
    filters: Filters
    compares: bool
    #: What was wrong with the address; the page then shows its default.
    problem: str = ""
    custom_start: str = ""
    custom_end: str = ""

    @classmethod
    def of(
        cls, team: Team, query: Mapping[str, str], wanted: Preset = Preset.MONTH, now: datetime | None = None
    ) -> Asking:
        """Read an address; what cannot be read or is not shown any more is said, and replaced by the default."""
        now = now or datetime.now(UTC)
        reach = reach_of(team, now)
        default = reach.longest(wanted)
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
            compares = query.get("compare") == "1"
            return cls(reach, reach.check(period), Filters.of(query), compares, "", start, end)
        except BadRequest as error:
            shown = preset_period(default, "UTC", now)
            return cls(reach, shown, NO_FILTERS, compares=False, problem=error.message)

    @property
    def code(self) -> str:
        """The period as the address has it."""
        return self.period.preset.code if self.period.preset is not None else "custom"

    @property
    def presets(self) -> list[Choice]:
        """The periods to choose from."""
        found = [
            Choice(
                preset.code, preset.label, preset is self.period.preset, self.reach.refuses(preset, self.period.zone)
            )
            for preset in Preset
        ]
        return found if self.period.preset is not None else [*found, Choice("custom", "Custom", is_current=True)]

    @property
    def first_day(self) -> str:
        """The first day that may be asked for, as date fields have it; "" where there is no such bound."""
        first = self.reach.first_day(self.period.zone)
        return "" if first is None else first.astimezone(ZoneInfo(self.period.zone)).date().isoformat()

    @property
    def former(self) -> Period | None:
        """The period before, or None where its sums are not kept any more."""
        return comparable(self.period, self.reach.now)

    @property
    def before(self) -> Period | None:
        """The period to compare with, when that is wanted and can be had."""
        return self.former if self.compares else None

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
