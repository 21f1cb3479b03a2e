"""What is delivered for a team later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from agentcache.engine.entries import Selector, Tenant
from agentcache.engine.semantic.index.port import NeighbourIndex
from agentcache.engine.stores.port import EntryStore
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import GiveUp
from agentcache.kit.clock import Clock
from agentcache.kit.egress.guarded import EgressFailed, GuardedClient
from agentcache.kit.egress.target import InvalidTarget
from agentcache.kit.errors import UpstreamUnreachable
from agentcache.kit.logs import get_logger
from agentcache.kit.webhook_signing import signed_headers
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets

#: Remove every cached entry of the team `payload["team_id"]`.
PURGE_TEAM = "teams.purge"

_GONE = 410
_log = get_logger(__name__)


class WebhookRefused(UpstreamUnreachable):
    """The receiver of a webhook did not accept it."""

    code = "webhook_refused"


#: How long a replaced signing key goes on signing beside the new one, so that receivers can be changed one by one.
WEBHOOK_KEY_OVERLAP = timedelta(hours=24)


class WebhookDelivery:
    """Does jobs of `gateway.ports.DELIVER_WEBHOOK`: one POST, signed with the team's key per Standard Webhooks."""

    def __init__(self, threads: DatabaseThreads, secrets: ServerSecrets, client: GuardedClient, clock: Clock) -> None:
        self._threads = threads
        self._secrets = secrets
        self._client = client
        self._clock = clock

    async def __call__(self, payload: dict[str, object]) -> None:
        """Deliver; raises `WebhookRefused` when the receiver may accept it later, `GiveUp` when it never will."""
        tenant_id, url, body, message_id = _members(payload)
        team = await self._threads.run(partial(Team.objects.filter(pk=tenant_id).first))
        if team is None:
            raise GiveUp("The team is gone.")
        now = self._clock.now()
        timestamp = str(int(now))
        keys = signing_keys(self._secrets, team, datetime.fromtimestamp(now, UTC))
        headers = signed_headers(keys, message_id, timestamp, body)
        try:
            response = await self._client.request("POST", url, headers, body.encode())
        except InvalidTarget as error:
            raise GiveUp("The address of the webhook cannot be used.") from error
        except EgressFailed as error:
            _log.info("webhook_not_delivered", team_id=team.pk, webhook_id=message_id, reason=error.reason)
            raise WebhookRefused from error
        _judge(response.status)


def signing_keys(secrets: ServerSecrets, team: Team, now: datetime) -> list[bytes]:
    """Return the keys that sign a team's webhooks, the present one first; a replaced one signs for a day along with it."""
    number, since = team.webhook_key_number, team.webhook_key_since
    numbers = [number]
    if number and since is not None and now - since < WEBHOOK_KEY_OVERLAP:
        numbers.append(number - 1)
    return [secrets.webhook_signing_key(team.pk, bytes(team.wrapped_data_key), one) for one in numbers]


def _judge(status: int) -> None:
    if 200 <= status < 300:
        return
    if status == _GONE:
        raise GiveUp("The receiver wants no more of these.")
    raise WebhookRefused(f"The receiver answered {status}.")


def _members(payload: dict[str, object]) -> tuple[str, str, str, str]:
    members = tuple(payload.get(name) for name in ("tenant_id", "url", "body", "message_id"))
    if not all(isinstance(member, str) for member in members):
        raise GiveUp("The job lacks members.")
    tenant_id, url, body, message_id = map(str, members)
    return tenant_id, url, body, message_id


class TeamPurge:
    """Does jobs of `PURGE_TEAM`: removes every cached entry, and every question in the index, of a team that is gone."""

    def __init__(self, threads: DatabaseThreads, entries: EntryStore, index: NeighbourIndex) -> None:
        self._threads = threads
        self._entries = entries
        self._index = index

    async def __call__(self, payload: dict[str, object]) -> None:
        """Remove them; raises `GiveUp` while the team is there."""
        team_id = payload.get("team_id")
        if not isinstance(team_id, str) or not team_id:
            raise GiveUp("The job lacks members.")
        if await self._threads.run(partial(Team.objects.filter(pk=team_id).exists)):
            raise GiveUp("The team is still there.")
        # Its secrets went with it; removing needs none.
        tenant = Tenant(id=team_id, key_secret=b"")
        removed = await self._entries.invalidate(tenant, Selector())
        await self._index.forget_tenant(tenant)
        _log.info("team_purged", team_id=team_id, entries=removed)
