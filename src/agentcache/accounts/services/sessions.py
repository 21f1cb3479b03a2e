"""Every write to sessions."""

from __future__ import annotations

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils import timezone

from agentcache.accounts.access import user_of
from agentcache.accounts.errors import SessionNotFound
from agentcache.accounts.models import LoginSession, User
from agentcache.accounts.notices import note
from agentcache.accounts.session_store import KEPT, hash_session_id

#: Live sessions of one user; a further one ends the oldest.
SESSIONS_MAX = 20


def end_session(user: User, session_id: str, request: HttpRequest | None = None) -> None:
    """End one session of a user at once. Raises `SessionNotFound`."""
    if not LoginSession.objects.filter(user=user, handle=session_id).delete()[0]:
        raise SessionNotFound(param="session_id")
    note(request, user, "session.ended", after={"session_id": session_id})


def end_other_sessions(request: HttpRequest) -> int:
    """End every session of the user but this one; return how many."""
    user = user_of(request)
    ended = LoginSession.objects.filter(user=user).exclude(session_key=_row_key(request.session)).delete()[0]
    note(request, user, "session.others_ended", after={"ended": ended})
    return ended


def end_kept_sessions(request: HttpRequest) -> None:
    """Give up what only a second factor allows, now that there is none: this session gets the short limits, others end."""
    kept = LoginSession.objects.filter(user=user_of(request), is_kept=True)
    kept.exclude(session_key=_row_key(request.session)).delete()
    if request.session.get(KEPT):
        request.session[KEPT] = False
        request.session.save()


def end_all_sessions(user: User) -> int:
    """End every session of a user; return how many."""
    return LoginSession.objects.filter(user=user).delete()[0]


def renew_sessions(user: User) -> None:
    """Give each session of a user a new id with its next request, after the user's rights have changed."""
    LoginSession.objects.filter(user=user).update(needs_new_id=True)


def end_oldest(user: User) -> int:
    """Keep the number of live sessions within its limit; return how many ended."""
    surplus = LoginSession.objects.filter(user=user).order_by("-last_seen_at", "-started_at")[SESSIONS_MAX:]
    keys = list(surplus.values_list("session_key", flat=True))
    if keys:
        LoginSession.objects.filter(session_key__in=keys).delete()
    return len(keys)


def prune() -> int:
    """Delete the rows of sessions that have ended; return how many."""
    return LoginSession.objects.filter(expire_date__lt=timezone.now()).delete()[0]


def _row_key(session: SessionBase) -> str:
    return hash_session_id(session.session_key or "") if SESSION_KEY in session else ""
