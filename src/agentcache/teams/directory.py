"""The gateway's directory, answered from the control plane's database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from django.utils import timezone

from agentcache.engine.policies import NO_POLICIES, PolicySet
from agentcache.engine.semantic.settings import SemanticSettings
from agentcache.gateway.ports import Principal, Refusal, Scope
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.networks import Networks
from agentcache.settings import Settings
from agentcache.teams import queries, services
from agentcache.teams.models import Team
from agentcache.teams.queries.api_keys import FoundApiKey
from agentcache.teams.secrets import ServerSecrets


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What a team wants of the data plane, as the apps above this one keep it."""

    policies: PolicySet
    keeps_requests: bool
    semantics: Mapping[str, SemanticSettings]


class DjangoDirectory:
    """Implements `gateway.ports.Directory`. Keeps no verdicts: the gateway's authentication does, and says how long."""

    def __init__(
        self,
        settings: Settings,
        secrets: ServerSecrets,
        threads: DatabaseThreads,
        policies_of: Callable[[str], PolicySet] = lambda _team_id: NO_POLICIES,
        keeps_requests: Callable[[str], bool] = lambda _team_id: False,
        semantics_of: Callable[[str], Mapping[str, SemanticSettings]] = lambda _team_id: {},
    ) -> None:
        self._encrypt_entries = settings.encrypt_entries
        self._secrets = secrets
        self._threads = threads
        #: Asked with a team's id, on a thread of the database.
        self._policies_of = policies_of
        self._keeps_requests = keeps_requests
        self._semantics_of = semantics_of

    async def find_principal(self, api_key: str) -> Principal | Refusal | None:
        """Return the principal of a key that works, or why it does not.

        Raises `Unavailable` when the database does not answer within 2 s.
        """
        hashes = self._secrets.possible_hashes(api_key)

        def work() -> tuple[FoundApiKey, _Wishes] | None:
            key = queries.find_api_key(hashes)
            return None if key is None else (key, self._wishes_of(key.row.team_id))

        answer = await self._threads.run(work)
        if answer is None:
            return None
        found, wishes = answer
        now = timezone.now()
        refusal = found.refusal(now)
        if refusal is not None:
            return refusal
        row, former = found.row, found.former
        # Of a former value it is also noted when that one was used: it tells what has not been given the new value yet.
        last_used_at = row.last_used_at if former is None else former.last_used_at
        if last_used_at is None or now - last_used_at > services.USE_NOTED_EVERY:
            former_hash = None if former is None else bytes(former.key_hash)
            touch = partial(services.touch_api_key, row.id, now)
            self._threads.post(touch if former_hash is None else partial(touch, former_hash=former_hash))
        return self._principal(found, wishes)

    def _wishes_of(self, team_id: str) -> _Wishes:
        return _Wishes(self._policies_of(team_id), self._keeps_requests(team_id), self._semantics_of(team_id))

    def _principal(self, found: FoundApiKey, wishes: _Wishes) -> Principal:
        row = found.row
        wrapped = bytes(row.team.wrapped_data_key)
        return Principal(
            tenant=self._secrets.tenant(row.team.id, wrapped, encrypt_entries=self._encrypt_entries),
            api_key_id=row.id,
            scopes=found.scopes(),
            namespace=row.namespace,
            lifetime_seconds=float(row.team.default_lifetime_seconds) if row.team.default_lifetime_seconds else None,
            is_test=row.is_test,
            user_id="" if row.is_shared else str(row.created_by_id or ""),
            networks=Networks.of(row.allowed_networks) if row.allowed_networks else None,
            policies=wishes.policies,
            keeps_requests=wishes.keeps_requests,
            semantics=wishes.semantics,
        )


def team_principal(
    secrets: ServerSecrets,
    team: Team,
    *,
    encrypt_entries: bool,
    policies: PolicySet = NO_POLICIES,
    keeps_requests: bool = False,
) -> Principal:
    """Return a team as the data plane sees it when the server itself works for it: no key's, and no member's."""
    lifetime = team.default_lifetime_seconds
    return Principal(
        tenant=secrets.tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=encrypt_entries),
        api_key_id="",
        scopes=frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE}),
        namespace=team.default_namespace,
        lifetime_seconds=float(lifetime) if lifetime else None,
        policies=policies,
        keeps_requests=keeps_requests,
    )
