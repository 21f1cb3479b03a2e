"""What the pages of API keys ask for. The services judge it; these only say how it is typed in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from agentcache.gateway.ports import Scope
from agentcache.kit.errors import AgentCacheError
from agentcache.quotas.services import NewLimit
from agentcache.teams.models import ApiKey
from agentcache.teams.names import NAME_CHARS_MAX
from agentcache.teams.services import DEFAULT_SCOPES, KeyChanges, KeyManager

SCOPE_LABELS = {
    Scope.CACHE_READ: "cache:read – call providers through the cache and look entries up",
    Scope.CACHE_WRITE: "cache:write – store answers, delete entries, purge",
    Scope.STATS_READ: "stats:read – read usage, savings and requests",
    Scope.ADMIN: "admin – everything, keys and settings too; not for applications",
}
_EXPIRIES = [("", "Never"), ("7", "In 7 days"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year")]
_NANOS = 10**9


class _RightsForm(forms.Form):
    """What a key may do and where; common to making one and changing one."""

    name = forms.CharField(max_length=NAME_CHARS_MAX, help_text="What uses it: billing-bot, CI, Ann's laptop.")
    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, label="What it may do")
    owner = forms.ChoiceField(
        choices=[
            ("own", "Me: it ends when I leave the team, and never may more than I do"),
            ("team", "The team: it goes on whoever leaves"),
        ],
        widget=forms.RadioSelect,
        initial="own",
        label="Belongs to",
    )
    namespace = forms.CharField(
        max_length=128, required=False, help_text="Namespace of requests that name none. Empty for the team's default."
    )
    networks = forms.CharField(
        required=False,
        label="Allowed addresses",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="Addresses or networks such as 203.0.113.0/24, separated by spaces. Empty for anywhere.",
    )

    def __init__(self, manager: KeyManager, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scopes = self.fields["scopes"]
        assert isinstance(scopes, forms.MultipleChoiceField)
        scopes.choices = [(scope.value, label) for scope, label in SCOPE_LABELS.items() if scope in manager.grantable]

    @property
    def wanted_scopes(self) -> frozenset[Scope]:
        """The scopes that were ticked."""
        return frozenset(Scope(scope) for scope in self.cleaned_data["scopes"])

    @property
    def wanted_networks(self) -> list[str]:
        """The networks that were typed in."""
        return str(self.cleaned_data["networks"]).replace(",", " ").split()

    @property
    def is_shared(self) -> bool:
        """Whether the key is to be the team's."""
        return bool(self.cleaned_data["owner"] == "team")

    def show(self, error: AgentCacheError) -> None:
        """Show what a service refused beside the field at fault, or above the form."""
        names = {"allowed_networks": "networks", "expires_at": "expires"}
        param = names.get(error.param or "", error.param)
        self.add_error(param if param in self.fields else None, error.message)


class LimitFields(forms.Form):
    """What a key may use; empty is no limit of its own."""

    requests_per_month = forms.IntegerField(required=False, min_value=1, label="Requests a month")
    requests_per_minute = forms.IntegerField(required=False, min_value=1, label="Requests a minute")
    budget_usd = forms.DecimalField(
        required=False, min_value=0, max_digits=9, decimal_places=2, label="Provider cost a month, USD"
    )
    is_hard = forms.BooleanField(
        required=False, initial=True, label="Refuse calls beyond it", help_text="Otherwise people are only told."
    )
    allows_unknown_price = forms.BooleanField(
        required=False,
        label="Let calls pass whose price is not known",
        help_text="They count as $0.00. Otherwise, where a budget refuses, they are refused too.",
    )

    @property
    def limit(self) -> NewLimit:
        """The limit as the services take it."""
        given = self.cleaned_data
        budget = given["budget_usd"]
        return NewLimit(
            requests_per_month=given["requests_per_month"],
            requests_per_minute=given["requests_per_minute"],
            budget_usd_nanos_per_month=None if budget is None else int(budget * _NANOS),
            is_hard=given["is_hard"],
            allows_unknown_price=given["allows_unknown_price"],
        )


class NewKeyForm(_RightsForm, LimitFields):
    """A key to be made."""

    kind = forms.ChoiceField(
        choices=[("live", "Live (ac_live_…)"), ("test", "Test (ac_test_…)")],
        widget=forms.RadioSelect,
        initial="live",
        help_text="Test keys work the same; usage tells them apart by their key.",
    )
    expires = forms.ChoiceField(choices=_EXPIRIES, required=False, initial="")
    #: Says which showing of the form was sent, so that a reload of the answer makes no second key.
    once = forms.CharField(widget=forms.HiddenInput, max_length=40)

    field_order = ("name", "kind", "scopes", "owner", "expires", "namespace", "networks", "requests_per_month",
                   "requests_per_minute", "budget_usd", "is_hard", "allows_unknown_price", "once")  # fmt: skip

    def __init__(self, manager: KeyManager, *args: Any, **kwargs: Any) -> None:
        super().__init__(manager, *args, **kwargs)
        self.fields["scopes"].initial = [scope.value for scope in DEFAULT_SCOPES & manager.grantable]

    def arguments(self) -> dict[str, Any]:
        """Return what `create_api_key` takes."""
        given = self.cleaned_data
        days = given["expires"]
        return {
            "name": given["name"],
            "scopes": self.wanted_scopes,
            "is_test": given["kind"] == "test",
            "namespace": given["namespace"],
            "expires_at": timezone.now() + timedelta(days=int(days)) if days else None,
            "allowed_networks": self.wanted_networks,
            "is_shared": self.is_shared,
        }


class ChangeKeyForm(_RightsForm):
    """What of a key is to be changed."""

    expires = forms.ChoiceField(choices=[("keep", "As it is"), *_EXPIRIES], required=False, initial="keep")

    field_order = ("name", "scopes", "owner", "expires", "namespace", "networks")

    def __init__(self, manager: KeyManager, row: ApiKey, *args: Any, **kwargs: Any) -> None:
        given = {
            "name": row.name,
            "scopes": row.scopes,
            "owner": "team" if row.is_shared else "own",
            "namespace": row.namespace,
            "networks": " ".join(row.allowed_networks),
        }
        super().__init__(manager, *args, initial=given, **kwargs)
        owner = self.fields["owner"]
        assert isinstance(owner, forms.ChoiceField)
        if row.created_by is None:
            del self.fields["owner"]
        elif manager.user is None or row.created_by_id != manager.user.pk:
            owner.choices = [
                ("own", f"{row.created_by}: it ends when they leave the team"),
                ("team", "The team: it goes on whoever leaves"),
            ]

    def changes(self) -> KeyChanges:
        """Return what was changed, as the services take it."""
        given, changed = self.cleaned_data, self.changed_data
        days = given["expires"]
        return KeyChanges(
            name=given["name"],
            scopes=self.wanted_scopes if "scopes" in changed else None,
            namespace=given["namespace"] or None,
            expires_at=timezone.now() + timedelta(days=int(days)) if days.isdigit() else None,
            never_expires=days == "",
            allowed_networks=self.wanted_networks,
            is_shared=self.is_shared if "owner" in self.fields else None,
        )


class RotateForm(forms.Form):
    """How to exchange a key's value."""

    overlap = forms.ChoiceField(
        label="The former value",
        choices=[
            ("24", "works for another 24 hours"),
            ("1", "works for another hour"),
            ("168", "works for another 7 days"),
            ("0", "ends at once: somebody else may have it"),
        ],
        initial="24",
        widget=forms.RadioSelect,
    )
    once = forms.CharField(widget=forms.HiddenInput, max_length=40)
