"""Asking again what an invalidation has made unusable: as a batch that people can watch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agentcache.audit.services import Actor
from agentcache.engine.entries import Selector
from agentcache.gateway.ports import AskedAgain
from agentcache.kit.errors import AgentCacheError
from agentcache.prewarm.errors import CredentialMissing, NothingToPrewarm, RequestsNotKept
from agentcache.prewarm.given import Options
from agentcache.prewarm.models import Keeping, KeptRequest, ProviderCredential
from agentcache.prewarm.services.batches import start_batch
from agentcache.prewarm.services.keeping import meant, opened
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of


def askable(team: Team, selectors: Sequence[Selector], at: datetime, limit: int) -> list[int]:
    """Return the ids of the kept requests that would be asked again, the newest first.

    Raises `RequestsNotKept`, `NothingToPrewarm` when none fits, `CredentialMissing` when none of their providers can be asked.
    """
    if not rows_of(team, Keeping).exists():
        raise RequestsNotKept
    ids = meant(team, selectors, at)
    if not ids:
        raise NothingToPrewarm
    providers = list(rows_of(team, ProviderCredential).values_list("provider", flat=True))
    able = set(rows_of(team, KeptRequest).filter(provider__in=providers).values_list("pk", flat=True))
    ids = [row_id for row_id in ids if row_id in able]
    if not ids:
        raise CredentialMissing
    return ids[:limit]


def would_ask(team: Team, selectors: Sequence[Selector], at: datetime, limit: int) -> AskedAgain:
    """Say what `ask_again` would do now."""
    try:
        return AskedAgain(len(askable(team, selectors, at, limit)))
    except AgentCacheError as error:
        return AskedAgain(problem=error.code, detail=error.message)


def ask_again(
    secrets: ServerSecrets,
    team: Team,
    selectors: Sequence[Selector],
    at: datetime,
    options: Options,
    *,
    limit: int,
    actor: Actor,
) -> AskedAgain:
    """Start a batch of the kept requests whose answers a selector meant at a time.

    What speaks against it is told and not raised: what was invalidated is invalidated.
    """
    try:
        requests = opened(secrets, team, askable(team, selectors, at, limit))
        batch = start_batch(secrets, team, requests, options, actor=actor)
    except AgentCacheError as error:
        return AskedAgain(problem=error.code, detail=error.message)
    return AskedAgain(batch.total, batch.task_id)
