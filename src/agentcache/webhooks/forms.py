"""What the pages of webhooks ask for. The services judge it; these only say how it is typed in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from agentcache.webhooks.event_types import EVENT_TYPES
from agentcache.webhooks.models import DeliveryState, Endpoint
from agentcache.webhooks.services import EndpointEdits, NewEndpoint, Range

_TYPES = [(name, name) for name in EVENT_TYPES]


class EndpointForm(forms.Form):
    """An endpoint, new or changed."""

    url = forms.CharField(
        label="URL", max_length=1000, help_text="https, reachable from the internet. Redirects are not followed."
    )
    description = forms.CharField(label="Description", required=False, max_length=200)
    event_types = forms.MultipleChoiceField(
        label="Tell it of",
        choices=_TYPES,
        widget=forms.CheckboxSelectMultiple,
        help_text="What each type tells is on the event types page.",
    )
    hits_per_mille = forms.IntegerField(
        label="Hits told of, out of a thousand",
        required=False,
        min_value=0,
        max_value=1000,
        help_text="Only for cache.hit, which tells of a sample. 0 or empty tells of none.",
    )
    hits_namespace = forms.CharField(
        label="Only hits in this namespace", required=False, max_length=128, help_text="Empty for all."
    )
    signs_with_key = forms.BooleanField(
        label="Sign with a public key, too",
        required=False,
        help_text="Ed25519 (v1a) beside the secret's signature, for receivers that must not be able to sign themselves.",
    )
    once = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    @classmethod
    def filled_in(cls, endpoint: Endpoint) -> dict[str, Any]:
        """Return what is typed in when an endpoint is changed."""
        names = ("url", "description", "event_types", "hits_per_mille", "hits_namespace", "signs_with_key")
        return {name: getattr(endpoint, name) for name in names}

    def new(self) -> NewEndpoint:
        """Return what is typed in, to make one of."""
        return NewEndpoint(**self._given())

    def edits(self) -> EndpointEdits:
        """Return what is typed in, to change one by."""
        return EndpointEdits(**self._given())

    def _given(self) -> dict[str, Any]:
        given = {name: value for name, value in self.cleaned_data.items() if name != "once"}
        return {**given, "hits_per_mille": given["hits_per_mille"] or 0}


class RotateForm(forms.Form):
    """How long the former secret signs along."""

    overlap = forms.ChoiceField(
        label="The former secret signs along for",
        choices=[
            ("24", "24 hours"),
            ("1", "1 hour"),
            ("72", "3 days"),
            ("168", "7 days"),
            ("0", "no time: it ends now"),
        ],
        help_text="Receivers accept a message when either signature fits.",
    )
    once = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)


class TestForm(forms.Form):
    """Which sample to send."""

    event_type = forms.ChoiceField(label="Type", choices=_TYPES)


class RangeForm(forms.Form):
    """Which deliveries to send again."""

    state = forms.ChoiceField(
        label="Those that",
        choices=[(DeliveryState.FAILED.value, "failed"), (DeliveryState.DELIVERED.value, "were delivered")],
    )
    since = forms.DateTimeField(
        label="From, UTC", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    )
    until = forms.DateTimeField(
        label="Before, UTC", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    )

    @classmethod
    def of_last_day(cls) -> RangeForm:
        """Return the form with the last 24 hours."""
        now = timezone.now().replace(second=0, microsecond=0)
        return cls(initial={"since": now - timedelta(days=1), "until": now + timedelta(minutes=1)})

    def range_of(self, endpoint_id: str) -> Range:
        """Return what is typed in."""
        given = self.cleaned_data
        return Range(endpoint_id, given["since"], given["until"], DeliveryState(given["state"]))
