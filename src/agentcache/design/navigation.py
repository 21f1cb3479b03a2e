"""What the sidebar leads to. An entry whose address does not exist is left out, as is one the caller may not open."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True, slots=True)
class Entry:
    """One page of the sidebar."""

    label: str
    url_name: str
    icon: str
    #: What the caller needs in the open team; empty for everybody who is signed in.
    permission: str = ""
    #: Pressed after `g`, opens the page.
    key: str = ""
    #: Beginnings of further addresses that belong to it.
    also: tuple[str, ...] = ()


#: Heading and entries; the first section needs no heading.
SECTIONS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "",
        (
            Entry("Overview", "dashboard:overview", "home", "stats.read", "o"),
            Entry("Analytics", "analytics:index", "chart", "stats.read", "a"),
            Entry("Requests", "dashboard:requests", "activity", "requests.read", "r"),
            Entry("Cache", "dashboard:cache", "layers", "cache.read", "c"),
            Entry("Policies", "policies:index", "filter", "policies.read", "p"),
            Entry("Semantic", "semantics:index", "shield", "semantics.read", "s"),
            Entry("Listeners", "listeners:index", "eye", "listeners.read", "w"),
            Entry("Prewarm", "prewarm:batches", "spark", "prewarm.read", "f"),
            Entry("API keys", "dashboard:keys", "key", "keys.read", "k"),
            Entry("Webhooks", "webhooks:index", "send", "webhooks.read", "h"),
            Entry("Jobs", "tasks:index", "bolt", "jobs.read", "j"),
        ),
    ),
    (
        "Team",
        (
            Entry("Members", "teams:members", "team", "members.read", "m", ("/dashboard/team",)),
            Entry("Usage and limits", "quotas:usage", "gauge", "stats.read", "u", ("/dashboard/team/usage",)),
            Entry("Provider credentials", "prewarm:credentials", "lock", "credentials.read", "v"),
            Entry("Audit log", "teams:audit", "list", "audit.read", "l"),
            Entry("Team settings", "teams:settings", "gear", "team.manage", "t", ("/dashboard/team/delete",)),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Link:
    """An entry with its address."""

    label: str
    url: str
    icon: str
    key: str
    is_current: bool


def links(path: str, permissions: Collection[str]) -> list[tuple[str, list[Link]]]:
    """Return the sections that lead somewhere for this caller, with the page marked that `path` lies below."""
    found = {
        entry: url
        for _, entries in SECTIONS
        for entry in entries
        if (not entry.permission or entry.permission in permissions) and (url := _address(entry.url_name)) is not None
    }
    # The longest one: the overview's address is the beginning of all others'.
    begun = [
        (beginning, entry)
        for entry, url in found.items()
        for beginning in (url, *entry.also)
        if path == beginning or path.startswith(f"{beginning}/")
    ]
    _, current = max(begun, key=lambda one: len(one[0]), default=("", None))
    sections = [
        (
            heading,
            [
                Link(entry.label, found[entry], entry.icon, entry.key, entry == current)
                for entry in entries
                if entry in found
            ],
        )
        for heading, entries in SECTIONS
    ]
    return [(heading, entries) for heading, entries in sections if entries]


def _address(url_name: str) -> str | None:
    try:
        return reverse(url_name)
    except NoReverseMatch:
        return None
