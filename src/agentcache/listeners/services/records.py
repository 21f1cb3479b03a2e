"""What the worker's checks found, written down: many in one transaction, each only if its listener was not changed meanwhile."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec
from django.db import transaction
from django.db.models import F

from agentcache.audit.services import Actor
from agentcache.gateway.ports import REFRESH_OUTDATED
from agentcache.invalidations.services import record_invalidation
from agentcache.jobs import services as jobs
from agentcache.kit.ids import new_id
from agentcache.listeners.findings import Changed, Failed, Fetched, Finding, FirstReading, Unchanged
from agentcache.listeners.invalidating import Gone, outdated_by
from agentcache.listeners.models import EventKind, KeptText, Listener, ListenerEvent, PausedBecause
from agentcache.listeners.reading.messages import DOCUMENT_KINDS, Reading
from agentcache.listeners.services import telling
from agentcache.listeners.services.listeners import note

#: After so many failed checks in a row, about three days, a listener is paused and people are told.
FAILURES_MAX = 10
#: The least pause after a failure; doubled by each further one.
RETRY_SECONDS = 900
_DAY_SECONDS = 86_400
#: Intervals are shortened by up to this share, so that what was registered together is not checked together for ever.
#: Never lengthened: "every hour" means that an hour old at most is what we know.
JITTER_SHARE = 0.1
#: Events of one listener that are kept.
EVENTS_MAX = 200
_SELECTORS_KEPT = 50
_HEADER_CHARS = {"etag": 500, "last_modified": 100}


@dataclass(frozen=True, slots=True)
class Checked:
    """One check that came to its end."""

    listener: Listener
    #: When it began.
    at: datetime
    finding: Finding
    #: What was invalidated for a change.
    gone: list[Gone] = field(default_factory=list)
    #: When that was over, in Unix seconds: what is stored later is made from the source as it is now.
    over_at: float = 0.0

    @property
    def entries(self) -> int:
        """How many entries were invalidated."""
        return sum(one.reach.entries for one in self.gone)


def record(checks: Sequence[Checked]) -> int:
    """Write checks down; return how many still meant what is watched now."""
    with transaction.atomic():
        return sum(_record(check) for check in checks)


def next_check(row: Listener, at: datetime) -> datetime:
    """Return when a listener is due again that was read at a time."""
    return at + timedelta(seconds=row.check_interval_seconds * (1 - random.uniform(0, JITTER_SHARE)))  # noqa: S311 - spreads load, guards nothing


def retry_at(row: Listener, at: datetime, failures: int, retry_after_seconds: float | None) -> datetime:
    """Return when a listener is due again that failed at a time, for the so-manieth time in a row."""
    first = min(row.check_interval_seconds, RETRY_SECONDS)
    pause = min(first * 2 ** min(failures - 1, 20), max(row.check_interval_seconds, _DAY_SECONDS))
    pause *= 1 + random.uniform(0, JITTER_SHARE)  # noqa: S311 - spreads load, guards nothing
    return at + timedelta(seconds=max(pause, min(retry_after_seconds or 0.0, _DAY_SECONDS)))


def _record(check: Checked) -> bool:
    row, finding = check.listener, check.finding
    match finding:
        case Unchanged():
            changes = _read(row, check.at, finding.fetched)
        case FirstReading():
            changes = _read(row, check.at, finding.fetched) | _said(finding.reading)
        case Changed():
            changes = _read(row, check.at, finding.fetched) | _said(finding.reading)
            changes |= {"changes": F("changes") + 1, "last_changed_at": check.at}
        case Failed():
            changes = _failed(row, check.at, finding)
        case _:
            assert_never(finding)
    changes |= {"checks": F("checks") + 1, "last_checked_at": check.at, "claimed_until": None}
    # Crosses tenants: the worker serves them all, each by its own row.
    if not Listener.objects.filter(pk=row.pk, version=row.version).update(**changes):
        return False
    _note(check)
    return True


def _read(row: Listener, at: datetime, fetched: Fetched | None) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "next_check_at": next_check(row, at), "last_read_at": at, "failures_in_row": 0, "failure": "",
        "last_status": fetched.status if fetched is not None else 304,
    }  # fmt: skip
    if fetched is not None:
        # One that is too long to keep is no use cut.
        kept = {
            name: value if len(value := getattr(fetched, name)) <= chars else ""
            for name, chars in _HEADER_CHARS.items()
        }
        changes |= {**kept, "body_digest": fetched.body_digest}
    return changes


def _said(reading: Reading) -> dict[str, Any]:
    return {"kind": reading.kind, "text_digest": reading.digest}


def _failed(row: Listener, at: datetime, finding: Failed) -> dict[str, Any]:
    failures = row.failures_in_row + 1
    changes: dict[str, Any] = {
        "failures_in_row": failures, "failure": finding.reason[:200], "last_status": finding.status,
        "next_check_at": retry_at(row, at, failures, finding.retry_after_seconds),
    }  # fmt: skip
    if failures >= FAILURES_MAX:
        changes["paused_because"] = PausedBecause.FAILURES
    return changes


def _note(check: Checked) -> None:
    row, finding, at = check.listener, check.finding, check.at
    if row.failures_in_row and not isinstance(finding, Failed):
        times = f"{row.failures_in_row} check{'s' if row.failures_in_row > 1 else ''} had failed."
        note(row, EventKind.RECOVERED, at, detail=times)
    match finding:
        case Unchanged():
            return
        case FirstReading():
            _keep(row, finding.reading)
            note(row, EventKind.FIRST, at, detail=f"Read as {DOCUMENT_KINDS[finding.reading.kind]}.")
        case Changed():
            _keep(row, finding.reading)
            _note_change(check, finding)
        case Failed():
            _note_failure(row, finding, at)
    _forget_beyond(row)


def _note_change(check: Checked, finding: Changed) -> None:
    row, difference = check.listener, finding.difference
    event = note(
        row, EventKind.CHANGED, check.at, diff=difference.diff, added=difference.added, removed=difference.removed,
        invalidated=check.entries, selectors=[one.told for one in check.gone[:_SELECTORS_KEPT]],
    )  # fmt: skip
    telling.tell_change(row, check.at, difference, check.entries)
    for one in check.gone[:_SELECTORS_KEPT]:
        if one.reach.entries:
            record_invalidation(one.record(row), Actor.system())
    if row.refreshes:
        told = msgspec.to_builtins(outdated_by(row, finding, check.over_at, event.pk))
        jobs.enqueue(new_id(), REFRESH_OUTDATED, told, check.at)


def note_asked_anew(event_id: int, requests: int) -> None:
    """Note how many requests are asked anew because of a change."""
    # Crosses tenants: the worker serves them all.
    ListenerEvent.objects.filter(pk=event_id).update(asked_anew=requests)


def _note_failure(row: Listener, finding: Failed, at: datetime) -> None:
    last = ListenerEvent.objects.filter(listener=row).order_by("-id").first()
    if last is not None and (last.kind, last.detail) == (EventKind.FAILED, finding.reason[:200]):
        ListenerEvent.objects.filter(pk=last.pk).update(times=F("times") + 1, at=at)
    else:
        note(row, EventKind.FAILED, at, detail=finding.reason[:200])
    if row.failures_in_row + 1 >= FAILURES_MAX:
        note(row, EventKind.PAUSED, at, detail=f"After {FAILURES_MAX} failed checks in a row.")
        telling.tell_pause(row, finding.reason, at)


def _keep(row: Listener, reading: Reading) -> None:
    deflated = zlib.compress(reading.text.encode(), 6)
    KeptText.objects.update_or_create(listener=row, defaults={"deflated": deflated})


def _forget_beyond(row: Listener) -> None:
    events = ListenerEvent.objects.filter(listener=row)
    oldest = events.order_by("-id").values_list("id", flat=True)[EVENTS_MAX : EVENTS_MAX + 1].first()
    if oldest is not None:
        events.filter(id__lte=oldest).delete()
