"""What is done later: writing down what the data plane has invalidated."""

from __future__ import annotations

from functools import partial

import msgspec

from agentcache.audit.services import Actor
from agentcache.gateway.ports import InvalidationRecord
from agentcache.invalidations.services import record_invalidation
from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import GiveUp


class InvalidationRecording:
    """Does jobs of `RECORD_INVALIDATION`. Each invalidation is recorded once, however often its job is done."""

    def __init__(self, threads: DatabaseThreads) -> None:
        self._threads = threads

    async def __call__(self, payload: dict[str, object]) -> None:
        """Write it down; raises `GiveUp` for a payload that is none."""
        try:
            record = msgspec.convert(payload, InvalidationRecord)
        except msgspec.ValidationError as error:
            raise GiveUp("The job lacks members.") from error
        actor = Actor(user_id=record.user_id, api_key_id=record.api_key_id, ip=record.address)
        await self._threads.run(partial(record_invalidation, record, actor))
