"""What the pages of quotas ask for. The services judge it; these only say how it is typed in."""

from __future__ import annotations

from typing import Any

from django import forms

from agentcache.kit.money import parse_usd, usd
from agentcache.quotas.models import Limit, SubjectKind
from agentcache.quotas.services import AGENT_CHARS_MAX, NewLimit
from agentcache.teams.models import ApiKey, Membership, Team
from agentcache.teams.tenancy import rows_of

_TEAM = "team:"
_AGENT = "agent:"


class LimitForm(forms.Form):
    """A limit of the team, a member, a key or an agent."""

    whom = forms.ChoiceField(label="For")
    agent = forms.CharField(
        required=False,
        max_length=AGENT_CHARS_MAX,
        label="Agent's name",
        help_text="As it stands in X-AgentCache-Agent; only for an agent.",
    )
    requests_per_month = forms.IntegerField(
        required=False, min_value=1, label="Requests a month", help_text="Empty for no limit."
    )
    requests_per_minute = forms.IntegerField(required=False, min_value=1, label="Requests a minute")
    budget = forms.CharField(
        required=False,
        max_length=32,
        label="Budget a month, USD",
        help_text="What providers may be paid; hits cost nothing.",
    )
    is_hard = forms.BooleanField(
        required=False, initial=True, label="Refuse calls beyond the month's numbers; otherwise only tell"
    )
    allows_unknown_price = forms.BooleanField(
        required=False,
        label="Under a hard budget, let calls pass whose price is not known",
        help_text="They count as $0.00, so the budget does not hold them. Otherwise they are refused with price_unknown.",
    )

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        members = rows_of(team, Membership).select_related("user").order_by("user__email")
        keys = rows_of(team, ApiKey).filter(revoked_at__isnull=True).order_by("name")
        choices = self.fields["whom"]
        assert isinstance(choices, forms.ChoiceField)
        choices.choices = [
            (_TEAM, "The whole team"),
            ("Members", [(f"member:{row.user_id}", str(row.user)) for row in members]),
            ("API keys", [(f"key:{row.pk}", f"{row.name} ({row.display})") for row in keys]),
            (_AGENT, "An agent, by name"),
        ]

    def clean(self) -> dict[str, Any]:
        """Read the amount, and see that an agent has a name."""
        given: dict[str, Any] = super().clean() or {}
        if given.get("whom") == _AGENT and not given.get("agent"):
            self.add_error("agent", "Name the agent.")
        if given.get("budget"):
            try:
                given["budget_nanos"] = parse_usd(given["budget"])
            except ValueError:
                self.add_error("budget", 'Write an amount such as "25" or "12.50".')
        return given

    @property
    def subject(self) -> tuple[SubjectKind, str]:
        """Whom the limit is for."""
        kind, _, subject = self.cleaned_data["whom"].partition(":")
        return SubjectKind(kind), self.cleaned_data["agent"] if kind == SubjectKind.AGENT else subject

    @property
    def new_limit(self) -> NewLimit:
        """What is typed in."""
        given = self.cleaned_data
        return NewLimit(
            given["requests_per_month"],
            given["requests_per_minute"],
            given.get("budget_nanos"),
            given["is_hard"],
            given["allows_unknown_price"],
        )

    @staticmethod
    def filled_in(limit: Limit) -> dict[str, Any]:
        """Return what is typed in when a limit is changed."""
        budget = limit.budget_usd_nanos_per_month
        return {
            "whom": _AGENT if limit.kind == SubjectKind.AGENT else f"{limit.kind}:{limit.subject}",
            "agent": limit.subject if limit.kind == SubjectKind.AGENT else "",
            "requests_per_month": limit.requests_per_month,
            "requests_per_minute": limit.requests_per_minute,
            "budget": "" if budget is None else usd(budget),
            "is_hard": limit.is_hard,
            "allows_unknown_price": limit.allows_unknown_price,
        }


class BehaviourForm(forms.Form):
    """What happens when the month's requests are used up."""

    is_hard = forms.BooleanField(
        required=False, label="Stop at the plan's quota", help_text="Otherwise mails tell, and nothing stops."
    )
    serves_hits_over_quota = forms.BooleanField(
        required=False,
        label="Still serve what is in the cache beyond a hard quota",
        help_text="Hits cost no provider anything.",
    )
