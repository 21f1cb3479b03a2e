"""What the pages of listeners ask for. The services judge it; these only say how it is typed in."""

from __future__ import annotations

from typing import Any

from django import forms

from agentcache.design import formats
from agentcache.kit.errors import AgentCacheError
from agentcache.listeners.models import Listener
from agentcache.listeners.rules import SELECTOR_CHARS_MAX, URL_CHARS_MAX, WEBHOOK_CHARS_MAX, Wanted
from agentcache.quotas.plans import Plan

_INTERVALS_MINUTES = (15, 30, 60, 3 * 60, 6 * 60, 12 * 60, 24 * 60, 7 * 24 * 60, 30 * 24 * 60)
#: Member that a service blames -> field.
_FIELDS = {"checkInterval": "interval", "webhook": "webhook"}


class ListenerForm(forms.Form):
    """A source to watch."""

    url = forms.CharField(
        label="Address",
        max_length=URL_CHARS_MAX,
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/pricing", "spellcheck": "false"}),
        help_text="A page, JSON, text, a PDF, an RSS or Atom feed, or a sitemap.xml.",
    )
    interval = forms.TypedChoiceField(label="Check every", coerce=int)
    selector = forms.CharField(
        label="Only this part",
        required=False,
        max_length=SELECTOR_CHARS_MAX,
        widget=forms.TextInput(attrs={"spellcheck": "false", "placeholder": "#prices td, or $.plans[*].price"}),
        help_text="A CSS selector for pages, a JSON path for JSON. Empty compares the readable text of all of it.",
    )
    tags = forms.CharField(
        required=False,
        help_text="Answers with one of these tags go, too. Separate them by commas.",
    )
    namespace = forms.CharField(
        required=False,
        max_length=128,
        help_text="Only tags in this namespace. Without tags, a change empties the whole namespace.",
    )
    invalidates = forms.BooleanField(
        required=False,
        initial=True,
        label="Remove answers when it changes",
        help_text="Those that name the address as their source, and what tags and namespace mean. Otherwise changes are only recorded.",
    )
    refreshes = forms.BooleanField(
        required=False,
        label="Ask for them anew when it changes",
        help_text="In the background, with requests that the team keeps (on the page Prewarm) and its provider credentials.",
    )
    webhook = forms.CharField(
        label="Tell this webhook",
        required=False,
        max_length=WEBHOOK_CHARS_MAX,
        widget=forms.URLInput(attrs={"spellcheck": "false"}),
        help_text="Gets a signed POST for each change. Endpoints that asked for listener.changed are told anyway.",
    )

    def __init__(self, *args: Any, plan: Plan, may_refresh: bool, row: Listener | None = None, **kwargs: Any) -> None:
        if row is not None:
            kwargs["initial"] = _filled_in(row)
        super().__init__(*args, **kwargs)
        if not may_refresh and not (row is not None and row.refreshes):
            del self.fields["refreshes"]
        minutes = [one for one in _INTERVALS_MINUTES if one >= plan.check_interval_minutes]
        seconds = sorted({*(one * 60 for one in minutes), *([row.check_interval_seconds] if row is not None else [])})
        choices = self.fields["interval"]
        assert isinstance(choices, forms.TypedChoiceField)
        choices.choices = [(one, formats.span(one)) for one in seconds]
        if row is None:
            choices.initial = max(3600, seconds[0])

    @property
    def members(self) -> dict[str, Any]:
        """What is typed in, as members of `Wanted`."""
        given = self.cleaned_data
        return {
            "url": given["url"].strip(),
            "check_interval_seconds": given["interval"],
            "selector": given["selector"],
            "tags": tuple(filter(None, (tag.strip() for tag in given["tags"].split(",")))),
            "namespace": given["namespace"].strip(),
            "invalidates": given["invalidates"],
            "refreshes": given.get("refreshes", False),
            "webhook_url": given["webhook"].strip(),
        }

    @property
    def wanted(self) -> Wanted:
        """What is typed in."""
        return Wanted(**self.members)

    def show(self, error: AgentCacheError) -> None:
        """Show what a service refused beside the field at fault, or above the form."""
        name = _FIELDS.get(error.param or "", error.param)
        self.add_error(name if name in self.fields else None, error.message)


def _filled_in(row: Listener) -> dict[str, Any]:
    return {
        "url": row.url, "interval": row.check_interval_seconds, "selector": row.selector, "tags": ", ".join(row.tags),
        "namespace": row.namespace, "invalidates": row.invalidates, "refreshes": row.refreshes,
        "webhook": row.webhook_url,
    }  # fmt: skip
