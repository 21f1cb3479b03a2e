"""The JSON API of semantic settings, under /api/semantics/settings."""

from __future__ import annotations

from datetime import datetime

from ninja import Router, Schema, Status
from pydantic import ConfigDict, Field

from agentcache.audit.services import Actor
from agentcache.semantics import queries, services
from agentcache.semantics.drafts import SettingsDraft
from agentcache.semantics.models import NamespaceSettings
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.permissions import Permission

router = Router(tags=["Semantic look-ups"])
_READ = TeamAuth(Permission.SEMANTICS_READ)
_MANAGE = TeamAuth(Permission.SEMANTICS_MANAGE)


class SettingsGiven(Schema):
    """How a namespace looks up by meaning. Shares are 0 to 1."""

    model_config = ConfigDict(extra="forbid")

    #: `off`, `shadow` (looks, serves nothing), `safe`, `balanced`, or `custom` with a threshold.
    mode: str
    #: `trees` (the verifier) or `cosine` (one number alone: far less sure).
    verifier: str = "trees"
    #: Least score of a hit, in the mode custom.
    threshold: float | None = None
    #: Share of hits that may be wrong, measured by shadow calls: a target, no guarantee.
    target: float = 0.02
    #: Share of would-be hits that are asked all the same, to be judged.
    shadow_share: float = 0.05
    #: Whether requests with a temperature above 0 take part.
    allows_temperature: bool = False
    #: Whether questions about today, now, prices or weather take part.
    allows_time_bound: bool = False
    #: The revision that was looked at, 0 for none; another one in force is a 409. Null replaces whatever is there.
    based_on: int | None = Field(default=None, ge=0)

    @property
    def draft(self) -> SettingsDraft:
        """What the services take."""
        return SettingsDraft(**self.model_dump(exclude={"based_on"}))


class SettingsShown(Schema):
    """How a namespace looks up by meaning, `*` for every one that has no settings of its own."""

    namespace: str
    mode: str
    verifier: str
    threshold: float | None
    target: float
    shadow_share: float
    allows_temperature: bool
    allows_time_bound: bool
    revision: int
    changed_at: datetime
    #: Mail address of who changed it, or `API key …`.
    changed_by: str

    @classmethod
    def of(cls, row: NamespaceSettings) -> SettingsShown:
        """Show one."""
        return cls(
            namespace=row.namespace,
            revision=row.revision,
            changed_at=row.changed_at,
            changed_by=row.changed_by,
            **SettingsDraft.of(row).as_document(),
        )


@router.get("", auth=_READ, response=list[SettingsShown], operation_id="semantics.settings.list")
def list_settings(request: TeamRequest) -> list[SettingsShown]:
    """Return the settings of the team's namespaces, those of every other one (`*`) first. Without any, all are off."""
    return [SettingsShown.of(row) for row in queries.settings_of(request.team_context.team)]


@router.get("/{namespace}", auth=_READ, response=SettingsShown, operation_id="semantics.settings.get")
def get_settings(request: TeamRequest, namespace: str) -> SettingsShown:
    """Return the settings that a namespace has of its own."""
    return SettingsShown.of(queries.get_settings(request.team_context.team, namespace))


@router.put("/{namespace}", auth=_MANAGE, response=SettingsShown, operation_id="semantics.settings.set")
def set_settings(request: TeamRequest, namespace: str, body: SettingsGiven) -> SettingsShown:
    """Keep settings for a namespace, or for every other one (`*`). For every worker within 5 seconds."""
    row = services.save_settings(
        request.team_context.team, namespace, body.draft, actor=Actor.of(request), based_on=body.based_on
    )
    return SettingsShown.of(row)


@router.delete("/{namespace}", auth=_MANAGE, response={204: None}, operation_id="semantics.settings.remove")
def remove_settings(request: TeamRequest, namespace: str) -> Status[None]:
    """Leave a namespace to the settings of every other one."""
    services.remove_settings(request.team_context.team, namespace, actor=Actor.of(request))
    return Status(204, None)
