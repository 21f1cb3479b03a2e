"""The JSON API of policies."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import ConfigDict, Field

from agentcache.audit.services import Actor
from agentcache.kit.money import usd
from agentcache.policies import queries, services
from agentcache.policies.drafts import MatchDraft, PolicyDraft
from agentcache.policies.dry_run import PolicyResult
from agentcache.policies.models import PolicyVersion
from agentcache.policies.past import Played, play
from agentcache.policies.presets import PRESETS, Preset
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.permissions import Permission

router = Router(tags=["Policies"])
_READ = TeamAuth(Permission.POLICIES_READ)
_MANAGE = TeamAuth(Permission.POLICIES_MANAGE)


class MatchShown(Schema):
    """What a request has to be like: all that is given, and of several values any. Globs take `*`."""

    model_config = ConfigDict(extra="forbid")

    dialects: list[str] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)
    namespaces: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    source_hosts: list[str] = Field(default_factory=list)
    #: Inclusive; a request that names no temperature is in no range.
    temperature_min: float | None = None
    temperature_max: float | None = None
    #: RE2, searched for in the text that the model is asked.
    prompt: str = ""


class PolicyGiven(Schema):
    """A policy to keep. Times are seconds; null leaves to the team's and the server's defaults."""

    model_config = ConfigDict(extra="forbid")

    name: str
    preset: str = ""
    is_on: bool = True
    match: MatchShown = MatchShown()
    #: Whether the cache takes part at all.
    stores: bool = True
    lifetime_seconds: int | None = None
    stale_while_revalidate_seconds: int = 0
    stale_if_error_seconds: int = 0
    #: Whether answers are asked for anew before their lifetime ends, with the provider credentials that the team keeps.
    refreshes_ahead: bool = False
    #: Whether near questions may answer: false never, true as the namespace says and `safe` where that is off, null as it says.
    semantic: bool | None = None
    #: JSON paths left out of the cache key.
    ignore: list[str] = Field(default_factory=list)

    @property
    def draft(self) -> PolicyDraft:
        """What the services take."""
        given = self.model_dump()
        return PolicyDraft(**given | {"match": MatchDraft(**given["match"])})


class PolicyShown(PolicyGiven):
    """A policy as it is kept."""

    id: str

    @classmethod
    def of(cls, draft: PolicyDraft) -> PolicyShown:
        """Show one."""
        return cls(**asdict(draft))


class PoliciesShown(Schema):
    """The policies in force, first match first."""

    #: 0 before the first save.
    version: int
    policies: list[PolicyShown]


class PolicyListed(PolicyGiven):
    """A policy of a list that replaces another; one without an id is new."""

    id: str = ""


class PoliciesGiven(Schema):
    """A list to put in place of the one in force."""

    model_config = ConfigDict(extra="forbid")

    policies: list[PolicyListed]
    note: str = Field(default="", max_length=200)
    #: The version that was looked at; another one in force is a 409. Null replaces whatever is there.
    based_on: int | None = None


class PlaceGiven(Schema):
    """A place in the order; 0 is first."""

    model_config = ConfigDict(extra="forbid")

    place: int


class PresetShown(Schema):
    """A policy to begin with; it matches everything until `match` says more."""

    code: str
    name: str
    text: str
    policy: PolicyGiven

    @classmethod
    def of(cls, preset: Preset) -> PresetShown:
        """Show one."""
        document = preset.draft.as_document()
        del document["id"]
        return cls(code=preset.code, name=preset.name, text=preset.text, policy=PolicyGiven(**document))


class VersionShown(Schema):
    """One save; it never changes."""

    version: int
    note: str
    created_at: datetime
    #: Mail address of who saved it; "" for an API key and for somebody who is gone.
    author: str
    api_key_id: str

    @classmethod
    def of(cls, row: PolicyVersion) -> VersionShown:
        """Show one."""
        return cls(
            version=row.number,
            note=row.note,
            created_at=row.created_at,
            author=row.author.email if row.author is not None else "",
            api_key_id=row.api_key_id,
        )


class WholeVersionShown(VersionShown):
    """One save, with its policies."""

    policies: list[PolicyShown]


class DryRunGiven(Schema):
    """What to play; without policies those in force."""

    model_config = ConfigDict(extra="forbid")

    days: int = 7
    policies: list[PolicyListed] | None = None


class ResultShown(Schema):
    """What would have become of some requests. Money is decimal US dollars; saved is less what refreshes cost."""

    id: str
    name: str
    requests: int
    hits: int
    stale_hits: int
    misses: int
    refreshes: int
    kept_out: int
    served_on_error: int
    past_source_changes: int
    hit_ratio: float | None
    saved_usd: str
    spent_usd: str

    @classmethod
    def of(cls, result: PolicyResult) -> ResultShown:
        """Show one."""
        return cls(
            id=result.id,
            name=result.name,
            requests=result.requests,
            hits=result.hits,
            stale_hits=result.stale_hits,
            misses=result.misses,
            refreshes=result.refreshes,
            kept_out=result.kept_out,
            served_on_error=result.on_error,
            past_source_changes=result.past_changes,
            hit_ratio=result.hit_ratio,
            saved_usd=usd(result.saved_usd_nanos),
            spent_usd=usd(result.spent_usd_nanos),
        )


class DryRunShown(Schema):
    """What policies would have done, what was, and what the figures rest on."""

    since: datetime
    requests: int
    #: Whether older requests were left out.
    is_cut: bool
    source_changes: int
    total: ResultShown
    was: ResultShown
    by_policy: list[ResultShown]
    #: Requests for which a policy asks what their events do not tell (temperature, tags, sources).
    undetermined: int
    #: Policies that look at prompts, which events do not hold: they decided nothing.
    by_prompt: list[str]
    #: Policies with ignored paths: requests that would then be alike count as different.
    with_ignored: list[str]

    @classmethod
    def of(cls, played: Played) -> DryRunShown:
        """Show one."""
        run = played.run
        return cls(
            since=played.since,
            requests=played.requests,
            is_cut=played.is_cut,
            source_changes=played.source_changes,
            total=ResultShown.of(run.total),
            was=ResultShown.of(run.was),
            by_policy=[ResultShown.of(result) for result in run.by_policy],
            undetermined=run.undetermined,
            by_prompt=run.by_prompt,
            with_ignored=run.with_ignored,
        )


@router.get("", auth=_READ, response=PoliciesShown, operation_id="policies.list")
def list_policies(request: TeamRequest) -> PoliciesShown:
    """Return the team's policies in force, first match first."""
    return _shown(request)


@router.put("", auth=_MANAGE, response=PoliciesShown, operation_id="policies.replace")
def replace_policies(request: TeamRequest, body: PoliciesGiven) -> PoliciesShown:
    """Put a whole list in place of the one in force. For every worker within 5 seconds."""
    services.save_all(
        request.team_context.team,
        [_listed(one) for one in body.policies],
        actor=Actor.of(request),
        note=body.note,
        based_on=body.based_on,
    )
    return _shown(request)


@router.post("", auth=_MANAGE, response={201: PolicyShown}, operation_id="policies.add")
def add_policy(request: TeamRequest, body: PolicyGiven, place: int | None = None) -> Status[PolicyShown]:
    """Add a policy at a place in the order (0 is first), or at the end."""
    kept = services.add_policy(request.team_context.team, body.draft, actor=Actor.of(request), place=place)
    return Status(201, PolicyShown.of(kept))


@router.get("/presets", auth=_READ, response=list[PresetShown], operation_id="policies.presets")
def list_presets(request: HttpRequest) -> list[PresetShown]:
    """Return policies to begin with."""
    return [PresetShown.of(preset) for preset in PRESETS.values()]


@router.post("/dry-run", auth=_READ, response=DryRunShown, operation_id="policies.dryRun")
def dry_run(request: TeamRequest, body: DryRunGiven) -> DryRunShown:
    """Say what policies would have done to the requests of the last days. Changes nothing."""
    team = request.team_context.team
    drafts = queries.current_policies(team).drafts if body.policies is None else [_listed(one) for one in body.policies]
    return DryRunShown.of(play(team, drafts, body.days, datetime.now(UTC)))


@router.get("/versions", auth=_READ, response=list[VersionShown], operation_id="policies.versions")
def list_versions(request: TeamRequest, before: int | None = None) -> list[VersionShown]:
    """Return the saves, newest first, 50 at a time; `before` a version continues the list."""
    return [VersionShown.of(row) for row in queries.list_versions(request.team_context.team, before=before)]


@router.get("/versions/{version}", auth=_READ, response=WholeVersionShown, operation_id="policies.getVersion")
def get_version(request: TeamRequest, version: int) -> WholeVersionShown:
    """Return one save with its policies."""
    row = queries.get_version(request.team_context.team, version)
    policies = [PolicyShown.of(draft) for draft in queries.drafts_of(row)]
    return WholeVersionShown(**VersionShown.of(row).model_dump(), policies=policies)


@router.post(
    "/versions/{version}/restore", auth=_MANAGE, response=PoliciesShown, operation_id="policies.restoreVersion"
)
def restore_version(request: TeamRequest, version: int) -> PoliciesShown:
    """Put an earlier version's policies in force again, as a new version."""
    services.restore_version(request.team_context.team, version, actor=Actor.of(request))
    return _shown(request)


@router.get("/{policy_id}", auth=_READ, response=PolicyShown, operation_id="policies.get")
def get_policy(request: TeamRequest, policy_id: str) -> PolicyShown:
    """Return one policy."""
    return PolicyShown.of(queries.get_policy(request.team_context.team, policy_id))


@router.put("/{policy_id}", auth=_MANAGE, response=PolicyShown, operation_id="policies.change")
def change_policy(request: TeamRequest, policy_id: str, body: PolicyGiven) -> PolicyShown:
    """Put another policy in its place."""
    kept = services.change_policy(request.team_context.team, policy_id, body.draft, actor=Actor.of(request))
    return PolicyShown.of(kept)


@router.delete("/{policy_id}", auth=_MANAGE, response={204: None}, operation_id="policies.remove")
def remove_policy(request: TeamRequest, policy_id: str) -> Status[None]:
    """Take a policy away."""
    services.remove_policy(request.team_context.team, policy_id, actor=Actor.of(request))
    return Status(204, None)


@router.post("/{policy_id}/move", auth=_MANAGE, response=PoliciesShown, operation_id="policies.move")
def move_policy(request: TeamRequest, policy_id: str, body: PlaceGiven) -> PoliciesShown:
    """Put a policy at another place in the order."""
    services.move_policy(request.team_context.team, policy_id, body.place, actor=Actor.of(request))
    return _shown(request)


def _shown(request: TeamRequest) -> PoliciesShown:
    current = queries.current_policies(request.team_context.team)
    return PoliciesShown(version=current.version, policies=[PolicyShown.of(draft) for draft in current.drafts])


def _listed(one: PolicyListed) -> PolicyDraft:
    given = one.model_dump()
    return PolicyDraft(**given | {"match": MatchDraft(**given["match"])})
