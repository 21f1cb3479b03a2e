"""Structured logs: one JSON object per line, made of fields that are allowed by name.

What is not on the list is dropped and counted rather than masked, so that a new field is silent until somebody has
thought about it. Prompts, answers, headers, URLs with queries and credentials have no field here, at any level.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from traceback import extract_tb
from typing import Any, Final, Protocol, TextIO

from agentcache.kit.clock import Clock, SystemClock
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.imports import without

# What colours lines for people would make every start a fifteenth of a second longer, and our lines are JSON.
with without("rich"):
    import structlog

#: Every field that a log line may have. `event` is a fixed snake_case word or a sentence without values in it.
FIELDS: Final = frozenset(
    {"timestamp", "level", "event", "logger", "request_id", "worker", "pid", "version", "suppressed", "dropped"}
    | {"tenant_id", "team_id", "user_id", "api_key_id", "principal", "scope", "action", "object_id", "is_test"}
    | {"method", "route", "status", "outcome", "reason", "code", "param", "dialect", "endpoint", "model", "namespace"}
    | {
        "duration_ms",
        "latency_us",
        "upstream_ms",
        "attempt",
        "attempts",
        "retry_seconds",
        "seconds",
        "deadline_seconds",
    }
    | {"host", "port", "path", "setting", "store", "state", "was", "backend", "queue", "job", "job_id", "schedule"}
    | {"count", "rows", "entries", "bytes", "body_bytes", "limit", "pending", "lost", "hits", "misses", "migration"}
    | {"error", "error_message", "stack", "signal", "webhook_id", "delivery_id", "event_id", "invitation_id"}
)
_TEXT_CHARS_MAX: Final = 500
#: The second fence: what looks like a credential is cut out of texts that other libraries wrote.
_CREDENTIAL: Final = re.compile(
    r"(?i)\b(?:ac|sk|pk|rk|r8|whsec|ghp|xox[bp])[_-][0-9a-z_-]{8,}|\b(?:bearer|basic)\s+[^\s\"',;]+"
    r"|(?<=://)[^\s/@]+:[^\s/@]+(?=@)"
)
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: Loggers of libraries that say too much: these repeat every request, with its URL or its headers.
_QUIET: Final = ("uvicorn.access", "httpcore", "httpcore2", "httpx", "httpx2", "hpack", "asyncio", "django.server")
#: Loggers that repeat what a caller got wrong, in the caller's words and as often as the caller likes: refusals below
#: 500, which the caller is told of, and hosts that are not ours.
_CALLERS_OWN: Final = {
    "django.request": logging.ERROR,
    "django.security.csrf": logging.ERROR,
    "django.security.DisallowedHost": logging.CRITICAL,
}

_dropped: Counter[str] = Counter()


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Send our own logs and those of libraries, as JSON lines, to `stream` (default: standard error)."""
    out = stream if stream is not None else sys.stderr
    number = _LEVELS[level]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *names: _Lines(out, *names),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
    root.addHandler(_Bridge(out))
    # Libraries are heard from warnings on; at DEBUG they would write what passes through them.
    root.setLevel(max(number, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "django", "django.request", "django.server"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    logging.getLogger("uvicorn.error").setLevel(number)
    for name, least in {**dict.fromkeys(_QUIET, logging.ERROR), **_CALLERS_OWN}.items():
        logging.getLogger(name).setLevel(least)
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a module; `name` goes into the field `logger`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger


def dropped_fields() -> Mapping[str, int]:
    """Return how often each field that is not allowed was dropped, since the process began."""
    return dict(_dropped)


class Says(Protocol):
    """The one method of a logger that the two classes below need."""

    def __call__(self, event: str, **fields: Any) -> Any:
        """Write a line."""


class OncePer:
    """Lets a line through once per interval and per event, with the number of those held back since."""

    def __init__(self, say: Says, seconds: float, clock: Clock | None = None) -> None:
        self._say = say
        self._seconds = seconds
        self._clock: Clock = clock or SystemClock()
        self._last: dict[str, tuple[float, int]] = {}

    def __call__(self, event: str, **fields: Any) -> None:
        """Write the line, or count it."""
        now = self._clock.monotonic()
        at, held_back = self._last.get(event, (float("-inf"), 0))
        if now - at < self._seconds:
            self._last[event] = (at, held_back + 1)
            return
        self._last[event] = (now, 0)
        if held_back:
            fields["suppressed"] = held_back
        self._say(event, **fields)


class StateChanges:
    """Writes a line when a state differs from the one before, at most one per interval; a flapping part is counted."""

    def __init__(self, say: Says, event: str, state: str, seconds: float = 1.0, clock: Clock | None = None) -> None:
        self._say = say
        self._event = event
        self._said = state
        self._clock: Clock = clock or SystemClock()
        self._seconds = seconds
        self._at = float("-inf")
        self._held_back = 0
        self.state = state

    def now(self, state: str, **fields: Any) -> None:
        """Take the state as it is now; cheap when nothing changed, so it may be called for every request."""
        if state == self.state == self._said:
            return
        changed, self.state = state != self.state, state
        moment = self._clock.monotonic()
        if moment - self._at < self._seconds:
            self._held_back += changed
            return
        if state == self._said and not self._held_back:
            return
        if self._held_back:
            fields["suppressed"] = self._held_back
        was, self._said, self._at, self._held_back = self._said, state, moment, 0
        self._say(self._event, state=state, was=was, **fields)


class _Lines:
    """What structlog hands a rendered line to; one per logger name."""

    def __init__(self, out: TextIO, name: str = "agentcache") -> None:
        self._out = out
        self.name = name

    def msg(self, line: str) -> None:
        """Write one line in one piece, so that lines of threads do not mix."""
        with suppress(OSError, ValueError):  # a full disk or a closed pipe must not fail a request
            self._out.write(line + "\n")
            self._out.flush()

    debug = info = warning = warn = error = err = exception = critical = fatal = log = msg


class _Bridge(logging.Handler):
    """Brings records of the standard library's logging into the same form."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._lines = _Lines(out)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line; never raises, for a log line must not cost a request."""
        try:
            fields: dict[str, Any] = {
                "event": record.getMessage(),
                "level": record.levelname.lower(),
                "logger": record.name,
            }
            if record.exc_info and record.exc_info[1] is not None:
                fields["exc_info"] = record.exc_info[1]
            self._lines.msg(_render(self._lines, "", fields))
        except Exception:  # noqa: BLE001 - formatting somebody else's record can fail in any way
            self._lines.msg('{"level": "error", "event": "unwritable_log_record"}')


def _render(logger: Any, _method: str, fields: MutableMapping[str, Any]) -> str:
    """Turn a record into one line of JSON with allowed fields, plain values and ASCII only."""
    line: dict[str, Any] = {"timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    wrong = fields.pop("exc_info", None)
    if wrong:
        line_of_error = _describe(wrong if isinstance(wrong, BaseException) else sys.exc_info()[1])
        fields.update(line_of_error)
    fields.setdefault("logger", logger.name)
    dropped = 0
    for name, value in fields.items():
        if name in FIELDS:
            line[name] = _plain(value)
        else:
            _dropped[name[:64]] += 1
            dropped += 1
    if dropped:
        line["dropped"] = dropped
    return json.dumps(line, ensure_ascii=True)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _CREDENTIAL.sub("[credential]", value[: 2 * _TEXT_CHARS_MAX])[:_TEXT_CHARS_MAX]
    if isinstance(value, tuple | list | set | frozenset):
        return [
            _plain(item) if not isinstance(item, tuple | list | set | dict) else "<nested>" for item in list(value)[:50]
        ]
    return f"<{type(value).__name__}>"


def _describe(wrong: BaseException | None) -> dict[str, Any]:
    """Name an exception and where it rose. Its text is kept only when we wrote it: others quote what they choked on."""
    if wrong is None:
        return {}
    frames = extract_tb(wrong.__traceback__)[-12:]
    described: dict[str, Any] = {
        "error": type(wrong).__qualname__,
        "stack": [
            f"{frame.filename.rsplit('/site-packages/', 1)[-1][-80:]}:{frame.lineno} {frame.name}" for frame in frames
        ],
    }
    if isinstance(wrong, AgentCacheError):
        described["error_message"] = wrong.message
    return described
