"""What a check can find. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agentcache.listeners.reading.messages import Difference, Reading


@dataclass(frozen=True, slots=True)
class Fetched:
    """How a document came: what the next request can be made conditional by, and what its bytes share."""

    status: int
    etag: str
    last_modified: str
    body_digest: bytes
    #: Where it came from in the end.
    url: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The source says what it said before; `fetched` is None when it answered just that (304)."""

    fetched: Fetched | None = None


@dataclass(frozen=True, slots=True)
class FirstReading:
    """The source was read for the first time."""

    fetched: Fetched
    reading: Reading


@dataclass(frozen=True, slots=True)
class Changed:
    """The source says something else."""

    fetched: Fetched
    reading: Reading
    difference: Difference


@dataclass(frozen=True, slots=True)
class Failed:
    """The source could not be read."""

    #: For people, and nothing in it tells of our network.
    reason: str
    status: int | None = None
    #: When the source asked to be left alone until then.
    retry_after_seconds: float | None = None


Finding: TypeAlias = Unchanged | FirstReading | Changed | Failed
