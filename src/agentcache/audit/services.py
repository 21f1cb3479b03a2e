"""Every write to the audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network

from django.http import HttpRequest

from agentcache.audit.models import AuditEvent

#: Session member that names the operator who acts in the place of the user.
IMPERSONATOR_SESSION_KEY = "impersonator_id"
#: Members whose values never reach the log, wherever they come from.
_SECRET_WORDS = ("password", "secret", "token", "api_key_value", "recovery", "credential")
_NAME_CHARS_MAX = 254
_PRUNE_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts; every member is empty for the server itself."""

    user_id: str = ""
    user_email: str = ""
    api_key_id: str = ""
    session_id_hash: str = ""
    #: The caller's network, or an address that is cut to it.
    ip: str = ""
    impersonator_id: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Actor:
        """Return who sent a request: the signed-in user, or the API key that `teams.access` found."""
        user = getattr(request, "user", None)
        is_known = user is not None and user.is_authenticated
        session = getattr(request, "session", None)
        session_key = session.session_key if session is not None else None
        return cls(
            user_id=str(user.pk) if user is not None and is_known else "",
            user_email=str(getattr(user, "email", "")) if is_known else "",
            api_key_id=str(getattr(request, "api_key_id", "") or ""),
            session_id_hash=hashlib.sha256(session_key.encode()).hexdigest() if session_key and is_known else "",
            ip=network_of(str(request.META.get("agentcache.client_ip", ""))),
            impersonator_id=str(session.get(IMPERSONATOR_SESSION_KEY, "")) if session is not None and is_known else "",
        )

    @property
    def shown(self) -> str:
        """Who it is, in at most 254 characters: an address, an API key's id, or nobody."""
        return (self.user_email or (f"API key {self.api_key_id}" if self.api_key_id else ""))[:254]

    @classmethod
    def system(cls) -> Actor:
        """Return the server itself."""
        return cls()


def record(
    *,
    action: str,
    actor: Actor,
    team_id: str | None,
    target_kind: str,
    target_id: str,
    target_name: str = "",
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Write an act down, in the transaction of the change itself: one is never without the other."""
    AuditEvent.objects.create(
        team_id=team_id,
        action=action,
        actor_user_id=actor.user_id,
        actor_email=actor.user_email,
        actor_api_key_id=actor.api_key_id,
        session_id_hash=actor.session_id_hash,
        network=network_of(actor.ip),
        impersonator_id=actor.impersonator_id,
        target_kind=target_kind,
        target_id=target_id[:64],
        target_name=target_name[:_NAME_CHARS_MAX],
        before=_plain(before),
        after=_plain(after),
    )


def prune(before: datetime) -> int:
    """Delete what is older than a time, a few thousand rows at once; return how many that were."""
    deleted = 0
    while True:
        oldest = AuditEvent.objects.filter(at__lt=before).order_by("at").values("pk")[:_PRUNE_ROWS]
        count = AuditEvent.objects.filter(pk__in=list(oldest.values_list("pk", flat=True))).delete()[0]
        deleted += count
        if count < _PRUNE_ROWS:
            return deleted


def network_of(address: str) -> str:
    """Return the network of an address, /24 or /48; what is a network already, or no address, stays as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    return str(ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))


def _plain(members: Mapping[str, object] | None) -> dict[str, object] | None:
    if members is None:
        return None
    return {name: "[secret]" if _is_secret(name) else _json(value) for name, value in members.items()}


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)


def _json(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return _plain({str(name): inner for name, inner in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        items = [_json(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
