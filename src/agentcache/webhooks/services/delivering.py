"""What the job worker needs for a try, and what a try changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction

from agentcache.jobs.services import RETRY_AFTER_SECONDS
from agentcache.teams.secrets import ServerSecrets
from agentcache.webhooks.models import Attempt, Delivery, DeliveryState, DisabledBecause, EndedBecause, Endpoint
from agentcache.webhooks.services.endpoints import key_seeds, open_secrets
from agentcache.webhooks.services.failures import note_failure, switch_off

#: Tries of a delivery: at once, and then after each of these pauses; about 75 hours in all, as Standard Webhooks suggests.
TRIES = len(RETRY_AFTER_SECONDS) + 1
#: What is kept of an answer.
RESPONSE_CHARS_MAX = 1_024
#: Longest pause that an answer can ask for.
PAUSE_MAX = timedelta(hours=1)
_GONE = 410
#: Answers that say: slower. The pause is that of `Retry-After`, else this.
_THROTTLING = {429: timedelta(minutes=1), 502: timedelta(seconds=30), 503: timedelta(), 504: timedelta(seconds=30)}


@dataclass(frozen=True, slots=True)
class PreparedTry:
    """What a try sends. With `wait_seconds` it is not to be sent yet."""

    url: str
    message_id: str
    body: str
    secrets: Sequence[bytes] = field(repr=False)
    #: Of the keys that sign beside the secrets.
    seeds: Sequence[bytes] = field(repr=False)
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TryOutcome:
    """What a try came to."""

    duration_ms: int
    #: None without an answer.
    status: int | None
    #: Why there was no answer, for the team; tells nothing of our network.
    failure: str = ""
    response: bytes = b""
    retry_after_seconds: float | None = None
    request_headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver took it: 2xx. A redirect is a failure, and is not followed."""
        return self.status is not None and 200 <= self.status < 300


def prepare_try(secrets: ServerSecrets, delivery_id: str, redeliveries: int, now: datetime) -> PreparedTry | None:
    """Return what to send; None when there is nothing to do any more. Raises `DecryptionFailed`."""
    row = _waiting(delivery_id, redeliveries)
    if row is None:
        return None
    endpoint = row.endpoint
    wait = 0.0 if endpoint.paused_until is None else (endpoint.paused_until - now).total_seconds()
    return PreparedTry(
        endpoint.url,
        row.message_id,
        row.message.body,
        open_secrets(secrets, row.team, endpoint, now),
        key_seeds(secrets, row.team, endpoint, now),
        wait_seconds=max(0.0, wait),
    )


def record_try(
    delivery_id: str, redeliveries: int, outcome: TryOutcome, now: datetime, jitter: float = 0.0
) -> float | None:
    """Keep what a try came to; return the seconds until the next one, or None when there is none.

    `jitter` is the share by which the pause is prolonged, so that what failed together does not return together.
    """
    with transaction.atomic():
        row = _waiting(delivery_id, redeliveries)
        if row is None:
            return None
        endpoint = Endpoint.objects.select_for_update().get(pk=row.endpoint_id)
        _keep_attempt(row, outcome, now)
        row.tries += 1
        row.last_status = outcome.status
        pause = None if outcome.is_accepted or outcome.status == _GONE else _pause_after(row, outcome, jitter)
        row.next_try_at = None if pause is None else now + timedelta(seconds=pause)
        if pause is None:
            row.ended_at = now
            row.state = DeliveryState.DELIVERED if outcome.is_accepted else DeliveryState.FAILED
        if row.state == DeliveryState.FAILED:
            row.ended_because = EndedBecause.GONE if outcome.status == _GONE else EndedBecause.TRIES
        row.save()
        _change_endpoint(endpoint, row, outcome, now)
    return pause


def _change_endpoint(endpoint: Endpoint, row: Delivery, outcome: TryOutcome, now: datetime) -> None:
    if outcome.is_accepted:
        if endpoint.failures_in_row or endpoint.paused_until is not None:
            endpoint.failures_in_row, endpoint.failing_since = 0, None
            endpoint.told_failures, endpoint.paused_until = 0, None
            endpoint.save()
        return
    if not endpoint.is_enabled:
        return
    if outcome.status == _GONE:
        switch_off(endpoint, DisabledBecause.GONE, now)
        return
    # A test tells its sender at once; it is no reason to switch anything off.
    if row.message.is_test:
        return
    if outcome.status in _THROTTLING:
        asked = outcome.retry_after_seconds
        pause = _THROTTLING[outcome.status] if asked is None else timedelta(seconds=asked)
        if pause:
            endpoint.paused_until = now + min(pause, PAUSE_MAX)
    note_failure(endpoint, now, is_last_try=row.state == DeliveryState.FAILED)


def _pause_after(row: Delivery, outcome: TryOutcome, jitter: float) -> float | None:
    """Return the seconds to the next try, None after the last."""
    if row.message.is_test or row.tries >= TRIES:
        return None
    asked = outcome.retry_after_seconds if outcome.status in _THROTTLING else None
    scheduled = RETRY_AFTER_SECONDS[row.tries - 1]
    return max(scheduled, min(asked or 0.0, PAUSE_MAX.total_seconds())) * (1 + jitter)


def _keep_attempt(row: Delivery, outcome: TryOutcome, now: datetime) -> None:
    # PostgreSQL takes no NUL in a text.
    response = outcome.response[: 4 * RESPONSE_CHARS_MAX].decode("utf-8", "replace").replace("\x00", "�")
    Attempt.objects.create(
        delivery=row,
        at=now,
        duration_ms=outcome.duration_ms,
        status=outcome.status,
        failure=outcome.failure[:100],
        response=response[:RESPONSE_CHARS_MAX],
        request_headers=outcome.request_headers,
    )


def _waiting(delivery_id: str, redeliveries: int) -> Delivery | None:
    # Of whichever team: the worker serves them all. A job of a former round does nothing.
    found = Delivery.objects.select_related("message", "endpoint", "team")
    return found.filter(pk=delivery_id, redeliveries=redeliveries, state=DeliveryState.WAITING).first()
