"""The form of the page that invalidates: criteria as they are typed in, and the request that they amount to."""

from __future__ import annotations

from typing import Any

import msgspec
from django import forms

from agentcache.gateway.native.schemas import InvalidateRequest

#: Names of the fields that select.
SELECTING = ("pattern", "namespace", "tags", "url", "model", "provider", "older_than", "keys")


class InvalidateForm(forms.Form):
    """What to invalidate; every field that is filled in has to hold."""

    tags = forms.CharField(
        required=False, max_length=2_000, label="Tags", help_text="Entries with any of these; commas between them."
    )
    url = forms.CharField(
        required=False,
        max_length=2_048,
        label="Source",
        help_text="A URL that answers were made from (X-AgentCache-Sources); other spellings of it count as well.",
    )
    namespace = forms.CharField(required=False, max_length=128, label="Namespace")
    model = forms.CharField(required=False, max_length=200, label="Model")
    provider = forms.CharField(
        required=False, max_length=200, label="Provider", help_text="openai, anthropic and so on."
    )
    older_than = forms.CharField(
        required=False, max_length=20, label="Older than", help_text="Seconds, or 15m, 12h, 30d."
    )
    pattern = forms.CharField(
        required=False,
        max_length=512,
        label="Pattern",
        help_text="Over namespace/dialect/model/label: * for anything, ? for one character.",
    )
    keys = forms.CharField(
        required=False,
        max_length=500 * 66,
        widget=forms.Textarea(attrs={"rows": 2}),
        label="Cache keys",
        help_text="64 hex digits each, a space or a line between them.",
    )
    soft = forms.ChoiceField(
        required=False,
        choices=[("", "Remove them"), ("1", "Mark them stale")],
        widget=forms.RadioSelect,
        label="What happens to the entries",
        help_text="What is marked stale is served only while it is renewed, or when the provider fails, for as long "
        "as the entry allows.",
    )
    reason = forms.CharField(
        required=False, max_length=500, label="Reason", help_text="For the audit log and for webhooks."
    )
    notify = forms.BooleanField(required=False, initial=True, label="Tell the team's webhooks")
    pre_warm = forms.BooleanField(
        required=False, label="Ask again for what was asked",
        help_text="A job asks the providers anew, with requests that the team keeps and its credentials. It costs money.",
    )  # fmt: skip

    def __init__(self, *args: Any, may_prewarm: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not may_prewarm:
            del self.fields["pre_warm"]

    def asked(self) -> InvalidateRequest:
        """Return the request. Raises `msgspec.ValidationError` for what no request may say."""
        given = self.cleaned_data
        members: dict[str, Any] = {
            name: given[name].strip() for name in SELECTING if name not in ("tags", "keys") and given[name].strip()
        }
        if tags := [tag.strip() for tag in given["tags"].split(",") if tag.strip()]:
            members["tags"] = tags
        if keys := given["keys"].split():
            members["keys"] = keys
        if members.get("older_than", "").isdecimal():
            members["older_than"] = int(members["older_than"])
        members |= {"soft": bool(given["soft"]), "reason": given["reason"].strip(), "notify": given["notify"]}
        members["preWarm"] = given.get("pre_warm", False)
        return msgspec.convert(members, InvalidateRequest)
