"""A few threads for database work, so that the event loop never waits for the database."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from django.db import DataError, Error, IntegrityError, connections

from agentcache.kit.errors import Unavailable

T = TypeVar("T")

#: A caller waits no longer than this for the database, in seconds.
ANSWER_WITHIN_SECONDS = 2.0


class DatabaseThreads:
    """Runs functions that use Django's ORM, each on one of `threads` daemon threads with its own connection.

    asgiref's shared executor is not used: it has one thread per process outside of a request, so that one slow
    statement would hold up every other.
    """

    def __init__(
        self, threads: int = 2, pending_max: int = 256, answer_within_seconds: float = ANSWER_WITHIN_SECONDS
    ) -> None:
        self._size = threads
        self._answer_within_seconds = answer_within_seconds
        self._pending: queue.Queue[tuple[Callable[[], object], Future[object]] | None] = queue.Queue(pending_max)
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._closed = False

    async def run(self, work: Callable[[], T], *, within_seconds: float | None = None) -> T:
        """Return what `work()` returns. Raises `Unavailable` when the database is away, too slow or too busy."""
        within = self._answer_within_seconds if within_seconds is None else within_seconds
        answer = self._put(work)
        try:
            async with asyncio.timeout(within):
                return await asyncio.wrap_future(answer)
        except TimeoutError as error:
            raise Unavailable(f"The database did not answer within {within:g} s.") from error
        except (IntegrityError, DataError):
            raise  # the work's own doing
        except Error as error:
            raise Unavailable("The database is not available.") from error

    def post(self, work: Callable[[], object]) -> None:
        """Run `work()` some time soon and forget it; dropped when the threads are too busy."""
        try:
            self._put(work)
        except Unavailable:
            return

    def close(self, within_seconds: float = 5.0) -> None:
        """Finish what is pending and close the connections; a thread that hangs in the database is left behind."""
        self._closed = True
        for _ in self._threads:
            self._pending.put(None)
        for thread in self._threads:
            thread.join(within_seconds)

    def _put(self, work: Callable[[], T]) -> Future[T]:
        if self._closed:
            raise Unavailable("The database threads are closed.")
        answer: Future[T] = Future()
        self._start()
        try:
            self._pending.put_nowait((work, answer))  # type: ignore[arg-type]  # a Future of T is read by its own caller only
        except queue.Full:
            raise Unavailable("Too much work is waiting for the database.") from None
        return answer

    def _start(self) -> None:
        # Late, because a process may fork between construction and first use.
        if self._threads:
            return
        with self._starting:
            while len(self._threads) < self._size:
                thread = threading.Thread(target=self._work_off, name=f"database-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work_off(self) -> None:
        try:
            while (item := self._pending.get()) is not None:
                work, answer = item
                if not answer.set_running_or_notify_cancel():
                    continue  # its caller has given up
                _drop_dead_connections()
                try:
                    result = work()
                except BaseException as error:  # noqa: BLE001 - belongs to the caller, who waits for it
                    answer.set_exception(error)
                else:
                    answer.set_result(result)
        finally:
            connections.close_all()


def _drop_dead_connections() -> None:
    # Connections are kept between pieces of work; one that the server has closed is opened anew by the next query.
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.is_usable():
            connection.close()
