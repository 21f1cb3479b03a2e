"""What the pages of semantic look-ups ask for. The services judge it; these only say how it is typed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django import forms

from agentcache.kit.money import parse_usd, usd
from agentcache.providers.registry import title_of
from agentcache.semantics.comparing import PROMPT_CHARS_MAX
from agentcache.semantics.drafts import JUDGE_BUDGET_USD_MAX, JUDGE_MODEL_CHARS_MAX, JudgeDraft, SettingsDraft
from agentcache.semantics.models import Mode, VerifierKind
from agentcache.semantics.words import MODES, VERIFIERS


class Percent(forms.FloatField):
    """A share, typed in as a percentage."""

    def clean(self, value: Any) -> Any:
        """Return the share."""
        number = super().clean(value)
        return None if number is None else number / 100

    def prepare_value(self, value: Any) -> Any:
        """Show a share as a percentage."""
        return f"{value * 100:g}" if isinstance(value, float) else value


class SettingsForm(forms.Form):
    """How a namespace looks up by meaning."""

    namespace = forms.CharField(
        max_length=128, label="Namespace", help_text="As requests name it; * for every one without settings of its own."
    )
    mode = forms.ChoiceField(choices=list(MODES.items()), label="Mode", widget=forms.RadioSelect, initial=Mode.SHADOW)
    target = Percent(
        label="Wrong hits, at most, %", initial=0.02, min_value=0.1, max_value=20,
        help_text="A target, measured by calls that are made all the same. No guarantee.",
    )  # fmt: skip
    shadow_share = Percent(
        label="Near questions that are asked all the same, %", initial=0.05, min_value=0, max_value=100,
        help_text="They are paid for, and tell whether hits are right. At 0 nobody looks.",
    )  # fmt: skip
    verifier = forms.ChoiceField(
        choices=list(VERIFIERS.items()), label="Judged by", widget=forms.RadioSelect, initial=VerifierKind.TREES
    )
    threshold = forms.FloatField(
        required=False, min_value=0, max_value=1, label="Score of your own",
        help_text="0 to 1, for the mode custom; in shadow it is tried. Of the cosine, where that judges alone.",
    )  # fmt: skip
    allows_time_bound = forms.BooleanField(
        required=False, label="Let questions about today, now, prices or weather take part"
    )
    allows_temperature = forms.BooleanField(
        required=False, label="Let requests that name a temperature above 0 take part"
    )
    #: The revision that the form was filled in from.
    based_on = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, is_new: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_new:
            del self.fields["namespace"]

    @property
    def draft(self) -> SettingsDraft:
        """What is typed in."""
        given = self.cleaned_data
        return SettingsDraft(**{name: given[name] for name in SettingsDraft.__dataclass_fields__})


class Dollars(forms.CharField):
    """An amount in US dollars, typed in as a decimal and kept in 1e-9 USD."""

    def clean(self, value: Any) -> Any:
        """Return the amount."""
        try:
            return parse_usd(super().clean(value))
        except ValueError as error:
            raise forms.ValidationError(f"{error}.") from None

    def prepare_value(self, value: Any) -> Any:
        """Show an amount as dollars."""
        return usd(value) if isinstance(value, int) else value


class JudgeForm(forms.Form):
    """A namespace's judge."""

    namespace = forms.CharField(
        max_length=128, label="Namespace", help_text="As requests name it; * for every one without a judge of its own."
    )
    is_on = forms.BooleanField(required=False, initial=True, label="Ask where both answers cannot be compared")
    provider = forms.ChoiceField(help_text="Asked with the credential that the team keeps for it.")
    model = forms.CharField(
        max_length=JUDGE_MODEL_CHARS_MAX, widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
        help_text="A small one that answers without reasoning first, such as gpt-4o-mini.",
    )  # fmt: skip
    daily_budget_usd = Dollars(
        label="Spend at most, USD a day", initial="1.00", max_length=32,
        help_text=f"Above 0 and up to {JUDGE_BUDGET_USD_MAX:,}; a day of UTC. Part of the cost of caching.",
    )  # fmt: skip
    #: The revision that the form was filled in from.
    based_on = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, providers: Sequence[str], is_new: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast("forms.ChoiceField", self.fields["provider"]).choices = [(name, title_of(name)) for name in providers]
        if not is_new:
            del self.fields["namespace"]

    @property
    def draft(self) -> JudgeDraft:
        """What is typed in."""
        given = self.cleaned_data
        return JudgeDraft(given["provider"], given["model"], given["daily_budget_usd"], is_on=given["is_on"])


class PairForm(forms.Form):
    """Two prompts to compare."""

    stored = forms.CharField(
        label="Asked before", max_length=PROMPT_CHARS_MAX, widget=forms.Textarea(attrs={"rows": 3, "class": "grows"}),
        help_text="Its answer is in the cache.",
    )  # fmt: skip
    asked = forms.CharField(
        label="Asked now", max_length=PROMPT_CHARS_MAX, widget=forms.Textarea(attrs={"rows": 3, "class": "grows"}),
        help_text="May it get that answer?",
    )  # fmt: skip
    namespace = forms.ChoiceField(
        required=False, label="By the evidence of", help_text="Namespaces whose comparisons gave a rule of their own."
    )

    def __init__(self, *args: Any, namespaces: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not namespaces:
            del self.fields["namespace"]
            return
        choices = [("", "No namespace: the fixed thresholds"), *((name, name) for name in namespaces)]
        cast("forms.ChoiceField", self.fields["namespace"]).choices = choices
