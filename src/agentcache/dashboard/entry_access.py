"""The way from pages, which wait in threads, to the entry store, which lives on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from django.conf import settings as django_conf

from agentcache.engine.entries import Tenant
from agentcache.engine.stores.open_stores import Stores, open_stores
from agentcache.engine.stores.port import EntryStore, StoreUnavailable
from agentcache.kit.clock import SystemClock
from agentcache.settings import Settings
from agentcache.teams.models import Team
from agentcache.teams.secrets import current_secrets

T = TypeVar("T")
#: A page waits no longer for the store.
ANSWER_WITHIN_SECONDS = 5.0


class EntryAccess:
    """Runs calls of an entry store on a thread of their own. To the store, this is one more worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._stores: Stores | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="entry-access", daemon=True)
        self._thread.start()

    def call(self, use: Callable[[EntryStore], Awaitable[T]], *, within_seconds: float = ANSWER_WITHIN_SECONDS) -> T:
        """Return what `use(store)` returns. Raises `StoreUnavailable`."""

        async def within() -> T:
            if self._stores is None:
                self._stores = open_stores(self._settings, SystemClock())
            async with asyncio.timeout(within_seconds):
                return await use(self._stores.entries)

        future = asyncio.run_coroutine_threadsafe(within(), self._loop)
        try:
            return future.result(within_seconds + 1)
        except TimeoutError as error:
            future.cancel()
            raise StoreUnavailable("The cache store did not answer in time.") from error

    def close(self) -> None:
        """Release the store and end the thread."""
        if self._stores is not None:
            closing = asyncio.run_coroutine_threadsafe(self._stores.close(), self._loop)
            with contextlib.suppress(TimeoutError, StoreUnavailable):
                closing.result(ANSWER_WITHIN_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_WITHIN_SECONDS)
        if not self._loop.is_running():
            self._loop.close()


class _Open:
    """The access of this process, opened when a page first needs it."""

    access: EntryAccess | None = None
    settings: Settings | None = None
    lock = threading.Lock()


def entry_access() -> EntryAccess:
    """Return the way to the entries of the settings that Django was set up for."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    with _Open.lock:
        if _Open.access is None or _Open.settings is not settings:
            if _Open.access is not None:
                _Open.access.close()
            _Open.access, _Open.settings = EntryAccess(settings), settings
        return _Open.access


def close_entry_access() -> None:
    """Close what pages have opened, while the event loops and threads of this process still work.

    At the exit of the interpreter it would be too late: nothing can be handed to threads any more then.
    """
    with _Open.lock:
        if _Open.access is not None:
            _Open.access.close()
        _Open.access = _Open.settings = None


def tenant_of(team: Team) -> Tenant:
    """Return the data plane's view of a team."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return current_secrets().tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=settings.encrypt_entries)
