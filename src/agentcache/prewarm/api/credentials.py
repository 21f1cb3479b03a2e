"""The JSON API of provider credentials, under /api/credentials. None of them returns a credential."""

from __future__ import annotations

from datetime import datetime

from ninja import Router, Schema, Status

from agentcache.audit.services import Actor
from agentcache.prewarm import queries, services
from agentcache.prewarm.models import ProviderCredential
from agentcache.prewarm.probing import find_dialect
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets, current_settings

router = Router(tags=["Provider credentials"])


class CredentialShown(Schema):
    """A kept credential, of which only the last four characters are shown."""

    provider: str
    last_four: str
    set_by: str
    set_at: datetime
    #: `works`, `refused`, `unreachable`, `unclear`, or "" before the first test.
    probe_outcome: str
    #: HTTP status of the last test; null when there was no answer.
    probe_status: int | None
    probed_at: datetime | None

    @classmethod
    def of(cls, row: ProviderCredential) -> CredentialShown:
        """Show one."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class CredentialsShown(Schema):
    """The team's credentials, by provider."""

    credentials: list[CredentialShown]


class CredentialGiven(Schema):
    """A credential to keep."""

    credential: str


@router.get("", auth=TeamAuth(Permission.CREDENTIALS_READ), response=CredentialsShown, operation_id="credentials.list")
def list_credentials(request: TeamRequest) -> CredentialsShown:
    """Return for which providers the team keeps a credential."""
    rows = queries.credentials_of(request.team_context.team)
    return CredentialsShown(credentials=[CredentialShown.of(row) for row in rows])


@router.put(
    "/{provider}",
    auth=TeamAuth(Permission.CREDENTIALS_MANAGE, fresh=True),
    response=CredentialShown,
    operation_id="credentials.keep",
)
def keep_credential(request: TeamRequest, provider: str, body: CredentialGiven) -> CredentialShown:
    """Test a credential at its provider, and keep it in place of the former one. It is never shown again."""
    row = services.keep_credential(
        current_secrets(),
        request.team_context.team,
        find_dialect(current_settings(), provider),
        body.credential,
        actor=Actor.of(request),
    )
    return CredentialShown.of(row)


@router.post(
    "/{provider}/test",
    auth=TeamAuth(Permission.CREDENTIALS_MANAGE),
    response=CredentialShown,
    operation_id="credentials.test",
)
def test_credential(request: TeamRequest, provider: str) -> CredentialShown:
    """Ask the provider whether it still takes the kept credential."""
    dialect = find_dialect(current_settings(), provider)
    row = services.test_credential(current_secrets(), request.team_context.team, dialect, actor=Actor.of(request))
    return CredentialShown.of(row)


@router.delete(
    "/{provider}",
    auth=TeamAuth(Permission.CREDENTIALS_MANAGE),
    response={204: None},
    operation_id="credentials.delete",
)
def delete_credential(request: TeamRequest, provider: str) -> Status[None]:
    """Delete a credential; prewarming at this provider fails from now on."""
    services.delete_credential(request.team_context.team, provider, actor=Actor.of(request))
    return Status(204, None)
