"""Endpoints: make, change, switch on and off, replace the secret, delete."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings as django_conf
from django.db import transaction
from django.utils import timezone

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.kit.egress.addresses import is_public, plain_address
from agentcache.kit.egress.guarded import parse_public_url
from agentcache.kit.egress.target import InvalidTarget
from agentcache.kit.webhook_signing import shown_public_key, shown_secret
from agentcache.settings import Settings
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.errors import EndpointNotFound, InvalidEndpoint, TooManyEndpoints, UnknownEventType
from agentcache.webhooks.event_types import EVENT_TYPES
from agentcache.webhooks.models import Delivery, DeliveryState, DisabledBecause, EndedBecause, Endpoint, EndpointSecret

ENDPOINTS_MAX = 20
#: How long a replaced secret signs beside the new one, unless asked for otherwise.
OVERLAP = timedelta(hours=24)
OVERLAP_MAX = timedelta(hours=168)
#: Secrets that may sign at once: receivers read the header's list to its end.
SECRETS_MAX = 4
_URL_CHARS_MAX = 1000
_DESCRIPTION_CHARS_MAX = 200
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """What a team gives to make an endpoint."""

    url: str
    event_types: Sequence[str]
    description: str = ""
    #: Of a thousand hits, how many `cache.hit` tells of.
    hits_per_mille: int = 0
    hits_namespace: str = ""
    #: Whether messages carry a signature by a public key (v1a) beside that by the secret.
    signs_with_key: bool = False


@dataclass(frozen=True, slots=True)
class EndpointEdits:
    """What is to be changed; None stays as it is."""

    url: str | None = None
    event_types: Sequence[str] | None = None
    description: str | None = None
    hits_per_mille: int | None = None
    hits_namespace: str | None = None
    signs_with_key: bool | None = None
    is_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class EndpointWithSecret:
    """An endpoint with its secret, which is shown this once."""

    row: Endpoint
    #: `whsec_` and base64.
    secret: str


def create_endpoint(secrets: ServerSecrets, team: Team, new: NewEndpoint, *, actor: Actor) -> EndpointWithSecret:
    """Make an endpoint. Raises `InvalidEndpoint`, `UnknownEventType`, `TooManyEndpoints`."""
    row = Endpoint(
        team=team,
        url=checked_url(new.url),
        event_types=checked_types(new.event_types),
        description=_checked_description(new.description),
        hits_per_mille=_checked_share(new.hits_per_mille),
        hits_namespace=_checked_namespace(new.hits_namespace),
        signs_with_key=new.signs_with_key,
    )
    with transaction.atomic():
        # One writer of a team's endpoints at a time, so that their number holds.
        locked = Team.objects.select_for_update().get(pk=team.pk)
        if rows_of(locked, Endpoint).count() >= ENDPOINTS_MAX:
            raise TooManyEndpoints
        row.save(force_insert=True)
        secret = _new_secret(secrets, locked, row)
        note("webhook_endpoint.created", row, actor, after=told(row))
    return EndpointWithSecret(row, secret)


def change_endpoint(team: Team, endpoint_id: str, edits: EndpointEdits, *, actor: Actor) -> Endpoint:
    """Change an endpoint; switching it on forgets its failures. Raises `EndpointNotFound` and what making one raises."""
    with transaction.atomic():
        row = locked_endpoint(team, endpoint_id)
        before = told(row)
        if edits.url is not None:
            row.url = checked_url(edits.url)
        if edits.event_types is not None:
            row.event_types = checked_types(edits.event_types)
        if edits.description is not None:
            row.description = _checked_description(edits.description)
        if edits.hits_per_mille is not None:
            row.hits_per_mille = _checked_share(edits.hits_per_mille)
        if edits.hits_namespace is not None:
            row.hits_namespace = _checked_namespace(edits.hits_namespace)
        if edits.signs_with_key is not None:
            row.signs_with_key = edits.signs_with_key
        if edits.is_enabled is not None and edits.is_enabled != row.is_enabled:
            _switch(row, is_on=edits.is_enabled)
        row.save()
        after = told(row)
        changed = {name for name in after if after[name] != before[name]}
        if not row.is_enabled:
            end_waiting(row, timezone.now())
        if changed:
            note(
                "webhook_endpoint.changed",
                row,
                actor,
                before={name: before[name] for name in sorted(changed)},
                after={name: after[name] for name in sorted(changed)},
            )
    return row


def delete_endpoint(team: Team, endpoint_id: str, *, actor: Actor) -> None:
    """Delete an endpoint with its deliveries; what was waiting for it is never sent. Raises `EndpointNotFound`."""
    with transaction.atomic():
        row = locked_endpoint(team, endpoint_id)
        note("webhook_endpoint.deleted", row, actor, before=told(row))
        row.delete()


def rotate_secret(
    secrets: ServerSecrets, team: Team, endpoint_id: str, *, overlap: timedelta = OVERLAP, actor: Actor
) -> EndpointWithSecret:
    """Sign with a new secret, and along with the former one for `overlap`; zero ends every former one at once.

    Raises `EndpointNotFound`, `InvalidEndpoint`.
    """
    if not timedelta() <= overlap <= OVERLAP_MAX:
        raise InvalidEndpoint(
            f"An overlap is between 0 and {OVERLAP_MAX // timedelta(hours=1)} hours.", param="overlap_hours"
        )
    with transaction.atomic():
        row = locked_endpoint(team, endpoint_id)
        now = timezone.now()
        known = EndpointSecret.objects.filter(endpoint=row)
        known.filter(ends_at__isnull=True).update(ends_at=now + overlap)
        if not overlap:
            known.update(ends_at=now)
        known.filter(ends_at__lte=now).delete()
        # The oldest go first where somebody replaces it again and again.
        kept = list(known.order_by("-created_at", "-id").values_list("pk", flat=True)[: SECRETS_MAX - 1])
        known.exclude(pk__in=kept).delete()
        secret = _new_secret(secrets, Team.objects.get(pk=row.team_id), row)
        note("webhook_endpoint.secret_replaced", row, actor, after={"overlap_hours": overlap / timedelta(hours=1)})
    return EndpointWithSecret(row, secret)


def open_secrets(secrets: ServerSecrets, team: Team, endpoint: Endpoint, now: datetime) -> list[bytes]:
    """Return the secrets that sign for an endpoint, the present one first. Raises `DecryptionFailed`."""
    wrapped = bytes(team.wrapped_data_key)
    return [
        secrets.open_for_team(team.pk, wrapped, _place(row.pk), bytes(row.sealed)) for row in _in_use(endpoint, now)
    ]


def key_seeds(secrets: ServerSecrets, team: Team, endpoint: Endpoint, now: datetime) -> list[bytes]:
    """Return the seeds of the keys that sign for an endpoint beside its secrets, one for each of them; none if it wants none.

    A key is replaced with its secret, and signs along for as long.
    """
    if not endpoint.signs_with_key:
        return []
    wrapped = bytes(team.wrapped_data_key)
    return [secrets.webhook_key_seed(team.pk, wrapped, _place(row.pk)) for row in _in_use(endpoint, now)]


def public_keys(secrets: ServerSecrets, endpoint: Endpoint) -> list[str]:
    """Return the public keys (`whpk_` and base64) that an endpoint's messages can be checked with, the present one first."""
    if not endpoint.signs_with_key:
        return []
    return [shown_public_key(seed) for seed in key_seeds(secrets, endpoint.team, endpoint, timezone.now())]


def _in_use(endpoint: Endpoint, now: datetime) -> list[EndpointSecret]:
    rows = [
        row
        for row in EndpointSecret.objects.filter(endpoint=endpoint).order_by("-created_at", "-id")
        if row.ends_at is None or row.ends_at > now
    ]
    rows.sort(key=lambda row: row.ends_at is not None)
    return rows


def end_waiting(endpoint: Endpoint, now: datetime) -> None:
    """Give up what waits for an endpoint that is off; it can be sent again once that is on."""
    waiting = Delivery.objects.filter(endpoint=endpoint, state=DeliveryState.WAITING)
    waiting.update(state=DeliveryState.FAILED, ended_because=EndedBecause.OFF, ended_at=now, next_try_at=None)


def locked_endpoint(team: Team, endpoint_id: str) -> Endpoint:
    """Return one endpoint of the team, locked for the transaction. Raises `EndpointNotFound`."""
    row = rows_of(team, Endpoint).select_for_update().filter(pk=endpoint_id).first()
    if row is None:
        raise EndpointNotFound(param="endpoint_id")
    return row


def checked_url(url: str) -> str:
    """Return a URL that may be delivered to as far as its text tells. Raises `InvalidEndpoint`."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by web.project
    allow = settings.egress_allow
    url = url.strip()
    try:
        if len(url) > _URL_CHARS_MAX:
            raise InvalidTarget
        target = parse_public_url(url)
    except InvalidTarget:
        raise InvalidEndpoint("The URL is not one that can be called: https://host/path.", param="url") from None
    is_named = allow.permits_host(target.host)
    address = plain_address(target.host)
    permitted = is_named or (address is not None and allow.permits_address(address))
    # What a name leads to is judged at each delivery.
    if not permitted and not allow.networks and not (target.is_tls and target.port == 443):
        raise InvalidEndpoint("Webhooks are sent by https on port 443 only.", param="url")
    if not permitted and address is not None and not is_public(target.host):
        raise InvalidEndpoint("Webhooks are sent to public addresses only.", param="url")
    return url


def checked_types(names: Sequence[str]) -> list[str]:
    """Return names of event types, each once, in the table's order. Raises `UnknownEventType`, `InvalidEndpoint`."""
    for name in names:
        if name not in EVENT_TYPES:
            known = ", ".join(EVENT_TYPES)
            raise UnknownEventType(f"There is no event type {name[:64]!r}; there are {known}.", param="event_types")
    if not names:
        raise InvalidEndpoint("Choose at least one type of event.", param="event_types")
    return [name for name in EVENT_TYPES if name in set(names)]


def told(row: Endpoint) -> dict[str, object]:
    """Return an endpoint's members as the audit log keeps them."""
    names = ("url", "description", "event_types", "hits_per_mille", "hits_namespace", "signs_with_key", "is_enabled")
    return {name: getattr(row, name) for name in names}


def note(
    action: str,
    row: Endpoint,
    actor: Actor,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    """Write an act on an endpoint into the audit log."""
    audit.record(
        action=action,
        actor=actor,
        team_id=row.team_id,
        target_kind="webhook_endpoint",
        target_id=row.pk,
        target_name=row.url,
        before=before,
        after=after,
    )


def _switch(row: Endpoint, *, is_on: bool) -> None:
    row.is_enabled = is_on
    row.disabled_because = DisabledBecause.NOT if is_on else DisabledBecause.PERSON
    row.disabled_at = None if is_on else timezone.now()
    if is_on:
        row.failures_in_row, row.failing_since, row.told_failures = 0, None, 0


def _new_secret(secrets: ServerSecrets, team: Team, endpoint: Endpoint) -> str:
    value = randomness.token_bytes(_SECRET_BYTES)
    row = EndpointSecret(endpoint=endpoint, created_at=timezone.now())
    row.sealed = secrets.seal_for_team(team.pk, bytes(team.wrapped_data_key), _place(row.pk), value)
    row.save(force_insert=True)
    return shown_secret(value)


def _place(secret_id: str) -> bytes:
    return b"webhooks endpoint secret " + secret_id.encode()


def _checked_description(given: str) -> str:
    given = given.strip()
    if len(given) > _DESCRIPTION_CHARS_MAX or not given.isprintable():
        raise InvalidEndpoint(
            f"A description has at most {_DESCRIPTION_CHARS_MAX} printable characters.", param="description"
        )
    return given


def _checked_share(given: int) -> int:
    if not 0 <= given <= 1000:
        raise InvalidEndpoint("Of a thousand hits, 0 to 1000 can be told of.", param="hits_per_mille")
    return given


def _checked_namespace(given: str) -> str:
    given = given.strip()
    if len(given) > 128 or not given.isprintable():
        raise InvalidEndpoint("A namespace has at most 128 printable characters.", param="hits_namespace")
    return given
