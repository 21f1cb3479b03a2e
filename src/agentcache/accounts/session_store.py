"""Django's session engine for AgentCache: the database keeps a hash of the id and sealed content, and limits hold here.

Whoever reads the table can neither take over a session nor see what it holds.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings as django_conf
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.utils import timezone

from agentcache.accounts.models import LoginSession
from agentcache.kit.crypto import DecryptionFailed, associated_data, derive, open_sealed, seal
from agentcache.kit.ids import new_id

#: What the session knows of itself, kept within its content.
STARTED_AT = "started_at"
HANDLE = "handle"
NETWORK = "network"
USER_AGENT = "user_agent"
#: Whether the user asked to be kept signed in, and had a second factor to ask with.
KEPT = "kept"

#: The last use of a session is known this exactly.
SEEN_EVERY = timedelta(minutes=1)


def hash_session_id(session_id: str) -> str:
    """Return what the database keeps of a session id."""
    return hashlib.sha256(session_id.encode()).hexdigest()


class SessionStore(DatabaseSessions):
    """One session; what is asked for by an unknown, ended or idle id is an empty one."""

    @classmethod
    def get_model_class(cls) -> type[LoginSession]:  # type: ignore[override]  # not derived from Django's own model
        """Return the table of sessions."""
        return LoginSession

    def _get_new_session_key(self) -> str:
        # 256 random bits: there is nothing to collide with, so the table need not be asked.
        return secrets.token_urlsafe(32)

    def exists(self, session_key: str) -> bool:
        """Say whether a session with this id is kept."""
        return LoginSession.objects.filter(session_key=hash_session_id(session_key)).exists()

    def delete(self, session_key: str | None = None) -> None:
        """Forget a session at once, for every worker."""
        session_key = session_key or self.session_key
        if session_key is not None:
            LoginSession.objects.filter(session_key=hash_session_id(session_key)).delete()

    def load(self) -> dict[str, Any]:
        """Return the content, or an empty one."""
        row = self._live_row()
        if row is None:
            self._session_key = None
            return {}
        self.needs_new_id = row.needs_new_id
        self._note_use(row)
        return self._open(row)

    def create_model_instance(self, data: dict[str, Any]) -> LoginSession:  # type: ignore[override]  # see get_model_class
        """Return the row for this content."""
        now = timezone.now()
        started_at = datetime.fromtimestamp(data.setdefault(STARTED_AT, time.time()), UTC)
        row_key = hash_session_id(self._get_or_create_session_key())  # type: ignore[attr-defined]  # of the base class
        return LoginSession(
            session_key=row_key,
            session_data=_seal(data, row_key),
            expire_date=_ends_at(started_at, now, is_kept=data.get(KEPT, False)),
            handle=data.setdefault(HANDLE, new_id()),
            user_id=data.get(SESSION_KEY),
            started_at=started_at,
            last_seen_at=now,
            network=data.get(NETWORK, ""),
            user_agent=data.get(USER_AGENT, ""),
            is_kept=data.get(KEPT, False),
        )

    def get_expiry_age(self, **_kwargs: Any) -> int:
        """Return how long the browser keeps the cookie, in seconds. That it has one lets nobody in."""
        _, absolute = _limits(is_kept=self.get(KEPT, False))
        return int(absolute.total_seconds())

    @classmethod
    def clear_expired(cls) -> None:
        """Delete the rows of ended sessions."""
        LoginSession.objects.filter(expire_date__lt=timezone.now()).delete()

    needs_new_id = False

    def _live_row(self) -> LoginSession | None:
        if self.session_key is None:
            return None
        now = timezone.now()
        row = LoginSession.objects.filter(session_key=hash_session_id(self.session_key), expire_date__gt=now).first()
        # Asked again, for limits may have been lowered since the row was written.
        return row if row is not None and _ends_with(row, row.last_seen_at) > now else None

    def _note_use(self, row: LoginSession) -> None:
        now = timezone.now()
        if now - row.last_seen_at >= SEEN_EVERY:
            LoginSession.objects.filter(session_key=row.session_key).update(
                last_seen_at=now, expire_date=_ends_with(row, now)
            )

    def _open(self, row: LoginSession) -> dict[str, Any]:
        for key in _content_keys():
            try:
                sealed = base64.b64decode(row.session_data)
                content: dict[str, Any] = msgspec.json.decode(open_sealed(key, sealed, _place(row.session_key)))
            except (DecryptionFailed, ValueError):
                continue
            return content
        return {}


def _ends_with(row: LoginSession, last_seen_at: datetime) -> datetime:
    return _ends_at(row.started_at, last_seen_at, is_kept=row.is_kept)


def _ends_at(started_at: datetime, last_seen_at: datetime, *, is_kept: bool) -> datetime:
    idle, absolute = _limits(is_kept=is_kept)
    return min(last_seen_at + idle, started_at + absolute)


def _limits(*, is_kept: bool) -> tuple[timedelta, timedelta]:
    """Return how long a session lives unused, and how long at all."""
    settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by web.project
    if is_kept:
        return timedelta(hours=settings.kept_session_idle_hours), timedelta(days=settings.kept_session_days)
    return timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours)


def _content_keys() -> list[bytes]:
    signing_keys = [django_conf.SECRET_KEY, *django_conf.SECRET_KEY_FALLBACKS]
    return [derive(str(key).encode(), "session content") for key in signing_keys]


def _place(row_key: str) -> bytes:
    return associated_data("session", row_key)


def _seal(data: dict[str, Any], row_key: str) -> str:
    return base64.b64encode(seal(_content_keys()[0], msgspec.json.encode(data), _place(row_key))).decode()
