"""The one thread of a process that writes the cache file: it gathers jobs and commits many of them at once."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import apsw

from agentcache.engine.stores.port import StoreUnavailable
from agentcache.engine.stores.sqlite_file import Link, translate

T = TypeVar("T")
#: A job runs inside a write transaction and returns its result.
Job = Callable[[apsw.Connection], T]

#: A transaction takes no further job after this long, so that other processes get their turn.
BATCH_SECONDS = 0.02
BATCH_BYTES = 4 << 20
QUEUE_BYTES_MAX = 256 << 20
IDLE_SECONDS = 1.0


@dataclass(slots=True)
class _Pending:
    job: Job[Any]
    weight: int
    future: asyncio.Future[Any] | None


@dataclass(slots=True)
class _Outcome:
    future: asyncio.Future[Any] | None
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        future = self.future
        if future is None or future.done():
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(self.result)


class Writer:
    """Runs jobs in order on its own thread and connection; a result is handed out only after its commit."""

    def __init__(
        self,
        link: Link,
        *,
        make_room: Callable[[apsw.Connection, int], bool],
        each_second: Callable[[], Job[Any] | None],
    ) -> None:
        """Take two callbacks that run on the writer's thread.

        `make_room(connection, bytes)` frees space inside a transaction and says whether there is enough now;
        `each_second()` may give a job of its own.
        """
        self._link = link
        self._make_room = make_room
        self._each_second = each_second
        self._second_began = 0.0
        self._watched: apsw.Connection | None = None
        #: Whether the open transaction has removed or replaced an entry.
        self._removes = False
        self._queue: deque[_Pending] = deque()
        self._queued_bytes = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="cache-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job[T], weight: int = 0) -> asyncio.Future[T]:
        """Queue a job that stores about `weight` bytes; the future resolves after the commit."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._wake:
            if self._closing:
                raise StoreUnavailable("the cache store is closed")
            if self._queued_bytes + weight > QUEUE_BYTES_MAX:
                raise StoreUnavailable("too many writes are waiting for the cache disk")
            self._enqueue(_Pending(job, weight, future))
        return future

    def post(self, job: Job[Any]) -> None:
        """Queue a job whose result nobody awaits."""
        with self._wake:
            if not self._closing:
                self._enqueue(_Pending(job, 0, None))

    def note_removal(self) -> None:
        """Make copies useless with the commit to come; for jobs, which run on the writer's thread."""
        self._removes = True

    def stop(self) -> None:
        """Finish what is queued, then end the thread. Blocks; call it off the event loop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _enqueue(self, pending: _Pending) -> None:
        self._queue.append(pending)
        self._queued_bytes += pending.weight
        self._wake.notify()

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                break
            outcomes = self._run_batch(batch)
            _settle_all(outcomes)
        self._link.drop()

    def _next_batch(self) -> list[_Pending] | None:
        """Wait for work and take a batch of it; None when it is time to end."""
        with self._wake:
            if not self._queue and not self._closing:
                self._wake.wait(IDLE_SECONDS)
            batch = self._take() if self._queue else []
            is_over = self._closing and not batch
        if is_over or perf_counter() - self._second_began >= IDLE_SECONDS:
            self._second_began = perf_counter()
            job = self._each_second()
            if job is not None:
                return [*batch, _Pending(job, 0, None)]
        return None if is_over else batch

    def _take(self) -> list[_Pending]:
        batch = [self._queue.popleft()]
        weight = batch[0].weight
        while self._queue and weight + self._queue[0].weight <= BATCH_BYTES:
            weight += self._queue[0].weight
            batch.append(self._queue.popleft())
        self._queued_bytes -= weight
        return batch

    def _run_batch(self, batch: list[_Pending]) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        waiting = deque(batch)
        while waiting:
            done, failure = self._run_transaction(waiting)
            if failure is None:
                outcomes += done
            elif len(done) <= 1:
                outcomes.append(_Outcome(waiting.popleft().future, error=failure))
            else:
                # One of them spoilt the transaction for all: find out which, one commit each.
                for _ in range(len(done)):
                    pending = waiting.popleft()
                    done_alone, failure = self._run_transaction(deque([pending]))
                    outcomes += done_alone if failure is None else [_Outcome(pending.future, error=failure)]
        return outcomes

    def _run_transaction(self, waiting: deque[_Pending]) -> tuple[list[_Outcome], BaseException | None]:
        """Commit as many jobs as fit the time and take them off `waiting`; on failure leave `waiting` as it was.

        The list that comes with a failure has one member per job that had been tried.
        """
        done: list[_Outcome] = []
        try:
            connection = self._connection()
            self._begin_with_room(connection, sum(pending.weight for pending in waiting))
            started = perf_counter()
            for pending in waiting:
                done.append(_Outcome(pending.future))
                done[-1].result = pending.job(connection)
                if perf_counter() - started > BATCH_SECONDS:
                    break
            self._commit(connection)
            if not self._link.is_current():
                raise apsw.BusyError("the cache file was replaced meanwhile")
        except (apsw.Error, UnicodeDecodeError) as error:
            self._roll_back()
            return done, self._report(error)
        except Exception as error:  # noqa: BLE001 - a defect in one job must not end the thread all writes need
            self._roll_back()
            return done, error
        for _ in done:
            waiting.popleft()
        return done, None

    def _begin_with_room(self, connection: apsw.Connection, weight: int) -> None:
        while True:
            connection.execute("BEGIN IMMEDIATE")
            if not weight or self._make_room(connection, weight):
                return
            self._commit(connection)

    def _connection(self) -> apsw.Connection:
        connection = self._link.connection()
        if connection is not self._watched:
            connection.set_update_hook(self._note_change)
            self._watched = connection
            self._removes = False
        return connection

    def _note_change(self, kind: int, _database: str, table: str, _row_id: int) -> None:
        # Other workers may hold copies of this row. Whatever removes a row comes through here, so none is forgotten.
        if kind == apsw.SQLITE_DELETE and table == "entries":
            self._removes = True

    def _commit(self, connection: apsw.Connection) -> None:
        """Commit; where rows were removed, copies of them are useless before anyone is told."""
        if not self._removes:
            connection.execute("COMMIT")
            return
        self._removes = False
        shared = self._link.shared
        begun = shared.begin_removal()
        try:
            connection.execute("COMMIT")
        finally:
            # Also after a failure: the file decides what is true, and copies are made from it again.
            shared.end_removal(begun)

    def _report(self, error: apsw.Error | UnicodeDecodeError) -> StoreUnavailable:
        try:
            if isinstance(error, apsw.FullError):
                self._shrink_log()
            return self._link.report(error)
        except apsw.Error as later:
            return translate(later)
        except StoreUnavailable as later:
            return later

    def _shrink_log(self) -> None:
        """Hand the disk back what the write-ahead log holds; on a full disk that may be what others wait for."""
        connection = self._link.connection()
        connection.set_busy_timeout(20)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except apsw.Error:
            self._link.drop()
        else:
            connection.set_busy_timeout(2000)

    def _roll_back(self) -> None:
        try:
            self._removes = False
            connection = self._link.connection()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            self._link.drop()


def _settle_all(outcomes: list[_Outcome]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        if outcome.future is not None:
            by_loop.setdefault(outcome.future.get_loop(), []).append(outcome)
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_group, group)
        except RuntimeError:
            # The loop ended before its writes did; nobody is left to be told.
            continue


def _settle_group(group: list[_Outcome]) -> None:
    for outcome in group:
        outcome.settle()
