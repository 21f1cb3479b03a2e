"""Browsers and programs of people who are signed in already, for tests that are about something else."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings as django_conf
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.test import Client

from agentcache.accounts.access import AUTHENTICATED_AT
from agentcache.accounts.models import User
from agentcache.accounts.session_store import STARTED_AT, SessionStore

HOST = "127.0.0.1:8787"


def session_of(user: User, *, signed_in_seconds_ago: float = 0.0) -> str:
    """Begin a session and return its id."""
    session = SessionStore()
    session[SESSION_KEY] = user.pk
    session[BACKEND_SESSION_KEY] = django_conf.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session[STARTED_AT] = session[AUTHENTICATED_AT] = time.time() - signed_in_seconds_ago
    session.save()
    assert session.session_key is not None
    return session.session_key


def browser_of(user: User, **given: Any) -> Client:
    """Return a browser in which somebody is signed in."""
    browser = Client(HTTP_HOST=HOST, HTTP_SEC_FETCH_SITE="same-origin")
    browser.cookies[django_conf.SESSION_COOKIE_NAME] = session_of(user, **given)
    return browser


def program_of(user: User, **given: Any) -> Client:
    """Return a program that sends a session token."""
    return Client(HTTP_HOST=HOST, HTTP_X_SESSION_TOKEN=session_of(user, **given))


def program_with_key(api_key: str) -> Client:
    """Return a program that sends an API key."""
    return Client(HTTP_HOST=HOST, HTTP_AUTHORIZATION=f"Bearer {api_key}")


def stranger() -> Client:
    """Return a program that sends nothing."""
    return Client(HTTP_HOST=HOST)
