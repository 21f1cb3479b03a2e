"""Every write of prewarming."""

from __future__ import annotations

from agentcache.prewarm.services.batches import open_request, prune, run_again, start_batch
from agentcache.prewarm.services.credentials import (
    delete_credential,
    keep_credential,
    open_credential,
    test_credential,
)
from agentcache.prewarm.services.running import (
    BegunBatch,
    Outcome,
    TakenRequest,
    begin_batch,
    count_ended,
    note_end,
    note_outcomes,
    result_of,
    set_aside,
    take,
)

__all__ = [
    "BegunBatch",
    "Outcome",
    "TakenRequest",
    "begin_batch",
    "count_ended",
    "delete_credential",
    "keep_credential",
    "note_end",
    "note_outcomes",
    "open_credential",
    "open_request",
    "prune",
    "result_of",
    "run_again",
    "set_aside",
    "start_batch",
    "take",
    "test_credential",
]
