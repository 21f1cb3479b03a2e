"""How many people a team may have. Plans are decided above teams; `TEAM_SEATS` in Django's settings names who knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings as django_conf
from django.utils.module_loading import import_string

from agentcache.teams.errors import NoSeatLeft
from agentcache.teams.models import Team


@dataclass(frozen=True, slots=True)
class Seats:
    """What a plan allows."""

    plan: str
    #: None for any number.
    most: int | None


def seats_of(team: Team) -> Seats:
    """Return how many seats the team's plan has."""
    ask: Callable[[Team], Seats] = import_string(django_conf.TEAM_SEATS)  # type: ignore[misc]  # put there by web.project
    return ask(team)


def require_seat_to_invite(team: Team, *, taken: int) -> None:
    """Raise `NoSeatLeft` unless `taken` people fit, whoever is to be invited among them. To be called inside `locked`."""
    seats = seats_of(team)
    if seats.most is not None and taken > seats.most:
        raise NoSeatLeft(
            f"All {seats.most} seats of the plan {seats.plan} are taken; open invitations take one each. Take an invitation "
            "back, remove a member, or ask for another plan.",
            param="email",
        )


def require_seat_to_join(team: Team, *, members: int) -> None:
    """Raise `NoSeatLeft` unless one more than `members` fits."""
    seats = seats_of(team)
    if seats.most is not None and members >= seats.most:
        raise NoSeatLeft(
            f"{team.name} has no seat left: its plan {seats.plan} has {seats.most}. The invitation stays open; use the link again "
            "once an admin has made room."
        )
