"""The gateway's directory, answered from the control plane's database."""

from __future__ import annotations

from functools import partial

from django.utils import timezone

from agentcache.gateway.ports import Principal, Scope
from agentcache.jobs.database import DatabaseThreads
from agentcache.settings import Settings
from agentcache.teams import queries, services
from agentcache.teams.models import ApiKey
from agentcache.teams.secrets import ServerSecrets

_SCOPES = {scope.value: scope for scope in Scope}


class DjangoDirectory:
    """Implements `gateway.ports.Directory`. Keeps no verdicts: the gateway's authentication does, and says how long."""

    def __init__(self, settings: Settings, secrets: ServerSecrets, threads: DatabaseThreads) -> None:
        self._encrypt_entries = settings.encrypt_entries
        self._secrets = secrets
        self._threads = threads

    async def find_principal(self, api_key: str) -> Principal | None:
        """Return the principal of a live key. Raises `Unavailable` when the database does not answer within 2 s."""
        row = await self._threads.run(partial(queries.find_live_api_key, self._secrets.possible_hashes(api_key)))
        if row is None:
            return None
        now = timezone.now()
        if row.last_used_at is None or now - row.last_used_at > services.USE_NOTED_EVERY:
            self._threads.post(partial(services.touch_api_key, row.id, now))
        return self._principal(row)

    def _principal(self, row: ApiKey) -> Principal:
        wrapped = bytes(row.team.wrapped_data_key)
        return Principal(
            tenant=self._secrets.tenant(row.team.id, wrapped, encrypt_entries=self._encrypt_entries),
            api_key_id=row.id,
            # A scope that a newer release wrote means nothing here, and must not grant or break anything.
            scopes=frozenset(_SCOPES[scope] for scope in row.scopes if scope in _SCOPES),
            namespace=row.namespace,
            is_test=row.is_test,
        )
