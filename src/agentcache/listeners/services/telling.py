"""Who is told of what listeners see: webhooks and the audit log of a change, people of a pause."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from django.conf import settings as django_conf
from django.db.models import Q
from django.urls import reverse

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.gateway.ports import DELIVER_WEBHOOK
from agentcache.jobs import services as jobs
from agentcache.kit.ids import new_id
from agentcache.listeners.models import Listener
from agentcache.listeners.reading.messages import Difference
from agentcache.mails.services import send
from agentcache.settings import Settings
from agentcache.teams.models import Membership, Role, Team
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.services import emit

CHANGED: Final = "listener.changed"
_SUMMARY_CHARS: Final = 2_000


def tell_change(row: Listener, at: datetime, difference: Difference, entries: int) -> None:
    """Tell webhooks and the audit log that a source changed, in the transaction that keeps the change."""
    data: dict[str, Any] = {
        "listener_id": row.pk,
        "url": row.url,
        "checked_at": at,
        "namespace": row.namespace or None,
        "tags": list(row.tags),
        "summary": difference.diff[:_SUMMARY_CHARS],
        "invalidated": entries,
    }
    emit(row.team_id, CHANGED, data)
    if row.webhook_url:
        _deliver(row, at, data)
    audit.record(
        action="listener.source_changed", actor=Actor.system(), team_id=row.team_id, target_kind="listener",
        target_id=row.pk, target_name=row.url,
        after={"added_lines": difference.added, "removed_lines": difference.removed, "entries": entries},
    )  # fmt: skip


def tell_pause(row: Listener, reason: str, at: datetime) -> None:
    """Tell the team's admins, and the audit log, that a source is watched no longer because it cannot be read."""
    audit.record(
        action="listener.paused", actor=Actor.system(), team_id=row.team_id, target_kind="listener", target_id=row.pk,
        target_name=row.url, after={"reason": reason},
    )  # fmt: skip
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by web.project
    team = Team.objects.get(pk=row.team_id)
    context = {
        "team": team.name,
        "url": row.url,
        "reason": reason,
        "failures": row.failures_in_row + 1,
        "listener_url": settings.origin + reverse("listeners:listener", args=[row.pk]),
    }
    admins = rows_of(team, Membership).select_related("user").filter(Q(role=Role.ADMIN), user__is_active=True)
    for membership in admins.order_by("pk"):
        key = f"listener:{row.pk}:{int(at.timestamp())}:{membership.pk}"
        send("listener-paused", membership.user.email, context, key=key)


def _deliver(row: Listener, at: datetime, data: dict[str, Any]) -> None:
    """Have the listener's own webhook told: the same body as endpoints get, signed with the team's key."""
    stamped = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {"type": CHANGED, "timestamp": stamped, "data": {**data, "checked_at": stamped}}
    payload: dict[str, object] = {
        "tenant_id": row.team_id,
        "url": row.webhook_url,
        "body": json.dumps(told, ensure_ascii=False, separators=(",", ":")),
        "message_id": new_id("msg_"),
    }
    jobs.enqueue(new_id(), DELIVER_WEBHOOK, payload, at)
