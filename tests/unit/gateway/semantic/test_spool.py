"""Events of near questions in files: whole, sealed, and nobody else's to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcache.engine.entries import Tenant
from agentcache.gateway.ports import SemanticEvent
from agentcache.gateway.semantic.spool import (
    open_note,
    open_semantic_files,
    open_texts,
    read_semantic_events,
    seal_note,
    seal_texts,
    semantic_dir,
    waiting_semantic_files,
)
from agentcache.kit.clock import SystemClock
from agentcache.kit.crypto import DecryptionFailed

OURS, THEIRS = Tenant("ours", b"o" * 32), Tenant("theirs", b"t" * 32)


async def test_events_come_through_files_sealed(tmp_path: Path) -> None:
    event = SemanticEvent(
        id="event-1",
        at_ms=1_790_000_000_000,
        tenant_id=OURS.id,
        namespace="faq",
        kind="judged",
        request_id="request-1",
        entry_key="ab" * 32,
        sealed=seal_texts(OURS, "event-1", "How do I sign in?", "How can I log in?"),
        note=seal_note(OURS, "event-1", "It is the other way round."),
        features={"cosine": 0.9},
        reasons=[("cosine", 0.9, 0.4)],
        agreed=False,
    )
    files = open_semantic_files(tmp_path, SystemClock())
    files.add(event)
    await files.close()
    (path,) = waiting_semantic_files(semantic_dir(tmp_path))
    assert b"sign in" not in path.read_bytes()
    assert b"other way" not in path.read_bytes()
    (read,) = read_semantic_events(path)
    assert read == event
    assert open_texts(OURS, read.id, read.sealed) == ("How do I sign in?", "How can I log in?")
    assert open_note(OURS, read.id, read.note) == "It is the other way round."
    for tenant, event_id in ((THEIRS, read.id), (OURS, "event-2")):
        with pytest.raises(DecryptionFailed):
            open_texts(tenant, event_id, read.sealed)


async def test_a_folder_that_cannot_be_written_costs_the_events_alone(tmp_path: Path) -> None:
    (tmp_path / "semantic").write_text("a file in the folder's place")
    files = open_semantic_files(tmp_path, SystemClock())
    files.add(
        SemanticEvent(id="1", at_ms=0, tenant_id="t", namespace="n", kind="hit", request_id="r", entry_key="ab" * 32)
    )
    await files.close()
    assert waiting_semantic_files(tmp_path / "elsewhere") == []
