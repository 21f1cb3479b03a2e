"""The components, for templates: `{% load design %}`. The gallery at /dev/design shows each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django import template
from django.forms import BaseForm, BoundField, CheckboxInput, CheckboxSelectMultiple, RadioSelect
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import now

from agentcache.design import formats
from agentcache.design.charts import Chart, Sparkline
from agentcache.design.icons import content
from agentcache.providers.registry import title_of

register = template.Library()

#: State -> tone, word, what it means, and the light: three shapes, so that colour is never alone.
_FRESHNESS = {
    "fresh": ("good", "Fresh", "Younger than three quarters of its lifetime.", '<circle cx="5" cy="5" r="5"/>'),
    "stale": (
        "warn", "Stale", "In the last quarter of its lifetime, or beyond it and still allowed.",
        '<circle cx="5" cy="5" r="4.2" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M5 0a5 5 0 0 1 0 10Z"/>',
    ),
    "expired": (
        "bad", "Expired", "Past its lifetime; not served.",
        '<circle cx="5" cy="5" r="4" fill="none" stroke="currentColor" stroke-width="2"/>',
    ),
}  # fmt: skip
#: Outcome of a request -> word and tone of its series.
_OUTCOMES = {
    "exact": ("Exact hit", "hit"), "hit": ("Hit", "hit"), "semantic": ("Semantic hit", "semantic"),
    "stale": ("Served stale", "stale"), "stale-served": ("Served stale", "stale"),
    "stale_served": ("Served stale", "stale"), "coalesced": ("Shared a call", "coalesced"), "miss": ("Miss", "miss"),
    "bypass": ("Bypass", "bypass"), "error": ("Error", "error"),
    "refused": ("Refused", "refused"), "refresh": ("Refresh", "coalesced"),
    "prewarm": ("Prewarmed", "coalesced"), "judge": ("Judge asked", "coalesced"),
}  # fmt: skip
#: How the audit log writes a time.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d")
_TONES = {"neutral": "quiet", "notice": "warn"}

register.filter("short", formats.short)
register.filter("usd", formats.usd)
register.filter("duration", formats.duration)
register.filter("span", formats.span)
register.filter("byte_size", formats.byte_size)
register.filter("moment", formats.moment)
register.filter("provider", title_of)


@register.filter
def number(value: float | None, unit: str = "count") -> str:
    """Show a number with its unit: `{{ value|number:"percent" }}`."""
    return formats.number(value, unit)


@register.filter
def minutes(number: float | None) -> str:
    """Show so many minutes in their two largest units: `{{ plan.check_interval_minutes|minutes }}`."""
    return formats.span(None if number is None else number * 60)


@register.filter
def ago(value: datetime | None) -> SafeString:
    """Show how long ago something was; the exact time is in the tip."""
    if value is None:
        return mark_safe(formats.DASH)  # noqa: S308 - a constant
    return format_html(
        '<time datetime="{}" title="{}">{} ago</time>',
        value.isoformat(), formats.moment(value), formats.span((now() - value).total_seconds()),
    )  # fmt: skip


@register.filter
def stamp(value: datetime | None) -> SafeString:
    """Show a time in a column that is headed "Time, UTC"; the whole of it is in the tip."""
    if value is None:
        return mark_safe(formats.DASH)  # noqa: S308 - a constant
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}">{}</time>',
        value.isoformat(), formats.moment(value), formats.stamp(value, now()),
    )  # fmt: skip


@register.filter
def said(value: object) -> str:
    """Show a recorded value as people say it: yes, no, none, a time, a list with commas, or what of many members is given."""
    if value is None or value in ([], "", {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        given = ((name, said(inner)) for name, inner in value.items() if name != "id")
        return ", ".join(f"{words(name)} {inner}" for name, inner in given if inner != "none") or "none"
    if isinstance(value, list):
        return ("; " if isinstance(value[0], Mapping) else ", ").join(map(said, value))
    if isinstance(value, str) and _TIME.fullmatch(value):
        return formats.moment(datetime.fromisoformat(value))
    return str(value)


@register.filter
def words(value: object) -> str:
    """Show a name of ours as words: `expires_at` is `expires at`."""
    return str(value).replace("_", " ").replace(".", ", ")


@register.simple_tag
def icon(name: str, size: int = 18, label: str = "") -> SafeString:
    """Draw an icon: decoration that screen readers pass by, unless it has a label."""
    role = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="icon" viewBox="0 0 20 20" width="{0}" height="{0}" {1} focusable="false">{2}</svg>',
        size, role, mark_safe(content(name)),  # noqa: S308 - drawings of ours
    )  # fmt: skip


@register.simple_tag
def badge(text: str, tone: str = "quiet", title: str = "") -> SafeString:
    """Show a state in a word; `tone` is good, warn, bad, info, accent or quiet."""
    return format_html(
        '<span class="badge badge-{}"{}>{}</span>', _TONES.get(tone, tone), _title_attribute(title), text
    )


@register.simple_tag
def freshness(state: str, title: str = "") -> SafeString:
    """Show Fresh, Stale or Expired with its light, or a dash; `title` may tell age and lifetime."""
    if state not in _FRESHNESS:
        return format_html('<span class="quiet">{}</span>', formats.DASH)
    tone, word, meaning, light = _FRESHNESS[state]
    return format_html(
        '<span class="badge badge-{}"{}><svg class="light light-{}" viewBox="0 0 10 10" fill="currentColor" '
        'aria-hidden="true" focusable="false">{}</svg>{}</span>',
        tone, _title_attribute(title or meaning), state, mark_safe(light), word,  # noqa: S308 - drawings of ours
    )  # fmt: skip


@register.simple_tag
def outcome(kind: str, title: str = "") -> SafeString:
    """Show how a request ended, with the colour that it has in charts."""
    word, tone = _OUTCOMES.get(kind, (kind or formats.DASH, "miss"))
    return format_html(
        '<span class="row nowrap outcome"{}><span class="swatch tone-{}" aria-hidden="true"></span>{}</span>',
        _title_attribute(title), tone, word,
    )  # fmt: skip


def _title_attribute(title: str) -> SafeString:
    return format_html(' title="{}"', title) if title else SafeString("")


@register.inclusion_tag("design/components/sparkline.html")
def sparkline(values: Iterable[float | None], label: str = "", tone: str = "1") -> dict[str, Any]:
    """Draw a small line without axes; with a label it says to screen readers what it shows."""
    return {"line": Sparkline.of(list(values)), "label": label, "tone": tone}


@register.simple_tag
def definition(name: str, text: str) -> SafeString:
    """Show what a word means behind an ⓘ, also without scripts."""
    return format_html(
        '<details class="definition"><summary aria-label="What is {}?">{}</summary><p>{}</p></details>',
        name, icon("info", 15), text,
    )  # fmt: skip


@register.inclusion_tag("design/components/field.html")
def field(bound: BoundField, hint: str = "", *, label: str = "", autofocus: bool = False) -> dict[str, Any]:
    """Show a form's field with label, help and what is wrong with it."""
    attributes: dict[str, str | bool] = {}
    described = []
    help_text = hint or str(bound.help_text)
    if help_text:
        described.append(f"{bound.auto_id}-hint")
    if bound.errors:
        attributes["aria-invalid"] = "true"
        described.append(f"{bound.auto_id}-error")
    if described:
        attributes["aria-describedby"] = " ".join(described)
    if autofocus:
        attributes["autofocus"] = True
    widget = bound.field.widget
    kind = "text"
    if isinstance(widget, CheckboxSelectMultiple | RadioSelect):
        kind = "group"
    elif isinstance(widget, CheckboxInput):
        kind = "checkbox"
    return {
        "bound": bound, "control": bound.as_widget(attrs=attributes), "help_text": help_text, "kind": kind,
        "label": label or bound.label,
        # One of several is always chosen.
        "is_optional": not bound.field.required and isinstance(widget, CheckboxSelectMultiple),
    }  # fmt: skip


@register.inclusion_tag("design/components/fields.html")
def fields(form: BaseForm) -> dict[str, Any]:
    """Show a whole form: what is wrong with all of it, then each field."""
    return {"form": form}


@register.inclusion_tag("design/components/form_errors.html")
def form_errors(form: BaseForm) -> dict[str, Any]:
    """Show what is wrong with a form as a whole."""
    return {"form": form}


@register.simple_tag
def copy(value: str, label: str = "Copy") -> SafeString:
    """Offer to copy a text that stands nearby; without scripts there is no button."""
    return format_html(
        '<button type="button" class="button small" data-copy="{}" hidden>{}<span>{}</span></button>',
        value, icon("copy", 16), label,
    )  # fmt: skip


@register.inclusion_tag("design/components/stat.html")
def stat(
    label: str,
    value: str,
    *,
    note: str = "",
    change: float | None = None,
    is_more_good: bool = True,
    definition: str = "",
    href: str = "",
    unit: str = "percent",
    spark: Iterable[float | None] | None = None,
    tone: str = "1",
) -> dict[str, Any]:
    """Show a key figure; `change` is a share (0.1 is ten per cent more than the period before), None without one."""
    shown, trend, has_risen = None, "quiet", change is not None and change > 0
    if change is not None:
        size, word = abs(change) * 100, "%" if unit == "percent" else "pp"
        digits = f"{size:.0f}" if unit == "percent" else f"{size:.1f}"
        shown = f"{digits} {word}"
        # What rounds to nothing has neither risen nor fallen.
        if float(digits):
            trend = "good" if has_risen is is_more_good else "bad"
    return {
        "label": label, "value": value, "note": note, "definition": definition, "href": href, "trend": trend,
        "spark": spark, "tone": tone,
        "change": shown, "has_risen": trend != "quiet" and has_risen, "has_fallen": trend != "quiet" and not has_risen,
    }  # fmt: skip


@register.inclusion_tag("design/components/empty_state.html")
def empty_state(
    title: str, text: str = "", *, action: str = "", href: str = "", sign: str = "layers"
) -> dict[str, str]:
    """Say that there is nothing yet, why, and the one next step."""
    return {"title": title, "text": text, "action": action, "href": href, "sign": sign}


@register.inclusion_tag("design/components/snippet.html")
def snippet(code: str, label: str = "", *, name: str = "") -> dict[str, str]:
    """Show text to copy, with a button; `name` says what is copied to those who do not see it."""
    return {"code": code.strip("\n"), "label": label, "name": name or label or "this text"}


@register.inclusion_tag("design/components/tabs.html")
def tabs(items: Iterable[Sequence[Any]], current: str, label: str = "Sections") -> dict[str, Any]:
    """Show links to the parts of a page: (label, URL) or (label, URL, count); `current` is the URL that is open."""
    shown = [(item[0], item[1], item[2] if len(item) > 2 else None, item[1] == current) for item in items]
    return {"items": shown, "label": label}


@register.inclusion_tag("design/components/chart.html")
def chart_figure(chart: Chart) -> dict[str, Any]:
    """Show a chart: its table, which the browser draws where it can."""
    return {"chart": chart, "data": chart.as_json(), "data_id": f"{chart.id}-data"}


@register.inclusion_tag("design/components/quota_bar.html")
def quota_bar(used: float, limit: float | None, label: str, *, unit: str = "count", note: str = "") -> dict[str, Any]:
    """Show how much of a limit is used; without a limit, just how much."""
    share = None if not limit else used / limit
    tone = "good" if share is None or share < 0.8 else "warn" if share < 1 else "bad"
    return {
        "used": formats.number(used, unit), "limit": formats.number(limit, unit) if limit else "", "label": label,
        "percent": None if share is None else min(100, round(share * 100)), "tone": tone, "note": note,
        "share": None if share is None else formats.number(share, "percent"),
    }  # fmt: skip


@register.inclusion_tag("design/components/pagination.html")
def pagination(
    *, older: str = "", newer: str = "", text: str = "", further: str = "Older", back: str = "Newer"
) -> dict[str, str]:
    """Link to the pages before and after; the URLs carry the filters. `further` and `back` name what is no matter of age."""
    return {"older": older, "newer": newer, "text": text, "further": further, "back": back}


@register.simple_block_tag
def card(content: str, title: str = "", *, lead: str = "", tone: str = "") -> SafeString:
    """Frame what belongs together: `{% card "Title" %}…{% endcard %}`; the title may be left out; tone="bad" warns."""
    heading = format_html("<h2>{}</h2>", title) if title else ""
    said = format_html('<p class="quiet">{}</p>', lead) if lead else ""
    kind = " danger-zone" if tone == "bad" else ""
    return format_html('<section class="card{}">{}{}{}</section>', kind, heading, said, content)


@register.simple_block_tag
def dialog(content: str, name: str, title: str) -> SafeString:
    """Ask before something is done: `{% dialog "id" "Title" %}…{% enddialog %}`, opened by `data-dialog="id"` on a link.

    The link leads to a page that asks the same, for browsers without JavaScript.
    """
    return format_html(
        '<dialog class="dialog" id="{0}" aria-labelledby="{0}-title"><h2 id="{0}-title">{1}</h2>{2}</dialog>',
        name, title, content,
    )  # fmt: skip


@register.simple_block_tag
def banner(content: str, tone: str = "info", title: str = "") -> SafeString:
    """Tell what concerns the whole page; tone is info, warn, bad or good."""
    tone = _TONES.get(tone, tone)
    sign = {"good": "check-circle", "warn": "alert", "bad": "alert"}.get(tone, "info")
    said = format_html("<strong>{}</strong> ", title) if title else ""
    return format_html('<div class="notice {}" role="status">{}<div>{}{}</div></div>', tone, icon(sign), said, content)


@register.simple_block_tag
def menu(content: str, label: str, sign: str = "") -> SafeString:
    """Open a list of links and buttons (class `menu-item`) below a button."""
    face = format_html('{}<span class="sr-only">{}</span>', icon(sign), label) if sign else label
    return format_html(
        '<details class="menu"><summary class="button{}">{}</summary><div class="menu-panel">{}</div></details>',
        " quiet small" if sign else "", face, content,
    )  # fmt: skip


@register.simple_block_tag
def filter_bar(content: str, live: str = "") -> SafeString:
    """Frame the fields of a filter: a GET form that sends itself; `live` names the element it replaces (`#results`)."""
    swap = (
        format_html(' hx-get="" hx-target="{0}" hx-select="{0}" hx-swap="outerHTML" hx-push-url="true"', live)
        if live
        else ""
    )
    return format_html(
        '<form class="filters" method="get" role="search" data-filters{}>{}'
        '<button class="button" data-apply>Apply</button></form>',
        swap, content,
    )  # fmt: skip


@register.inclusion_tag("design/components/secret.html")
def secret(value: str, label: str = "API key", *, env: str = "", filename: str = "agentcache.env") -> dict[str, str]:
    """Show a secret this once: to select, to copy, and with `env` to download as a .env file."""
    return {"value": value, "label": label, "env": env, "filename": filename}


@register.inclusion_tag("design/components/snippets.html")
def snippets(items: Iterable[tuple[str, str]], name: str = "snippets") -> dict[str, Any]:
    """Show several ways to do one thing, (label, code) each, as radio tabs that need no script."""
    return {"items": [(label, code.strip("\n")) for label, code in items], "name": name}


@register.simple_tag(takes_context=True)
def filter_chip(context: Mapping[str, Any], name: str, value: str, label: str = "") -> SafeString:
    """Show a filter that holds, as a link that takes it off."""
    return format_html(
        '<a class="chip" href="{}"><span class="sr-only">Remove filter </span>{}: {}{}</a>',
        query_with(context, **{name: None, "page": None}), label or name, value, icon("close", 14),
    )  # fmt: skip


@register.simple_tag(takes_context=True)
def query_with(context: Mapping[str, Any], **changes: object) -> str:
    """Return this page's query with some members changed; an empty value takes one out. Begins with `?`."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value in ("", None):
            query.pop(name, None)
        else:
            query[name] = str(value)
    return f"?{query.urlencode()}"
