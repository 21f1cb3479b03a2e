"""What people do with listeners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime

from django.db.models import F

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.listeners.errors import ListenerExists, ListenerNotFound, ListenerPaused, TooManyListeners
from agentcache.listeners.models import EventKind, KeptText, Listener, ListenerEvent, PausedBecause
from agentcache.listeners.rules import LISTENERS_MAX, Wanted, checked, fingerprint, host_of
from agentcache.quotas.queries import plan_of
from agentcache.settings import Settings
from agentcache.teams.models import Team
from agentcache.teams.services.locking import locked
from agentcache.teams.tenancy import rows_of

#: What is forgotten when something else is watched from now on.
_UNREAD: Mapping[str, object] = {
    "etag": "", "last_modified": "", "body_digest": b"", "text_digest": b"", "kind": "", "last_status": None,
    "failure": "", "failures_in_row": 0, "last_read_at": None,
}  # fmt: skip


def register(team: Team, wanted: Wanted, settings: Settings, now: datetime, *, actor: Actor) -> Listener:
    """Watch a source from now on. Raises `BadRequest` that names a member, `ListenerExists`, `TooManyListeners`."""
    plan = plan_of(team)
    wanted = checked(wanted, plan, settings)
    with locked(team):
        _check_new(team, wanted)
        if rows_of(team, Listener).count() >= (plan.listeners if plan.listeners is not None else LISTENERS_MAX):
            raise TooManyListeners(
                f"The plan {plan.title} watches {plan.listeners} sources."
                if plan.listeners is not None
                else f"A team may watch up to {LISTENERS_MAX:,} sources."
            )
        row = Listener(team=team, next_check_at=now)
        _put(row, wanted)
        row.save(force_insert=True)
        _audit("listener.created", row, actor, after=_told(wanted))
    return row


def change(
    team: Team, listener_id: str, changes: Mapping[str, object], settings: Settings, now: datetime, *, actor: Actor
) -> Listener:
    """Change some members of what is watched (`Wanted`); another URL or selector begins with a first reading again."""
    plan = plan_of(team)
    with locked(team):
        row = _locked_row(team, listener_id)
        before = wanted_of(row)
        wanted = replace(before, **changes)  # type: ignore[arg-type]  # members of `Wanted`, judged by `checked`
        # A plan that became smaller does not forbid to change the tags.
        seconds, least = wanted.check_interval_seconds, plan.check_interval_minutes * 60
        judged = max(seconds, least) if seconds >= before.check_interval_seconds else seconds
        judged_wanted = checked(replace(wanted, check_interval_seconds=judged), plan, settings)
        wanted = replace(judged_wanted, check_interval_seconds=seconds)
        if wanted == before:
            return row
        if fingerprint(wanted) != row.fingerprint:
            _check_new(team, wanted)
        if (wanted.url, wanted.selector) != (before.url, before.selector):
            KeptText.objects.filter(listener=row).delete()
            for member, value in _UNREAD.items():
                setattr(row, member, value)
        _put(row, wanted)
        row.next_check_at = now
        row.claimed_until = None
        row.version += 1
        row.save()
        _audit("listener.changed", row, actor, before=_told(before), after=_told(wanted))
    return row


def pause(team: Team, listener_id: str, now: datetime, *, actor: Actor) -> Listener:
    """Stop looking at a source until `resume`."""
    with locked(team):
        row = _locked_row(team, listener_id)
        if not row.paused_because:
            row.paused_because = PausedBecause.PERSON
            _save_state(row)
            note(row, EventKind.PAUSED, now)
            _audit("listener.paused", row, actor)
    return row


def resume(team: Team, listener_id: str, now: datetime, *, actor: Actor) -> Listener:
    """Look at a source again, at once."""
    with locked(team):
        row = _locked_row(team, listener_id)
        if row.paused_because:
            row.paused_because = PausedBecause.NOT
            row.failures_in_row, row.next_check_at, row.claimed_until = 0, now, None
            _save_state(row)
            note(row, EventKind.RESUMED, now)
            _audit("listener.resumed", row, actor)
    return row


def check_now(team: Team, listener_id: str, now: datetime) -> Listener:
    """Have a source looked at as soon as its host may be asked. Raises `ListenerPaused`."""
    with locked(team):
        row = _locked_row(team, listener_id)
        if row.paused_because:
            raise ListenerPaused
        row.next_check_at = min(row.next_check_at, now)
        row.save(update_fields=["next_check_at"])
    return row


def delete(team: Team, listener_id: str, *, actor: Actor) -> None:
    """Watch a source no longer, and forget its history."""
    with locked(team):
        row = _locked_row(team, listener_id)
        _audit("listener.deleted", row, actor, before=_told(wanted_of(row)))
        row.delete()


def note(row: Listener, kind: EventKind, at: datetime, **members: object) -> ListenerEvent:
    """Keep an event of a listener."""
    return ListenerEvent.objects.create(listener=row, kind=kind, at=at, since=at, **members)


def wanted_of(row: Listener) -> Wanted:
    """Return what is watched, as it was asked for."""
    return Wanted(
        url=row.url,
        check_interval_seconds=row.check_interval_seconds,
        namespace=row.namespace,
        tags=tuple(row.tags),
        selector=row.selector,
        invalidates=row.invalidates,
        refreshes=row.refreshes,
        webhook_url=row.webhook_url,
    )


def _put(row: Listener, wanted: Wanted) -> None:
    for field in fields(wanted):
        value = getattr(wanted, field.name)
        setattr(row, field.name, list(value) if field.name == "tags" else value)
    row.host, row.fingerprint = host_of(wanted.url), fingerprint(wanted)


def _check_new(team: Team, wanted: Wanted) -> None:
    found = rows_of(team, Listener).filter(fingerprint=fingerprint(wanted)).values_list("pk", flat=True).first()
    if found is not None:
        raise ListenerExists(f"The team watches this already, as {found}.", param="url")


def _locked_row(team: Team, listener_id: str) -> Listener:
    row = rows_of(team, Listener).select_for_update().filter(pk=listener_id).first()
    if row is None:
        raise ListenerNotFound
    return row


def _save_state(row: Listener) -> None:
    row.version = F("version") + 1
    row.save(update_fields=["paused_because", "failures_in_row", "next_check_at", "claimed_until", "version"])
    row.refresh_from_db(fields=["version"])


def _told(wanted: Wanted) -> dict[str, object]:
    """What the audit log tells: of an address to deliver to, which may hold a credential, only where it leads."""
    told: dict[str, object] = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    return {**told, "webhook_url": host_of(wanted.webhook_url) if wanted.webhook_url else ""}


def _audit(
    action: str,
    row: Listener,
    actor: Actor,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    audit.record(
        action=action, actor=actor, team_id=row.team_id, target_kind="listener", target_id=row.pk,
        target_name=row.url, before=before, after=after,
    )  # fmt: skip
