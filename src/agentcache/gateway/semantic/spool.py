"""Events of near questions on their way to the database, like kept requests: files that the job worker takes.

The questions are sealed with a key of their team before they reach the disk.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Protocol

import msgspec

from agentcache.engine.entries import Tenant
from agentcache.gateway.batch_files import BatchFiles, waiting_files
from agentcache.gateway.ports import SemanticEvent
from agentcache.kit.clock import Clock
from agentcache.kit.crypto import associated_data, derive, open_sealed, seal

_SUFFIX: Final = ".semantic"


class SemanticEvents(Protocol):
    """Takes events of near questions."""

    def add(self, event: SemanticEvent) -> None:
        """Take an event. Never raises, never waits."""


class NoSemanticEvents:
    """Keeps no events."""

    def add(self, event: SemanticEvent) -> None:
        """Do nothing."""


def open_semantic_files(data_dir: Path, clock: Clock) -> BatchFiles[SemanticEvent]:
    """Return a server's files of events; implements `SemanticEvents`. Not started."""
    return BatchFiles(semantic_dir(data_dir), _SUFFIX, clock)


def semantic_dir(data_dir: Path) -> Path:
    """Return the folder of a server's files of events."""
    return data_dir / "semantic"


def waiting_semantic_files(folder: Path) -> list[Path]:
    """Return the finished files, oldest first."""
    return waiting_files(folder, _SUFFIX)


def read_semantic_events(path: Path) -> list[SemanticEvent]:
    """Return a file's events. Raises `msgspec.DecodeError` when it is not one of ours."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[SemanticEvent])


def seal_texts(tenant: Tenant, event_id: str, asked: str, matched: str) -> bytes:
    """Encrypt both questions for their team, bound to the event."""
    return seal(_key(tenant), json.dumps([asked, matched]).encode(), _place(tenant, event_id, "questions"))


def open_texts(tenant: Tenant, event_id: str, sealed: bytes) -> tuple[str, str]:
    """Return (asked, matched) of an event's `sealed`. Raises `DecryptionFailed`."""
    asked, matched = json.loads(open_sealed(_key(tenant), sealed, _place(tenant, event_id, "questions")))
    return asked, matched


def seal_note(tenant: Tenant, event_id: str, note: str) -> bytes:
    """Encrypt what a reporter added; empty stays empty."""
    return seal(_key(tenant), note.encode(), _place(tenant, event_id, "note")) if note else b""


def open_note(tenant: Tenant, event_id: str, note: bytes) -> str:
    """Return an event's note. Raises `DecryptionFailed`."""
    return open_sealed(_key(tenant), note, _place(tenant, event_id, "note")).decode() if note else ""


def _key(tenant: Tenant) -> bytes:
    return derive(tenant.key_secret, "semantic event")


def _place(tenant: Tenant, event_id: str, part: str) -> bytes:
    return associated_data("semantic event", tenant.id, event_id, part)
