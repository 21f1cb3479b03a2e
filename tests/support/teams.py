"""People and teams for tests."""

from __future__ import annotations

import re
from typing import Any

from agentcache.accounts.models import User
from agentcache.mails.models import Mail
from agentcache.mails.services import body_of
from agentcache.teams.models import Membership, Role, Team
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import create_team

PASSWORD = "correct horse battery staple"


def make_user(email: str, **fields: Any) -> User:
    """Make a user with a verified address, who has no password."""
    from allauth.account.models import EmailAddress

    user = User(email=email, **fields)
    user.set_unusable_password()
    user.save()
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def make_team(name: str = "Blue Whales") -> Team:
    """Make a team without members."""
    return create_team(current_secrets(), name)


def join(team: Team, who: User | str, role: str = Role.MEMBER, **marks: bool) -> Membership:
    """Put somebody into a team; `owner` is a role here, too."""
    user = make_user(who) if isinstance(who, str) else who
    if role == "owner":
        role, marks = Role.ADMIN, {"is_owner": True, "has_billing": True, **marks}
    return Membership.objects.create(team=team, user=user, role=role, **marks)


def mails_of(template: str) -> list[Mail]:
    """Return the mails queued from a template, oldest first."""
    return list(Mail.objects.filter(template=template).order_by("id"))


def invitation_token(to: str) -> str:
    """Return the token of the link that was mailed last to an address."""
    mail = Mail.objects.filter(template="team-invitation", to=to).order_by("id").last()
    assert mail is not None
    body = body_of(mail)
    assert body is not None
    found = re.search(r"/invite/([\w-]+)", body.text)
    assert found is not None
    assert found[0] in body.html
    return found[1]
