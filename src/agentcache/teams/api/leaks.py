"""Reports of keys that were found in the open, from anybody: `POST /api/keys/leaked`."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from agentcache.accounts import client, limits
from agentcache.audit.services import Actor
from agentcache.teams import services
from agentcache.teams.api.schemas import Given
from agentcache.teams.secrets import current_secrets

router = Router(tags=["API keys"])


class FoundKey(Given):
    """A key, and where it was found."""

    api_key: Annotated[str, Field(max_length=200)]
    found_at: Annotated[str, Field(max_length=2000)] = ""


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
