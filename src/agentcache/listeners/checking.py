"""One look at a source: ask politely, read what came, say what that means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import agentcache
from agentcache.kit.clock import Clock
from agentcache.kit.egress.guarded import EgressFailed, GuardedClient, GuardedLimits, GuardedResponse
from agentcache.kit.egress.retry_after import retry_after_seconds
from agentcache.kit.egress.target import Headers, InvalidTarget
from agentcache.kit.logs import get_logger
from agentcache.listeners.findings import Changed, Failed, Fetched, Finding, FirstReading, Unchanged
from agentcache.listeners.models import Listener
from agentcache.listeners.reading.messages import CompareTexts, Difference, ReadDocument, Reading, Unreadable
from agentcache.listeners.reading.reader import Reader
from agentcache.listeners.reading.texts import ITEMS_MAX, body_digest, digest
from agentcache.listeners.robots_rules import PRODUCT, RobotsRules

#: Bounds of one request: 5 s to connect, 10 s and 5 MiB in all.
LIMITS: Final = GuardedLimits(may_be_gzip=True)
#: So many sitemaps of an index are read with it; of a larger one only the index itself is compared.
PARTS_MAX: Final = 20
#: Between two of them, as between any two requests to one host.
PART_PAUSE_SECONDS: Final = 1.0
REDIRECTS_MAX: Final = 3
_CLOCKS_DIFFER_SECONDS: Final = 60.0
#: Where the manual explains to those who run a source who asks, and how to be left alone.
MANUAL_PAGE: Final = "/docs/how-to/watch-a-source"
_ACCEPT: Final = (
    b"text/html, application/xhtml+xml, application/json, application/pdf, application/xml, text/*;q=0.9, */*;q=0.5"
)
_log = get_logger(__name__)

#: What a listener's source said when it was read last.
FormerText = Callable[[Listener], Awaitable[str]]
#: Told what a host's robots.txt asks for between two requests.
KeepDelay = Callable[[str, float], Awaitable[None]]
#: Told for how many seconds a host will be asked by this check alone.
HoldHost = Callable[[str, float], Awaitable[None]]


def user_agent(origin: str) -> str:
    """Return how we call ourselves, with the page that explains us."""
    return f"{PRODUCT}/{agentcache.__version__} (+{origin}{MANUAL_PAGE})"


class Checker:
    """Looks at sources, any number at once."""

    def __init__(
        self,
        client: GuardedClient,
        reader: Reader,
        clock: Clock,
        origin: str,
        former_text: FormerText,
        keep_delay: KeepDelay,
        hold_host: HoldHost,
        *,
        part_pause_seconds: float = PART_PAUSE_SECONDS,
    ) -> None:
        self._client = client
        self._reader = reader
        self._clock = clock
        self._former_text = former_text
        self._keep_delay = keep_delay
        self._hold_host = hold_host
        self._part_pause_seconds = part_pause_seconds
        self._headers: Headers = [(b"user-agent", user_agent(origin).encode()), (b"accept", _ACCEPT)]
        self._robots = RobotsRules(client, reader, self._headers, clock)
        self._delays: dict[str, float] = {}

    async def check(self, row: Listener) -> Finding:
        """Return what a source says now, compared with what it said before; never raises for what a source does."""
        verdict = await self._robots.judge(row.url)
        if verdict is None:
            return Failed("The source, or its robots.txt, could not be reached.")
        if verdict.delay_seconds != self._delays.get(row.host, 0.0):
            self._delays[row.host] = verdict.delay_seconds
            await self._keep_delay(row.host, verdict.delay_seconds)
        if not verdict.is_allowed:
            return Failed("The source's robots.txt does not allow it.")
        conditions = _conditions(row)
        try:
            response = await self._get(row.url, conditions)
            if response.status == 304 and conditions and response.url != row.url:
                # It speaks of another document, whose validator happens to be the same.
                response = await self._get(row.url, conditions := [])
        except InvalidTarget:
            return Failed("The address cannot be used.")
        except EgressFailed as error:
            _log.info("listener_not_reached", listener_id=row.pk, team_id=row.team_id, reason=error.reason)
            said = f"The answer was refused: {error.reason}." if error.is_of_answer else ""
            return Failed(said or "The source, or its robots.txt, could not be reached.")
        return await self._judge(row, response, is_conditional=bool(conditions))

    async def _get(self, url: str, conditions: Headers) -> GuardedResponse:
        return await self._client.request("GET", url, [*self._headers, *conditions], max_redirects=REDIRECTS_MAX)

    async def _judge(self, row: Listener, response: GuardedResponse, *, is_conditional: bool) -> Finding:
        status = response.status
        if status == 304 and is_conditional:
            return Unchanged()
        if status != 200:
            value = _header(dict(response.headers), b"retry-after")
            return Failed(f"The source answered {status}.", status, retry_after_seconds(value, self._clock.now()))
        headers = dict(response.headers)
        etag, last_modified = _header(headers, b"etag"), lasting_date(headers, self._clock.now())
        if response.url != row.url:
            # Validators of where it leads today, which may be somewhere else tomorrow.
            etag = last_modified = ""
        fetched = Fetched(status, etag, last_modified, body_digest(response.body), response.url)
        if row.text_digest and fetched.body_digest == bytes(row.body_digest):
            return Unchanged(fetched)
        content_type = _header(headers, b"content-type")
        reading = await self._reader.ask(ReadDocument(response.url, content_type, response.body, row.selector))
        if not isinstance(reading, Reading):
            return Failed(reading.reason if isinstance(reading, Unreadable) else "The document cannot be read.", status)
        if 0 < len(reading.parts) <= PARTS_MAX:
            whole = await self._with_parts(row, reading)
            if isinstance(whole, Failed):
                return whole
            # The index may stay as it is while a part changes: it is never asked for by what it was.
            reading, fetched = whole, replace(fetched, etag="", last_modified="", body_digest=b"")
        if not row.text_digest:
            return FirstReading(fetched, reading)
        if reading.digest == bytes(row.text_digest):
            return Unchanged(fetched)
        return Changed(fetched, reading, await self._difference(row, reading))

    async def _with_parts(self, row: Listener, index: Reading) -> Reading | Failed:
        """Return the reading of an index together with those of its sitemaps, all or nothing."""
        await self._hold_host(row.host, (len(index.parts) + 1) * self._part_pause_seconds)
        lines = set(index.text.split("\n"))
        for url in index.parts:
            await asyncio.sleep(self._part_pause_seconds)
            part = await self._part(row, url)
            if isinstance(part, Failed):
                return part
            lines.update(part.text.split("\n"))
            if len(lines) > ITEMS_MAX:
                return Failed(f"The sitemaps have more than {ITEMS_MAX:,} addresses; watch them one by one.")
        text = "\n".join(sorted(lines - {""}))
        return Reading(index.kind, text, digest(text), is_list=True)

    async def _part(self, row: Listener, url: str) -> Reading | Failed:
        if urlsplit(url).netloc != urlsplit(row.url).netloc:
            return Failed("The index names a sitemap of another host; watch that one by itself.")
        verdict = await self._robots.judge(url)
        if verdict is None or not verdict.is_allowed:
            return Failed("A sitemap of the index could not be asked for.")
        try:
            response = await self._client.request("GET", url, self._headers, max_redirects=REDIRECTS_MAX)
        except (InvalidTarget, EgressFailed) as error:
            _log.info("listener_not_reached", listener_id=row.pk, team_id=row.team_id, reason=type(error).__name__)
            return Failed("A sitemap of the index could not be reached.")
        if response.status != 200:
            return Failed(f"A sitemap of the index answered {response.status}.", response.status)
        content_type = _header(dict(response.headers), b"content-type")
        reading = await self._reader.ask(ReadDocument(response.url, content_type, response.body))
        if not isinstance(reading, Reading) or reading.kind != "sitemap":
            return Failed("A sitemap of the index cannot be read.")
        return reading

    async def _difference(self, row: Listener, reading: Reading) -> Difference:
        asked = CompareTexts(await self._former_text(row), reading.text, reading.is_list)
        answer = await self._reader.ask(asked)
        # That it changed is known all the same.
        return answer if isinstance(answer, Difference) else Difference("", 0, 0)


def _conditions(row: Listener) -> Headers:
    if not row.text_digest:
        return []
    conditions: Headers = []
    if row.etag:
        conditions.append((b"if-none-match", row.etag.encode("latin-1", "replace")))
    if row.last_modified:
        conditions.append((b"if-modified-since", row.last_modified.encode("latin-1", "replace")))
    return conditions


def lasting_date(headers: Mapping[bytes, bytes], now: float) -> str:
    """Return `Last-Modified` if whatever changes after this answer will have another one, else "" (RFC 9110, 8.8.2.2).

    It counts seconds: what changed in the second of the answer may change once more in it and be told apart by nobody.
    """
    text = _header(headers, b"last-modified")
    modified = _unix_time(text)
    answered = _unix_time(_header(headers, b"date"))
    # Without a date of the source it is our clock that tells, and clocks differ.
    latest = now - _CLOCKS_DIFFER_SECONDS if answered is None else answered - 1
    return text if modified is not None and modified <= latest else ""


def _unix_time(text: str) -> float | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str:
    # What came as bytes goes back as the same bytes; NUL is no text for PostgreSQL.
    return headers.get(name, b"").decode("latin-1").replace("\0", "")
