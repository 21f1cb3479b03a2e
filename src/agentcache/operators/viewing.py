"""What a session says of an operator who views the product as somebody else."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.http import HttpRequest

from agentcache.accounts.models import User
from agentcache.audit.services import IMPERSONATOR_SESSION_KEY

VIEWED_USER = "viewed_user_id"
#: Unix seconds.
VIEWING_UNTIL = "viewing_until"


@dataclass(frozen=True, slots=True)
class Viewing:
    """Who views as whom; without a user it has to end."""

    operator_id: str
    operator_email: str
    user_id: str
    user_email: str
    user: User | None
    operator: User | None
    #: Why it has to end now; empty while it may go on.
    over: str


def find_viewing(request: HttpRequest) -> Viewing | None:
    """Return what the session says, held against the database; None for everybody who is just themselves."""
    operator_id = request.session.get(IMPERSONATOR_SESSION_KEY)
    if not operator_id:
        return None
    user_id = str(request.session.get(VIEWED_USER, ""))
    until = request.session.get(VIEWING_UNTIL, 0)
    found = {user.pk: user for user in User.objects.filter(pk__in=[operator_id, user_id])}
    operator, user = found.get(operator_id), found.get(user_id)
    over = ""
    if operator is None or not operator.is_staff or not operator.is_active:
        over = "no operator any more"
    elif user is None or not user.is_active or user.is_staff:
        over = "account not to be viewed any more"
    elif time.time() >= until:
        over = "time"
    return Viewing(
        operator_id=str(operator_id),
        operator_email=operator.email if operator is not None else "",
        user_id=user_id,
        user_email=user.email if user is not None else "",
        user=user,
        operator=operator,
        over=over,
    )
