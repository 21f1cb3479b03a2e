"""API keys: list, make, look at, change, rotate, reset, revoke; under /api/keys."""

from __future__ import annotations

from datetime import datetime, timedelta

from ninja import Query, Router, Schema, Status
from pydantic import AwareDatetime, Field

from agentcache.teams import queries, services
from agentcache.teams.access import TeamAuth, TeamRequest, key_manager
from agentcache.teams.api.schemas import Given
from agentcache.teams.errors import ApiKeyNotFound
from agentcache.teams.models import ApiKey
from agentcache.teams.paging import PageAsked
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import CreatedApiKey, KeyChanges, read_scopes

router = Router(tags=["API keys"])

_READ = TeamAuth(Permission.KEYS_READ)
_MANAGE = TeamAuth(Permission.KEYS_MANAGE, fresh=True)


class NewKey(Given):
    """A key to be made; what is left out is the usual."""

    name: str
    #: Default: cache:read, cache:write and stats:read, as far as the caller may.
    scopes: list[str] | None = None
    is_test: bool = False
    #: Whether it belongs to the team rather than to the member who makes it.
    is_shared: bool = False
    namespace: str = ""
    expires_at: AwareDatetime | None = None
    allowed_networks: list[str] = Field(default_factory=list)


class KeyEdits(Given):
    """What is to be changed; what is left out stays, and `expires_at: null` takes the expiry away."""

    name: str | None = None
    scopes: list[str] | None = None
    is_shared: bool | None = None
    namespace: str | None = None
    expires_at: AwareDatetime | None = None
    allowed_networks: list[str] | None = None


class Rotation(Given):
    """How long the former value goes on working; 0 ends it at once."""

    overlap_hours: float = 24


class ApiKeyShown(Schema):
    """A key as it can be shown again and again."""

    id: str
    name: str
    display: str
    state: str
    scopes: list[str]
    is_test: bool
    is_shared: bool
    namespace: str
    allowed_networks: list[str]
    created_at: datetime
    created_by_user_id: str | None
    created_by_api_key_id: str | None
    expires_at: datetime | None
    rotated_at: datetime | None
    revoked_at: datetime | None
    revoked_because: str
    #: To the minute.
    last_used_at: datetime | None

    @classmethod
    def of(cls, row: ApiKey, rotating: frozenset[str]) -> ApiKeyShown:
        """Show a key."""
        plain = (
            "name display is_test is_shared namespace allowed_networks created_at expires_at rotated_at revoked_at "
            "revoked_because last_used_at scopes"
        ).split()
        return cls(
            id=row.pk,
            state=queries.key_state(row, rotating),
            created_by_user_id=None if row.created_by_id is None else str(row.created_by_id),
            created_by_api_key_id=row.created_by_key_id,
            **{name: getattr(row, name) for name in plain},
        )


class KeyWithValue(Schema):
    """A key with its value, which is shown this once."""

    api_key: str
    key: ApiKeyShown


class KeysShown(Schema):
    """A page of a team's keys, those that have ended too; `cursor` continues it and is empty at the end."""

    keys: list[ApiKeyShown]
    cursor: str


@router.get("", auth=_READ, response=KeysShown, operation_id="keys.list")
def list_keys(request: TeamRequest, query: Query[PageAsked]) -> KeysShown:
    """Return the team's keys, masked, newest first."""
    team = request.team_context.team
    rotating = queries.rotating_keys(team)
    page = queries.page_of_api_keys(team, cursor=query.cursor, limit=query.limit)
    return KeysShown(keys=[ApiKeyShown.of(row, rotating) for row in page.rows], cursor=page.next_cursor)


@router.post("", auth=_MANAGE, response={201: KeyWithValue}, operation_id="keys.create")
def create_key(request: TeamRequest, body: NewKey) -> Status[KeyWithValue]:
    """Make a key; nobody can give more than they may do themselves."""
    by = key_manager(request)
    scopes = services.DEFAULT_SCOPES & by.grantable if body.scopes is None else read_scopes(body.scopes)
    given = body.model_dump(exclude={"scopes", "name"})
    created = services.create_api_key(
        current_secrets(), request.team_context.team, body.name, scopes=scopes, by=by, **given
    )
    return Status(201, _with_value(request, created))


@router.get("/{api_key_id}", auth=_READ, response=ApiKeyShown, operation_id="keys.show")
def show_key(request: TeamRequest, api_key_id: str) -> ApiKeyShown:
    """Return one key, masked."""
    return _shown(request, api_key_id)


@router.patch("/{api_key_id}", auth=_MANAGE, response=ApiKeyShown, operation_id="keys.change")
def change_key(request: TeamRequest, api_key_id: str, body: KeyEdits) -> ApiKeyShown:
    """Change what a key may do and where; effective within 5 seconds."""
    given = body.model_dump(exclude={"scopes"})
    changes = KeyChanges(
        scopes=None if body.scopes is None else read_scopes(body.scopes),
        never_expires="expires_at" in body.model_fields_set and body.expires_at is None,
        **given,
    )
    services.change_api_key(request.team_context.team, api_key_id, changes, by=key_manager(request))
    return _shown(request, api_key_id)


@router.post("/{api_key_id}/rotate", auth=_MANAGE, response=KeyWithValue, operation_id="keys.rotate")
def rotate_key(request: TeamRequest, api_key_id: str, body: Rotation) -> KeyWithValue:
    """Give a key a new value; the former one works for the overlap, and then answers `rotated_key`."""
    overlap = timedelta(hours=min(max(body.overlap_hours, -1.0), 1e5))
    created = services.rotate_api_key(
        current_secrets(), request.team_context.team, api_key_id, overlap=overlap, by=key_manager(request)
    )
    return _with_value(request, created)


@router.post("/{api_key_id}/reset", auth=_MANAGE, response=KeyWithValue, operation_id="keys.reset")
def reset_key(request: TeamRequest, api_key_id: str) -> KeyWithValue:
    """Give a key a new value and end every former one at once."""
    team = request.team_context.team
    return _with_value(request, services.reset_api_key(current_secrets(), team, api_key_id, by=key_manager(request)))


@router.post("/{api_key_id}/revoke", auth=_MANAGE, response=ApiKeyShown, operation_id="keys.revoke")
def revoke_key(request: TeamRequest, api_key_id: str) -> ApiKeyShown:
    """End a key for good; every worker refuses it within 5 seconds."""
    services.revoke_api_key(request.team_context.team, api_key_id, by=key_manager(request))
    return _shown(request, api_key_id)


def _shown(request: TeamRequest, api_key_id: str) -> ApiKeyShown:
    team = request.team_context.team
    row = queries.get_api_key(team, api_key_id)
    if row is None:
        raise ApiKeyNotFound(param="api_key_id")
    return ApiKeyShown.of(row, queries.rotating_keys(team))


def _with_value(request: TeamRequest, created: CreatedApiKey) -> KeyWithValue:
    return KeyWithValue(api_key=created.api_key, key=_shown(request, created.row.pk))
