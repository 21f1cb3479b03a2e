"""What the pages of prewarming ask for. The services judge it; these only say how it is typed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from msgspec import UNSET

from agentcache.kit.money import usd
from agentcache.prewarm.given import (
    BATCH_BYTES_MAX,
    CONCURRENCY_MAX,
    NO_CAP,
    OUTPUT_TOKENS_MAX,
    RATE_MAX,
    REQUESTS_MAX,
    Choice,
    Options,
    OptionsGiven,
    Source,
    check_choice,
    check_options,
)
from agentcache.prewarm.services.batches import cap_of
from agentcache.prewarm.services.credentials import CREDENTIAL_CHARS_MAX
from agentcache.providers.registry import title_of


class CredentialForm(forms.Form):
    """A provider's credential."""

    provider = forms.ChoiceField()
    credential = forms.CharField(
        max_length=CREDENTIAL_CHARS_MAX,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Tested at the provider first; kept encrypted, and never shown again.",
    )

    def __init__(self, *args: Any, providers: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = self.fields["provider"]
        assert isinstance(choices, forms.ChoiceField)
        choices.choices = [(name, title_of(name)) for name in providers]


class BatchForm(forms.Form):
    """Requests to prewarm, and how."""

    title = forms.CharField(required=False, max_length=100, help_text="For you to know it by.")
    source = forms.ChoiceField(
        label="Which requests",
        required=False,
        choices=[
            ("", "Those given below"),
            (Source.TOP.value, "Kept ones, the most asked"),
            (Source.EXPIRING.value, "Kept ones that expire"),
            (Source.INVALIDATED.value, "Kept ones that were invalidated"),
        ],
    )
    window = forms.CharField(
        label="Within",
        required=False,
        max_length=12,
        initial="24h",
        help_text="6h, 24h, 7d, at most 30d.",
    )
    limit = forms.IntegerField(
        label="How many, at most",
        required=False,
        min_value=1,
        max_value=REQUESTS_MAX,
        initial=100,
    )
    source_url = forms.CharField(
        label="Only those made from", required=False, max_length=2048, help_text="The URL of a source."
    )
    tags = forms.CharField(
        label="Only those with a tag",
        required=False,
        max_length=2000,
        help_text="Several are separated by commas.",
    )
    lines = forms.CharField(
        label="Requests, one JSON object a line",
        required=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "mono"}),
        help_text='Such as {"provider": "openai", "path": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", …}}. '
        "Up to 10,000.",
    )
    upload = forms.FileField(
        label="Or a file of such lines", required=False, widget=forms.FileInput(attrs={"accept": ".jsonl,.ndjson,.txt"})
    )
    concurrency = forms.IntegerField(label="At once", min_value=1, max_value=CONCURRENCY_MAX, initial=4)
    requests_per_second = forms.FloatField(
        label="Requests a second, at most",
        required=False,
        min_value=0.01,
        max_value=RATE_MAX,
        help_text="Empty: no bound.",
    )
    cost_cap = forms.CharField(
        label="Cost at most, USD",
        required=False,
        max_length=32,
        help_text="Never more, as far as prices are known: what has no price or no bound is left out. none: no cap.",
    )
    output_tokens = forms.IntegerField(
        label="Tokens of an answer, at most",
        required=False,
        min_value=1,
        max_value=OUTPUT_TOKENS_MAX,
        help_text="For requests that do not say, such as by max_tokens. Empty: all that the model can write.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What holds when nothing is said is there to be seen, and stays when somebody empties the field.
        self.fields["cost_cap"].initial = NO_CAP if (cap := cap_of(Options())) is None else usd(cap)

    def choice(self) -> Choice | None:
        """Return what is chosen among the kept requests; None for those that were given. Raises `InvalidBatch`."""
        given = self.cleaned_data
        if not given["source"]:
            return None
        tags = [tag.strip() for tag in given["tags"].split(",") if tag.strip()]
        window, limit = given["window"] or "24h", given["limit"] or 100
        return check_choice(Source(given["source"]), window, limit, given["source_url"].strip(), tags)

    def raw(self) -> bytes:
        """Return the requests as they were given."""
        upload = self.cleaned_data.get("upload")
        return bytes(upload.read()) if upload else str(self.cleaned_data["lines"]).encode()

    def options(self, *, is_dry_run: bool) -> Options:
        """Return how they are to be done. Raises `InvalidBatch`."""
        given = self.cleaned_data
        return check_options(
            OptionsGiven(
                title=given["title"],
                concurrency=given["concurrency"],
                requests_per_second=given["requests_per_second"],
                cost_cap_usd=given["cost_cap"].strip() or UNSET,
                output_tokens=given["output_tokens"],
                dry_run=is_dry_run,
            )
        )

    def clean(self) -> dict[str, Any]:
        """See that there are requests, and that they are not too much to read."""
        given: dict[str, Any] = super().clean() or {}
        upload = given.get("upload")
        if not upload and not given.get("lines") and not given.get("source"):
            self.add_error("lines", "Give at least one request, here or as a file.")
        if upload and upload.size > BATCH_BYTES_MAX:
            self.add_error("upload", f"A file has at most {BATCH_BYTES_MAX // 1024 // 1024} MiB.")
        return given


class ScheduleForm(BatchForm):
    """A batch that is done again and again."""

    title = forms.CharField(max_length=100)
    cron = forms.CharField(
        label="When",
        max_length=100,
        initial="nightly",
        help_text="nightly (03:00), weekly (Mondays, 03:00), or five fields of cron such as 30 5 * * 1-5.",
    )
    timezone = forms.CharField(label="Time zone", max_length=64, initial="UTC", help_text="Such as Europe/Berlin.")
    field_order = ("title", "cron", "timezone")
