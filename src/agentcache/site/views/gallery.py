"""`/dev/design`: every component of the design system in each of its states. For those who work on pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from ipaddress import ip_address
from typing import Final

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agentcache.design.charts import TONES, Chart, Series
from agentcache.design.icons import ICONS
from agentcache.site.contrast import MARK_LEAST, TEXT_LEAST, pair, tokens
from agentcache.site.views.product import current_settings

#: (text, ground, least contrast): what stands where.
_PAIRS: Final = (
    ("text", "page", TEXT_LEAST), ("text", "surface", TEXT_LEAST), ("quiet", "surface", TEXT_LEAST), ("quiet", "hover", TEXT_LEAST),
    ("accent", "surface", TEXT_LEAST), ("accent", "accent-soft", TEXT_LEAST), ("on-accent", "accent", TEXT_LEAST),
    ("good", "good-soft", TEXT_LEAST), ("warn", "warn-soft", TEXT_LEAST), ("bad", "bad-soft", TEXT_LEAST),
    ("info", "info-soft", TEXT_LEAST), ("on-bad", "bad-strong", TEXT_LEAST), ("line-strong", "surface", MARK_LEAST),
)  # fmt: skip
#: Class or element, size token, what it is for.
_TYPE: Final = (
    ("hero", "size-hero", "The first words of the start page"), ("head", "size-head", "Title of a page"),
    ("value", "size-value", "Key figures"), ("title", "size-title", "Title of a card"), ("lead", "size-lead", "Introductions"),
    ("body", "size-body", "Everything else"), ("small", "size-small", "Notes, hints"), ("tiny", "size-tiny", "Badges, headings of lists"),
)  # fmt: skip
_HOURS: Final = 24

View = Callable[[HttpRequest], HttpResponse]


def for_developers(view: View) -> View:
    """Show a page on the machine the server runs on, and to operators; to nobody else it is there."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not (_is_own_machine(request) or request.user.is_staff):
            raise Http404
        return view(request)

    guarded.access = "developers"  # type: ignore[attr-defined]  # read by the walk over all routes
    return guarded


@require_safe
@for_developers
def gallery(request: HttpRequest) -> HttpResponse:
    """Show all components."""
    context = {
        "type_scale": _TYPE,
        "pairs": [pair(*one) for one in _PAIRS],
        "series": [
            (tone, pair(f"series-{tone}", "surface", MARK_LEAST)) for tone in TONES if f"series-{tone}" in tokens()
        ],
        "icons": sorted(ICONS),
        "form": Form(),
        "wrong": _wrong_form(),
        "charts": _charts(),
        "outcomes": ("exact", "semantic", "stale", "coalesced", "miss", "bypass", "error", "refused", "refresh"),
        "tones": ("quiet", "good", "warn", "bad", "info", "accent"),
        "spark": [3, 4, 4, None, 6, 9, 8, 11, 14],
        "tab_items": [("Overview", "#tabs", None), ("Members", "#members", 3), ("Audit log", "#audit", None)],
        "code": 'client = OpenAI(base_url="https://cache.example.com/openai/v1")',
        "several": [("Python", 'print("Hello")'), ("curl", "curl -s https://cache.example.com/healthz")],
        "sections_shown": SECTIONS,
    }
    return render(request, "site/gallery.html", context)


#: Anchors of the page, in order.
SECTIONS: Final = (
    ("type", "Type"), ("colours", "Colours"), ("icons", "Icons"), ("buttons", "Buttons"), ("badges", "Badges"),
    ("cards", "Cards"), ("figures", "Key figures"), ("tables", "Tables"), ("forms", "Form fields"), ("messages", "Banners and toasts"),
    ("menus", "Menus, dialogs, tabs"), ("empty", "Empty states"), ("snippets", "Snippets"), ("charts", "Charts"), ("limits", "Limits"),
)  # fmt: skip


class Form(forms.Form):
    """Every kind of field."""

    name = forms.CharField(label="Name", help_text="As your teammates know it.", max_length=64)
    email = forms.EmailField(label="E-mail address", required=False)
    role = forms.ChoiceField(label="Role", choices=[("admin", "Admin"), ("member", "Member"), ("viewer", "Viewer")])
    note = forms.CharField(label="Note", required=False, widget=forms.Textarea({"rows": 3}))
    scopes = forms.MultipleChoiceField(
        label="May", choices=[("read", "Read the cache"), ("write", "Store answers")], widget=forms.CheckboxSelectMultiple,
        initial=["read"],
    )  # fmt: skip
    stop = forms.ChoiceField(
        label="Beyond the limit", choices=[("hard", "Refuse"), ("soft", "Tell people")], widget=forms.RadioSelect,
        initial="hard",
    )  # fmt: skip
    agree = forms.BooleanField(label="Serve hits all the same", required=False, initial=True)


def _wrong_form() -> Form:
    form = Form(
        {
            "wrong-name": "",
            "wrong-email": "ada@",
            "wrong-role": "admin",
            "wrong-scopes": ["read"],
            "wrong-stop": "hard",
        },
        prefix="wrong",
    )
    form.add_error(None, "Somebody else has changed this meanwhile. Look at it again.")
    return form


def _charts() -> list[Chart]:
    first = datetime(2026, 11, 1, tzinfo=UTC)
    starts = [first + timedelta(hours=hour) for hour in range(_HOURS)]
    hits = [40 + hour * 3 + (hour * 7) % 11 for hour in range(_HOURS)]
    misses = [30 - hour + (hour * 5) % 7 for hour in range(_HOURS)]
    latency = [None if hour in (9, 10) else 400 + (hour * 37) % 90 for hour in range(_HOURS)]
    return [
        Chart(
            "sample-bars", "Requests", "More hits with each hour.", "bars", "count", starts,
            [Series("Hits", hits, "hit"), Series("Misses", misses, "miss")], "per hour, UTC", is_last_open=True,
        ),
        Chart(
            "sample-lines", "Time of misses", "Where nothing was asked there is no time.", "lines", "ms", starts,
            [Series("p50", latency, "1", before=[450] * _HOURS)], "per hour, UTC",
        ),
        Chart("sample-none", "Nothing yet", "What a chart says without figures.", "lines", "ms", starts,
              [Series("p50", [None] * _HOURS, "1")], "per hour, UTC"),
    ]  # fmt: skip


def _is_own_machine(request: HttpRequest) -> bool:
    settings = current_settings()
    if not settings.is_local or settings.public_url is not None or settings.trusted_proxies:
        return False
    try:
        return ip_address(str(request.META.get("agentcache.client_ip", ""))).is_loopback
    except ValueError:
        return False
