"""How this server is, part by part, in words for everybody: what /readyz sees, and whether later work gets done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest

from agentcache.design.formats import span
from agentcache.jobs.queries import worker_sign
from agentcache.mails.queries import mail_queue
from agentcache.settings import Settings
from agentcache.site.remembered import Remembered

#: Member of a request's ASGI scope: asks the gateway of this process, as /readyz does.
READY: Final = "agentcache.ready"
#: However many look at the page, the parts are asked this often.
ASKED_EVERY_SECONDS: Final = 5.0
#: A mail that waits longer waits for something to be mended.
_MAIL_WAITS: Final = timedelta(minutes=5)

Report = tuple[int, Mapping[str, object]]


class State(IntEnum):
    """How well a part does; the worst of all is how the server is."""

    UNKNOWN = 0
    WORKS = 1
    IMPAIRED = 2
    DOWN = 3

    @property
    def word(self) -> str:
        """In a word."""
        return _WORDS[self][0]

    @property
    def tone(self) -> str:
        """Tone of a badge."""
        return _WORDS[self][1]


_WORDS: Final = {
    State.UNKNOWN: ("Not asked", "quiet"), State.WORKS: ("Works", "good"), State.IMPAIRED: ("Impaired", "warn"),
    State.DOWN: ("Down", "bad"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One part, what it is for, and how it does."""

    title: str
    purpose: str
    state: State
    said: str


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """All parts at one time."""

    parts: tuple[Part, ...]
    at: datetime

    @property
    def worst(self) -> State:
        """How the server is: as bad as its worst part."""
        return max(part.state for part in self.parts)


_GATEWAY: Final = ("Gateway", "Answers calls of SDKs and programs.")
_STORE: Final = ("Cache store", "Holds the answers. Without it calls go to the provider.")
_RECORDS: Final = ("Records", "Accounts, teams, keys and usage.")
_WORKER: Final = ("Job worker", "Counts usage, sends mails, tidies up.")
_MAILS: Final = ("Mails", "Confirmations, invitations, warnings.")
_status: Final[Remembered[ServerStatus]] = Remembered(lambda _: ASKED_EVERY_SECONDS)


def server_status(request: HttpRequest, settings: Settings) -> ServerStatus:
    """Return how the server is, as it was found at most `ASKED_EVERY_SECONDS` ago."""
    ready: Callable[[], Awaitable[Report]] | None = getattr(request, "scope", {}).get(READY)
    return _status.get((settings, ready), lambda: look(ready, settings, datetime.now(UTC)))


def forget() -> None:
    """Have the parts asked anew."""
    _status.forget()


def look(ready: Callable[[], Awaitable[Report]] | None, settings: Settings, now: datetime) -> ServerStatus:
    """Ask every part."""
    report: Report | None = async_to_sync(ready)() if ready is not None else None
    return ServerStatus((*gateway_parts(report), *record_parts(settings, now)), now)


def records_answer() -> bool:
    """Say whether the database answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def gateway_parts(report: Report | None) -> tuple[Part, Part]:
    """Return the gateway and its store, from what /readyz answers."""
    if report is None:
        unasked = "There is no gateway in this process."
        return Part(*_GATEWAY, State.UNKNOWN, unasked), Part(*_STORE, State.UNKNOWN, unasked)
    status, said = report
    checks: Any = said.get("checks", {})
    directory, store = checks.get("directory", ""), checks.get("store", "")
    if said.get("status") == "stopping":
        gateway = Part(*_GATEWAY, State.IMPAIRED, "This process is being replaced; another takes over.")
    elif status == 200:
        gateway = Part(*_GATEWAY, State.WORKS, "A test request passed through it.")
    else:
        gateway = Part(*_GATEWAY, State.DOWN, f"API keys cannot be checked ({directory}).")
    if store == "ok":
        return gateway, Part(*_STORE, State.WORKS, "A test entry was stored and found.")
    if not store:
        return gateway, Part(*_STORE, State.UNKNOWN, "Not asked while the process stops.")
    return gateway, Part(*_STORE, State.IMPAIRED, f"Calls go to the provider meanwhile ({store}).")


def record_parts(settings: Settings, now: datetime) -> tuple[Part, ...]:
    """Return the database, and what its rows tell of the job worker and of mails."""
    if records_answer():
        return Part(*_RECORDS, State.WORKS, "The database answers."), _worker(now), _mails(settings, now)
    unknown = "Not to be told while the database is away."
    return (
        Part(*_RECORDS, State.DOWN, "The database does not answer."),
        Part(*_WORKER, State.UNKNOWN, unknown),
        Part(*_MAILS, State.UNKNOWN, unknown),
    )


def _worker(now: datetime) -> Part:
    sign = worker_sign(now)
    if sign.seen_at is None:
        return Part(*_WORKER, State.DOWN, "No job worker has been here yet.")
    seen = f"Last seen {span((now - sign.seen_at).total_seconds())} ago."
    if sign.overdue_since is not None:
        late = span((now - sign.overdue_since).total_seconds())
        # One that is seen and late has too much to do; one that is not seen is gone.
        is_there = now - sign.seen_at <= timedelta(minutes=2)
        return Part(*_WORKER, State.IMPAIRED if is_there else State.DOWN, f"{seen} Work is {late} late.")
    return Part(*_WORKER, State.WORKS, seen)


def _mails(settings: Settings, now: datetime) -> Part:
    queue = mail_queue(now)
    if queue.oldest_waiting is not None and now - queue.oldest_waiting > _MAIL_WAITS:
        waits = span((now - queue.oldest_waiting).total_seconds())
        return Part(*_MAILS, State.IMPAIRED, f"A mail has been waiting for {waits}.")
    if queue.gave_up_lately:
        return Part(*_MAILS, State.IMPAIRED, "A mail of the last 24 hours could not be delivered.")
    if settings.smtp_url is None:
        return Part(*_MAILS, State.WORKS, "Kept on the server: no mail server is set.")
    return Part(*_MAILS, State.WORKS, "Mails leave at once.")
