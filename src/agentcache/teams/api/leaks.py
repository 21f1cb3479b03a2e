"""Reports of keys that were found in the open, from anybody: `POST /api/keys/leaked`."""

from __future__ import annotations

from typing import Annotated, Literal

from django.conf import settings as django_conf
from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from agentcache.accounts import client, limits
from agentcache.audit.services import Actor
from agentcache.kit.errors import NotFound
from agentcache.teams import services
from agentcache.teams.api.schemas import Given
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import github_alerts

router = Router(tags=["API keys"])


class FoundKey(Given):
    """A key, and where it was found."""

    api_key: Annotated[str, Field(max_length=200)]
    found_at: Annotated[str, Field(max_length=2000)] = ""


class Feedback(Schema):
    """What GitHub wants to know of each alert."""

    token_raw: str
    token_type: str
    #: `true_positive` for a key of ours, whether it had ended before or not.
    label: Literal["true_positive", "false_positive"]


class Received(Schema):
    """The same for every report: it tells nobody whether there is such a key."""

    status: str = "received"


# Public: whoever holds a key's whole value can use it, so anybody may end it. The limit bounds what guessing costs us.
@router.post("/leaked", auth=None, response={202: Received}, operation_id="keys.leaked")
def report_leaked_key(request: HttpRequest, body: FoundKey) -> Status[Received]:
    """Have a key that was found in the open ended at once; its team's admins are told where it was."""
    limits.take(limits.Door.KEY_LEAK, address=client.address(request))
    services.revoke_leaked_key(current_secrets(), body.api_key.strip(), body.found_at, actor=Actor.of(request))
    return Status(202, Received())


# Public: GitHub's signature is the guard. Who cannot sign is held to the same limit as everybody who reports keys.
@router.post("/leaked/github", auth=None, response={200: list[Feedback]}, operation_id="keys.leakedOnGithub")
def take_github_alerts(request: HttpRequest) -> list[Feedback]:
    """Take alerts of GitHub's secret scanning: keys of ours end at once, and the answer says which were ours."""
    keys = github_alerts.signing_keys(django_conf.AGENTCACHE)  # type: ignore[misc]  # put there by `web.project`
    if keys is None:
        raise NotFound
    identifier = request.headers.get("Github-Public-Key-Identifier", "")
    signature = request.headers.get("Github-Public-Key-Signature", "")
    try:
        keys.verify(request.body, identifier, signature)
    except github_alerts.AlertNotSigned:
        limits.take(limits.Door.KEY_LEAK, address=client.address(request))
        raise
    verdicts = github_alerts.handle_alerts(current_secrets(), request.body, actor=Actor.of(request))
    return [
        Feedback(
            token_raw=verdict.alert.token,
            token_type=verdict.alert.type,
            label="true_positive" if verdict.is_ours else "false_positive",
        )
        for verdict in verdicts
    ]
