"""What the pages of policies ask for. The services judge it; these only say how it is typed in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from django import forms

from agentcache.engine.policies import PATTERN_CHARS_MAX
from agentcache.gateway.directives import InvalidDirective, parse_lifetime
from agentcache.policies.drafts import TEMPERATURE_MAX, MatchDraft, PolicyDraft
from agentcache.policies.past import DAYS_MAX
from agentcache.providers.registry import title_of

_SPLIT = re.compile(r"[,\n]")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


#: What is typed in -> in words, and as it is kept.
SEMANTIC: Final[Mapping[str, tuple[str, bool | None]]] = MappingProxyType({
    "": ("As their namespace says", None),
    "yes": ("As their namespace says, safe where that is off", True),
    "no": ("Never", False),
})  # fmt: skip


class Listed(forms.CharField):
    """Several items, separated by commas or on lines of their own."""

    def clean(self, value: Any) -> Any:
        """Return the items."""
        text = super().clean(value)
        return [item.strip() for item in _SPLIT.split(text) if item.strip()]

    def prepare_value(self, value: Any) -> Any:
        """Show the items as they are typed in."""
        return ", ".join(value) if isinstance(value, list) else value


class Duration(forms.CharField):
    """Seconds, or `15m`, `12h`, `30d`."""

    def clean(self, value: Any) -> Any:
        """Return whole seconds, None without any."""
        text = super().clean(value)
        if not text:
            return None
        if text.strip() == "0":
            return 0
        try:
            return int(parse_lifetime(text, str(self.label)))
        except InvalidDirective:
            raise forms.ValidationError('Write a time such as "15m", "12h" or "30d".') from None

    def prepare_value(self, value: Any) -> Any:
        """Show seconds in the largest unit that they are whole in."""
        if not isinstance(value, int):
            return value
        if value == 0:
            return ""
        return next((f"{value // unit}{letter}" for unit, letter in _UNITS if value % unit == 0), str(value))


class PolicyForm(forms.Form):
    """One policy."""

    name = forms.CharField(max_length=64, label="Name", help_text="Shown in X-AgentCache-Policy and in the dry run.")
    is_on = forms.BooleanField(required=False, initial=True, label="In force")
    dialects = forms.MultipleChoiceField(
        required=False, label="Providers", widget=forms.CheckboxSelectMultiple, help_text="None ticked means any."
    )
    models = Listed(
        required=False,
        label="Models",
        max_length=4000,
        help_text="Such as gpt-5*, claude-*; * stands for any characters.",
    )
    namespaces = Listed(required=False, label="Namespaces", max_length=4000, help_text="Such as prod, support-*.")
    tags = Listed(required=False, label="Tags", max_length=4000, help_text="As sent in X-AgentCache-Tags; any of them.")
    source_hosts = Listed(
        required=False, label="Hosts of sources", max_length=4000,
        help_text="Such as docs.example.com or *.example.com, as in X-AgentCache-Sources.",
    )  # fmt: skip
    prompt = forms.CharField(
        required=False, max_length=PATTERN_CHARS_MAX, label="Text of the prompt",
        help_text="A regular expression (RE2), found anywhere in what the model is asked: (?i)\\bnews\\b.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )  # fmt: skip
    temperature_min = forms.FloatField(required=False, min_value=0, max_value=TEMPERATURE_MAX, label="Temperature from")
    temperature_max = forms.FloatField(
        required=False, min_value=0, max_value=TEMPERATURE_MAX, label="Temperature to",
        help_text="Requests that name none are in no range.",
    )  # fmt: skip
    stores = forms.BooleanField(
        required=False, initial=True, label="Use the cache for these requests",
        help_text="Otherwise they go past it: nothing is read, nothing is kept.",
    )  # fmt: skip
    lifetime_seconds = Duration(
        required=False, max_length=12, label="Lifetime", help_text="15m, 12h, 30d. Empty for the team's default."
    )
    stale_while_revalidate_seconds = Duration(
        required=False, max_length=12, label="Then stale at once, and asked for anew, for",
        help_text="Past its lifetime the old answer is given at once while a new one is fetched.",
    )  # fmt: skip
    stale_if_error_seconds = Duration(
        required=False, max_length=12, label="Stands in for a failing provider for",
        help_text="Past its lifetime the old answer is given rather than an error.",
    )  # fmt: skip
    refreshes_ahead = forms.BooleanField(
        required=False, label="Ask anew before that is over",
        help_text="As long as somebody asks for an answer, a new one is fetched when three quarters of the lifetime are "
        "over, so that nobody waits. It needs a credential of the provider under Provider credentials, and costs money.",
    )  # fmt: skip
    semantic = forms.TypedChoiceField(
        required=False, label="Near questions", choices=[(name, text) for name, (text, _) in SEMANTIC.items()],
        coerce=lambda name: SEMANTIC[name][1], empty_value=None,
        help_text="Whether a question in other words may get their answer, and they that of another.",
    )  # fmt: skip
    ignore = Listed(
        required=False, max_length=8000, label="Left out of the cache key",
        help_text="JSON paths that do not change the answer: metadata.request_id, messages[0].name. On lines of their own.",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
    )  # fmt: skip
    #: The version that the form was filled in from.
    based_on = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, dialects: tuple[str, ...], former: PolicyDraft | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._former = former
        choices = self.fields["dialects"]
        assert isinstance(choices, forms.MultipleChoiceField)
        choices.choices = [(name, title_of(name)) for name in dialects]

    @property
    def draft(self) -> PolicyDraft:
        """What is typed in; what the page does not ask for stays as it was."""
        given = self.cleaned_data
        match = MatchDraft(
            dialects=given["dialects"],
            models=given["models"],
            namespaces=given["namespaces"],
            tags=given["tags"],
            source_hosts=given["source_hosts"],
            temperature_min=given["temperature_min"],
            temperature_max=given["temperature_max"],
            prompt=given["prompt"],
        )
        return replace(
            self._former or PolicyDraft(name=""),
            name=given["name"],
            is_on=given["is_on"],
            match=match,
            stores=given["stores"],
            lifetime_seconds=given["lifetime_seconds"] or None,
            stale_while_revalidate_seconds=given["stale_while_revalidate_seconds"] or 0,
            stale_if_error_seconds=given["stale_if_error_seconds"] or 0,
            refreshes_ahead=given["refreshes_ahead"],
            semantic=given["semantic"],
            ignore=given["ignore"],
        )

    @staticmethod
    def filled_in(draft: PolicyDraft, version: int) -> dict[str, Any]:
        """Return what is typed in when a policy is changed."""
        document = draft.as_document()
        semantic = next(name for name, (_, kept) in SEMANTIC.items() if kept is draft.semantic)
        return {**document, **document["match"], "semantic": semantic, "based_on": version}


class DaysForm(forms.Form):
    """How far back a dry run goes."""

    days = forms.IntegerField(min_value=1, max_value=DAYS_MAX, initial=7, label="Days")
