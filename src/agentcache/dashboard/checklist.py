"""The steps of beginning: done by what happened, never by a click. Shown on the overview until all are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.conf import settings as django_conf
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from agentcache.accounts.access import user_of
from agentcache.accounts.models import User
from agentcache.accounts.queries import has_verified_email
from agentcache.analytics import queries as usage
from agentcache.analytics.definitions import HITS
from agentcache.dashboard import services
from agentcache.dashboard.entry_access import entry_access, tenant_of
from agentcache.dashboard.models import ChecklistChoice, ChecklistStep
from agentcache.engine.entries import Selector
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.ports import Outcome
from agentcache.quotas.models import Limit
from agentcache.settings import Settings
from agentcache.teams.access import TeamContext, TeamRequest, team_page
from agentcache.teams.models import ApiKey, Invitation, Membership, Team
from agentcache.teams.permissions import Permission
from agentcache.teams.tenancy import rows_of

#: Of the newest entries so many are looked at for tags and lifetimes.
_ENTRIES_LOOKED_AT: Final = 50
_ASKED: Final = frozenset(Outcome) - {Outcome.REFUSED}


class Step(StrEnum):
    """What there is to do, in this order."""

    VERIFY_EMAIL = "verify_email"
    CREATE_KEY = "create_key"
    FIRST_REQUEST = "first_request"
    FIRST_HIT = "first_hit"
    LIFETIME_OR_TAG = "lifetime_or_tag"
    INVITE = "invite"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Item:
    """One step as it is shown."""

    title: str
    text: str
    is_done: bool
    #: Where it is done; empty for those who may not.
    href: str


@dataclass(frozen=True, slots=True)
class Checklist:
    """All steps, and whether this member sees them."""

    items: tuple[Item, ...]
    is_shown: bool

    @property
    def done(self) -> int:
        """How many steps are taken."""
        return sum(item.is_done for item in self.items)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left."""
        return self.done == len(self.items)


#: Step -> title, text, name of the page where it is done, and what that needs.
_SHOWN: Final[Mapping[Step, tuple[str, str, str, Permission | None]]] = {
    Step.VERIFY_EMAIL: ("Confirm your mail address", "By the link that was mailed to you.", "accounts:email", None),
    Step.CREATE_KEY: ("Create an API key", "One for each program.", "dashboard:key-new", Permission.KEYS_MANAGE),
    Step.FIRST_REQUEST: ("Make the first request", "Change one base URL, or paste a call.", "docs:base-url", None),
    Step.FIRST_HIT: ("Get the first hit", "Ask the same again.", "docs:first-hit", None),
    Step.LIFETIME_OR_TAG: (
        "Set a lifetime or a tag", "By a header of a request, or for the team.", "teams:settings", Permission.TEAM_MANAGE,
    ),
    Step.INVITE: ("Invite a teammate", "Roles say who may do what.", "teams:invite", Permission.MEMBERS_MANAGE),
    Step.LIMIT: ("Set a limit or a budget", "For the team, a member, a key or an agent.", "quotas:usage", Permission.TEAM_MANAGE),
}  # fmt: skip
#: Pages of the manual, which lies in a layer above.
_MANUAL: Final = {
    "docs:base-url": "/docs/how-to/change-your-base-url", "docs:first-hit": "/docs/tutorials/first-hit",
}  # fmt: skip


def checklist_of(user: User, context: TeamContext) -> Checklist:
    """Return the steps for a member, after asking about those that were not taken yet."""
    team = context.team
    done = set(rows_of(team, ChecklistStep).values_list("step", flat=True))
    new = [step for step, is_taken in _TAKEN.items() if step not in done and is_taken(team)]
    services.note_steps(team, new)
    done |= set(new)
    if has_verified_email(user):
        done.add(Step.VERIFY_EMAIL)
    items = tuple(_item(step, context, is_done=step in done) for step in Step)
    choice = rows_of(team, ChecklistChoice).filter(user=user).values_list("is_shown", flat=True).first()
    return Checklist(items, any(not item.is_done for item in items) if choice is None else choice)


@require_POST
@team_page(Permission.STATS_READ)
def choose(request: TeamRequest) -> HttpResponse:
    """Put the checklist away, or bring it back (`shown` is on or off)."""
    # An operator who looks on leaves the user's pages as they are.
    if getattr(request, "impersonator", None) is None:
        is_shown = request.POST.get("shown") == "on"
        services.choose_checklist(user_of(request), request.team_context.team, is_shown=is_shown)
    return redirect("dashboard:overview")


def _item(step: Step, context: TeamContext, *, is_done: bool) -> Item:
    title, text, page, permission = _SHOWN[step]
    may = permission is None or context.may(permission)
    return Item(title, text, is_done, (_MANUAL.get(page) or reverse(page)) if may and not is_done else "")


def _has_lifetime_or_tag(team: Team) -> bool:
    if team.default_lifetime_seconds is not None:
        return True
    # Without a request there is no entry, and the store need not be opened.
    if not usage.has_ended_so(team, _ASKED):
        return False
    default = _settings().default_ttl_seconds
    try:
        page = entry_access().call(
            lambda store: store.list_entries(tenant_of(team), Selector(), limit=_ENTRIES_LOOKED_AT)
        )
    except StoreUnavailable:
        return False
    return any(one.meta.tags or one.meta.lifetime_seconds != default for one in page.rows)


#: Step of a team -> whether it was taken, by what is kept.
_TAKEN: Final[Mapping[Step, Callable[[Team], bool]]] = {
    Step.CREATE_KEY: lambda team: rows_of(team, ApiKey).exists(),
    Step.FIRST_REQUEST: lambda team: usage.has_ended_so(team, _ASKED),
    Step.FIRST_HIT: lambda team: usage.has_ended_so(team, HITS),
    Step.LIFETIME_OR_TAG: _has_lifetime_or_tag,
    Step.INVITE: lambda team: rows_of(team, Invitation).exists() or rows_of(team, Membership).count() > 1,
    Step.LIMIT: lambda team: rows_of(team, Limit).exists(),
}


def _settings() -> Settings:
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings
